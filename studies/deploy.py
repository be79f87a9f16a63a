"""Does a detector's accuracy survive the engine that runs it, and which latency does that bring?

    python -m studies.deploy --model yolox-nano --weights yolox_nano.pth --data DIR --output deploy
    python -m studies.deploy --run runs/roadmap/simota-s0-1a2b3c4d --run FOLDER --output deploy

Exports every model for every engine and precision, holds each file against PyTorch on validation photographs,
takes its AP on the validation split, and measures latency of all in one run, in turn. Writes deploy.json,
deploy.md and a speed-accuracy figure into --output. The packages: pip install '.[deploy]'. int8 is calibrated
on training images. Latency wants a quiet machine; how busy others kept it stands beside it. docs/deploy.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadmap.datasets import usual_val_split
from roadmap.record import now, write_json
from studies.export import CALIBRATION, Source, find_source, load, training_images
from yolox_core.config import MODELS, TrainConfig
from yolox_core.deploy.card import SUFFIXES

if TYPE_CHECKING:
    from yolox_core.deploy.engine_detector import EngineDetector
    from yolox_core.detector import Detector

#: What is exported: format and precision. ncnn's eight bits need tools that PyPI does not have.
FILES = (
    ("onnx", "fp32"),
    ("onnx", "fp16"),
    ("onnx", "int8"),
    ("openvino", "fp32"),
    ("openvino", "fp16"),
    ("openvino", "int8"),
    ("ncnn", "fp32"),
    ("ncnn", "fp16"),
)
#: Photographs that outputs are compared on, and that latency is measured on in turn.
COMPARED, SHOWN = 8, 32


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when everything was measured, 1 with a message when it was not."""
    options = _parser().parse_args(arguments)
    try:
        sources = find_sources(options)
        record = measure(sources, options)
    except (ValueError, OSError) as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1
    from reports.figures.engines import draw
    from reports.figures.style import drawing, save
    from reports.tables.engines import page

    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / "deploy.json", record)
    (options.output / "deploy.md").write_text(page(record), encoding="utf-8")
    with drawing():
        save(draw(record), options.output, "engines")
    print(page(record))
    return 0


def find_sources(options: argparse.Namespace) -> list[Source]:
    """What the command line means. Raises ValueError naming what is missing."""
    common = {"data": options.data, "stage": None, "image_size": None, "untrained": False, "classes": 80}
    if options.model:
        given = [{"model": options.model, "weights": options.weights, "run": None}]
    else:
        given = [{"model": None, "weights": None, "run": run} for run in options.run]
    sources = [find_source(argparse.Namespace(**common, **one)) for one in given]
    for source in sources:
        if source.data is None:
            raise ValueError(f"--data DIR is missing (or COCO_DIR): {source.name} is tested on photographs")
    return sources


def measure(sources: list[Source], options: argparse.Namespace) -> dict[str, Any]:
    """Everything that the page shows, as plain values."""
    from studies.attempt.environment import processor_name
    from studies.attempt.load import others_load, read_clock

    rows: list[dict[str, Any]] = []
    load_average, before = os.getloadavg()[0], read_clock()
    for source in sources:
        with tempfile.TemporaryDirectory() as folder:
            rows += _measure_one(source, Path(folder), options)
    return {
        "rows": rows,
        "conditions": {
            "measured": now(),
            "processor": processor_name(),
            "threads": options.threads,
            "repeats": options.repeats,
            "warmup": options.warmup,
            "confidence": options.confidence,
            "nms_iou": TrainConfig.nms_iou,
            "calibration_images": CALIBRATION,
            "load_average": load_average,
            "others_load": others_load(before, read_clock()),
        },
    }


def _measure_one(source: Source, folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    import torch
    from tqdm import tqdm

    from studies.attempt.data import photographs
    from yolox_core.data.coco import CocoDataset
    from yolox_core.deploy.latency import measure_in_turn
    from yolox_core.deploy.parity import compare
    from yolox_core.evaluation.collect import coco_metrics, collect_detections

    assert source.data is not None
    torch.set_num_threads(options.threads)
    dataset = CocoDataset(source.data, usual_val_split(source.data), decoding=True)
    source = replace(source, model=replace(source.model, num_classes=dataset.num_classes))
    detector, _ = load(source)
    engines, sizes = _open_all(source, detector, dataset.class_names, folder, options.threads)
    images = photographs(dataset, SHOWN, source.image_size)
    nms_iou = TrainConfig.nms_iou
    rows = []
    for (name, precision), engine in tqdm(engines.items(), unit="engine", disable=None, leave=False):
        found = collect_detections(
            engine, dataset, source.image_size, options.confidence, nms_iou, "cpu", batch_size=1
        )
        metrics = coco_metrics(dataset.annotation_file, found, [int(i) for i in dataset.ids])
        rows.append(
            {
                "model": source.name,
                "image_size": source.image_size,
                "images": len(dataset),
                "split": dataset.split,
                "engine": name,
                "version": engine.engine.version,
                "provider": engine.engine.provider,
                "precision": precision,
                "computed": engine.engine.precision,
                "bytes": sizes[name, precision],
                "ap": metrics["AP"],
                "ap50": metrics["AP50"],
                "parity": asdict(compare(engine, engines["pytorch", "fp32"], images[:COMPARED])),
            }
        )
    sides = {f"{name} {precision}": engine for (name, precision), engine in engines.items()}
    times = measure_in_turn(sides, images, options.confidence, nms_iou, options.repeats, options.warmup)
    return [row | times[f"{row['engine']} {row['precision']}"] for row in rows]


def _open_all(
    source: Source, detector: Detector, names: tuple[str, ...], folder: Path, threads: int
) -> tuple[dict[tuple[str, str], EngineDetector], dict[tuple[str, str], int | None]]:
    """Every engine and precision, opened, and what their files take; PyTorch first."""
    from yolox_core.deploy.engine_detector import EngineDetector
    from yolox_core.deploy.engines import open_engine, pytorch_engine
    from yolox_core.deploy.export import export_file, make_card, trace
    from yolox_core.deploy.graph import Graph

    card = make_card(detector, source.name, names, source.image_size, recipe_hash=source.recipe_hash)
    graph = Graph(detector, source.image_size, "decoded")
    engines = {("pytorch", "fp32"): EngineDetector(pytorch_engine(graph, card, threads))}
    sizes: dict[tuple[str, str], int | None] = {("pytorch", "fp32"): None}
    traced, calibration = trace(detector, card), training_images(source, CALIBRATION)
    for form, precision in FILES:
        path = folder / f"{form}-{precision}{SUFFIXES[form]}"
        asked = replace(card, precision=precision)  # type: ignore[arg-type]
        export_file(detector, asked, form, path, calibration, traced)
        engine = open_engine(path, threads)
        engines[engine.name, precision] = EngineDetector(engine)
        sizes[engine.name, precision] = sum(f.stat().st_size for f in folder.glob(f"{path.stem}.*"))
    return engines, sizes


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.deploy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", choices=tuple(MODELS), help="a named model of the paper, with --weights")
    what.add_argument("--run", type=Path, action="append", metavar="FOLDER", help="a run; may be repeated")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint of --model")
    parser.add_argument(
        "--data", metavar="DIR", help="dataset in COCO's layout (default: the run's, COCO_DIR)"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", required=True, help="where to write")
    parser.add_argument("--threads", type=int, default=1, help="of every engine (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=100, help="measured rounds (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=10, help="rounds before (default: %(default)s)")
    parser.add_argument("--confidence", type=float, default=0.01, help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
