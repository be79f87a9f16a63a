"""Fit an image into a square, as the official code does before the network."""

from __future__ import annotations

import cv2
import numpy as np

from yolox_core.augmentation.sample import PAD_VALUE, Image, ImageTargets


def fit_ratio(height: int, width: int, size: int) -> float:
    """Factor that makes an image just fit into a square of ``size`` pixels."""
    return min(size / height, size / width)


def fit_size(height: int, width: int, size: int) -> tuple[int, int]:
    """(height, width) after fitting: rounded down as in the official code, but never below one pixel."""
    ratio = fit_ratio(height, width, size)
    return max(1, int(height * ratio)), max(1, int(width * ratio))


def fit(image: Image, size: int) -> Image:
    """Bilinear resize to :func:`fit_size`; the image itself when it has that size already."""
    return resize(image, fit_size(image.shape[0], image.shape[1], size))


def resize(image: Image, shape: tuple[int, int]) -> Image:
    """Bilinear resize to (height, width); the image itself when it has that shape already."""
    if image.shape[:2] == shape:
        return image
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_LINEAR)


def pad(image: Image, size: int) -> Image:
    """Place an image at the top left of a grey square of ``size`` pixels."""
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return np.ascontiguousarray(image)
    canvas = np.full((size, size, 3), PAD_VALUE, np.uint8)
    canvas[:height, :width] = image
    return canvas


def letterbox(image: Image, size: int) -> tuple[Image, float]:
    """Image at the top left of a grey (114) square of ``size`` pixels, and the ratio it was scaled by.

    Boxes of the original times the ratio are boxes of the result; divide predictions by it. Same pixels
    as the official inference pre-processing (0.3.0, before its conversion to float).
    """
    return pad(fit(image, size), size), fit_ratio(image.shape[0], image.shape[1], size)


def scale_boxes(targets: ImageTargets, ratio: float) -> ImageTargets:
    """Objects after a letterbox with this ratio."""
    return ImageTargets(targets.boxes_xyxy * np.float32(ratio), targets.labels)
