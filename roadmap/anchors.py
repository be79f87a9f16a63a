"""Anchors that fit a dataset: its training boxes' widths and heights, clustered by k-means on 1 - IoU.

YOLOv2 and v3 chose theirs so (arXiv 1612.08242 §2, 1804.02767 §2.3), and the YOLOX paper names the need for
it as a drawback of anchors (§2.1 "Anchor-free"). COCO's are published; other data get their own, or the
stages with anchors would lose for want of fitting ones (docs/decisions/0001-anchors.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadmap.annotations import cached
from roadmap.geometry import read_geometry
from roadmap.recipe import DatasetConfig
from yolox_core.config import YOLOV3_ANCHORS, AnchorShapes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

#: How anchors are chosen: clustered (except on COCO, whose clusters YOLOv3 published), or YOLOv3's always.
ANCHOR_CHOICES = ("kmeans", "yolov3")

_SEED = 1612
#: Boxes beyond this number hardly move a centre, but take seconds.
_SAMPLE = 6000
_RESTARTS, _ROUNDS = 5, 100

#: From the training size in pixels to (width, height) per level.
AnchorFinder = Callable[[int], AnchorShapes]


def anchor_finder(choice: str, dataset: DatasetConfig, train_annotations: Path | None) -> AnchorFinder | None:
    """How a dataset's anchors are found; None where YOLOv3's stay: by choice, on COCO, and on the embedded
    dataset (None for its annotations). They stay too where the annotations state no image sizes.

    Raises ValueError with the valid choices.
    """
    if choice not in ANCHOR_CHOICES:
        raise ValueError(f"unknown anchors {choice!r}; choose one of: {', '.join(ANCHOR_CHOICES)}")
    if choice == "yolov3" or dataset.coco or train_annotations is None:
        return None
    return lambda side: fitting_anchors(train_annotations, side) or YOLOV3_ANCHORS


def fitting_anchors(annotations: Path, side: int, levels: int = 3, per_level: int = 3) -> AnchorShapes:
    """Anchors clustered on the boxes of an annotation file at a training size of ``side`` pixels.

    Whole pixels, sorted by area, the smallest on the first level; empty where no image's size is stated.
    The file is read once per state and size. Raises ValueError naming it when it is broken.
    """

    def make() -> list[list[int]]:
        import numpy as np

        shapes = read_geometry(annotations).shapes * side
        if not len(shapes):
            log.warning("%s has no boxes in images of stated size to cluster anchors on", annotations)
            return []
        return cluster(shapes, levels * per_level, np.random.default_rng(_SEED)).tolist()

    found = cached(annotations, f"anchors 2 {side} {levels} {per_level}", make)
    return tuple(
        tuple((int(width), int(height)) for width, height in found[start : start + per_level])
        for start in range(0, len(found), per_level)
    )


def cluster(shapes: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count, 2) anchors in whole pixels, sorted by area: the k-means centres of ``shapes`` (n, 2), n > 0,
    whose mean best IoU is highest over a few starts. The same generator state gives the same anchors.
    """
    import numpy as np

    if len(shapes) > _SAMPLE:
        shapes = shapes[rng.choice(len(shapes), _SAMPLE, replace=False)]
    starts = [_kmeans(shapes, count, rng) for _ in range(_RESTARTS)]
    centres = max(starts, key=lambda start: coverage(shapes, start))
    whole = centres.round().astype(np.int64).clip(1)
    return whole[np.lexsort((whole[:, 0], whole.prod(axis=1)))]


def coverage(shapes: NDArray[np.float64], anchors: NDArray[Any]) -> float:
    """Mean over the shapes of the IoU with the anchor that fits best, both at one centre."""
    return float(_shape_iou(shapes, anchors).max(axis=1).mean())


def _kmeans(shapes: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    import numpy as np

    centres = best = _spread(shapes, count, rng)
    best_coverage = 0.0
    for _ in range(_ROUNDS):
        overlaps = _shape_iou(shapes, centres)
        # The mean is not the centre of least 1 - IoU: a round can also make it worse.
        if (now := float(overlaps.max(axis=1).mean())) > best_coverage:
            best, best_coverage = centres, now
        nearest = overlaps.argmax(axis=1)
        moved = np.array(
            [shapes[nearest == i].mean(axis=0) if (nearest == i).any() else centres[i] for i in range(count)]
        )
        if np.allclose(moved, centres, atol=0.1):
            break
        centres = moved
    return best


def _spread(shapes: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Starting centres far from each other, as k-means++ draws them; repeated where shapes are too few."""
    import numpy as np

    chosen = [int(rng.integers(len(shapes)))]
    while len(chosen) < count:
        distance = 1 - _shape_iou(shapes, shapes[chosen]).max(axis=1)
        total = distance.sum()
        weights = distance / total if total > 0 else None
        chosen.append(int(rng.choice(len(shapes), p=weights)))
    return shapes[np.array(chosen)]


def _shape_iou(shapes: NDArray[np.float64], anchors: NDArray[Any]) -> NDArray[np.float64]:
    """(n, k) IoU of boxes (n, 2) and anchors (k, 2) at one centre."""
    import numpy as np

    width = np.minimum(shapes[:, :1], anchors[:, 0])
    overlap = width * np.minimum(shapes[:, 1:], anchors[:, 1])
    return overlap / (shapes.prod(axis=1)[:, None] + anchors.prod(axis=1) - overlap)
