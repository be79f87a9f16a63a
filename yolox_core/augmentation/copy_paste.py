"""Copy-Paste (arXiv 2012.07177 §3): objects of a second image, cut out by their masks, are put into a Mosaic.

Both images are jittered at random before: the Mosaic by its affine transform, the second image as MixUp's is,
by scale, flip and window. How YOLOX joins it to Mosaic is open: docs/decisions/0090-copy-paste.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from yolox_core.augmentation.affine import compose, transform_points
from yolox_core.augmentation.mixup import MixUpDraw, draw_mixup, second_matrix, second_picture
from yolox_core.augmentation.mosaic import Place
from yolox_core.augmentation.sample import Image, ImageSource, ImageTargets, Mask, join


@dataclass(frozen=True)
class CopyPasteDraw:
    """The random numbers of one Copy-Paste: the second image and its jitter, and which of its objects."""

    second: MixUpDraw
    chosen: tuple[bool, ...]


def draw_copy_paste(
    rng: np.random.Generator, source: ImageSource, size: int, scale: tuple[float, float]
) -> CopyPasteDraw:
    """Draw a second image among those with objects, its jitter, and a subset of its objects, all of which
    are equally likely.
    """
    second = draw_mixup(rng, source.nonempty, size, scale)
    objects = len(source.objects(second.index).labels)
    return CopyPasteDraw(second, tuple((rng.random(objects) < 0.5).tolist()))


def copy_paste(
    source: ImageSource,
    draw: CopyPasteDraw,
    image: Image,
    targets: ImageTargets,
    places: Sequence[Place],
    visible: float,
) -> tuple[Image, ImageTargets]:
    """Image, changed in place, with the chosen objects in it; objects of both.

    places: where each of the targets comes from. visible: least share of an object's pixels that must still
    show; one of which less is left is dropped, and one that is hidden in part gets the box of what shows.
    Objects that nothing was pasted onto keep their boxes. An object without a mask is not pasted, and hides
    or shows as its box does.
    """
    size = len(image)
    pasted, new = _chosen(source, draw, size)
    if not pasted:
        return image, targets
    covered = np.zeros((size, size), np.uint8)
    for mask in pasted:
        np.bitwise_or(_under(covered, mask), mask.pixels, out=_under(covered, mask))
    picture, left, top = second_picture(source, draw.second, size)
    area = (slice(top, top + picture.shape[0]), slice(left, left + picture.shape[1]))
    cv2.copyTo(picture, covered[area], image[area])
    return image, join([_still_visible(source, targets, places, covered, visible), new])


def moved_mask(source: ImageSource, place: Place, size: int) -> Mask | None:
    """An object's mask as it lies in the output; None where it has none or nothing of it shows."""
    mask = source.mask(place.image, place.number)
    if mask is None:
        return None
    height, width = mask.pixels.shape
    # A pixel belongs to the part of the image that the canvas holds when its centre does.
    x1, y1 = (max(0, math.ceil(v - 0.5)) for v in (place.part[0] - mask.left, place.part[1] - mask.top))
    x2, y2 = (math.ceil(v - 0.5) for v in (place.part[2] - mask.left, place.part[3] - mask.top))
    pixels = mask.pixels[y1 : max(y1, min(y2, height)), x1 : max(x1, min(x2, width))]
    if not pixels.size:
        return None
    left, top = mask.left + x1, mask.top + y1
    columns, rows = (
        left + np.array([-0.5, pixels.shape[1] - 0.5]),
        top + np.array([-0.5, pixels.shape[0] - 0.5]),
    )
    corners = np.array([[x, y] for x in columns for y in rows])
    bounds = transform_points(corners, place.matrix)
    x1, y1 = (max(0, math.floor(v)) for v in bounds.min(axis=0).tolist())
    x2, y2 = (min(size, math.ceil(v) + 1) for v in bounds.max(axis=0).tolist())
    if x1 >= x2 or y1 >= y2:
        return None
    matrix = compose(place.matrix, np.array([[1.0, 0.0, left], [0.0, 1.0, top]]))
    matrix[:, 2] -= (x1, y1)
    warped = cv2.warpAffine(255 * pixels, matrix, (x2 - x1, y2 - y1), flags=cv2.INTER_LINEAR)
    return _trimmed(x1, y1, (warped > 127).astype(np.uint8))


def _chosen(source: ImageSource, draw: CopyPasteDraw, size: int) -> tuple[list[Mask], ImageTargets]:
    """Masks and targets of the chosen objects, in the output, as far as anything of them shows."""
    second, objects = draw.second, source.objects(draw.second.index)
    height, width = source.size(second.index)
    matrix = second_matrix(source, second, size)
    masks, labels = [], []
    for number in np.flatnonzero(draw.chosen).tolist():
        mask = moved_mask(source, Place(second.index, number, matrix, (0, 0, width, height)), size)
        if mask is not None:
            masks.append(mask)
            labels.append(objects.labels[number])
    boxes = np.array([_box(mask) for mask in masks], np.float32).reshape(-1, 4)
    return masks, ImageTargets(boxes, np.array(labels, np.int64))


def _still_visible(
    source: ImageSource,
    targets: ImageTargets,
    places: Sequence[Place],
    covered: NDArray[np.uint8],
    visible: float,
) -> ImageTargets:
    """The targets of which enough shows where ``covered`` (size, size) is 0."""
    x, y, width, height = cv2.boundingRect(covered)
    boxes, size = targets.boxes_xyxy.copy(), len(covered)
    keep = np.ones(len(boxes), bool)
    near = (boxes[:, :2] < (x + width, y + height)).all(axis=1) & (boxes[:, 2:] > (x, y)).all(axis=1)
    for number in np.flatnonzero(near & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)).tolist():
        mask = moved_mask(source, places[number], size) or _filled(boxes[number], size)
        seen = mask.pixels & (1 - _under(covered, mask))
        before, after = np.count_nonzero(mask.pixels), np.count_nonzero(seen)
        rest = _trimmed(mask.left, mask.top, seen)
        keep[number] = rest is not None and after >= visible * before
        if rest is not None and after < before:
            boxes[number] = _box(rest)
    return ImageTargets(boxes[keep], targets.labels[keep])


def _filled(box_xyxy: NDArray[np.float32], size: int) -> Mask:
    """A box as a mask: all pixels that it touches."""
    x1, y1, x2, y2 = box_xyxy.tolist()
    left, top = min(size - 1, math.floor(x1)), min(size - 1, math.floor(y1))
    shape = max(1, math.ceil(y2) - top), max(1, math.ceil(x2) - left)
    return Mask(left, top, np.ones(shape, np.uint8))


def _trimmed(left: int, top: int, pixels: NDArray[np.uint8]) -> Mask | None:
    """A mask without the empty pixels around it; None when all are."""
    x, y, width, height = cv2.boundingRect(pixels)
    if not width:
        return None
    return Mask(left + x, top + y, pixels[y : y + height, x : x + width])


def _under(canvas: NDArray[np.uint8], mask: Mask) -> NDArray[np.uint8]:
    """The part of a canvas that a mask lies on."""
    height, width = mask.pixels.shape
    return canvas[mask.top : mask.top + height, mask.left : mask.left + width]


def _box(mask: Mask) -> tuple[int, int, int, int]:
    """Edges of a mask that has no empty border: x1, y1, x2, y2."""
    height, width = mask.pixels.shape
    return mask.left, mask.top, mask.left + width, mask.top + height
