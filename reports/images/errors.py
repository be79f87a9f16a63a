"""What a run's missing AP consists of: six kinds of error, each weighed by what AP gains without it.

TIDE (arXiv 2008.08115), as the authors' package tidecv 1.0.1 has it, not only as the paper words it: in what
order kinds are tried, and which of several wrong detections of an object is the one that is put right. Each
kind is fixed alone, from the run as it is; so the gains overlap, and need not sum to the AP that is missing.
What is wrong is judged at one IoU threshold. How this differs from COCO's rules: docs/decisions/0048.

Pure functions of annotations and detections, numpy alone. D detections, G objects and C categories; AP in
percent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from reports.images.bootstrap import average_precision
from reports.images.matches import (
    MAX_DETECTIONS,
    Bools,
    CategoryMatches,
    Floats,
    ImageMatches,
    box_overlaps,
    positions,
    unknown,
)

CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, BACKGROUND, MISSED = (
    "classification", "localisation", "both", "duplicate", "background", "missed",
)  # fmt: skip
#: Each kind of error, what it means at the usual thresholds, and what fixing it does.
ERRORS: dict[str, str] = {
    CLASSIFICATION: "an object of another category overlaps with IoU 0.5 or more; fixed: its category",
    LOCALISATION: "the best object of its category overlaps with 0.1 to 0.5; fixed: its box",
    BOTH: "an object of another category overlaps with 0.1 to 0.5, none of its own does; fixed: left out",
    DUPLICATE: "the object it overlaps with 0.5 or more was found with a higher score; fixed: left out",
    BACKGROUND: "no object overlaps with more than 0.1; fixed: left out",
    MISSED: "an object that no detection finds, not even with a wrong category or box; fixed: not asked for",
}
#: The paper's t_f and t_b: IoU from which an object is found, and up to which a detection is on background.
FOUND_IOU, BACKGROUND_IOU = 0.5, 0.1

CORRECT = "correct"
_KINDS = (CORRECT, *ERRORS)
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class JudgedDetections:
    """A run's detections, each correct or wrong in one way.

    kinds: (D,) index into (correct, *ERRORS). categories: (D,) category index. finds: (D,) category index of
    the object that it finds once fixed, -1 where fixing leaves it out. ignored: (D,) on a crowd, so that it
    counts for nothing until fixed. objects, missed: (C,) objects that are no crowds, and those of them that
    are missed.
    """

    kinds: Codes
    scores: Floats
    categories: Codes
    finds: Codes
    ignored: Bools
    objects: Codes
    missed: Codes

    def count(self, error: str) -> int:
        """How many errors of a kind there are; those on crowds included."""
        if error == MISSED:
            return int(self.missed.sum())
        return int(np.count_nonzero(self.kinds == _KINDS.index(error)))


@dataclass(frozen=True)
class ErrorSplit:
    """ap: AP at IoU 0.5, of 100 detections per image. gained: what AP gains where errors of a kind alone are
    fixed (dAP). counts: how many there are. All by kind, as ERRORS orders them.
    """

    ap: float
    gained: Mapping[str, float]
    counts: Mapping[str, int]


# --- judging ---------------------------------------------------------------------------------------------


def judge_detections(
    ground_truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    max_detections: int = MAX_DETECTIONS,
    found: float = FOUND_IOU,
    background: float = BACKGROUND_IOU,
) -> JudgedDetections:
    """Say of each detection (COCO result format) what is wrong with it, against a COCO annotation file.

    max_detections: per image, of all categories together, those of the highest scores.
    Raises ValueError for a detection of an image or category that the ground truth does not have.
    """
    image_ids = np.unique([image["id"] for image in ground_truth["images"]])
    category_ids = np.unique([category["id"] for category in ground_truth["categories"]])
    rows = _by_image(detections, image_ids, category_ids, strict=True).best(max_detections)
    objects = _by_image(ground_truth["annotations"], image_ids, category_ids, strict=False)
    kinds = np.full(len(rows.images), _KINDS.index(BACKGROUND))
    finds = np.full(len(rows.images), -1)
    ignored = np.zeros(len(rows.images), bool)
    missed = ~objects.crowd
    for image in np.unique(objects.images):
        lo, hi = np.searchsorted(rows.images, [image, image + 1])
        a, b = np.searchsorted(objects.images, [image, image + 1])
        if lo < hi:
            part = _judge_image(rows.part(lo, hi), objects.part(a, b), found, background)
            kinds[lo:hi], finds[lo:hi], ignored[lo:hi], missed[a:b] = part
    size = len(category_ids)
    return JudgedDetections(
        kinds, rows.scores, rows.categories, finds, ignored,
        np.bincount(objects.categories[~objects.crowd], minlength=size),
        np.bincount(objects.categories[missed], minlength=size),
    )  # fmt: skip


@dataclass(frozen=True)
class _Boxes:
    """Boxes (x, y, width, height) image by image, of an image by falling score."""

    images: Codes
    categories: Codes
    boxes: Floats
    scores: Floats
    crowd: Bools

    def best(self, number: int) -> _Boxes:
        """The first ``number`` of each image."""
        rank = np.arange(len(self.images)) - np.searchsorted(self.images, self.images, "left")
        return self._only(rank < number)

    def part(self, start: int, stop: int) -> _Boxes:
        return self._only(slice(start, stop))

    def _only(self, which: Bools | slice) -> _Boxes:
        return _Boxes(*(values[which] for values in vars(self).values()))


def _by_image(
    rows: Sequence[Mapping[str, Any]],
    image_ids: npt.NDArray[Any],
    category_ids: npt.NDArray[Any],
    strict: bool,
) -> _Boxes:
    """strict: an unknown image or category is an error; else its rows are left out."""
    images, has_image = positions([row["image_id"] for row in rows], image_ids)
    categories, has_category = positions([row["category_id"] for row in rows], category_ids)
    known = has_image & has_category
    if strict and not known.all():
        raise unknown(rows[int(np.argmin(known))])
    scores = np.array([row.get("score", 0.0) for row in rows], np.float64)
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    crowd = np.array([bool(row.get("iscrowd", 0)) for row in rows], bool)
    order = np.lexsort((-scores, images))
    order = order[known[order]]
    return _Boxes(images[order], categories[order], boxes[order], scores[order], crowd[order])


def _judge_image(
    rows: _Boxes, truth: _Boxes, found: float, background: float
) -> tuple[Codes, Codes, Bools, Bools]:
    """kinds, finds and ignored (D,) and missed (G,) of one image."""
    overlaps = box_overlaps(rows.boxes, truth.boxes, truth.crowd)
    own = rows.categories[:, None] == truth.categories[None, :]
    ordinary = ~truth.crowd
    near_own = np.where(own & ordinary, overlaps, 0.0)
    near_other = np.where(~own & ordinary, overlaps, 0.0)
    hit, taken = _match(near_own, found)
    ignored = ~hit & (own & truth.crowd & (overlaps > found)).any(axis=1)
    if not ordinary.any():
        return np.full(len(hit), _KINDS.index(BACKGROUND)), np.full(len(hit), -1), ignored, ordinary
    best_own, best_other = near_own.max(axis=1), near_other.max(axis=1)
    # The order decides where several hold: a badly placed detection of an object that was found is a
    # localisation error, and one that is also on an object of another category is not a duplicate.
    tests = {
        CORRECT: hit,
        LOCALISATION: (best_own >= background) & (best_own <= found),
        CLASSIFICATION: best_other >= found,
        DUPLICATE: (near_own * taken).max(axis=1) >= found,
        BACKGROUND: np.maximum(best_own, best_other) <= background,
    }
    kinds = np.select(list(tests.values()), [_KINDS.index(k) for k in tests], _KINDS.index(BOTH))
    finds = np.full(len(kinds), -1)
    usable = np.zeros(len(truth.images), bool)
    # By falling score: the first detection of an object, badly placed or misnamed, is the one put right.
    for d in np.flatnonzero((kinds == _KINDS.index(LOCALISATION)) | (kinds == _KINDS.index(CLASSIFICATION))):
        near = near_own if kinds[d] == _KINDS.index(LOCALISATION) else near_other
        target = int(near[d].argmax())
        if not taken[target] and not usable[target]:
            usable[target], finds[d] = True, truth.categories[target]
    return kinds, finds, ignored, ordinary & ~taken & ~usable


def _match(near: Floats, found: float) -> tuple[Bools, Bools]:
    """hit (D,) and taken (G,): by falling score each detection takes the free object it overlaps most."""
    hit, taken = np.zeros(near.shape[0], bool), np.zeros(near.shape[1], bool)
    for d in np.flatnonzero(near.max(axis=1) >= found):
        best = int(np.where(taken, 0.0, near[d]).argmax())
        if not taken[best] and near[d, best] >= found:
            hit[d] = taken[best] = True
    return hit, taken


# --- fixing ----------------------------------------------------------------------------------------------


def error_split(judged: JudgedDetections, every_category: bool = False) -> ErrorSplit:
    """AP as it is, and what it gains where the errors of one kind are fixed.

    A category counts while it has an object to find, as in COCO; where every object of the dataset was
    missed, AP without misses is 100. every_category: one with detections but no objects counts too, with
    AP 0, as in tidecv; on COCO val2017, where every category has objects, it changes nothing but a category
    of which every object was missed.
    """
    ap = fixed_ap(judged, None, every_category)
    return ErrorSplit(
        ap,
        {error: fixed_ap(judged, error, every_category) - ap for error in ERRORS},
        {error: judged.count(error) for error in ERRORS},
    )


def fixed_ap(judged: JudgedDetections, error: str | None, every_category: bool = False) -> float:
    """AP where all errors of one kind are fixed; None fixes none. NaN where there was nothing to find."""
    correct = judged.kinds == _KINDS.index(CORRECT)
    objects, kept, hit, categories = judged.objects, ~judged.ignored, correct, judged.categories
    if error == MISSED:
        objects = objects - judged.missed
    elif error is not None:
        fixed = judged.kinds == _KINDS.index(error)
        found = fixed & (judged.finds >= 0)
        kept = (kept & ~fixed) | found
        hit, categories = correct | found, np.where(found, judged.finds, categories)
    if judged.objects.any() and not objects.any():
        return 100.0
    order = np.lexsort((-judged.scores, categories))
    order = order[kept[order]]
    categories, hit = categories[order], hit[order]
    edges = np.searchsorted(categories, np.arange(len(objects) + 1))
    parts = tuple(
        CategoryMatches(
            index, objects[[index]].astype(np.int32), np.zeros(hi - lo, np.int32), hit[None, lo:hi],
            np.zeros((1, hi - lo), bool),
        )
        for index, (lo, hi) in enumerate(pairwise(edges))
    )  # fmt: skip
    # One image that holds everything: which image a detection is of no longer matters.
    ap = float(average_precision(ImageMatches((0,), (FOUND_IOU,), parts))[0, 0])
    counted = int(np.count_nonzero((objects > 0) | (np.diff(edges) > 0)))
    return ap * int(np.count_nonzero(objects)) / counted if every_category else ap
