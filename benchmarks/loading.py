"""Does the loader keep up? Strongly augmented batches through the data processes.

    make peer                                                                          once
    python -m benchmarks.loading [--data DIR] [--workers 2] [--size 640] [--batch 16] [--batches 24]

Ours, ours from a cache of fitted images, and the official code (0.3.0), in turn in a process of its own each,
on the same files with the same number of data processes. No network: what comes out is thrown away, so a
figure is the most that a training could be fed with. "Per core" divides by the cores that worked: the data
processes, or the cores there are when those are fewer.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tempfile
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2

from benchmarks.in_turn import official
from benchmarks.photographs import DATA, need_photographs
from benchmarks.processes import run_in_process
from yolox_core.build import build_pipelines
from yolox_core.config import YOLOX_INGREDIENTS, TrainConfig
from yolox_core.data.coco import CocoDataset
from yolox_core.data.image_cache import open_image_cache
from yolox_core.data.loader import TrainStream
from yolox_core.training.allocator import keep_freed_memory

SPLIT = "train2017"
#: Batches per data process that lie ready before the clock starts; more are taken first.
_QUEUED = 5


def main() -> None:
    options = _parser().parse_args()
    need_photographs(options.data)
    cores = min(options.workers, len(os.sched_getaffinity(0)))
    print(
        f"batches of {options.batch} at {options.size} px, {options.workers} data processes, "
        f"{len(os.sched_getaffinity(0))} cores"
    )
    speeds = {}
    with tempfile.TemporaryDirectory(prefix="yolox-cache-") as cache:
        sides = {"ours": (run_ours, ""), "ours, cached": (run_ours, cache), "official": (run_official, "")}
        for name, (run, folder) in sides.items():
            speeds[name] = run_in_process(run, (options, folder), 1)
            print(f"  {name:<14} {speeds[name]:8.1f} samples/s, {speeds[name] / cores:7.1f} per core")
    for name in ("ours", "ours, cached"):
        print(f"  {name} / official: {speeds[name] / speeds['official']:.2f}")


def run_ours(options: argparse.Namespace, cache: str) -> float:
    """Samples per second of our stream; from a cache of fitted images where a folder is given."""
    cv2.setNumThreads(0)  # as a run does both, before data processes are forked
    keep_freed_memory()
    dataset = CocoDataset(options.data, SPLIT)
    if cache:
        dataset.use_cache(open_image_cache(Path(cache), dataset, options.size, "benchmark"))
    per_epoch = max(1, len(dataset) // options.batch)
    epochs = -(-(_QUEUED * max(1, options.workers) + options.batches) // per_epoch)
    config = TrainConfig(
        batch_size=options.batch, image_size=options.size, epochs=epochs, warmup_epochs=0, closing_epochs=0
    )
    main_pipeline, closing = build_pipelines(YOLOX_INGREDIENTS, config)
    with TrainStream(dataset, main_pipeline, closing, config, seed=0, workers=options.workers) as stream:
        speed = measure(stream, options)
        for _ in stream:  # to its end: workers that are stopped with batches in hand die noisily
            pass
        return speed


def run_official(options: argparse.Namespace, _: str) -> float:
    """Samples per second of the official loader."""
    warnings.filterwarnings("ignore", message=".*pin_memory.*", category=UserWarning)
    experiment = official("yolox.exp").get_exp(None, "yolox-l")
    experiment.data_dir, experiment.input_size = str(options.data), (options.size, options.size)
    experiment.data_num_workers = options.workers
    with contextlib.redirect_stdout(io.StringIO()):
        loader = experiment.get_data_loader(options.batch, False)
    return measure(loader, options)


def measure(batches: Iterable[Any], options: argparse.Namespace) -> float:
    """Samples per second once the queue of batches that were made ahead is used up."""
    stream = iter(batches)
    for _ in range(_QUEUED * max(1, options.workers)):
        next(stream)
    start = time.perf_counter()
    for _ in range(options.batches):
        next(stream)
    return options.batches * options.batch / (time.perf_counter() - start)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder in COCO's layout")
    parser.add_argument("--workers", type=int, default=2, help="data processes")
    parser.add_argument("--size", type=int, default=640, help="input side in pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--batches", type=int, default=24, help="to time")
    return parser


if __name__ == "__main__":
    main()
