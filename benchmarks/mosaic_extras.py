"""What MixUp and Copy-Paste add to a Mosaic sample, from the same files in turn.

    python -m benchmarks.mosaic_extras [--data DIR] [--size 640] [--samples 60] [--rounds 5]

Processor time of one process, so that others on the machine weigh less. Where the annotations have no masks,
every object gets an ellipse that fills its box, as a polygon of 32 corners.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.photographs import DATA, need_photographs
from roadmap.annotations import mentions_masks
from yolox_core.augmentation.pipelines import strong_pipeline
from yolox_core.config import AugmentationConfig, TrainConfig, annotation_file
from yolox_core.data.coco import CocoDataset
from yolox_core.data.loader import sample_generator

SPLIT = "train2017"
EXTRAS = {
    "Mosaic": AugmentationConfig(mixup=0.0),
    "Mosaic, MixUp": AugmentationConfig(),
    "Mosaic, Copy-Paste": AugmentationConfig(mixup=0.0, copy_paste=1.0),
}


def main() -> None:
    options = _parser().parse_args()
    need_photographs(options.data)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="yolox-masks-") as folder:
        dataset = CocoDataset(with_masks(options.data, Path(folder)), SPLIT, masks=True)
        makers = {name: _maker(dataset, options.size, config) for name, config in EXTRAS.items()}
        seconds = measure(makers, options.rounds, options.samples)
    print(
        f"{len(dataset)} images, {options.size} px, {options.rounds} × {options.samples} samples, one thread"
    )
    base = float(np.median(seconds["Mosaic"]))
    for name, values in seconds.items():
        middle, spread = float(np.median(values)), f"{min(values) * 1e3:.2f}–{max(values) * 1e3:.2f}"
        print(f"  {name:<20} {middle * 1e3:6.2f} ms ({spread}), {1e3 * (middle - base):+.2f} ms")


def with_masks(root: Path, folder: Path) -> Path:
    """The dataset itself where it has masks; else one in ``folder`` with the same images, and ellipses."""
    annotations = annotation_file(root, SPLIT)
    if mentions_masks(annotations):
        return root
    content = json.loads(annotations.read_text())
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    for entry in content["annotations"]:
        left, top, width, height = entry["bbox"]
        x, y = left + width * (1 + np.cos(turn)) / 2, top + height * (1 + np.sin(turn)) / 2
        entry["segmentation"] = [np.stack([x, y], axis=1).ravel().tolist()]
    (folder / "annotations").mkdir()
    annotation_file(folder, SPLIT).write_text(json.dumps(content))
    (folder / SPLIT).symlink_to((root / SPLIT).resolve())
    return folder


def measure(makers: dict[str, Callable[[range], None]], rounds: int, samples: int) -> dict[str, list[float]]:
    """Seconds of the processor per sample of each maker in each round, after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in makers}
    for turn in range(-1, rounds):
        for name, make in makers.items():
            start = time.process_time()
            make(range((turn + 1) * samples, (turn + 2) * samples))
            if turn >= 0:
                seconds[name].append((time.process_time() - start) / samples)
    return seconds


def _maker(dataset: CocoDataset, size: int, config: AugmentationConfig) -> Callable[[range], None]:
    pipeline = strong_pipeline(TrainConfig(image_size=size, augmentation=config))

    def make(positions: range) -> None:
        for position in positions:
            pipeline(dataset, position % len(dataset), sample_generator(0, 0, position))

    return make


def _parser() -> argparse.ArgumentParser:
    parser: Any = argparse.ArgumentParser(
        prog="python -m benchmarks.mosaic_extras",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help=f"default: {DATA}")
    parser.add_argument("--size", type=int, default=640, metavar="PX", help="output side (default 640)")
    parser.add_argument("--samples", type=int, default=60, metavar="N", help="per round (default 60)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    return parser


if __name__ == "__main__":
    main()
