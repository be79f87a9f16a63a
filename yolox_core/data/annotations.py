"""A COCO annotation file as a few flat numpy arrays.

No Python object per annotation stays alive: worker processes share the arrays' pages with their parent,
and reference counts can't copy them one by one.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Reasons why an annotation is no training object.
CROWD, EMPTY, OUTSIDE, ORPHAN = "crowd", "empty_box", "outside", "orphan"


@dataclass(frozen=True)
class Annotations:
    """Images and training objects of one annotation file.

    ids: (n,) int64 image ids in file order. sizes: (n, 2) int32 height and width, 0 where not given. names:
    (n,) file names as UTF-8 bytes. category_ids: (classes,) COCO ids in ascending order; a label is an index
    into it. class_names: in the same order. offsets: (n + 1,) int64, image i's objects are
    offsets[i]:offsets[i + 1] of boxes_xyxy ((m, 4) float32 pixels, not clipped) and labels ((m,) int64).
    dropped: annotations that are no training objects, by reason.
    """

    ids: NDArray[np.int64]
    sizes: NDArray[np.int32]
    names: NDArray[np.bytes_]
    category_ids: NDArray[np.int64]
    class_names: tuple[str, ...]
    offsets: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    dropped: dict[str, int]


def read_annotations(path: Path) -> Annotations:
    """Parse a COCO ``instances`` file.

    Crowd boxes, boxes without area and annotations of unknown images or categories are dropped and counted.
    Raises ValueError naming the file when it is missing, no valid JSON, not in COCO's layout, or names an
    image outside its folder.
    """
    with _no_garbage_collection():
        data = _load(path)
        try:
            return _pack(data)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} is not in COCO's instances layout ({type(error).__name__}: {error}); "
                "it needs images (id, file_name), annotations (image_id, category_id, bbox) "
                "and categories (id, name)"
            ) from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def check_name(name: str) -> None:
    """Refuse a file name that is absolute or climbs out of the image folder. Raises ValueError."""
    for kind in (PurePosixPath, PureWindowsPath):
        parts = kind(name)
        if parts.is_absolute() or parts.drive or ".." in parts.parts:
            raise ValueError(f"file name {name!r} leaves the image folder; refused")
    if not name or "\0" in name:
        raise ValueError(f"file name {name!r} is not valid")


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            data = json.load(file, object_hook=_without_masks)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing; expected a COCO annotation file there") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); download or export it again") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path} is not in COCO's instances layout: it holds a {type(data).__name__}")
    return data


def _without_masks(item: dict[str, Any]) -> dict[str, Any]:
    """Forget polygons while parsing: they are most of COCO's file and would need gigabytes."""
    item.pop("segmentation", None)
    return item


def _pack(data: dict[str, Any]) -> Annotations:
    images, categories = data["images"], sorted(data["categories"], key=lambda c: c["id"])
    ids = np.array([image["id"] for image in images], np.int64)
    category_ids = np.array([category["id"] for category in categories], np.int64)
    if len(np.unique(ids)) != len(ids):
        raise ValueError("two images have the same id")
    if len(np.unique(category_ids)) != len(category_ids):
        raise ValueError("two categories have the same id")
    if not len(category_ids):
        raise ValueError("it has no categories")
    names = [str(image["file_name"]) for image in images]
    for name in names:
        check_name(name)
    sizes = np.array(
        [(image.get("height") or 0, image.get("width") or 0) for image in images], np.int32
    ).reshape(-1, 2)
    owners, labels, boxes, dropped = _objects(data.get("annotations") or [], ids, category_ids)
    outside = _outside(boxes, sizes[owners])
    dropped[OUTSIDE] = int(outside.sum())
    owners, labels, boxes = owners[~outside], labels[~outside], boxes[~outside]
    order = np.argsort(owners, kind="stable")
    offsets = np.zeros(len(ids) + 1, np.int64)
    np.cumsum(np.bincount(owners, minlength=len(ids)), out=offsets[1:])
    return Annotations(
        ids,
        sizes,
        np.array([name.encode() for name in names], np.bytes_),
        category_ids,
        tuple(str(category["name"]) for category in categories),
        offsets,
        boxes[order].astype(np.float32),
        labels[order],
        dropped,
    )


def _objects(
    annotations: list[dict[str, Any]], ids: NDArray[np.int64], category_ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], dict[str, int]]:
    """Position of the image, label and xyxy box of every usable annotation, and how many are not."""
    crowd = np.array([bool(a.get("iscrowd", 0)) for a in annotations], bool)
    owners = _positions(np.array([a["image_id"] for a in annotations], np.int64), ids)
    labels = _positions(np.array([a["category_id"] for a in annotations], np.int64), category_ids)
    boxes = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
    orphan = ((owners < 0) | (labels < 0)) & ~crowd
    solid = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    empty = ~solid & ~crowd & ~orphan
    keep = ~(crowd | orphan | empty)
    boxes = boxes[keep]
    boxes[:, 2:] += boxes[:, :2]
    dropped = {CROWD: int(crowd.sum()), EMPTY: int(empty.sum()), ORPHAN: int(orphan.sum())}
    return owners[keep], labels[keep], boxes, dropped


def _positions(values: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Index of each value among the (unique) keys, -1 where it is none of them."""
    if not len(keys):
        return np.full(len(values), -1, np.int64)
    order = np.argsort(keys)
    found = order[np.clip(np.searchsorted(keys[order], values), 0, len(keys) - 1)]
    return np.where(keys[found] == values, found, -1)


def _outside(boxes: NDArray[np.float64], sizes: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which xyxy boxes share no pixel with their image (height, width); unknown sizes (0) hold any box."""
    limits = np.where(sizes > 0, sizes, np.iinfo(np.int32).max)
    return (boxes[:, 0] >= limits[:, 1]) | (boxes[:, 1] >= limits[:, 0]) | (boxes[:, 2:] <= 0).any(axis=1)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Parsing makes millions of live objects; collecting among them doubles the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
