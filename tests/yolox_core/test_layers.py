"""Building blocks: sizes, the settings the paper's figures depend on, and names that do not exist."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolox_core.models.darknet53 import DarkNet53
from yolox_core.models.fpn import FeaturePyramid
from yolox_core.models.layers import (
    ConvBlock,
    DepthwiseConvBlock,
    SpatialPyramidPooling,
    activation,
    conv_block,
)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_batch_norm_has_the_official_settings() -> None:
    norm = ConvBlock(2, 3, 3, act="silu").norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert (norm.eps, norm.momentum) == (1e-3, 0.03)


@pytest.mark.parametrize(("kernel", "stride", "side"), [(1, 1, 8), (3, 1, 8), (5, 1, 8), (3, 2, 4)])
def test_a_block_keeps_the_size_at_stride_one(kernel: int, stride: int, side: int) -> None:
    block = ConvBlock(2, 3, kernel, stride, act="leaky_relu")
    assert block(torch.zeros(1, 2, 8, 8)).shape == (1, 3, side, side)


def test_convolutions_have_no_bias_because_the_norm_has_one() -> None:
    assert parameters(ConvBlock(2, 3, 3, act="silu")) == 2 * 3 * 9 + 2 * 3


def test_a_depthwise_block_is_far_smaller() -> None:
    block = conv_block(16, 32, 3, act="silu", depthwise=True)
    assert isinstance(block, DepthwiseConvBlock)
    assert parameters(block) == (16 * 9 + 2 * 16) + (16 * 32 + 2 * 32)
    assert block(torch.zeros(1, 16, 8, 8)).shape == (1, 32, 8, 8)
    assert isinstance(conv_block(16, 32, 3, act="silu"), ConvBlock)


def test_activations() -> None:
    torch.testing.assert_close(activation("leaky_relu")(torch.tensor([-1.0, 2.0])), torch.tensor([-0.1, 2.0]))
    torch.testing.assert_close(activation("silu")(torch.tensor([0.0, 100.0])), torch.tensor([0.0, 100.0]))
    with pytest.raises(ValueError, match="leaky_relu or silu"):
        activation("mish")


def test_pyramid_pooling_keeps_the_size_and_sees_far() -> None:
    pooling = SpatialPyramidPooling(4, 6, act="leaky_relu").eval()
    x = torch.zeros(1, 4, 16, 16)
    assert pooling(x).shape == (1, 6, 16, 16)
    seen = torch.zeros(1, 4, 16, 16, requires_grad=True)
    with torch.no_grad():
        nn.init.constant_(pooling.reduce.conv.weight, 1.0)
        nn.init.constant_(pooling.merge.conv.weight, 1.0)
        seen[0, :, 2, 2] = 1.0
    (gradient,) = torch.autograd.grad(pooling(seen)[0, 0, 8, 8], seen)
    assert gradient[0, 0, 2, 2] > 0, "6 cells away: inside the 13 × 13 window"
    (gradient,) = torch.autograd.grad(pooling(seen)[0, 0, 9, 8], seen)
    assert gradient[0, 0, 2, 2] == 0, "7 cells away: outside"


@pytest.mark.parametrize("width", [1.0, 0.25])
def test_darknet53_and_pyramid_shapes(width: float) -> None:
    with torch.device("meta"):
        backbone = DarkNet53(width=width)
        neck = FeaturePyramid(backbone.channels)
        features = backbone(torch.zeros(1, 3, 64, 96))
    assert backbone.channels == tuple(int(c * width) for c in (256, 512, 512))
    assert [f.shape[1] for f in features] == list(backbone.channels)
    assert [tuple(f.shape[2:]) for f in features] == [(8, 12), (4, 6), (2, 3)]
    levels = neck(features)
    assert neck.channels == tuple(int(c * width) for c in (128, 256, 512))
    assert [level.shape[1] for level in levels] == list(neck.channels)
    assert [level.shape[2:] for level in levels] == [f.shape[2:] for f in features]


def test_darknet53_has_52_convolutions_before_the_pyramid_pooling() -> None:
    """Its name counts them and one fully connected layer (arXiv 1804.02767, Table 1)."""
    with torch.device("meta"):
        backbone = DarkNet53()
    body = [
        m for part in (backbone.stem, backbone.stages) for m in part.modules() if isinstance(m, nn.Conv2d)
    ]
    assert len(body) == 52


def test_coarse_levels_reach_the_finest_output() -> None:
    neck = FeaturePyramid((8, 16, 16)).eval()
    features = [torch.randn(1, c, s, s, requires_grad=True) for c, s in ((8, 8), (16, 4), (16, 2))]
    gradients = torch.autograd.grad(neck(tuple(features))[0].sum(), features)
    assert all(g.abs().sum() > 0 for g in gradients)
