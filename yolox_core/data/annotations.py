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

#: Reasons why an annotation is no training object; a crowd is none by COCO's rules, the others are defects.
CROWD, NOT_FINITE, EMPTY, OUTSIDE = "crowd", "not_finite", "empty_box", "outside"
UNKNOWN_IMAGE, UNKNOWN_CATEGORY = "unknown_image", "unknown_category"
DROP_REASONS = (CROWD, NOT_FINITE, EMPTY, OUTSIDE, UNKNOWN_IMAGE, UNKNOWN_CATEGORY)

#: Longest side of an image in pixels; OpenCV opens none that is longer.
MAX_SIDE = 1 << 20
#: Beyond every image and within float32; boxes are clipped to their image later.
_FAR = 1e9


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

    Crowd boxes, boxes that are not finite, without area or outside their image, and annotations of unknown
    images or categories are dropped and counted. Raises ValueError naming the file when it is missing, no
    valid JSON, not in COCO's layout, names an image outside its folder, or holds a value that no reader
    could use (a text in a box, three numbers in a box, an id beyond 64 bits, an impossible size).
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
    ids = _integers([image["id"] for image in images], "image id")
    category_ids = _integers([category["id"] for category in categories], "category id")
    if len(np.unique(ids)) != len(ids):
        raise ValueError("two images have the same id")
    if len(np.unique(category_ids)) != len(category_ids):
        raise ValueError("two categories have the same id")
    if not len(category_ids):
        raise ValueError("it has no categories")
    names = [str(image["file_name"]) for image in images]
    for name in names:
        check_name(name)
    sizes = np.stack([_sides(images, "height"), _sides(images, "width")], axis=1)
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
        boxes[order].clip(-_FAR, _FAR).astype(np.float32),
        labels[order],
        dropped,
    )


def _objects(
    annotations: list[dict[str, Any]], ids: NDArray[np.int64], category_ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], dict[str, int]]:
    """Position of the image, label and xyxy box of every usable annotation, and how many are not."""
    crowd = np.array([bool(a.get("iscrowd", 0)) for a in annotations], bool)
    owners = _positions(_integers([a["image_id"] for a in annotations], "image_id"), ids)
    labels = _positions(_integers([a["category_id"] for a in annotations], "category_id"), category_ids)
    boxes = _boxes(annotations)
    left = ~crowd
    dropped = {CROWD: int(crowd.sum())}
    for reason, defect in (
        (UNKNOWN_IMAGE, owners < 0),
        (UNKNOWN_CATEGORY, labels < 0),
        (NOT_FINITE, ~np.isfinite(boxes).all(axis=1)),
        (EMPTY, ~(boxes[:, 2:] > 0).all(axis=1)),
    ):
        dropped[reason] = int((defect & left).sum())
        left &= ~defect
    boxes = boxes[left]
    boxes[:, 2:] += boxes[:, :2]
    return owners[left], labels[left], boxes, dropped


def _integers(values: list[Any], what: str, advice: str = "number them from 1") -> NDArray[np.int64]:
    """Whole numbers of 64 bits. Raises ValueError naming the first that is none."""
    try:
        array = np.array(values) if values else np.zeros(0, np.int64)
    except ValueError:  # lists of different lengths
        array = np.zeros(0)
    if array.dtype == np.int64 and array.ndim == 1:
        return array
    for value in values:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if not whole or not -(2**63) <= value < 2**63:
            raise ValueError(f"{what} {value!r} is no whole number of at most 64 bits; {advice}")
    return np.array([int(value) for value in values], np.int64)


def _sides(images: list[dict[str, Any]], key: str) -> NDArray[np.int32]:
    """Heights or widths in pixels, 0 where not given. Raises ValueError naming the first impossible one."""
    sides = _integers([image.get(key) or 0 for image in images], key, "give whole pixels")
    if len(sides) and sides.max() > MAX_SIDE:
        image = images[int(sides.argmax())]
        raise ValueError(
            f"image {image['id']} has {key} {image[key]!r}; no image has more than {MAX_SIDE} pixels a side"
        )
    return sides.clip(0).astype(np.int32)


def _boxes(annotations: list[dict[str, Any]]) -> NDArray[np.float64]:
    """xywh boxes. Raises ValueError naming the first annotation whose box is not four numbers."""
    listed = [a["bbox"] for a in annotations]
    try:
        boxes = np.array(listed) if listed else np.zeros((0, 4))
    except ValueError:  # of different lengths
        boxes = np.zeros(0)
    if boxes.dtype.kind not in "if" or boxes.shape[1:] != (4,):
        for annotation, box in zip(annotations, listed, strict=True):
            if not isinstance(box, list) or len(box) != 4 or not all(_is_number(side) for side in box):
                which = f"annotation {annotation.get('id', '(without id)')} of image {annotation['image_id']}"
                raise ValueError(
                    f"{which}: bbox must be four numbers (left, top, width, height), not {str(box)[:80]}"
                )
        boxes = np.array(listed, np.float64)
    return boxes.astype(np.float64)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
