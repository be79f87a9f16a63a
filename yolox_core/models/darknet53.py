"""DarkNet53 with spatial pyramid pooling: YOLOv3-SPP's backbone (arXiv 1804.02767; paper §2.1)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from yolox_core.models.layers import ConvBlock, SpatialPyramidPooling

BLOCKS = (1, 2, 8, 8, 4)
CHANNELS = (64, 128, 256, 512, 1024)


class Residual(nn.Module):
    """1×1 to half the channels, 3×3 back, added to the input."""

    def __init__(self, channels: int, *, act: str) -> None:
        super().__init__()
        self.reduce = ConvBlock(channels, channels // 2, 1, act=act)
        self.expand = ConvBlock(channels // 2, channels, 3, act=act)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return x + self.expand(self.reduce(x))


class DarkNet53(nn.Module):
    """Features of stride 8, 16 and 32.

    ``channels`` lists theirs: 256, 512, 512 at width 1 (the pyramid pooling ends in a halving 1×1).
    """

    def __init__(self, depth: float = 1.0, width: float = 1.0, act: str = "leaky_relu") -> None:
        super().__init__()
        sizes = [max(2, int(c * width)) for c in CHANNELS]
        stem = max(2, int(32 * width))
        self.stem = ConvBlock(3, stem, 3, act=act)
        stages = []
        for inputs, outputs, blocks in zip([stem, *sizes[:-1]], sizes, BLOCKS, strict=True):
            count = max(1, round(blocks * depth))
            residuals = (Residual(outputs, act=act) for _ in range(count))
            stages.append(nn.Sequential(ConvBlock(inputs, outputs, 3, 2, act=act), *residuals))
        self.stages = nn.ModuleList(stages)
        half, full = sizes[4] // 2, sizes[4]
        self.pyramid = nn.Sequential(
            ConvBlock(full, half, 1, act=act),
            ConvBlock(half, full, 3, act=act),
            SpatialPyramidPooling(full, half, act=act),
            ConvBlock(half, full, 3, act=act),
            ConvBlock(full, half, 1, act=act),
        )
        self.channels = (sizes[2], sizes[3], half)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(images)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[2], features[3], self.pyramid(features[4])
