"""How much of an AP difference is the choice of images: a paired bootstrap over the validation images.

Matching is done once per run (``reports/images/matches.py``); a resample is then nothing but a weight per
image, how often it was drawn, and AP follows from weighted running sums. Accumulated as by pycocotools'
``COCOeval``: 101 recall points, categories without an object left out. Unresampled figures equal
pycocotools' to rounding. What the interval says, and what not, is in docs/decisions/0044.

I images, D detections of a category, T IoU thresholds, B resamples. AP in percent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reports.images.matches import Bools, CategoryMatches, Floats, ImageMatches, Ints
from reports.judging.statistics import LEVEL, Interval

RECALLS: Floats = np.linspace(0.0, 1.0, 101)
#: Figures and the thresholds they average over.
FIGURES: dict[str, slice] = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}
#: Detections × resamples handled at a time: some 15 MB, whatever the number of resamples.
BLOCK = 1_000_000


@dataclass(frozen=True)
class ImageDifference:
    """AP (percent) of two sides on the same images, and the interval of ``difference`` over images."""

    figure: str
    before: float
    after: float
    difference: float
    interval: Interval
    images: int
    resamples: int


def ap_difference(
    before: Sequence[ImageMatches],
    after: Sequence[ImageMatches],
    rng: np.random.Generator,
    figure: str = "AP",
    resamples: int = 1000,
    level: float = LEVEL,
) -> ImageDifference:
    """Percentile bootstrap over images of the AP difference, after - before, each side's runs averaged.

    Every resample draws the same images for all runs, so what makes an image easy or hard for both cancels.
    Raises ValueError for an unknown figure, an empty side, or runs on different images.
    """
    if figure not in FIGURES:
        raise ValueError(f"figure must be one of {', '.join(FIGURES)}, not {figure!r}")
    if not before or not after:
        raise ValueError("both sides need at least one run")
    runs = (*before, *after)
    if any(run.image_ids != runs[0].image_ids for run in runs):
        raise ValueError("the runs were evaluated on different images; only the same images can be paired")
    images = len(runs[0].image_ids)
    # The unresampled figures come first, as the row of weights that are all 1.
    weights = np.concatenate([np.ones((1, images), np.int32), draw_images(images, resamples, rng)])
    sides = [
        np.mean([figure_of(average_precision(run, weights), figure) for run in side], axis=0)
        for side in (before, after)
    ]
    difference = sides[1] - sides[0]
    tail = (1 - level) / 2
    low, high = np.nanquantile(difference[1:], [tail, 1 - tail])
    interval = Interval(float(low), float(high), level, "percentile bootstrap over images")
    first = (float(sides[0][0]), float(sides[1][0]), float(difference[0]))
    return ImageDifference(figure, *first, interval, images, resamples)


def draw_images(images: int, resamples: int, rng: np.random.Generator) -> Ints:
    """(B, I) how often each image is drawn when as many are drawn with replacement."""
    weights = np.empty((resamples, images), np.int32)
    for rows in _blocks(resamples, images):
        block = weights[rows]
        cells = rng.integers(0, images, block.shape) + images * np.arange(len(block))[:, None]
        block[:] = np.bincount(cells.ravel(), minlength=block.size).reshape(block.shape)
    return weights


def figure_of(by_threshold: Floats, figure: str) -> Floats:
    """(B, T) AP by IoU threshold to (B,) AP, AP50 or AP75."""
    return by_threshold[:, FIGURES[figure]].mean(axis=1)


# --- accumulating --------------------------------------------------------------------------------------


def average_precision(matches: ImageMatches, weights: Ints | None = None) -> Floats:
    """(B, T) AP in percent at each IoU threshold under image weights (B, I); None weighs every image 1.

    The mean over categories that have an object among the drawn images; NaN where none has.
    """
    if weights is None:
        weights = np.ones((1, len(matches.image_ids)), np.int32)
    total = np.zeros((len(weights), len(matches.thresholds)))
    present = np.zeros(len(weights))
    for category in matches.categories:
        objects = weights @ category.objects
        for rows in _blocks(len(weights), len(category.images)):
            total[rows] += _category_ap(category, weights[rows], objects[rows])
        present += objects > 0
    with np.errstate(invalid="ignore"):
        return 100 * total / present[:, None]


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, BLOCK // max(1, columns))
    return (slice(start, start + step) for start in range(0, rows, step))


def _category_ap(category: CategoryMatches, weights: Ints, objects: Ints) -> Floats:
    """(B, T) AP of a category as a share; 0 where no object was drawn."""
    drawn = weights[:, category.images]
    seen = np.cumsum(drawn, axis=1, dtype=np.int32)
    columns = zip(category.hit, category.ignored, strict=True)
    return np.stack([_threshold_ap(drawn, seen, hit, ignored, objects) for hit, ignored in columns], axis=1)


def _threshold_ap(drawn: Ints, seen: Ints, hit: Bools, ignored: Bools, objects: Ints) -> Floats:
    """(B,) AP at one threshold.

    Precision need be known at hits alone: recall moves nowhere else, and the highest precision at or above
    a recall is always reached at a hit.
    """
    hits = np.flatnonzero(hit)
    correct = np.cumsum(drawn[:, hits], axis=1, dtype=np.int32)
    judged = seen[:, hits]
    left_out = np.flatnonzero(ignored)
    if len(left_out):
        running = np.zeros((len(drawn), len(left_out) + 1), np.int32)
        np.cumsum(drawn[:, left_out], axis=1, out=running[:, 1:])
        judged = judged - running[:, np.searchsorted(left_out, hits)]
    precision = correct / (judged + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    points = _recall_points(correct / np.maximum(objects, 1)[:, None])
    gained = np.diff(points, axis=1, prepend=0)
    return np.where(objects > 0, np.einsum("bh,bh->b", best, gained) / len(RECALLS), 0.0)


def _recall_points(recall: Floats) -> npt.NDArray[np.int64]:
    """How many of the 101 recall points are at or below a recall, compared as pycocotools compares."""
    nearest = (recall * 100 + 0.5).astype(np.int64)
    return nearest + (RECALLS[nearest] <= recall)
