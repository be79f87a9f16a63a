"""Instance masks of an annotation file: run-length codes, one after the other in one array.

No Python object per mask stays alive, and an array mapped from a file is shared by all processes. COCO's
polygons and both kinds of its run-length codes become compressed codes once, when the file is read
(pycocotools); what cannot be a mask of its image is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from yolox_core.augmentation.sample import Mask

#: Corners of polygons further out than this, in image sides, are no corners: rasterising takes their length.
_FAR = 4


@dataclass(frozen=True)
class PackedMasks:
    """Masks of objects. codes: (bytes,) uint8. starts, lengths: (objects,) int64 where an object's code lies
    in it; a length of 0 for an object without a mask.
    """

    codes: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def missing(self) -> int:
        """Objects without a mask."""
        return int((self.lengths == 0).sum())

    def select(self, which: NDArray[Any]) -> PackedMasks:
        """The masks of some objects, by their numbers or by a truth value for each."""
        return PackedMasks(self.codes, self.starts[which], self.lengths[which])

    def decode(self, number: int, height: int, width: int) -> Mask | None:
        """An object's mask in an image of this size; None for an object without one."""
        start, length = int(self.starts[number]), int(self.lengths[number])
        if not length:
            return None
        # Only the columns that the object lies in: pycocotools would fill the whole image.
        ends = np.cumsum(_runs(self.codes[start : start + length]))
        left, right = int(ends[0]) // height, (int(ends[1::2][-1]) - 1) // height + 1
        inside = np.clip(ends - left * height, 0, (right - left) * height)
        inside[1:] -= inside[:-1].copy()
        columns = np.repeat(np.arange(len(inside)) % 2, inside).astype(np.uint8).reshape(-1, height)
        rows = np.flatnonzero(columns.any(axis=0))
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        return Mask(left, top, np.ascontiguousarray(columns.T[top:bottom]))


def pack_masks(codes: Sequence[bytes]) -> PackedMasks:
    """One array of many codes; an empty code stands for an object without a mask."""
    lengths = np.fromiter(map(len, codes), np.int64, len(codes))
    return PackedMasks(np.frombuffer(b"".join(codes), np.uint8), np.cumsum(lengths) - lengths, lengths)


def join_masks(parts: Sequence[PackedMasks]) -> PackedMasks:
    """All masks of several parts, in order."""
    if not parts:
        return pack_masks([])
    begins = np.cumsum([0, *(len(part.codes) for part in parts[:-1])])
    return PackedMasks(
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.starts + begin for part, begin in zip(parts, begins, strict=True)]),
        np.concatenate([part.lengths for part in parts]),
    )


def encode_mask(segmentation: Any, height: int, width: int) -> bytes:
    """Compressed code of an annotation's ``segmentation`` in an image of this size in pixels; empty for one
    that is absent, empty, broken or of another image's size.
    """
    if height <= 0 or width <= 0 or not segmentation:
        return b""
    try:
        if isinstance(segmentation, list):
            code = _of_polygons(segmentation, height, width)
        else:
            code = _of_runs(segmentation, height, width)
    except (TypeError, ValueError, KeyError, OverflowError, IndexError):
        return b""
    return code["counts"] if code and coco_mask.area(code) else b""


def _of_polygons(polygons: list[Any], height: int, width: int) -> dict[str, Any] | None:
    """Their union, without parts of fewer than three corners: pycocotools takes four numbers for a box."""
    parts = [np.asarray(polygon, np.float64) for polygon in polygons]
    parts = [part[: len(part) // 2 * 2] for part in parts if part.ndim == 1 and len(part) >= 6]
    far = _FAR * max(height, width)
    if not parts or not all(np.isfinite(part).all() and np.abs(part).max() <= far for part in parts):
        return None
    return coco_mask.merge(coco_mask.frPyObjects([part.tolist() for part in parts], height, width))


def _of_runs(runs: dict[str, Any], height: int, width: int) -> dict[str, Any] | None:
    """A code that covers its image exactly: pycocotools reads beyond shorter ones."""
    counts = runs["counts"]
    if [int(side) for side in runs["size"]] != [height, width]:
        return None
    if isinstance(counts, (str, bytes)):
        text = counts.encode("ascii") if isinstance(counts, str) else counts
        whole = _runs(np.frombuffer(text, np.uint8))
        code = {"size": [height, width], "counts": text}
    else:
        whole = np.asarray(counts, np.int64)
        code = coco_mask.frPyObjects({"size": [height, width], "counts": whole.tolist()}, height, width)
    return code if whole.ndim == 1 and (whole >= 0).all() and whole.sum() == height * width else None


def _runs(code: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Lengths of the runs of a compressed code: groups of five bits, least first, 32 marks that more follow;
    from the fourth run on each is the difference from the one before the last. Raises ValueError.
    """
    values = code.astype(np.int64) - 48
    last = (values & 32) == 0
    if not len(values) or ((values < 0) | (values > 63)).any() or not last[-1]:
        raise ValueError("no run-length code")
    begins = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    places = np.arange(len(values)) - np.repeat(begins, np.diff([*begins.tolist(), len(values)]))
    if places.max() > 6:
        raise ValueError("runs longer than any image")
    numbers = np.add.reduceat((values & 31) << (5 * places), begins)
    numbers -= np.where(values[last] & 16, 1 << (5 * (places[last] + 1)), 0)
    runs = numbers.copy()
    for parity in (1, 2):  # the first run stands alone, the second begins the odd ones
        runs[parity::2] = np.cumsum(numbers[parity::2])
    return runs
