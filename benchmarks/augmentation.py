"""Strong augmentation: Mosaic, affine, MixUp, colour and flip; ours and the official code's in turn.

    make peer                                                              once
    python -m benchmarks.augmentation [--data DIR] [--size 640] [--samples 100] [--rounds 5] [--threads 1]

Both read the same JPEG files of a COCO-layout folder, in one process, and end with a training sample: ours
with uint8 pixels, as they go to the device, the official code (0.3.0) with float32 pixels and padded labels,
as it hands them to its collate function. "Cached" reads our cache of fitted images instead of the files.
Goals: four times as many samples per second from the files, eight times from the cache.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.photographs import DATA, need_photographs
from yolox_core.augmentation.pipelines import strong_pipeline
from yolox_core.config import AugmentationConfig, TrainConfig
from yolox_core.data.coco import CocoDataset
from yolox_core.data.image_cache import open_image_cache
from yolox_core.data.loader import sample_generator

PEER = Path(__file__).resolve().parents[1] / ".peer"
SPLIT = "train2017"
GOALS = {"ours": 4.0, "ours, cached": 8.0}

#: Makes the samples of some positions of the stream.
Maker = Callable[[range], None]


def main() -> None:
    options = _parser().parse_args()
    need_photographs(options.data)
    sys.path.append(str(PEER))  # last: an official code on PYTHONPATH comes first
    if importlib.util.find_spec("yolox") is None:
        sys.exit("the official code is not installed; run: make peer")
    cv2.setNumThreads(options.threads)
    dataset = CocoDataset(options.data, SPLIT)
    cached = CocoDataset(options.data, SPLIT)
    print(
        f"{len(dataset)} images, {options.size} px, {options.rounds} × {options.samples} samples, "
        f"{len(os.sched_getaffinity(0))} cores, {options.threads} OpenCV threads, OpenCV {cv2.__version__}"
    )
    with tempfile.TemporaryDirectory(prefix="yolox-cache-") as folder:
        cached.use_cache(open_image_cache(Path(folder), cached, options.size, "benchmark"))
        makers = {
            "ours": prepare_ours(dataset, options.size),
            "ours, cached": prepare_ours(cached, options.size),
            "official (0.3.0)": prepare_official(options.data, options.size),
        }
        report(run_in_turn(makers, options.rounds, options.samples))


def run_in_turn(makers: dict[str, Maker], rounds: int, samples: int) -> dict[str, list[float]]:
    """Seconds per sample of each maker in each round, after a warm-up that reads every file once."""
    for make in makers.values():
        make(range(samples // 2))
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    for turn in range(rounds):
        for name, make in makers.items():
            start = time.perf_counter()
            make(range(turn * samples, (turn + 1) * samples))
            seconds[name].append((time.perf_counter() - start) / samples)
    return seconds


def report(seconds: dict[str, list[float]]) -> None:
    medians = {name: float(np.median(values)) for name, values in seconds.items()}
    for name, values in seconds.items():
        spread = f"{min(values) * 1e3:.2f}–{max(values) * 1e3:.2f}"
        print(f"  {name:<18} {1 / medians[name]:7.1f} samples/s  {medians[name] * 1e3:6.2f} ms ({spread})")
    for name, goal in GOALS.items():
        ratio = medians["official (0.3.0)"] / medians[name]
        print(f"  {name}: {ratio:.2f} times as many samples as the official code (goal {goal:g})")


def prepare_ours(dataset: CocoDataset, size: int) -> Maker:
    """Our strong pipeline with the paper's settings."""
    config = TrainConfig(image_size=size, augmentation=AugmentationConfig())
    pipeline = strong_pipeline(config)

    def make(positions: range) -> None:
        for position in positions:
            pipeline(dataset, position % len(dataset), sample_generator(0, 0, position))

    return make


def prepare_official(root: Path, size: int) -> Maker:
    """The official dataset with the official settings of YOLOX-L."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        from yolox.data import COCODataset, MosaicDetection, TrainTransform

        files: Any = COCODataset(
            data_dir=str(root),
            json_file=f"instances_{SPLIT}.json",
            name=SPLIT,
            img_size=(size, size),
            preproc=TrainTransform(max_labels=50),
        )
    mosaic: Any = MosaicDetection(
        files,
        mosaic=True,
        img_size=(size, size),
        preproc=TrainTransform(max_labels=120),
        degrees=10.0,
        translate=0.1,
        mosaic_scale=(0.1, 2.0),
        mixup_scale=(0.5, 1.5),
        shear=2.0,
        enable_mixup=True,
        mosaic_prob=1.0,
        mixup_prob=1.0,
    )
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # the official code draws its colours from it

    def make(positions: range) -> None:
        for position in positions:
            mosaic[position % len(mosaic)]

    return make


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder in COCO's layout")
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--samples", type=int, default=100, help="per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="OpenCV's threads, for both")
    return parser


if __name__ == "__main__":
    main()
