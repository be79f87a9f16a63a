"""Random affine transform of a Mosaic canvas, as the official code draws it (0.3.0).

Matrices are (2, 3) float64 and map (x, y, 1) of the canvas to the output.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from yolox_core.augmentation.sample import Boxes
from yolox_core.config import AugmentationConfig

Matrix = NDArray[np.float64]


def draw_affine(rng: np.random.Generator, size: int, config: AugmentationConfig) -> Matrix:
    """Rotation and scale about the canvas's top-left corner, then shear, then translation.

    The official code does not centre the canvas first, so that at scale 1 one sees its top-left quarter.
    """
    angle = rng.uniform(-config.degrees, config.degrees)
    scale = rng.uniform(*config.mosaic_scale)
    shear_x, shear_y = rng.uniform(-config.shear, config.shear, 2)
    translation = rng.uniform(-config.translate, config.translate, 2) * size
    return affine_matrix(angle, scale, (shear_x, shear_y), (translation[0], translation[1]))


def affine_matrix(
    angle: float, scale: float, shear: tuple[float, float], translation: tuple[float, float]
) -> Matrix:
    """Matrix of given draws: angle and shear in degrees (positive: anticlockwise), translation in pixels."""
    cos, sin = (scale * f(math.radians(angle)) for f in (math.cos, math.sin))
    turn_x, turn_y = np.array([cos, sin]), np.array([-sin, cos])
    tan_x, tan_y = (math.tan(math.radians(s)) for s in shear)
    matrix = np.empty((2, 3))
    matrix[0, :2] = turn_x + tan_y * turn_y
    matrix[1, :2] = turn_y + tan_x * turn_x
    matrix[:, 2] = translation
    return matrix


def scale_of(matrix: Matrix) -> float:
    """Mean enlargement of lengths: the square root of the enlargement of areas."""
    (a, b), (c, d) = matrix[:, :2].tolist()
    return math.sqrt(abs(a * d - b * c))


def scaled_then_moved(factor_x: float, factor_y: float, left: float, top: float) -> Matrix:
    """Scale an image's edges by the factors and put its top-left corner at (left, top), in pixel indices.

    Pixel i covers [i, i + 1): the corner is at index -0.5. Same convention as ``cv2.resize`` and a paste.
    """
    return np.array(
        [[factor_x, 0.0, left + 0.5 * factor_x - 0.5], [0.0, factor_y, top + 0.5 * factor_y - 0.5]]
    )


def compose(second: Matrix, first: Matrix) -> Matrix:
    """The transform that applies ``first``, then ``second``."""
    result = second[:, :2] @ first
    result[:, 2] += second[:, 2]
    return result


def transform_points(points: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """(..., 2) points through a matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def transform_boxes(boxes_xyxy: Boxes, matrix: Matrix, size: int) -> Boxes:
    """Smallest upright boxes around the transformed corners, clipped to a square of ``size`` pixels."""
    corners = boxes_xyxy[:, [0, 1, 2, 3, 0, 3, 2, 1]].reshape(-1, 4, 2).astype(np.float64)
    moved = transform_points(corners, matrix)
    boxes = np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)
    return np.clip(boxes, 0, size).astype(np.float32)
