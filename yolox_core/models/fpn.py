"""YOLOv3's feature pyramid: top-down only (arXiv 1804.02767 §2.3)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from yolox_core.models.layers import ConvBlock


def _embedding(inputs: int, narrow: int, *, act: str) -> nn.Sequential:
    """Five convolutions, 1×1 and 3×3 in turn, ending at ``narrow`` channels."""
    wide = narrow * 2
    return nn.Sequential(
        ConvBlock(inputs, narrow, 1, act=act),
        ConvBlock(narrow, wide, 3, act=act),
        ConvBlock(wide, narrow, 1, act=act),
        ConvBlock(narrow, wide, 3, act=act),
        ConvBlock(wide, narrow, 1, act=act),
    )


class FeaturePyramid(nn.Module):
    """Merges coarse levels into finer ones.

    ``inputs``: channels at stride 8, 16, 32; ``channels``: the outputs', 128, 256, 512 at width 1.
    """

    def __init__(self, inputs: tuple[int, int, int], act: str = "leaky_relu") -> None:
        super().__init__()
        fine, middle, coarse = inputs
        self.reduce_coarse = ConvBlock(coarse, coarse // 2, 1, act=act)
        self.merge_middle = _embedding(coarse // 2 + middle, middle // 2, act=act)
        self.reduce_middle = ConvBlock(middle // 2, middle // 4, 1, act=act)
        self.merge_fine = _embedding(middle // 4 + fine, fine // 2, act=act)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.channels = (fine // 2, middle // 2, coarse)

    def forward(self, features: tuple[Float[Tensor, "B _ _ _"], ...]) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = features
        middle = self.merge_middle(torch.cat([self.upsample(self.reduce_coarse(coarse)), middle], dim=1))
        fine = self.merge_fine(torch.cat([self.upsample(self.reduce_middle(middle)), fine], dim=1))
        return fine, middle, coarse
