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
        from yolox_core.data.json_pieces import PieceReader, UnusualFileError

        try:
            reader = PieceReader(path)
            images = [(i.id, i.width, i.height) for piece in reader.images() for i in piece]
            pieces = ([(o.image_id, o.bbox, o.iscrowd) for o in piece] for piece in reader.objects())
            return _geometry(images, pieces)
        except UnusualFileError:
            pass  # the careful reader takes it, or says what is wrong
    content = load_annotations(path)
    try:
        return _geometry(
            [(i["id"], i.get("width"), i.get("height")) for i in content["images"]],
            [[(a["image_id"], a["bbox"], a.get("iscrowd")) for a in content.get("annotations") or []]],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not in COCO's instances layout ({error!r})") from error


def _geometry(images: _Images, pieces: Iterable[_Boxes]) -> Geometry:
    import numpy as np

    sizes = {number: (width, height) for number, width, height in images if width and height}
    kept: list[NDArray[np.float64]] = []
    stride = 1
    for shapes in _shapes(sizes, pieces):
        kept.append(shapes[::stride])
        if sum(map(len, kept)) > 2 * _KEPT:
            kept, stride = [np.concatenate(kept)[::2]], stride * 2
    longest = np.array([max(size) for size in sizes.values()], np.float64)
    return Geometry(longest, np.concatenate(kept) if kept else np.zeros((0, 2)))


def _shapes(sizes: dict[Any, tuple[float, float]], pieces: Iterable[_Boxes]) -> Iterator[NDArray[np.float64]]:
    import numpy as np

    for piece in pieces:
        rows = [(*box, *sizes[image]) for image, box, crowd in piece if image in sizes and not crowd]
        table = np.array(rows, np.float64).reshape(-1, 6)
        limits = table[:, 4:]
        low, high = table[:, :2].clip(0), np.minimum(table[:, :2] + table[:, 2:4], limits)
        shapes = (high - low) / limits.max(axis=1, keepdims=True)
        yield shapes[np.isfinite(shapes).all(axis=1) & (shapes > 0).all(axis=1)]
