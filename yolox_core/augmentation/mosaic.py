"""Mosaic with a random affine transform, drawn first and painted straight into the output.

The official code (0.3.0) decodes four images, pastes them around a random centre of a canvas twice the
output's side, and warps the canvas. Here the same random geometry is drawn before any image is opened;
then only the tiles that show are decoded, at the JPEG scale they need, and each is warped once, from the
file's pixels to the output's. See docs/decisions/0020-mosaic-decoding.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from yolox_core.augmentation.affine import (
    Matrix,
    compose,
    draw_affine,
    scale_of,
    scaled_then_moved,
    transform_boxes,
    transform_points,
)
from yolox_core.augmentation.letterbox import fit_ratio, fit_size
from yolox_core.augmentation.sample import (
    PAD_VALUE,
    Image,
    ImageSource,
    ImageTargets,
    join,
)
from yolox_core.config import AugmentationConfig

#: Fraction bits of polygon corners in OpenCV's drawing functions.
_SHIFT = 8


@dataclass(frozen=True)
class Tile:
    """Where one of the four images lies in the canvas, in canvas pixels.

    left, top: of the whole image after fitting; they may be negative. width, height: of the same.
    x1, y1, x2, y2: its part inside the canvas.
    """

    left: int
    top: int
    width: int
    height: int
    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def empty(self) -> bool:
        return self.x2 <= self.x1 or self.y2 <= self.y1


@dataclass(frozen=True)
class MosaicDraw:
    """The random numbers of one Mosaic: images, centre in canvas pixels (x, y), canvas-to-output matrix."""

    indices: tuple[int, int, int, int]
    centre: tuple[int, int]
    matrix: Matrix


def draw_mosaic(
    rng: np.random.Generator, index: int, images: int, size: int, config: AugmentationConfig
) -> MosaicDraw:
    """Three more images, the centre between a half and one and a half sides, the affine transform."""
    others = rng.integers(0, images, 3).tolist()
    x, y = rng.uniform(0.5 * size, 1.5 * size, 2).tolist()
    return MosaicDraw((index, *others), (int(x), int(y)), draw_affine(rng, size, config))


def place_tile(quadrant: int, centre: tuple[int, int], height: int, width: int, size: int) -> Tile:
    """Tile of an image of a shape (pixels); quadrants are top left, top right, bottom left, bottom right.

    The image's corner nearest to the centre lies on the centre; what leaves the canvas (side 2·size) is cut.
    """
    left = centre[0] if quadrant % 2 else centre[0] - width
    top = centre[1] if quadrant // 2 else centre[1] - height
    side = 2 * size
    return Tile(
        left,
        top,
        width,
        height,
        max(left, 0),
        max(top, 0),
        min(left + width, side),
        min(top + height, side),
    )


def mosaic(source: ImageSource, draw: MosaicDraw, size: int) -> tuple[Image, ImageTargets]:
    """Image (size, size, 3) and targets of a drawn Mosaic.

    Objects are cut at the canvas and at the output; those cut to nothing are kept, as empty boxes, for the
    caller to drop.
    """
    output = np.full((size, size, 3), PAD_VALUE, np.uint8)
    parts, fits = [], []
    for quadrant, index in enumerate(draw.indices):
        height, width = source.size(index)
        tile = place_tile(quadrant, draw.centre, *fit_size(height, width, size), size)
        _paint(output, source, index, tile, draw.matrix)
        parts.append(source.objects(index))
        fits.append((fit_ratio(height, width, size), tile.left, tile.top))
    counts = [len(part.labels) for part in parts]
    targets = join(parts)
    ratio, left, top = np.array(fits).repeat(counts, axis=0).T[:, :, None]
    boxes = targets.boxes_xyxy * ratio.astype(np.float32) + np.concatenate((left, top, left, top), axis=1)
    in_canvas = boxes.clip(0, 2 * size).astype(np.float32)
    return output, ImageTargets(transform_boxes(in_canvas, draw.matrix, size), targets.labels)


class Place(NamedTuple):
    """Where an object of a Mosaic comes from.

    image, number: its image's index, and which of that image's objects it is. matrix: from the full-size
    image's pixels to the output's. part: x1, y1, x2, y2 of what the canvas holds of the image, in its pixels.
    """

    image: int
    number: int
    matrix: Matrix
    part: tuple[float, float, float, float]


def mosaic_places(source: ImageSource, draw: MosaicDraw, size: int) -> list[Place]:
    """The places of all objects of a Mosaic, in the order of its targets."""
    places = []
    for quadrant, index in enumerate(draw.indices):
        height, width = source.size(index)
        tile = place_tile(quadrant, draw.centre, *fit_size(height, width, size), size)
        across, down = tile.width / width, tile.height / height
        matrix = compose(draw.matrix, scaled_then_moved(across, down, tile.left, tile.top))
        part = (
            (tile.x1 - tile.left) / across,
            (tile.y1 - tile.top) / down,
            (tile.x2 - tile.left) / across,
            (tile.y2 - tile.top) / down,
        )
        count = len(source.objects(index).labels)
        places += [Place(index, number, matrix, part) for number in range(count)]
    return places


def reduction_for(scale: float) -> int:
    """Largest JPEG reduction (1, 2, 4, 8) that keeps at least one pixel per output pixel at this scale."""
    return next((r for r in (8, 4, 2) if scale * r <= 1.0), 1)


def _paint(output: Image, source: ImageSource, index: int, tile: Tile, matrix: Matrix) -> None:
    """Warp a tile into the output, if any of it shows."""
    if tile.empty:
        return
    corners = _outline(tile, matrix)
    across, down = corners.T.tolist()
    x1, y1 = (max(0, math.floor(min(v))) for v in (across, down))
    x2, y2 = (min(len(output), math.ceil(max(v)) + 1) for v in (across, down))
    if x1 >= x2 or y1 >= y2:
        return
    mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
    polygon = np.rint((corners - (x1, y1)) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillConvexPoly(mask, polygon, 255, cv2.LINE_8, _SHIFT)
    shown = cv2.countNonZero(mask)
    if not shown:  # turned, a tile may miss the output though its bounds do not
        return
    image, placed = _open(source, index, tile, scale_of(matrix))
    transform = compose(matrix, placed)
    transform[:, 2] -= (x1, y1)
    under = output[y1:y2, x1:x2]
    # Repeating the picture's edge, instead of mixing it with grey, leaves no dark seam between tiles.
    warped = cv2.warpAffine(
        image,
        transform,
        (x2 - x1, y2 - y1),
        dst=under if shown == mask.size else None,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if shown < mask.size:
        cv2.copyTo(warped, mask, under)


def _open(source: ImageSource, index: int, tile: Tile, scale: float) -> tuple[Image, Matrix]:
    """A tile's image, decoded for a scale (output per canvas pixels), and its matrix to the canvas."""
    height, width = source.size(index)
    reduction = reduction_for(scale * math.sqrt(tile.height * tile.width / (height * width)))
    image = source.load_image(index, reduction)
    if image.shape[:2] == (-(-height // reduction), -(-width // reduction)) != (height, width):
        # Reduced sizes are rounded up: the last pixel may lie partly outside the picture.
        factors = reduction * tile.width / width, reduction * tile.height / height
    else:  # whole although a part was asked for, or fitted before it was cached
        factors = tile.width / image.shape[1], tile.height / image.shape[0]
    return image, scaled_then_moved(*factors, tile.left, tile.top)


def _outline(tile: Tile, matrix: Matrix) -> NDArray[np.float64]:
    """(4, 2) corners of a tile in the output, in pixel indices (its edges lie half a pixel outside)."""
    x1, y1, x2, y2 = (v - 0.5 for v in (tile.x1, tile.y1, tile.x2, tile.y2))
    return transform_points(np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]), matrix)
