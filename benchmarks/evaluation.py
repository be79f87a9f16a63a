"""COCO evaluation: 5,000 images with 100 detections each, ours and the official code's in turn.

    make peer                                                  once
    python -m benchmarks.evaluation [--images 5000] [--detections 100] [--rounds 3] [--pycocotools]

Both start from the same tensors, one per image, as post-processing gives them (network pixels), with the
ground truth already loaded, and end with the twelve COCO figures, which must be equal. Made-up data of
COCO val2017's shape: 80 categories of very different frequency, 7.3 objects per image, 1 % crowds.
Goal: at least 5 times faster than the official code (0.3.0; its C++ evaluator where it is built).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from yolox_core.evaluation.coco_engines import native_library
from yolox_core.evaluation.coco_ground_truth import load_ground_truth
from yolox_core.evaluation.collect import METRICS, coco_metrics, to_original
from yolox_core.structures import ImageDetections

PEER = Path(__file__).resolve().parents[1] / ".peer"
CATEGORIES, OBJECTS, CROWDS = 80, 7.3, 0.01
HEIGHT, WIDTH, SIZE = 480, 640, 512
RATIO = SIZE / WIDTH
GOAL = 5.0

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Task:
    """The same evaluation for both: one (M, 7) tensor per image, the official layout.

    Columns: left, top, right, bottom in network pixels, objectness, class probability, class.
    """

    annotation_file: Path
    image_ids: list[int]
    outputs: list[Tensor]


def main() -> None:
    options = _parser().parse_args()
    if not (PEER / "yolox").is_dir():
        sys.exit("the official code is not installed; run: make peer")
    with tempfile.TemporaryDirectory() as folder:
        task = make_task(Path(folder), options.images, options.detections, options.seed)
        # Both compile, import and read the ground truth before the clock starts.
        native_library()
        load_ground_truth(task.annotation_file)
        official, how = prepare_official(task)
        runs: dict[str, Callable[[], tuple[Figures, dict[str, float]]]] = {
            "ours": lambda: evaluate_ours(task, "native"),
            f"official ({how})": official,
        }
        if options.pycocotools:
            runs["ours by pycocotools"] = lambda: evaluate_ours(task, "pycocotools")
        report(task, run_in_turn(runs, options.rounds))


def run_in_turn(
    runs: dict[str, Callable[[], tuple[Figures, dict[str, float]]]], rounds: int
) -> dict[str, list[tuple[float, dict[str, float]]]]:
    """Seconds of each run in each round, and of its parts. Raises ValueError when the figures differ."""
    times: dict[str, list[tuple[float, dict[str, float]]]] = {name: [] for name in runs}
    reference: Figures | None = None
    for _ in range(rounds):
        for name, run in runs.items():
            figures, parts = run()
            times[name].append((sum(parts.values()), parts))
            reference = reference or figures
            compare(figures, reference, name)
    assert reference is not None
    print("  ".join(f"{key} {value:.3f}" for key, value in reference.items() if value is not None))
    return times


def compare(figures: Figures, reference: Figures, name: str) -> None:
    """Raises ValueError when two evaluations do not agree (1e-9; undefined only where both are)."""
    for key, expected in reference.items():
        found = figures[key]
        if (found is None) != (expected is None) or abs((found or 0) - (expected or 0)) > 1e-9:
            raise ValueError(f"{name}: {key} is {found}, the first evaluation had {expected}")


def report(task: Task, times: dict[str, list[tuple[float, dict[str, float]]]]) -> None:
    print(
        f"{len(task.image_ids)} images, {sum(map(len, task.outputs))} detections, "
        f"{len(os.sched_getaffinity(0))} cores, torch {torch.__version__}, numpy {np.__version__}"
    )
    medians = {}
    for name, rounds in times.items():
        seconds = [total for total, _ in rounds]
        medians[name] = float(np.median(seconds))
        parts = {part: np.median([p[part] for _, p in rounds]) for part in rounds[0][1]}
        shown = ", ".join(f"{part} {value:.3f}" for part, value in parts.items())
        spread = f"{min(seconds):.3f}–{max(seconds):.3f}"
        print(f"  {name:<34} median {medians[name]:7.3f} s ({spread}; {shown})")
    ours, official, *others = medians
    print(f"  {official}: {medians[official] / medians[ours]:.1f} times ours (goal: at least {GOAL:g})")
    for other in others:
        print(f"  {other}: {medians[other] / medians[ours]:.1f} times ours")


def evaluate_ours(task: Task, engine: str) -> tuple[Figures, dict[str, float]]:
    """The figures, and the seconds of each part."""
    category_ids = np.arange(1, CATEGORIES + 1)
    start = time.perf_counter()
    found = [
        ImageDetections(rows[:, :4], rows[:, 4] * rows[:, 5], rows[:, 6].long()) for rows in task.outputs
    ]
    detections = to_original(found, [RATIO] * len(found), task.image_ids, category_ids)
    collected = time.perf_counter()
    figures = coco_metrics(task.annotation_file, detections, engine=engine)
    return figures, {"convert": collected - start, "evaluate": time.perf_counter() - collected}


def prepare_official(task: Task) -> tuple[Callable[[], tuple[Figures, dict[str, float]]], str]:
    """The official evaluator on the task, and which engine it has."""
    sys.path.append(str(PEER))
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
        from yolox.evaluators.coco_evaluator import COCOEvaluator

        truth = COCO(str(task.annotation_file))
        how = _official_engine()
    dataset = SimpleNamespace(coco=truth, class_ids=sorted(truth.getCatIds()))
    loader = SimpleNamespace(dataset=dataset, batch_size=1)
    evaluator = COCOEvaluator(loader, (SIZE, SIZE), 0.001, 0.65, CATEGORIES)
    sizes = ([HEIGHT] * len(task.image_ids), [WIDTH] * len(task.image_ids))
    statistics = torch.ones(3)
    captured: list[Any] = []
    summarize = COCOeval.summarize

    def keep_figures(self: Any) -> None:
        summarize(self)
        captured.append(self.stats)

    COCOeval.summarize = keep_figures

    def run() -> tuple[Figures, dict[str, float]]:
        outputs = [rows.clone() for rows in task.outputs]  # it divides its input in place
        start = time.perf_counter()
        rows = evaluator.convert_to_coco_format(outputs, sizes, task.image_ids)
        converted = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            evaluator.evaluate_prediction(rows, statistics)
        end = time.perf_counter()
        values = (None if v == -1 else 100 * float(v) for v in captured[-1])
        figures = dict(zip(METRICS, values, strict=True))
        return figures, {"convert": converted - start, "evaluate": end - converted}

    return run, how


def _official_engine() -> str:
    """Which evaluator the official code ends up with; it falls back by itself."""
    from loguru import logger

    logger.remove()
    try:
        from yolox.layers import COCOeval_opt

        COCOeval_opt()
    except Exception as error:
        print(f"the official C++ evaluator is not to be had ({error})", file=sys.stderr)
        return "pycocotools"
    return "its C++ evaluator"


def make_task(folder: Path, images: int, detections: int, seed: int) -> Task:
    """Ground truth on disk, and detections: some around objects and well scored, the rest clutter."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, CATEGORIES + 1)
    share /= share.sum()
    annotations: list[dict[str, Any]] = []
    outputs = []
    for image in range(1, images + 1):
        count = rng.poisson(OBJECTS)
        boxes, labels = _boxes(rng, count), rng.choice(CATEGORIES, count, p=share)
        annotations += [
            {
                "id": len(annotations) + i + 1,
                "image_id": image,
                "category_id": int(labels[i]) + 1,
                "bbox": boxes[i].tolist(),
                "area": float(boxes[i, 2] * boxes[i, 3] * 0.7),  # COCO's areas are those of the masks
                "iscrowd": int(rng.random() < CROWDS),
            }
            for i in range(count)
        ]
        outputs.append(_detect(rng, boxes, labels, detections, share))
    data = {
        "images": [
            {"id": i, "width": WIDTH, "height": HEIGHT, "file_name": f"{i}.jpg"} for i in range(1, images + 1)
        ],
        "categories": [{"id": c, "name": str(c)} for c in range(1, CATEGORIES + 1)],
        "annotations": annotations,
    }
    file = folder / "instances_made_up.json"
    file.write_text(json.dumps(data))
    return Task(file, list(range(1, images + 1)), outputs)


def _detect(
    rng: np.random.Generator, boxes: np.ndarray, labels: np.ndarray, detections: int, share: np.ndarray
) -> Tensor:
    """(detections, 7) in network pixels: three tries at every object, then clutter; best first."""
    near = np.tile(np.arange(len(boxes)), 3)[:detections]
    shaken = boxes[near] + rng.normal(0, 0.08, (len(near), 4)) * np.tile(boxes[near, 2:], 2)
    clutter = detections - len(near)
    xywh = np.concatenate([shaken, _boxes(rng, clutter)])
    xywh[:, 2:] = xywh[:, 2:].clip(1)
    confused = np.where(rng.random(len(near)) < 0.2, rng.choice(CATEGORIES, len(near)), labels[near])
    classes = np.concatenate([confused, rng.choice(CATEGORIES, clutter, p=share)])
    scores = np.concatenate([rng.beta(3, 2, len(near)), rng.beta(1, 12, clutter)])
    corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1) * RATIO
    rows = np.column_stack([corners, scores, rng.uniform(0.5, 1, detections), classes])
    return torch.from_numpy(rows[np.argsort(-scores)].astype(np.float32))


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 4) left, top, width, height in original pixels; sizes as uneven as COCO's."""
    sizes = rng.lognormal(4.0, 0.9, (count, 2)).clip(4, (WIDTH, HEIGHT))
    return np.concatenate([rng.uniform(0, 1, (count, 2)) * ((WIDTH, HEIGHT) - sizes), sizes], 1).round(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.evaluation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="per image")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each, in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pycocotools", action="store_true", help="also time plain pycocotools (slow)")
    return parser


if __name__ == "__main__":
    main()
