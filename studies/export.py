"""Can what was trained here run elsewhere: by the official tools, or in an engine?

    python -m studies.export --run runs/scaling/yolox-s-s0-1a2b3c4d --output yolox_s.pth
    python -m studies.export --model yolox-nano --weights yolox_nano.pth --format onnx --output nano.onnx
    python -m studies.export --run FOLDER --format openvino --precision int8 --output yolox_s.xml

Without --format: ``{"model": …}`` with the official code's names (0.3.0), averaged weights where there are
any; parts that the official code lacks (coupled head, one-to-one branch) keep our names and are listed.

With it: a file for onnxruntime, OpenVINO, ncnn or TensorRT that says of itself what it is, compared with
PyTorch on validation images of --data (noise without), and refused where float32 differs by more than 1e-3.
The packages: pip install '.[deploy]'. Outputs, precisions and their AP, how a file is read: docs/deploy.md.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadmap.datasets import find_splits, usual_val_split
from roadmap.record import RunFolder, read_json
from roadmap.stages import STAGE_NAMES, ingredients_at
from roadmap.words import counted
from studies.evaluate import recipe_of
from yolox_core.config import (
    MODELS,
    YOLOX_INGREDIENTS,
    Ingredients,
    ModelConfig,
    TrainConfig,
    annotation_file,
    input_size,
    model_config,
)
from yolox_core.deploy.card import OUTPUTS, PRECISIONS, SUFFIXES, Card

if TYPE_CHECKING:
    from yolox_core.detector import Detector

#: Images that a file is compared with PyTorch on.
COMPARED = 4
#: Training images that int8 is calibrated on.
CALIBRATION = 32


@dataclass(frozen=True)
class Source:
    """What is exported. weights: None for random ones. data: None where no dataset is known."""

    name: str
    model: ModelConfig
    ingredients: Ingredients
    weights: Path | None
    image_size: int
    data: Path | None = None
    recipe_hash: str = ""


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when the file was written, 1 with a message when it was not."""
    options = _parser().parse_args(arguments)
    try:
        source = find_source(options)
        if options.format == "pytorch":
            print(export_official(source, options.output))
        else:
            print(export(source, options))
    except (ValueError, OSError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    return 0


def export_official(source: Source, output: Path) -> str:
    """Convert a checkpoint to the official names; what was written, in words."""
    from yolox_core.deploy.weights import save_official, unofficial_parts

    if source.weights is None:
        raise ValueError("--weights FILE is missing: the checkpoint to export")
    detector, tensors = load(source)
    save_official(detector, output)
    own = unofficial_parts(detector)
    remark = f"; the official code does not have: {', '.join(own)}" if own else ""
    filled = f"{counted(tensors, 'tensor')} of {source.model.name}"
    return f"{output}: {filled}, {counted(source.model.num_classes, 'class')}{remark}"


def export(source: Source, options: argparse.Namespace) -> str:
    """Write a file for an engine and hold it against PyTorch; both in words.

    Raises ValueError, and leaves no file, where float32 differs from PyTorch by more than 1e-3.
    """
    from yolox_core.deploy.export import export_file

    detector, _ = load(source)
    card, remark = describe(source, detector, options)
    calibration = training_images(source, options.calibration) if card.precision == "int8" else []
    card = export_file(detector, card, options.format, options.output, calibration)
    graph = "decoding left out" if card.outputs == "raw" else "with decoding"
    if card.outputs == "detections":
        last = "NMS" if card.nms else f"the best {card.limit} (it needs no NMS)"
        graph += f" and {last}, confidence {card.confidence:g}"
        graph += f", NMS IoU {card.nms_iou:g}" if card.nms else ""
    batch = "any batch" if card.batch is None else f"batch {card.batch}"
    opset = f", opset {card.opset}" if card.opset else ""
    lines = [
        f"{options.output}: {card.name}, {card.image_size} px, {batch}, {card.precision}, "
        f"{graph}{opset}{remark}",
        f"  {check(source, detector, card, options)}",
    ]
    if options.format == "tensorrt":
        lines.append(f"  TensorRT was not run; on a machine with it: {trtexec(card, options.output)}")
    return "\n".join(lines)


def describe(source: Source, detector: Detector, options: argparse.Namespace) -> tuple[Card, str]:
    """The card of what the options ask for, and what has to be said about it."""
    from yolox_core.data.annotations import read_annotations
    from yolox_core.deploy.export import make_card

    names: tuple[str, ...] = tuple(f"class {i}" for i in range(source.model.num_classes))
    remark = "; its classes have no names: give --data DIR"
    if source.data is not None:
        file = annotation_file(source.data, usual_val_split(source.data))
        names, remark = read_annotations(file).class_names, ""
    digest = hashlib.sha256(source.weights.read_bytes()).hexdigest() if source.weights else ""
    card = make_card(
        detector,
        source.name,
        names,
        source.image_size,
        options.outputs,
        options.precision,
        options.batch,
        (options.confidence, options.nms_iou),
        source.recipe_hash,
        digest,
    )
    return card, remark


def check(source: Source, detector: Detector, card: Card, options: argparse.Namespace) -> str:
    """How far the file is from PyTorch. Raises ValueError, the file gone, when float32 is too far."""
    import torch

    from yolox_core.deploy.engine_detector import EngineDetector
    from yolox_core.deploy.engines import open_engine, pytorch_engine
    from yolox_core.deploy.graph import Graph
    from yolox_core.deploy.parity import TOLERANCE, compare

    threads = torch.get_num_threads()
    engine = EngineDetector(open_engine(options.output, threads))
    images, what = validation_images(source, COMPARED)
    if card.outputs == "detections":
        found = engine.detect(images, options.confidence, options.nms_iou)
        expected = detector.eval().detect(images, options.confidence, options.nms_iou)
        counts = [sum(len(image.scores) for image in side) for side in (found, expected)]
        return f"{counts[0]} detections on {what}, PyTorch {counts[1]}"
    decoded = replace(card, outputs="decoded")
    graph = Graph(detector, card.image_size, "decoded")
    parity = compare(engine, EngineDetector(pytorch_engine(graph, decoded, threads)), images)
    if card.precision == "fp32" and not parity.holds:
        options.output.unlink()
        raise ValueError(f"{engine.engine.version} differs from PyTorch by more than {TOLERANCE:g}: {parity}")
    return f"{engine.engine.version} differs from PyTorch on {what} by at most: {parity}"


def trtexec(card: Card, path: Path) -> str:
    """The line that makes a TensorRT engine of an ONNX file."""
    line = f"trtexec --onnx={path.name} --saveEngine={path.stem}.engine --fp16"
    if card.batch is not None:
        return line
    side = card.image_size
    shapes = (
        f"--{which}Shapes=images:{n}x3x{side}x{side}" for which, n in (("min", 1), ("opt", 8), ("max", 32))
    )
    return " ".join((line, *shapes))


def load(source: Source) -> tuple[Detector, int]:
    """The detector and how many tensors the checkpoint filled. Raises ValueError when some are missing."""
    import torch

    from yolox_core.build import build_detector
    from yolox_core.deploy.weights import load_official

    torch.manual_seed(0)
    detector = build_detector(source.model, source.ingredients)
    if source.weights is None:
        return detector, 0
    report = load_official(detector, source.weights)
    if not report.complete:
        raise ValueError(f"{source.weights} does not fill {source.model.name}:\n{report}")
    return detector, len(report.loaded)


def training_images(source: Source, count: int) -> list[Any]:
    """(1, 3, S, S) each: the first of the training split. Raises ValueError where no dataset is known."""
    from studies.attempt.data import photographs
    from yolox_core.data.coco import CocoDataset

    if source.data is None:
        raise ValueError("--precision int8 is calibrated on training images: give --data DIR")
    dataset = CocoDataset(source.data, find_splits(source.data)[0])
    return [image[None].numpy() for image in photographs(dataset, count, source.image_size)]


def validation_images(source: Source, count: int) -> tuple[Any, str]:
    """(n, 3, S, S) and what they are: the first of the validation split, else noise."""
    import torch

    from studies.attempt.data import photographs
    from yolox_core.data.coco import CocoDataset

    if source.data is not None:
        shown = photographs(CocoDataset(source.data, usual_val_split(source.data)), count, source.image_size)
        if len(shown):
            return shown, counted(len(shown), "validation image")
    noise = torch.rand(2, 3, source.image_size, source.image_size, generator=torch.Generator().manual_seed(0))
    return noise * 255, "noise"


def find_source(options: argparse.Namespace) -> Source:
    """What the command line means. Raises ValueError naming what is missing."""
    given = options.data or os.environ.get("COCO_DIR")
    data = Path(given).expanduser() if given else None
    if options.run is not None:
        folder = RunFolder(options.run)
        recipe = recipe_of(folder)
        if data is None:
            kept = ((read_json(folder.path / "environment.json") or {}).get("dataset") or {}).get("path")
            data = Path(kept) if kept and Path(kept).is_dir() else None
        weights = options.weights or folder.checkpoints / "best.pt"
        size = options.image_size or recipe.training.image_size
        return Source(folder.name, recipe.model, recipe.ingredients, weights, size, data, recipe.hash)
    if options.weights is None and not options.untrained:
        raise ValueError("--weights FILE is missing: the checkpoint to export (or --untrained)")
    if options.stage is not None:
        model = replace(MODELS["yolox-darknet53"], num_classes=options.classes)
        ingredients = ingredients_at(options.stage)
    else:
        model, ingredients = model_config(options.model, options.classes), YOLOX_INGREDIENTS
    size = options.image_size or input_size(model.name)
    return Source(options.stage or options.model, model, ingredients, options.weights, size, data)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", type=Path, metavar="FOLDER", help="a run's folder")
    what.add_argument("--model", choices=tuple(MODELS), help="a named model of the paper")
    what.add_argument("--stage", choices=STAGE_NAMES, help="a stage of the roadmap, at full size")
    parser.add_argument("--classes", type=int, default=80, help="without --run (default: %(default)s)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint (a run's: its best epoch)")
    parser.add_argument("--untrained", action="store_true", help="random weights, to try an engine with")
    parser.add_argument("--output", type=Path, metavar="FILE", required=True, help="where to write")
    parser.add_argument(
        "--format",
        choices=("pytorch", *SUFFIXES),
        default="pytorch",
        help="default: %(default)s, official names",
    )
    engine = parser.add_argument_group("for engines")
    engine.add_argument(
        "--data", metavar="DIR", help="class names, images to calibrate and compare (a run's own)"
    )
    engine.add_argument(
        "--image-size", type=_positive, metavar="PIXELS", help="default: the model's test size"
    )
    engine.add_argument(
        "--batch", type=_batch, default=1, metavar="N", help="a number or dynamic (default: 1)"
    )
    engine.add_argument(
        "--outputs",
        choices=OUTPUTS,
        default="decoded",
        help="what the graph ends with: head, boxes, or detections (default: %(default)s)",
    )
    engine.add_argument("--precision", choices=PRECISIONS, default="fp32", help="default: %(default)s")
    engine.add_argument(
        "--calibration",
        type=_positive,
        default=CALIBRATION,
        metavar="N",
        help="images for int8 (%(default)s)",
    )
    engine.add_argument(
        "--confidence", type=float, default=TrainConfig.final_confidence, help="in detections"
    )
    engine.add_argument("--nms-iou", type=float, default=TrainConfig.nms_iou, help="in detections")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


def _batch(text: str) -> int | None:
    return None if text == "dynamic" else _positive(text)


if __name__ == "__main__":
    sys.exit(main())
