"""The steps of both pipelines that need one image only: ``(image, targets, rng) -> (image, targets)``.

A step may change the image it is given in place; it always returns the one to go on with.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from yolox_core.augmentation.sample import Image, ImageTargets


@dataclass(frozen=True)
class Flip:
    """Mirror left and right with a probability."""

    probability: float = 0.5

    def __call__(
        self, image: Image, targets: ImageTargets, rng: np.random.Generator
    ) -> tuple[Image, ImageTargets]:
        if rng.random() >= self.probability:
            return image, targets
        return cv2.flip(image, 1), flip_boxes(targets, image.shape[1])


def flip_boxes(targets: ImageTargets, width: float) -> ImageTargets:
    """Objects of an image of this width (pixels) after mirroring left and right."""
    boxes = targets.boxes_xyxy.copy()
    boxes[:, 0::2] = np.float32(width) - boxes[:, 2::-2]
    return ImageTargets(boxes, targets.labels)


@dataclass(frozen=True)
class HsvJitter:
    """Add a constant to hue, saturation and value; each of them is switched on half of the time.

    limits: largest shift of hue (of 180, wraps around), saturation and value (of 255, clipped). The
    official code's colour jitter (0.3.0), to the bit for the same shifts.
    """

    limits: tuple[float, float, float] = (5.0, 30.0, 30.0)

    def __call__(
        self, image: Image, targets: ImageTargets, rng: np.random.Generator
    ) -> tuple[Image, ImageTargets]:
        shifts = rng.uniform(-1.0, 1.0, 3) * self.limits * rng.integers(0, 2, 3)
        return shift_hsv(image, shifts.astype(np.int16)), targets


def shift_hsv(image: Image, shifts: NDArray[np.int16]) -> Image:
    """Image with whole-number shifts of hue (half degrees), saturation and value."""
    if not shifts.any():
        return image
    hue, *others = shifts.tolist()
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    # OpenCV's sums saturate at 0 and 255, which is the clipping wanted, and cost an eighth of a table.
    up = (0.0, *(max(s, 0) for s in others), 0.0)
    down = (0.0, *(max(-s, 0) for s in others), 0.0)
    if any(up):
        cv2.add(hsv, up, dst=hsv)
    if any(down):
        cv2.subtract(hsv, down, dst=hsv)
    if hue:
        table = ((np.arange(256) + hue) % 180).astype(np.uint8)
        cv2.insertChannel(cv2.LUT(cv2.extractChannel(hsv, 0), table), hsv, 0)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR, dst=hsv)
