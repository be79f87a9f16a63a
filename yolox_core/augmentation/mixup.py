"""MixUp with a second image, as in the official code (0.3.0): it is copied in half transparent."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from yolox_core.augmentation.affine import Matrix, compose, scaled_then_moved
from yolox_core.augmentation.letterbox import fit_ratio, fit_size
from yolox_core.augmentation.mosaic import reduction_for
from yolox_core.augmentation.sample import PAD_VALUE, Image, ImageSource, ImageTargets, join
from yolox_core.augmentation.steps import flip_boxes


@dataclass(frozen=True)
class MixUpDraw:
    """The random numbers of one MixUp.

    index: the second image. side: of the square it is fitted into, in pixels. flip: left and right.
    offset: (x, y) of the window that is cut out where the square is larger than the output.
    """

    index: int
    side: int
    flip: bool
    offset: tuple[int, int]


def draw_mixup(
    rng: np.random.Generator, candidates: np.ndarray, size: int, scale: tuple[float, float]
) -> MixUpDraw:
    """Draw a second image among the candidates (those with objects), its scale, flip and window."""
    side = max(1, int(size * rng.uniform(*scale)))
    flip = bool(rng.random() > 0.5)
    index = int(candidates[rng.integers(0, len(candidates))])
    room = max(1, side - size)
    x, y = rng.integers(0, room, 2).tolist()
    return MixUpDraw(index, side, flip, (x, y))


def mixup(
    source: ImageSource, draw: MixUpDraw, image: Image, targets: ImageTargets
) -> tuple[Image, ImageTargets]:
    """Blend half and half with the drawn image, in place; objects of both (cut to nothing ones are empty
    boxes).
    """
    size = len(image)
    picture, left, top = second_picture(source, draw, size)
    right, bottom, square = left + picture.shape[1], top + picture.shape[0], min(draw.side, size)
    # Official code: the mean, rounded down. Half a grey level is either .0 or .5 here; -0.25 rounds it down.
    if picture.size:
        under = image[top:bottom, left:right]
        cv2.addWeighted(under, 0.5, picture, 0.5, -0.25, dst=under)
    for shade, x1, y1, x2, y2 in (
        (PAD_VALUE, 0, 0, square, top),
        (PAD_VALUE, 0, top, left, bottom),
        (PAD_VALUE, right, top, square, bottom),
        (PAD_VALUE, 0, bottom, square, square),
        (0, square, 0, size, square),
        (0, 0, square, size, size),
    ):
        if x1 < x2 and y1 < y2:  # the mean with one shade needs no picture of it
            under = image[y1:y2, x1:x2]
            cv2.convertScaleAbs(under, dst=under, alpha=0.5, beta=0.5 * shade - 0.25)
    return image, join([targets, _layer_targets(source, draw, size)])


def second_matrix(source: ImageSource, draw: MixUpDraw, size: int) -> Matrix:
    """From the second image's pixels to the output's, as :func:`second_picture` shows it."""
    height, width = source.size(draw.index)
    picture_height, picture_width, left, top = _place(source, draw, size)
    matrix = scaled_then_moved(picture_width / width, picture_height / height, left, top)
    if not draw.flip:
        return matrix
    mirror = np.array([[-1.0, 0.0, 2.0 * left + picture_width - 1.0], [0.0, 1.0, 0.0]])
    return compose(mirror, matrix)


def _place(source: ImageSource, draw: MixUpDraw, size: int) -> tuple[int, int, int, int]:
    """The second image in the output, in pixels: height, width, left, top; it may reach beyond."""
    fit_height, fit_width = fit_size(*source.size(draw.index), size)
    height = max(1, round(fit_height * draw.side / size))
    width = max(1, round(fit_width * draw.side / size))
    return height, width, (draw.side - width if draw.flip else 0) - draw.offset[0], -draw.offset[1]


def second_picture(source: ImageSource, draw: MixUpDraw, size: int) -> tuple[Image, int, int]:
    """What the output holds of the second image, perhaps nothing, and where it lies: left, top."""
    height, width, left, top = _place(source, draw, size)
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, size), min(top + height, size)
    if x1 >= x2 or y1 >= y2:
        return np.empty((0, 0, 3), np.uint8), 0, 0
    picture = source.load_image(draw.index, reduction_for(height / source.size(draw.index)[0]))
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    if not draw.flip:
        return picture[y1 - top : y2 - top, x1 - left : x2 - left], x1, y1
    return cv2.flip(picture[y1 - top : y2 - top, left + width - x2 : left + width - x1], 1), x1, y1


def _layer_targets(source: ImageSource, draw: MixUpDraw, size: int) -> ImageTargets:
    targets = source.objects(draw.index)
    ratio = fit_ratio(*source.size(draw.index), size) * draw.side / size
    boxes = np.clip(targets.boxes_xyxy * np.float32(ratio), 0, draw.side)
    if draw.flip:
        boxes = flip_boxes(ImageTargets(boxes, targets.labels), draw.side).boxes_xyxy
    moved = boxes - np.array([*draw.offset, *draw.offset], np.float32)
    return ImageTargets(np.clip(moved, 0, size), targets.labels)
