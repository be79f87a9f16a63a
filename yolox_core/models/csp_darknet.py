"""Modified CSPNet v5: the backbone of YOLOX-Nano, Tiny, S, M, L and X (paper §2.2; details from the
official code, version 0.3.0).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from yolox_core.models.layers import ConvBlock, SpatialPyramidPooling, conv_block

#: Bottlenecks of the four stages before the depth multiplier.
BLOCKS = (3, 9, 9, 3)


class Focus(nn.Module):
    """Stem: every 2×2 patch becomes one pixel of 12 channels, then a 3×3 convolution.

    The patch's pixels are stacked column by column; official weights depend on that order.
    """

    def __init__(self, outputs: int, *, act: str) -> None:
        super().__init__()
        self.conv = ConvBlock(12, outputs, 3, act=act)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C H/2 W/2"]:
        patches = [images[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(patches, dim=1))


class Bottleneck(nn.Module):
    """1×1, then 3×3 (depthwise-separable in Nano); added to the input when ``residual``."""

    def __init__(self, channels: int, *, act: str, depthwise: bool, residual: bool) -> None:
        super().__init__()
        self.reduce = ConvBlock(channels, channels, 1, act=act)
        self.expand = conv_block(channels, channels, 3, act=act, depthwise=depthwise)
        self.residual = residual

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        y = self.expand(self.reduce(x))
        return x + y if self.residual else y


class CSPLayer(nn.Module):
    """Cross-stage partial layer: half of the channels goes through the bottlenecks, half around them
    (arXiv 1911.11929, as in YOLOv5's C3).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        blocks: int,
        *,
        act: str,
        depthwise: bool = False,
        residual: bool = True,
    ) -> None:
        super().__init__()
        hidden = outputs // 2
        self.enter = ConvBlock(inputs, hidden, 1, act=act)
        self.bypass = ConvBlock(inputs, hidden, 1, act=act)
        self.blocks = nn.Sequential(
            *(Bottleneck(hidden, act=act, depthwise=depthwise, residual=residual) for _ in range(blocks))
        )
        self.merge = ConvBlock(2 * hidden, outputs, 1, act=act)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        return self.merge(torch.cat((self.blocks(self.enter(x)), self.bypass(x)), dim=1))


class CSPDarknet(nn.Module):
    """Features of stride 8, 16 and 32; ``channels`` lists theirs: 256, 512, 1024 at width 1."""

    def __init__(
        self, depth: float = 1.0, width: float = 1.0, act: str = "silu", depthwise: bool = False
    ) -> None:
        super().__init__()
        base = max(2, int(64 * width))
        self.stem = Focus(base, act=act)
        stages = []
        for level, blocks in enumerate(BLOCKS):
            inputs, outputs = base << level, base << level + 1
            last = level == len(BLOCKS) - 1
            pooling = (SpatialPyramidPooling(outputs, outputs, act=act),) if last else ()
            stages.append(
                nn.Sequential(
                    conv_block(inputs, outputs, 3, 2, act=act, depthwise=depthwise),
                    *pooling,
                    CSPLayer(
                        outputs,
                        outputs,
                        blocks // 3 * bottlenecks(depth),
                        act=act,
                        depthwise=depthwise,
                        residual=not last,
                    ),
                )
            )
        self.stages = nn.ModuleList(stages)
        self.channels = (base * 4, base * 8, base * 16)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(images)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[1], features[2], features[3]


def bottlenecks(depth: float) -> int:
    """Bottlenecks of a CSP layer of nominally three; the depth multiplier rounds once, on those three."""
    return max(1, round(3 * depth))
