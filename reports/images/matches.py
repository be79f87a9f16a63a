"""A run's detections matched to the ground truth, per image and category, at every IoU threshold.

COCO's rules for boxes, as in pycocotools' ``COCOeval``: area "all", 100 detections per image and category,
crowds ignored. Written with numpy alone; the tests hold it against pycocotools.

I images, D detections of a category, T IoU thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int32]
Bools: TypeAlias = npt.NDArray[np.bool_]

IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
MAX_DETECTIONS = 100


@dataclass(frozen=True)
class CategoryMatches:
    """One category. objects: (I,) non-crowd objects per image.

    Detections by falling score: images (D,) index of the image; hit (T, D) matched to an object;
    ignored (T, D) matched to a crowd, so neither right nor wrong.
    """

    category_id: int
    objects: Ints
    images: Ints
    hit: Bools
    ignored: Bools


@dataclass(frozen=True)
class ImageMatches:
    """A run's detections matched to the ground truth. image_ids: (I,) ascending. thresholds: (T,)."""

    image_ids: tuple[int, ...]
    thresholds: tuple[float, ...]
    categories: tuple[CategoryMatches, ...]


def match_images(
    ground_truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    thresholds: Sequence[float] = tuple(IOU_THRESHOLDS.tolist()),
    max_detections: int = MAX_DETECTIONS,
) -> ImageMatches:
    """Match detections (COCO result format) to the ground truth (COCO annotation format), image by image.

    Within an image and category, detections by falling score each take the free object they overlap most,
    at every threshold apart; what is left over may fall on a crowd.
    Raises ValueError for a detection of an image or category that the ground truth does not have.
    """
    image_ids = np.unique([image["id"] for image in ground_truth["images"]])
    category_ids = np.unique([category["id"] for category in ground_truth["categories"]])
    found = _sorted_detections(detections, image_ids, category_ids, max_detections)
    truth = _sorted_objects(ground_truth["annotations"], image_ids, category_ids)
    limits = np.minimum(thresholds, 1 - 1e-10)
    hit = np.zeros((len(limits), len(found.keys)), bool)
    ignored = np.zeros_like(hit)
    keys, starts, sizes = np.unique(truth.keys, return_index=True, return_counts=True)
    first, last = np.searchsorted(found.keys, keys, "left"), np.searchsorted(found.keys, keys, "right")
    for lo, hi, a, b in zip(first, last, starts, starts + sizes, strict=True):
        if lo < hi:
            overlaps = box_overlaps(found.boxes[lo:hi], truth.boxes[a:b], truth.crowd[a:b])
            _match(overlaps, truth.crowd[a:b], limits, hit[:, lo:hi], ignored[:, lo:hi])
    categories = []
    for index, category in enumerate(category_ids):
        lo, hi = np.searchsorted(found.keys, [index * len(image_ids), (index + 1) * len(image_ids)])
        order = lo + np.argsort(-found.scores[lo:hi], kind="stable")
        own = truth.keys[(truth.keys // len(image_ids) == index) & ~truth.crowd] % len(image_ids)
        categories.append(
            CategoryMatches(
                int(category),
                np.bincount(own, minlength=len(image_ids)).astype(np.int32),
                (found.keys[order] % len(image_ids)).astype(np.int32),
                hit[:, order],
                ignored[:, order],
            )
        )
    return ImageMatches(tuple(image_ids.tolist()), tuple(thresholds), tuple(categories))


@dataclass(frozen=True)
class _Boxes:
    """Boxes (x, y, width, height) by key = category index × images + image index.

    Detections: by falling score within a key. Objects: crowds last within a key.
    """

    keys: npt.NDArray[np.int64]
    boxes: Floats
    scores: Floats
    crowd: Bools


def _sorted_detections(
    rows: Sequence[Mapping[str, Any]],
    image_ids: npt.NDArray[Any],
    category_ids: npt.NDArray[Any],
    max_detections: int,
) -> _Boxes:
    keys, known = _keys(rows, image_ids, category_ids)
    if not known.all():
        raise unknown(rows[int(np.argmin(known))])
    scores = np.array([row["score"] for row in rows], np.float64)
    order = np.lexsort((-scores, keys))
    keys = keys[order]
    rank = np.arange(len(keys)) - np.searchsorted(keys, keys, "left")
    order, keys = order[rank < max_detections], keys[rank < max_detections]
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)[order]
    return _Boxes(keys, boxes, scores[order], np.zeros(len(keys), bool))


def _sorted_objects(
    rows: Sequence[Mapping[str, Any]], image_ids: npt.NDArray[Any], category_ids: npt.NDArray[Any]
) -> _Boxes:
    keys, known = _keys(rows, image_ids, category_ids)
    crowd = np.array([bool(row.get("iscrowd", 0)) for row in rows], bool)
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    order = np.lexsort((crowd, keys))
    order = order[known[order]]
    return _Boxes(keys[order], boxes[order], np.zeros(len(order)), crowd[order])


def _keys(
    rows: Sequence[Mapping[str, Any]], image_ids: npt.NDArray[Any], category_ids: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], Bools]:
    """Key of each row, and whether its image and category exist."""
    image, has_image = positions([row["image_id"] for row in rows], image_ids)
    category, has_category = positions([row["category_id"] for row in rows], category_ids)
    return category * len(image_ids) + image, has_image & has_category


def unknown(row: Mapping[str, Any]) -> ValueError:
    """What is said of a detection of an image or category that the annotations do not have."""
    return ValueError(
        f"a detection of image {row['image_id']}, category {row['category_id']}, which the annotations "
        "do not have: were these detections made on another split or dataset?"
    )


def positions(values: list[int], among: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], Bools]:
    """Where values stand in an ascending array, and whether they do."""
    array = np.array(values, np.int64)
    position = np.minimum(np.searchsorted(among, array), max(0, len(among) - 1))
    return position, (among[position] == array) if len(among) else np.zeros(len(array), bool)


def box_overlaps(detected: Floats, objects: Floats, crowd: Bools) -> Floats:
    """(D, G) IoU; over a crowd, intersection over the detection's own area."""
    corner = np.minimum(
        detected[:, None, :2] + detected[:, None, 2:], objects[None, :, :2] + objects[None, :, 2:]
    )
    sides = np.maximum(corner - np.maximum(detected[:, None, :2], objects[None, :, :2]), 0.0)
    inner = sides[..., 0] * sides[..., 1]
    own, other = detected[:, 2] * detected[:, 3], objects[:, 2] * objects[:, 3]
    union = np.where(crowd[None, :], own[:, None], own[:, None] + other[None, :] - inner)
    return np.divide(inner, union, out=np.zeros_like(inner), where=inner > 0)


def _match(overlaps: Floats, crowd: Bools, limits: Floats, hit: Bools, ignored: Bools) -> None:
    """Fill hit and ignored (T, D) of one image and category. Of equal overlaps the last object wins."""
    ordinary = int(np.count_nonzero(~crowd))
    taken = np.zeros((len(limits), ordinary), bool)
    every = np.arange(len(limits))
    for d in np.flatnonzero(overlaps.max(axis=1) >= limits.min()):
        near, matched = overlaps[d, :ordinary], np.zeros(len(limits), bool)
        if ordinary:
            free = ~taken & (near >= limits[:, None])
            best = ordinary - 1 - np.argmax(np.where(free, near, -1.0)[:, ::-1], axis=1)
            matched = free[every, best]
            taken[every[matched], best[matched]] = True
            hit[:, d] = matched
        if ordinary < len(crowd):
            ignored[:, d] = ~matched & (overlaps[d, ordinary:].max() >= limits)
