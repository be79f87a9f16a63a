"""Sizes of an annotation file's images and boxes, as planning needs them: for anchors and training sizes.

Files of any size: large ones are read piece by piece, and of their boxes an even sample is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadmap.annotations import load_annotations

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Bytes from which a file is read piece by piece, and boxes that are then kept at least.
_LARGE, _KEPT = 32 << 20, 200_000

#: Image id, width and height; and image id, bbox and whether it is a crowd.
_Images = Iterable[tuple[Any, Any, Any]]
_Boxes = Iterable[tuple[Any, Any, Any]]


@dataclass(frozen=True)
class Geometry:
    """longest_sides: of the images whose size is stated, in pixels. shapes: (n, 2) width and height of the
    usable boxes in such images, as shares of their image's longest side.
    """

    longest_sides: NDArray[np.float64]
    shapes: NDArray[np.float64]


def read_geometry(path: Path) -> Geometry:
    """Geometry of an annotation file. Boxes are clipped to their image; crowds, boxes without area and
    images without a stated size are left out. Raises ValueError naming a broken file.
    """
    state = path.stat()
    return _read(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=2)
def _read(path: Path, size: int, modified_ns: int) -> Geometry:
    if size > _LARGE:
        from yolox_core.data.json_pieces import UnusualFileError

        try:
            return _read_pieces(path)
        except UnusualFileError:
            pass  # the careful reader takes it, or says what is wrong
    content = load_annotations(path)
    try:
        return _geometry(
            [(i["id"], i.get("width"), i.get("height")) for i in content["images"]],
            [(a["image_id"], a["bbox"], a.get("iscrowd")) for a in content.get("annotations") or []],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not in COCO's instances layout ({error!r})") from error


def _read_pieces(path: Path) -> Geometry:
    """Geometry of a file in a bounded amount of memory. Raises UnusualFileError where that cannot be done."""
    import numpy as np

    from yolox_core.data.json_pieces import PieceReader, UnusualFileError, columns

    reader = PieceReader(path)
    listed = [
        np.array([(i.id, i.width or 0, i.height or 0) for i in piece], np.int64) for piece in reader.images()
    ]
    images = np.concatenate(listed) if listed else np.zeros((0, 3), np.int64)
    images = images[(images[:, 1:] != 0).all(axis=1)]
    order = np.argsort(images[:, 0], kind="stable")
    ids, sizes = images[order, 0], images[order, 1:].astype(np.float64)
    if (ids[1:] == ids[:-1]).any():
        raise UnusualFileError("two images have the same id")

    def tables() -> Iterator[NDArray[np.float64]]:
        for objects in map(columns, reader.objects()):
            place = np.searchsorted(ids, objects.image_ids)
            place[place == len(ids)] = 0
            of_a_sized_image = ids[place] == objects.image_ids if len(ids) else np.zeros(len(place), bool)
            usable = of_a_sized_image & ~objects.crowd
            yield np.concatenate([objects.boxes[usable], sizes[place[usable]]], axis=1)

    return Geometry(images[:, 1:].max(axis=1).astype(np.float64), _sampled(tables()))


def _geometry(images: _Images, boxes: _Boxes) -> Geometry:
    import numpy as np

    sizes = {number: (width, height) for number, width, height in images if width and height}
    rows = [(*box, *sizes[image]) for image, box, crowd in boxes if image in sizes and not crowd]
    longest = np.array([max(size) for size in sizes.values()], np.float64)
    return Geometry(longest, _sampled([np.array(rows, np.float64).reshape(-1, 6)]))


def _sampled(tables: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Shapes of the boxes in tables of left, top, width, height and their image's width and height: all of
    them, or of many an even sample.
    """
    import numpy as np

    kept: list[NDArray[np.float64]] = []
    stride = 1
    for table in tables:
        limits = table[:, 4:]
        low, high = table[:, :2].clip(0), np.minimum(table[:, :2] + table[:, 2:4], limits)
        shapes = (high - low) / limits.max(axis=1, keepdims=True)
        kept.append(shapes[np.isfinite(shapes).all(axis=1) & (shapes > 0).all(axis=1)][::stride])
        if sum(map(len, kept)) > 2 * _KEPT:
            kept, stride = [np.concatenate(kept)[::2]], stride * 2
    return np.concatenate(kept) if kept else np.zeros((0, 2))
