"""The two training pipelines: weak (flip, colour jitter) and strong (Mosaic, affine, Copy-Paste, MixUp, then
the same).

Multi-scale is not here: batches are resized on the device, to the side of
:func:`yolox_core.data.loader.training_side`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from yolox_core.augmentation.copy_paste import copy_paste, draw_copy_paste
from yolox_core.augmentation.letterbox import fit_ratio, fit_size, pad, resize, scale_boxes
from yolox_core.augmentation.mixup import draw_mixup, mixup
from yolox_core.augmentation.mosaic import draw_mosaic, mosaic, mosaic_places, reduction_for
from yolox_core.augmentation.sample import Image, ImageSource, ImageTargets, drop_small
from yolox_core.augmentation.steps import Flip, HsvJitter
from yolox_core.config import AugmentationConfig, TrainConfig


class Pipeline(Protocol):
    """Makes training sample ``index`` of a dataset: (S, S, 3) uint8 BGR and its objects in its pixels."""

    def __call__(
        self, source: ImageSource, index: int, rng: np.random.Generator
    ) -> tuple[Image, ImageTargets]: ...


@dataclass(frozen=True)
class WeakPipeline:
    """Fit into the square, colour jitter, horizontal flip.

    The flip comes before the padding, so that the picture always lies at the top left, as at test time.
    """

    size: int
    hsv: HsvJitter
    flip: Flip

    def __call__(
        self, source: ImageSource, index: int, rng: np.random.Generator
    ) -> tuple[Image, ImageTargets]:
        size = source.size(index)
        ratio = fit_ratio(*size, self.size)
        # The shape follows from the whole image, whether it was decoded at a part of its size or cached.
        image = resize(source.load_image(index, reduction_for(ratio)), fit_size(*size, self.size))
        targets = scale_boxes(source.objects(index), ratio)
        image, targets = self.hsv(image, targets, rng)
        image, targets = self.flip(image, targets, rng)
        return pad(image, self.size), drop_small(targets)


@dataclass(frozen=True)
class StrongPipeline:
    """Mosaic with a random affine, MixUp, colour jitter, horizontal flip (official code, 0.3.0).

    Copy-Paste, where it is asked for, takes MixUp's place in the order, or stands before it. A sample that
    draws no Mosaic goes through the weak pipeline, with neither.
    """

    size: int
    config: AugmentationConfig
    weak: WeakPipeline

    def __call__(
        self, source: ImageSource, index: int, rng: np.random.Generator
    ) -> tuple[Image, ImageTargets]:
        if rng.random() >= self.config.mosaic:
            return self.weak(source, index, rng)
        draw = draw_mosaic(rng, index, len(source), self.size, self.config)
        image, targets = mosaic(source, draw, self.size)
        # Without Copy-Paste nothing is drawn for it, so that runs from before it see the samples they saw.
        chance = self.config.copy_paste
        if chance and rng.random() < chance and len(source.nonempty):
            pasted = draw_copy_paste(rng, source, self.size, self.config.copy_paste_scale)
            places = mosaic_places(source, draw, self.size)
            visible = self.config.copy_paste_visible
            image, targets = copy_paste(source, pasted, image, targets, places, visible)
        if len(targets.labels) and rng.random() < self.config.mixup:
            second = draw_mixup(rng, source.nonempty, self.size, self.config.mixup_scale)
            image, targets = mixup(source, second, image, targets)
        image, targets = self.weak.hsv(image, targets, rng)
        image, targets = self.weak.flip(image, targets, rng)
        return image, drop_small(targets)


def weak_pipeline(config: TrainConfig) -> WeakPipeline:
    """The pipeline without strong augmentation, also used in its closing epochs."""
    return WeakPipeline(config.image_size, HsvJitter(config.augmentation.hsv), Flip(config.augmentation.flip))


def strong_pipeline(config: TrainConfig) -> StrongPipeline:
    """The pipeline with strong augmentation."""
    return StrongPipeline(config.image_size, config.augmentation, weak_pipeline(config))
