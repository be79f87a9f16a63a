"""DarkNet53 with spatial pyramid pooling: YOLOv3-SPP's backbone (arXiv 1804.02767; paper §2.1)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from yolox_core.models.layers import ConvBlock, SpatialPyramidPooling

BLOCKS = (1, 2, 8, 8, 4)
CHANNELS = (64, 128, 256, 512, 1024)
#: ImageNet's mean colour, blue, green and red in 0 to 255.
IMAGENET_MEAN = (103.53, 116.28, 123.675)


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
    as_timm: what timm's DarkNet53 has different and no weights can make up for, before the pyramid pooling:
    negative slope 0.01, and the mean colour taken off the images (the first convolution pads with zeros, so
    a border is of that colour there and black otherwise). Only for weights that were trained so.
    """

    mean: Tensor | None

    def __init__(
        self, depth: float = 1.0, width: float = 1.0, act: str = "leaky_relu", *, as_timm: bool = False
    ) -> None:
        super().__init__()
        self.as_timm = as_timm
        mean = torch.tensor(IMAGENET_MEAN).view(3, 1, 1) if as_timm else None
        self.register_buffer("mean", mean, persistent=False)
        early = "flat_leaky_relu" if as_timm and act == "leaky_relu" else act
        sizes = [max(2, int(c * width)) for c in CHANNELS]
        stem = max(2, int(32 * width))
        self.stem = ConvBlock(3, stem, 3, act=early)
        stages = []
        for inputs, outputs, blocks in zip([stem, *sizes[:-1]], sizes, BLOCKS, strict=True):
            count = max(1, round(blocks * depth))
            residuals = (Residual(outputs, act=early) for _ in range(count))
            stages.append(nn.Sequential(ConvBlock(inputs, outputs, 3, 2, act=early), *residuals))
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

    def trunk(self) -> dict[str, ConvBlock]:
        """The blocks before the pyramid pooling, those of DarkNet53 itself, by name in the data's order."""
        blocks = ((name, block) for name, block in self.named_modules() if isinstance(block, ConvBlock))
        return {name: block for name, block in blocks if not name.startswith("pyramid.")}

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(images if self.mean is None else images - self.mean)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[2], features[3], self.pyramid(features[4])
