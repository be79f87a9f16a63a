"""Path aggregation: a feature pyramid with a second, bottom-up way (PANet, arXiv 1803.01534; the neck of
the models with Modified CSPNet v5, paper §2.2; details from the official code, version 0.3.0).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from yolox_core.models.csp_darknet import CSPLayer, bottlenecks
from yolox_core.models.layers import ConvBlock, conv_block


class PathAggregation(nn.Module):
    """Coarse levels into finer ones, and back.

    ``inputs``: channels at stride 8, 16, 32; ``channels``: the outputs', the same.
    """

    def __init__(
        self, inputs: tuple[int, int, int], depth: float = 1.0, act: str = "silu", depthwise: bool = False
    ) -> None:
        super().__init__()
        fine, middle, coarse = inputs

        def merge(channels: int, outputs: int) -> CSPLayer:
            return CSPLayer(
                channels, outputs, bottlenecks(depth), act=act, depthwise=depthwise, residual=False
            )

        def down(channels: int) -> nn.Module:
            return conv_block(channels, channels, 3, 2, act=act, depthwise=depthwise)

        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.reduce_coarse = ConvBlock(coarse, middle, 1, act=act)
        self.top_down_middle = merge(2 * middle, middle)
        self.reduce_middle = ConvBlock(middle, fine, 1, act=act)
        self.top_down_fine = merge(2 * fine, fine)
        self.downsample_fine = down(fine)
        self.bottom_up_middle = merge(2 * fine, middle)
        self.downsample_middle = down(middle)
        self.bottom_up_coarse = merge(2 * middle, coarse)
        self.channels = inputs

    def forward(self, features: tuple[Float[Tensor, "B _ _ _"], ...]) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = features
        coarse = self.reduce_coarse(coarse)
        middle = self.top_down_middle(torch.cat((self.upsample(coarse), middle), dim=1))
        middle = self.reduce_middle(middle)
        fine = self.top_down_fine(torch.cat((self.upsample(middle), fine), dim=1))
        middle = self.bottom_up_middle(torch.cat((self.downsample_fine(fine), middle), dim=1))
        coarse = self.bottom_up_coarse(torch.cat((self.downsample_middle(middle), coarse), dim=1))
        return fine, middle, coarse
