"""What augmentation works on: an image, its objects, and where both come from."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

#: (height, width, 3) uint8, channels in BGR order.
Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]

#: Grey level around images that do not fill the canvas (official code).
PAD_VALUE = 114


class ImageTargets(NamedTuple):
    """Objects of one image.

    boxes_xyxy: (n, 4) float32, pixels of the image they belong to. labels: (n,) int64 contiguous classes.
    """

    boxes_xyxy: Boxes
    labels: NDArray[np.int64]


class Mask(NamedTuple):
    """An object's pixels, without what is empty around them.

    left, top: where ``pixels`` lie in the image. pixels: (h, w) uint8, 1 on the object and 0 elsewhere.
    """

    left: int
    top: int
    pixels: NDArray[np.uint8]


class ImageSource(Protocol):
    """The part of a dataset that pipelines read."""

    @property
    def nonempty(self) -> NDArray[np.int64]:
        """Indices of the images that have objects."""
        ...

    def __len__(self) -> int: ...

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of an image in pixels, known without opening it."""
        ...

    def load_image(self, index: int, reduction: int = 1) -> Image:
        """Pixels; with a ``reduction`` (1, 2, 4 or 8) both sides may be divided by it and rounded up.

        A source may ignore the reduction where it would save nothing, and return the full size or, from a
        cache, the picture as it was fitted into the training square. The array may be read-only.
        """
        ...

    def objects(self, index: int) -> ImageTargets:
        """Objects in pixels of the full-size image."""
        ...

    def mask(self, index: int, number: int) -> Mask | None:
        """Mask, in pixels of the full-size image, of the object with this number among :meth:`objects`; None
        where it has none. Only Copy-Paste asks for it.
        """
        ...


def empty_targets() -> ImageTargets:
    """No objects."""
    return ImageTargets(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def join(parts: list[ImageTargets]) -> ImageTargets:
    """All objects of several parts, in order."""
    if not parts:
        return empty_targets()
    return ImageTargets(
        np.concatenate([p.boxes_xyxy for p in parts]), np.concatenate([p.labels for p in parts])
    )


def drop_small(targets: ImageTargets, side: float = 1.0) -> ImageTargets:
    """Objects whose shorter side is above ``side`` pixels (official code: above 1)."""
    boxes = targets.boxes_xyxy
    keep = ((boxes[:, 2:] - boxes[:, :2]) > side).all(axis=1)
    return targets if keep.all() else ImageTargets(boxes[keep], targets.labels[keep])
