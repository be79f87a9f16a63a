"""Parameters and arithmetic of a detector, from its configuration alone.

What a command that must answer at once can say about cost: no model is built. The tests hold these
numbers against those that :mod:`yolox_core.profiling` counts on the built detectors.

Three conventions, because most disputes about "wrong GFLOPs" are about which one is meant:

macs          multiply-adds of the convolutions, biases left out
gflops        2 × macs, in 10⁹
gflops_paper  the paper's figures to the printed digit: 2 × (macs, plus one per biased output, two per
              batch-norm element and one per LeakyReLU element), in 10⁹. SiLU counts nothing: the profiler of
              the paper's time knew the one and not the other, and only so do all eleven figures come out
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from roadmap.recipe import Recipe
from yolox_core.config import DARKNETS, Ingredients, ModelConfig

#: DarkNet53: residual blocks and channels of the five stages (arXiv 1804.02767, Table 1).
DARKNET_BLOCKS = (1, 2, 8, 8, 4)
DARKNET_CHANNELS = (64, 128, 256, 512, 1024)
#: CSPDarknet: units of three bottlenecks per stage.
CSP_UNITS = (1, 3, 3, 1)
#: A backward pass does about twice the arithmetic of a forward pass.
TRAINING_FACTOR = 3


@dataclass(frozen=True)
class Conv:
    """A convolution. stride: image pixels per output pixel. norm: batch norm behind it, else a bias."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    groups: int = 1
    norm: bool = True

    @property
    def weights(self) -> int:
        return self.outputs * (self.inputs // self.groups) * self.kernel**2

    @property
    def params(self) -> int:
        """Weights, and the bias or the batch norm's scale and shift."""
        return self.weights + self.outputs * (2 if self.norm else 1)


@dataclass(frozen=True)
class Cost:
    """Size and arithmetic of one forward pass of one image, in the module's conventions."""

    params: int
    macs: int
    extras: int  # what gflops_paper counts beside the macs

    @property
    def gflops(self) -> float:
        return 2 * self.macs / 1e9

    @property
    def gflops_paper(self) -> float:
        return 2 * (self.macs + self.extras) / 1e9


def cost(model: ModelConfig, ingredients: Ingredients, image_size: int) -> Cost:
    """Cost of a detector at a square input of ``image_size`` pixels.

    Raises ValueError when that is no positive multiple of the coarsest stride.
    """
    coarsest = max(model.strides)
    if image_size < coarsest or image_size % coarsest:
        raise ValueError(f"image size must be a positive multiple of {coarsest}, not {image_size}")
    block_extras = 3 if model.activation == "leaky_relu" else 2
    params = macs = extras = 0
    for conv in convolutions(model, ingredients):
        pixels = (image_size // conv.stride) ** 2
        params += conv.params
        macs += pixels * conv.weights
        extras += pixels * conv.outputs * (block_extras if conv.norm else 1)
    return Cost(params, macs, extras)


def iterations(recipe: Recipe) -> int:
    """Optimiser steps of a training."""
    return recipe.training.epochs * recipe.training.iterations_per_epoch(recipe.dataset.train_images)


def training_flops(recipe: Recipe) -> float:
    """Estimated FLOPs (2 × multiply-adds) of a training: three forward passes' worth per image, averaged
    over the sides of multi-scale training. Evaluation is left out.
    """
    low, high = recipe.training.multiscale
    sides = range(low, high + 1, 32)
    forward = sum(2 * cost(recipe.model, recipe.ingredients, side).macs for side in sides) / len(sides)
    return TRAINING_FACTOR * forward * iterations(recipe) * recipe.training.batch_size


def convolutions(model: ModelConfig, ingredients: Ingredients) -> Iterator[Conv]:
    """Every convolution of the detector, backbone first."""
    if model.backbone in DARKNETS:
        channels = yield from _darknet53_fpn(model)
    else:
        channels = yield from _csp_darknet_pafpn(model)
    per_cell = 1 if ingredients.anchor_free else len(model.anchors[0])
    hidden = int(model.head_width * model.width)
    if ingredients.decoupled_head:
        yield from _decoupled_head(model, channels, per_cell, hidden)
        features = [hidden] * len(channels)
    else:
        yield from _coupled_head(model, channels, per_cell)
        features = [2 * c for c in channels]
    if ingredients.nms_free:
        yield from _one_to_one_head(model, features, per_cell, hidden)


#: Convolutions in order; returns the channels of the levels of stride 8, 16 and 32.
_Body = Generator[Conv, None, tuple[int, int, int]]


def _darknet53_fpn(model: ModelConfig) -> _Body:
    """DarkNet53, spatial pyramid pooling, YOLOv3's top-down pyramid."""
    stem, *sizes = (max(2, int(c * model.width)) for c in (32, *DARKNET_CHANNELS))
    yield Conv(3, stem, 3, 1)
    before, stride = stem, 1
    for size, blocks in zip(sizes, DARKNET_BLOCKS, strict=True):
        stride *= 2
        yield Conv(before, size, 3, stride)
        for _ in range(max(1, round(blocks * model.depth))):
            yield Conv(size, size // 2, 1, stride)
            yield Conv(size // 2, size, 3, stride)
        before = size
    fine, middle, wide = sizes[2:]
    coarse = wide // 2
    yield Conv(wide, coarse, 1, 32)
    yield Conv(coarse, wide, 3, 32)
    yield from _spatial_pyramid_pooling(wide, coarse)
    yield Conv(coarse, wide, 3, 32)
    yield Conv(wide, coarse, 1, 32)
    yield Conv(coarse, coarse // 2, 1, 32)
    yield from _embedding(coarse // 2 + middle, middle // 2, 16)
    yield Conv(middle // 2, middle // 4, 1, 16)
    yield from _embedding(middle // 4 + fine, fine // 2, 8)
    return fine // 2, middle // 2, coarse


def _embedding(inputs: int, narrow: int, stride: int) -> Iterator[Conv]:
    for before in (inputs, 2 * narrow):
        yield Conv(before, narrow, 1, stride)
        yield Conv(narrow, 2 * narrow, 3, stride)
    yield Conv(2 * narrow, narrow, 1, stride)


def _csp_darknet_pafpn(model: ModelConfig) -> _Body:
    """YOLOv5's CSPDarknet with a focus stem, and its path-aggregation pyramid."""
    base = max(2, int(64 * model.width))
    unit = max(1, round(3 * model.depth))
    yield Conv(12, base, 3, 2)
    channels, stride = base, 2
    for index, units in enumerate(CSP_UNITS):
        stride *= 2
        yield from _block(model, channels, 2 * channels, 3, stride)
        channels *= 2
        if index == len(CSP_UNITS) - 1:
            yield from _spatial_pyramid_pooling(channels, channels)
        yield from _csp_layer(model, channels, channels, unit * units, stride)
    fine, middle, coarse = channels // 4, channels // 2, channels
    yield Conv(coarse, middle, 1, 32)
    yield from _csp_layer(model, 2 * middle, middle, unit, 16)
    yield Conv(middle, fine, 1, 16)
    yield from _csp_layer(model, 2 * fine, fine, unit, 8)
    yield from _block(model, fine, fine, 3, 16)
    yield from _csp_layer(model, 2 * fine, middle, unit, 16)
    yield from _block(model, middle, middle, 3, 32)
    yield from _csp_layer(model, 2 * middle, coarse, unit, 32)
    return fine, middle, coarse


def _csp_layer(model: ModelConfig, inputs: int, outputs: int, repeats: int, stride: int) -> Iterator[Conv]:
    half = outputs // 2
    yield Conv(inputs, half, 1, stride)
    yield Conv(inputs, half, 1, stride)
    for _ in range(repeats):
        yield Conv(half, half, 1, stride)
        yield from _block(model, half, half, 3, stride)
    yield Conv(2 * half, outputs, 1, stride)


def _spatial_pyramid_pooling(inputs: int, outputs: int) -> Iterator[Conv]:
    yield Conv(inputs, inputs // 2, 1, 32)
    yield Conv(4 * (inputs // 2), outputs, 1, 32)


def _block(model: ModelConfig, inputs: int, outputs: int, kernel: int, stride: int) -> Iterator[Conv]:
    """A convolution, depthwise and pointwise where the model says so."""
    if model.depthwise:
        yield Conv(inputs, inputs, kernel, stride, groups=inputs)
        yield Conv(inputs, outputs, 1, stride)
    else:
        yield Conv(inputs, outputs, kernel, stride)


def _coupled_head(model: ModelConfig, channels: Sequence[int], per_cell: int) -> Iterator[Conv]:
    for width, stride in zip(channels, model.strides, strict=True):
        yield Conv(width, 2 * width, 3, stride)
        yield Conv(2 * width, per_cell * (5 + model.num_classes), 1, stride, norm=False)


def _decoupled_head(
    model: ModelConfig, channels: Sequence[int], per_cell: int, hidden: int
) -> Iterator[Conv]:
    for width, stride in zip(channels, model.strides, strict=True):
        yield Conv(width, hidden, 1, stride)
        for _ in range(4):  # two branches of two
            yield from _block(model, hidden, hidden, 3, stride)
        for outputs in (model.num_classes, 4, 1):
            yield Conv(hidden, per_cell * outputs, 1, stride, norm=False)


def _one_to_one_head(
    model: ModelConfig, features: Sequence[int], per_cell: int, hidden: int
) -> Iterator[Conv]:
    for width, stride in zip(features, model.strides, strict=True):
        yield Conv(width, hidden, 3, stride)
        yield Conv(hidden, hidden, 3, stride)
        yield Conv(hidden, per_cell, 1, stride, norm=False)
