"""A COCO annotation file as a few flat numpy arrays.

No Python object per annotation stays alive: worker processes share the arrays' pages with their parent,
and reference counts can't copy them one by one.
"""

from __future__ import annotations

import gc
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from yolox_core.data.json_pieces import Objects, PieceReader, UnusualFileError, columns
from yolox_core.data.masks import PackedMasks, encode_mask, join_masks, pack_masks

log = logging.getLogger(__name__)

#: Reasons why an annotation is no training object; a crowd is none by COCO's rules, the others are defects.
CROWD, NOT_FINITE, EMPTY, OUTSIDE = "crowd", "not_finite", "empty_box", "outside"
UNKNOWN_IMAGE, UNKNOWN_CATEGORY = "unknown_image", "unknown_category"
DROP_REASONS = (CROWD, NOT_FINITE, EMPTY, OUTSIDE, UNKNOWN_IMAGE, UNKNOWN_CATEGORY)

#: Longest side of an image in pixels; OpenCV opens none that is longer.
MAX_SIDE = 1 << 20
#: A name that surely stays in its folder: parts that begin with a letter or a digit.
_PLAIN = re.compile(r"[A-Za-z0-9][\w.\- ]*(/[A-Za-z0-9][\w.\- ]*)*").fullmatch
#: Bytes from which a file is read piece by piece.
LARGE = 32 << 20
#: Beyond every image and within float32; boxes are clipped to their image later.
_FAR = 1e9


_Finder = Callable[[NDArray[np.int64]], NDArray[np.int64]]


class _ContentError(ValueError):
    """What a file says cannot be; the reader adds which file."""


@dataclass(frozen=True)
class Annotations:
    """Images and training objects of one annotation file.

    ids: (n,) int64 image ids in file order. sizes: (n, 2) int32 height and width, 0 where not given. names:
    (n,) file names as UTF-8 bytes. category_ids: (classes,) COCO ids in ascending order; a label is an index
    into it. class_names: in the same order. offsets: (n + 1,) int64, image i's objects are
    offsets[i]:offsets[i + 1] of boxes_xyxy ((m, 4) float32 pixels, clipped to images of known size) and
    labels ((m,) int64). dropped: annotations that are no training objects, by reason. masks: of the objects,
    in the same order; None where they were not read.
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
    masks: PackedMasks | None = None


def read_annotations(path: Path, masks: bool = False) -> Annotations:
    """Parse a COCO ``instances`` file. masks: also the objects' masks, which are most of the file.

    Crowd boxes, boxes that are not finite, without area or outside their image, and annotations of unknown
    images or categories are dropped and counted. Raises ValueError naming the file when it is missing, no
    valid JSON, not in COCO's layout, names an image outside its folder, or holds a value that no reader
    could use (a text in a box, three numbers in a box, an id beyond 64 bits, an impossible size).

    A file of more than :data:`LARGE` bytes is read piece by piece, in bounded memory; one that is unusual is
    read as a whole, as smaller ones are.
    """
    try:
        large = path.stat().st_size > LARGE
    except OSError:
        large = False  # the reader says what is wrong
    with _no_garbage_collection():
        try:
            if large:
                try:
                    return _read_pieces(path, masks)
                except UnusualFileError as error:
                    log.info("%s is read as a whole, which takes memory: %s", path, error)
            return _read_whole(_load(path, masks), masks)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path} is not in COCO's instances layout ({type(error).__name__}: {error}); "
                "it needs images (id, file_name), annotations (image_id, category_id, bbox) "
                "and categories (id, name)"
            ) from error
        except _ContentError as error:
            raise ValueError(f"{path}: {error}") from error


def check_name(name: str) -> None:
    """Refuse a file name that is absolute or climbs out of the image folder. Raises ValueError."""
    if _PLAIN(name):  # nearly all are, and taking paths apart is slow
        return
    for kind in (PurePosixPath, PureWindowsPath):
        parts = kind(name)
        if parts.is_absolute() or parts.drive or ".." in parts.parts:
            raise _ContentError(f"file name {name!r} leaves the image folder; refused")
    if not name or "\0" in name:
        raise _ContentError(f"file name {name!r} is not valid")


def _load(path: Path, masks: bool) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            data = json.load(file, object_hook=None if masks else _without_masks)
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


class _Judged(NamedTuple):
    """Annotations held against their images. owners: (n,) int32 position of the image, -1 unknown. boxes:
    (n, 4) float32 xyxy, clipped to the image. unfit: (n,) uint8 place in :data:`DROP_REASONS` from 1 of what
    is wrong with the box, 0 for nothing. masks: empty ones for those; None where they are not wanted.
    """

    owners: NDArray[np.int32]
    category_ids: NDArray[np.int64]
    boxes: NDArray[np.float32]
    unfit: NDArray[np.uint8]
    masks: PackedMasks | None


def _read_whole(data: dict[str, Any], masks: bool) -> Annotations:
    images, objects = data["images"], data.get("annotations") or []
    listed = Objects(
        _integers([a["image_id"] for a in objects], "image_id"),
        _integers([a["category_id"] for a in objects], "category_id"),
        _boxes(objects),
        np.array([bool(a.get("iscrowd", 0)) for a in objects], bool),
        [a.get("segmentation") for a in objects] if masks else None,
    )
    ids = _integers([image["id"] for image in images], "image id")
    sizes = np.stack([_sides(images, "height"), _sides(images, "width")], axis=1)
    names = [str(image["file_name"]) for image in images]
    return _pack(ids, sizes, names, [listed], lambda: data["categories"], masks)


def _read_pieces(path: Path, masks: bool) -> Annotations:
    """Read a file piece by piece. Raises UnusualFileError where that cannot be done."""
    reader = PieceReader(path)
    ids: list[NDArray[np.int64]] = []
    sizes: list[NDArray[np.int32]] = []
    names: list[str] = []
    for images in reader.images():
        ids.append(np.array([image.id for image in images], np.int64))
        sides = [(image.height or 0, image.width or 0) for image in images]
        if max(map(max, sides)) > MAX_SIDE:
            raise UnusualFileError(f"an image of more than {MAX_SIDE} pixels a side")
        sizes.append(np.array(sides, np.int32).clip(0))
        names += [image.file_name for image in images]
    if not ids:
        raise UnusualFileError("no images")

    return _pack(
        np.concatenate(ids),
        np.concatenate(sizes),
        names,
        map(columns, reader.objects(masks)),
        lambda: reader.rest()["categories"],
        masks,
    )


def _pack(
    ids: NDArray[np.int64],
    sizes: NDArray[np.int32],
    names: list[str],
    pieces: Iterable[Objects],
    list_categories: Callable[[], list[dict[str, Any]]],
    masks: bool,
) -> Annotations:
    """list_categories: called when the pieces are used up; in COCO's files categories come last."""
    if len(np.unique(ids)) != len(ids):
        raise _ContentError("two images have the same id")
    for name in names:
        check_name(name)
    position = _finder(ids)
    judged = [_judge(piece, position, sizes) for piece in pieces]
    categories = sorted(list_categories(), key=lambda c: c["id"])
    category_ids = _integers([category["id"] for category in categories], "category id")
    if len(np.unique(category_ids)) != len(category_ids):
        raise _ContentError("two categories have the same id")
    if not len(category_ids):
        raise _ContentError("it has no categories")
    packed = join_masks([part.masks for part in judged if part.masks is not None])
    order, offsets, boxes, labels, dropped = _sorted_by_image(judged, len(ids), category_ids)
    return Annotations(
        ids,
        sizes,
        np.array([name.encode() for name in names], np.bytes_),
        category_ids,
        tuple(str(category["name"]) for category in categories),
        offsets,
        boxes,
        labels,
        dropped,
        packed.select(order) if masks else None,
    )


def _judge(objects: Objects, position: _Finder, sizes: NDArray[np.int32]) -> _Judged:
    owners = position(objects.image_ids).astype(np.int32)
    boxes = objects.boxes
    unfit = np.zeros(len(owners), np.uint8)
    finite = np.isfinite(boxes).all(axis=1)
    solid = (boxes[:, 2:] > 0).all(axis=1)
    with np.errstate(invalid="ignore"):
        far = np.concatenate([boxes[:, :2], boxes[:, 2:] + boxes[:, :2]], axis=1).clip(-_FAR, _FAR)
        xyxy = far.astype(np.float32)
    if len(sizes):
        clip_boxes(xyxy, sizes[owners])
    inside = (xyxy[:, 2:] > xyxy[:, :2]).all(axis=1)
    defects = {OUTSIDE: ~inside, EMPTY: ~solid, NOT_FINITE: ~finite, CROWD: objects.crowd}
    for reason, defect in defects.items():  # the last one counts
        unfit[defect] = DROP_REASONS.index(reason) + 1
    masks = None
    if objects.segmentations is not None:
        sides = sizes[owners].tolist() if len(sizes) else []
        usable = ((unfit == 0) & (owners >= 0)).tolist()
        listed = zip(objects.segmentations, sides, usable, strict=False)
        masks = pack_masks([encode_mask(mask, *side) if wanted else b"" for mask, side, wanted in listed])
    return _Judged(owners, objects.category_ids, xyxy, unfit, masks)


def clip_boxes(boxes_xyxy: NDArray[np.float32], sizes: NDArray[np.int32]) -> None:
    """Clip boxes in place to images of these sizes, (n, 2) height and width; 0 where unknown: not clipped."""
    limits = np.where(sizes > 0, sizes, np.iinfo(np.int32).max)[:, ::-1].astype(np.float32)
    known = (sizes > 0).all(axis=1)
    np.maximum(boxes_xyxy[:, :2], np.where(known, 0, -_FAR)[:, None], out=boxes_xyxy[:, :2])
    np.minimum(boxes_xyxy[:, 2:], limits, out=boxes_xyxy[:, 2:])


def without_images(
    annotations: Annotations, skipped: Sequence[int], found: Mapping[int, tuple[int, int]]
) -> Annotations:
    """Leave out some images, by position, and all their objects. found: (height, width) of images whose size
    the file did not state; only now can their objects be clipped, or turn out to lie outside.
    """
    if not skipped and not found:
        return annotations
    counts = np.diff(annotations.offsets)
    owners = np.repeat(np.arange(len(counts)), counts)
    sizes, boxes = annotations.sizes.copy(), annotations.boxes_xyxy
    if found:
        sizes[list(found)] = list(found.values())
        late = np.isin(owners, list(found))
        clipped = boxes[late]
        clip_boxes(clipped, sizes[owners[late]])
        boxes = boxes.copy()
        boxes[late] = clipped
    keep = np.setdiff1d(np.arange(len(counts)), skipped)
    wanted = np.isin(owners, keep)
    solid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    usable = wanted & solid
    offsets = np.zeros(len(keep) + 1, np.int64)
    np.cumsum(np.bincount(owners[usable], minlength=len(counts))[keep], out=offsets[1:])
    outside = annotations.dropped[OUTSIDE] + int((wanted & ~solid).sum())
    return replace(
        annotations,
        ids=annotations.ids[keep],
        sizes=sizes[keep],
        names=annotations.names[keep],
        offsets=offsets,
        boxes_xyxy=boxes[usable],
        labels=annotations.labels[usable],
        masks=None if annotations.masks is None else annotations.masks.select(usable),
        dropped=annotations.dropped | {OUTSIDE: outside},
    )


def _sorted_by_image(
    judged: list[_Judged], images: int, category_ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], dict[str, int]]:
    """Which annotations are usable, image by image; offsets per image, boxes and labels of those; how many
    are not, by reason.
    """
    owners = np.concatenate([part.owners for part in judged]) if judged else np.zeros(0, np.int32)
    listed = np.concatenate([part.category_ids for part in judged]) if judged else np.zeros(0, np.int64)
    reasons = np.concatenate([part.unfit for part in judged]) if judged else np.zeros(0, np.uint8)
    boxes = np.concatenate([part.boxes for part in judged]) if judged else np.zeros((0, 4), np.float32)
    judged.clear()
    labels = _finder(category_ids)(listed)
    crowd = reasons == DROP_REASONS.index(CROWD) + 1
    for reason, defect in ((UNKNOWN_CATEGORY, labels < 0), (UNKNOWN_IMAGE, owners < 0)):
        reasons[defect & ~crowd] = DROP_REASONS.index(reason) + 1
    counts = np.bincount(reasons, minlength=len(DROP_REASONS) + 1).tolist()
    usable = reasons == 0
    if not usable.all():
        owners, labels, boxes = owners[usable], labels[usable], boxes[usable]
    order = np.argsort(owners, kind="stable")
    listing = order if usable.all() else np.flatnonzero(usable)[order]
    offsets = np.zeros(images + 1, np.int64)
    np.cumsum(np.bincount(owners, minlength=images), out=offsets[1:])
    dropped = dict(zip(DROP_REASONS, counts[1:], strict=True))
    return listing, offsets, boxes[order], labels[order], dropped


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
            raise _ContentError(f"{what} {value!r} is no whole number of at most 64 bits; {advice}")
    return np.array([int(value) for value in values], np.int64)


def _sides(images: list[dict[str, Any]], key: str) -> NDArray[np.int32]:
    """Heights or widths in pixels, 0 where not given. Raises ValueError naming the first impossible one."""
    sides = _integers([image.get(key) or 0 for image in images], key, "give whole pixels")
    if len(sides) and sides.max() > MAX_SIDE:
        image = images[int(sides.argmax())]
        raise _ContentError(
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
                raise _ContentError(
                    f"{which}: bbox must be four numbers (left, top, width, height), not {str(box)[:80]}"
                )
        boxes = np.array(listed, np.float64)
    return boxes.astype(np.float64)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finder(keys: NDArray[np.int64]) -> _Finder:
    """What gives the index of each value among the (unique) keys, -1 where it is none of them."""
    if not len(keys):
        return lambda values: np.full(len(values), -1, np.int64)
    order = np.argsort(keys)  # once: of a large file's images, it takes longer than looking up a piece
    ordered = keys[order]

    def find(values: NDArray[np.int64]) -> NDArray[np.int64]:
        place = np.clip(np.searchsorted(ordered, values), 0, len(keys) - 1)
        return np.where(ordered[place] == values, order[place], -1)

    return find


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
