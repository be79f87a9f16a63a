"""Does a checkpoint score what it should?

    python -m studies.evaluate --model yolox-nano --weights yolox_nano.pth --data DIR
    python -m studies.evaluate --stage simota --weights best.pt --data DIR
    python -m studies.evaluate --run runs/roadmap/simota-s0-1a2b3c4d
    python -m studies.evaluate --run FOLDER --data DIR --split test-dev2017 --submission yolox-l.zip
    python -m studies.evaluate --exported nano.onnx --data DIR            what an engine makes of it
    python -m studies.evaluate --run FOLDER --engine openvino

DIR is in COCO's layout. Prints COCO's twelve figures in percent. Takes official checkpoints and our own;
``--run`` takes model, size and weights from a run's folder. The paper's AP on COCO val2017 (Tables 2-4):
DarkNet53 47.3, Nano 25.3, Tiny 32.8, S 39.6, M 46.4, L 50.0, X 51.2; later releases of the official
weights differ by some tenths. ``--engine`` exports to float32 first; a file of python -m studies.export, in
whatever precision, is its own source of everything else, pre- and post-processing being the same for all.

COCO's test splits (annotations/image_info_<split>.json, images in test2017/) have no public annotations:
their AP, as in Table 6, comes from COCO's evaluation server, which takes what ``--submission`` writes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadmap.datasets import usual_val_split
from roadmap.recipe import Recipe, recipe_from_json
from roadmap.record import RunFolder, read_json
from roadmap.stages import STAGE_NAMES, ingredients_at
from roadmap.words import counted
from studies.command.in_engine import engine_name, open_in_engine
from yolox_core.config import (
    MODELS,
    YOLOX_INGREDIENTS,
    Ingredients,
    ModelConfig,
    TrainConfig,
    input_size,
    model_config,
)
from yolox_core.deploy.card import ENGINES

if TYPE_CHECKING:
    import torch

#: COCO's figures, in the order they are printed.
LABELS = {
    "AP": "AP (IoU 0.50:0.95)",
    "AP50": "AP50",
    "AP75": "AP75",
    "APs": "AP small",
    "APm": "AP medium",
    "APl": "AP large",
    "AR1": "AR, 1 detection per image",
    "AR10": "AR, 10",
    "AR100": "AR, 100",
    "ARs": "AR small",
    "ARm": "AR medium",
    "ARl": "AR large",
}


@dataclass(frozen=True)
class Subject:
    """What is evaluated: an architecture, its weights and the settings it is tested with.

    split: what the run was tested on, empty where that is not on record. weights: a checkpoint, or with
    ``exported`` a file of studies.export.
    """

    name: str
    model: ModelConfig
    ingredients: Ingredients
    weights: Path
    data: Path
    image_size: int
    split: str = ""
    exported: bool = False


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when the evaluation went through, 1 with a message when it did not."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        subject = find_subject(options)
        report = evaluate(subject, options)
    except (ValueError, OSError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report, indent=1) if options.json else format_report(report))
    return 0


def find_subject(options: argparse.Namespace) -> Subject:
    """What the command line means. Raises ValueError naming what is missing."""
    if options.run is not None:
        return _subject_of_run(options)
    if options.exported is not None:
        return _subject_of_file(options)
    if options.weights is None:
        raise ValueError("--weights FILE is missing: the checkpoint to evaluate")
    if options.stage is not None:
        name, model, ingredients = options.stage, MODELS["yolox-darknet53"], ingredients_at(options.stage)
    else:
        name, model, ingredients = options.model, model_config(options.model), YOLOX_INGREDIENTS
    data = options.data or os.environ.get("COCO_DIR")
    if not data:
        raise ValueError("--data DIR is missing (or COCO_DIR): a dataset in COCO's layout")
    size = options.image_size or input_size(model.name)
    return Subject(name, model, ingredients, options.weights, Path(data).expanduser(), size)


def evaluate(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    """Load, detect, score: the settings and COCO's figures in percent."""
    from tqdm import tqdm

    from yolox_core.build import build_detector
    from yolox_core.data.coco import MAX_SKIPPED, CocoDataset
    from yolox_core.deploy.weights import load_official
    from yolox_core.evaluation.collect import Detects, coco_metrics, collect_detections
    from yolox_core.evaluation.submission import results_name, write_submission

    if subject.image_size % 32 or subject.image_size < 32:
        raise ValueError(f"--image-size must be a multiple of 32, not {subject.image_size}")
    if options.detections is not None and not options.detections.parent.is_dir():
        raise ValueError(f"--detections: the folder {options.detections.parent} is missing; make it first")
    engine = engine_name(subject, options.engine)
    if engine != "pytorch" and options.device not in (None, "cpu"):
        raise ValueError(f"--engine {engine} runs on the CPU here, not on {options.device}")
    device = choose_device(options.device if engine == "pytorch" else "cpu")
    split = options.split or subject.split or usual_val_split(subject.data)
    results = options.submission and results_name(options.submission, split, subject.name)
    # An image that is left out of a submission counts as one that nothing was found on.
    dataset = CocoDataset(subject.data, split, 0.0 if results else MAX_SKIPPED, decoding=True)
    if not (dataset.annotated or results or options.detections):
        raise ValueError(
            f"{dataset.annotation_file} has no annotations, so there is no AP to compute; give --submission "
            "FILE.zip for COCO's evaluation server, or --detections FILE"
        )
    conditions: dict[str, Any] = {}
    if engine == "pytorch":
        whole = build_detector(replace(subject.model, num_classes=dataset.num_classes), subject.ingredients)
        loaded = load_official(whole, subject.weights)
        if not loaded.complete:
            filled = f"{subject.name} with {dataset.num_classes} classes"
            raise ValueError(f"{subject.weights} does not fill {filled}:\n{loaded}")
        detector: Detects = whole.to(device)
    else:
        detector, conditions = open_in_engine(subject, engine, dataset.class_names, options.threads)
    damaged: dict[int, str] = {}
    with tqdm(total=len(dataset), unit="image", disable=None, leave=False) as bar:
        detections = collect_detections(
            detector,
            dataset,
            subject.image_size,
            options.confidence,
            options.nms_iou,
            device,
            options.batch_size,
            workers=options.workers,
            progress=bar.update,
            damaged=damaged,
        )
    if options.detections is not None:  # before anything that may be refused: they took long
        options.detections.write_text(json.dumps(detections.to_coco_results()) + "\n", encoding="utf-8")
    if damaged and results:
        raise ValueError(
            f"{counted(len(damaged), 'image')} could not be read: {next(iter(damaged.values()))}"
        )
    evaluated = [int(i) for i in dataset.ids if int(i) not in damaged]
    metrics = coco_metrics(dataset.annotation_file, detections, evaluated) if dataset.annotated else None
    submission = results and write_submission(options.submission, results, split, detections, dataset.ids)
    return {
        "name": subject.name,
        "weights": str(subject.weights),
        "data": str(subject.data),
        "split": split,
        "images": len(evaluated),
        "skipped": len(dataset.skipped) + len(damaged),
        "detections": len(detections),
        "image_size": subject.image_size,
        "confidence": options.confidence,
        "nms_iou": options.nms_iou,
        "device": str(device),
        "engine": engine,
        **conditions,
        "annotations": str(dataset.annotation_file),
        "metrics": metrics,
        "submission": submission and {"archive": str(options.submission), **asdict(submission)},
    }


def choose_device(name: str | None) -> torch.device:
    """The named device, or the best there is. Raises ValueError when it is not there."""
    import torch

    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ValueError(f"--device must be cpu, cuda or cuda:N, not {name!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device {device}: PyTorch finds no such CUDA device here; use --device cpu")
    return device


def format_report(report: dict[str, Any]) -> str:
    """The report as text."""
    skipped = f" ({report['skipped']} skipped)" if report["skipped"] else ""
    lines = [
        f"{report['name']} on {report['split']} of {report['data']}: "
        f"{counted(report['images'], 'image')}{skipped}, "
        f"{report['image_size']} px, confidence {report['confidence']:g}, NMS IoU {report['nms_iou']:g}"
    ]
    if report["engine"] != "pytorch":
        lines.append(
            f"  {report['engine_version']}, {report['provider']}, file {report['file_precision']}, "
            f"computed in {report['precision']}, {counted(report['threads'], 'thread')}"
        )
    if report["metrics"] is None:
        lines.append(f"  no AP here: {report['annotations']} has no annotations")
    else:
        for key, label in LABELS.items():
            value = report["metrics"][key]
            lines.append(f"  {label:<28}{'undefined' if value is None else f'{value:.3f}':>9}")
    if written := report["submission"]:
        from yolox_core.evaluation.submission import MOST_PER_IMAGE

        lines += [
            f"  written: {written['archive']} with {written['file']}, for COCO's evaluation server: "
            f"{counted(written['detections'], 'detection')} on {counted(written['images'], 'image')}; "
            f"{written['left_out']} beyond the best {MOST_PER_IMAGE} of an image left out",
            *(f"  note: {remark}" for remark in written["remarks"]),
        ]
    return "\n".join(lines)


def _subject_of_run(options: argparse.Namespace) -> Subject:
    folder = RunFolder(options.run)
    recipe = recipe_of(folder)
    weights = options.weights or folder.checkpoints / "best.pt"
    if not weights.exists():
        raise ValueError(f"{weights} is missing: the run has not been evaluated yet; give --weights FILE")
    environment = read_json(folder.path / "environment.json") or {}
    dataset = environment.get("dataset") or {}
    data = options.data or dataset.get("path")
    if not data:
        raise ValueError(f"{folder.path} does not say where its dataset lies; give --data DIR")
    size = options.image_size or recipe.training.image_size
    split = (dataset.get("val") or {}).get("split", "")
    return Subject(folder.name, recipe.model, recipe.ingredients, weights, Path(data), size, split)


def _subject_of_file(options: argparse.Namespace) -> Subject:
    from yolox_core.deploy.engines import read_card

    if options.weights is not None or options.image_size is not None:
        raise ValueError("--exported FILE has its weights and its size in it")
    data = options.data or os.environ.get("COCO_DIR")
    if not data:
        raise ValueError("--data DIR is missing (or COCO_DIR): a dataset in COCO's layout")
    card = read_card(options.exported)
    model = ModelConfig(num_classes=len(card.class_names))
    root = Path(data).expanduser()
    return Subject(
        card.name, model, YOLOX_INGREDIENTS, options.exported, root, card.image_size, exported=True
    )


def recipe_of(folder: RunFolder) -> Recipe:
    """The recipe of a run. Raises ValueError when the folder is no run's."""
    content = read_json(folder.path / "recipe.json")
    if content is None:
        raise ValueError(f"{folder.path} has no recipe.json; is it a run's folder?")
    return recipe_from_json(content["recipe"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", choices=tuple(MODELS), help="a named model of the paper")
    what.add_argument("--stage", choices=STAGE_NAMES, help="a stage of the roadmap, at full size")
    what.add_argument("--run", type=Path, metavar="FOLDER", help="a run's folder")
    what.add_argument("--exported", type=Path, metavar="FILE", help="a file of python -m studies.export")
    parser.add_argument("--engine", choices=tuple(ENGINES), help="default: pytorch, or the file's own")
    parser.add_argument("--threads", type=_positive, default=1, help="of an engine (default: %(default)s)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint (a run's: its best epoch)")
    parser.add_argument("--data", metavar="DIR", help="dataset in COCO's layout (default: COCO_DIR)")
    parser.add_argument("--split", metavar="NAME", help="default: the run's, else val2017, val or valid")
    parser.add_argument(
        "--confidence", type=_share, default=TrainConfig.final_confidence, help="default: %(default)s"
    )
    parser.add_argument("--nms-iou", type=_share, default=TrainConfig.nms_iou, help="default: %(default)s")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="default: the model's test size")
    parser.add_argument("--batch-size", type=_positive, default=8, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="threads that read images (%(default)s)")
    parser.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    parser.add_argument("--detections", type=Path, metavar="FILE", help="also write COCO result JSON here")
    parser.add_argument(
        "--submission", type=Path, metavar="FILE.zip", help="also write results for COCO's evaluation server"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must lie in 0…1, not {text}")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
