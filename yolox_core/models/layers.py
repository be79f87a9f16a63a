"""Layers that the backbones, necks and heads are made of."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

#: The official code's batch-norm settings (version 0.3.0).
NORM_EPS, NORM_MOMENTUM = 1e-3, 0.03


def activation(name: str) -> nn.Module:
    """``leaky_relu`` (slope 0.1, as DarkNet), ``flat_leaky_relu`` (0.01, as in timm's DarkNet53)
    or ``silu``. Raises ValueError for another name.
    """
    if name == "leaky_relu":
        return nn.LeakyReLU(0.1, inplace=True)
    if name == "flat_leaky_relu":
        return nn.LeakyReLU(0.01, inplace=True)
    if name == "silu":
        return SiLU()
    raise ValueError(f"activation must be leaky_relu or silu, not {name!r}")


class SiLU(nn.SiLU):
    """SiLU that overwrites its input only where no gradient is taken: its gradient needs the input, and
    PyTorch would copy that first.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x, inplace=not (torch.is_grad_enabled() and x.requires_grad))


class ConvBlock(nn.Module):
    """Convolution without bias, batch norm, activation; padded to keep the size at stride 1."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, act: str, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=(kernel - 1) // 2, groups=groups, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=NORM_EPS, momentum=NORM_MOMENTUM)
        self.activation = activation(act)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        return self.activation(self.norm(self.conv(x)))


class DepthwiseConvBlock(nn.Module):
    """Depthwise convolution followed by a pointwise one, each a :class:`ConvBlock` (YOLOX-Nano)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, act: str) -> None:
        super().__init__()
        self.depthwise = ConvBlock(inputs, inputs, kernel, stride, act=act, groups=inputs)
        self.pointwise = ConvBlock(inputs, outputs, 1, act=act)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        return self.pointwise(self.depthwise(x))


def conv_block(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, act: str, depthwise: bool = False
) -> nn.Module:
    """A dense or a depthwise-separable block."""
    cls = DepthwiseConvBlock if depthwise else ConvBlock
    return cls(inputs, outputs, kernel, stride, act=act)


class SpatialPyramidPooling(nn.Module):
    """1×1 to half the channels, max pooling of several sizes side by side, 1×1 to ``outputs``."""

    def __init__(self, inputs: int, outputs: int, *, act: str, kernels: tuple[int, ...] = (5, 9, 13)) -> None:
        super().__init__()
        hidden = inputs // 2
        self.reduce = ConvBlock(inputs, hidden, 1, act=act)
        self.pools = nn.ModuleList(nn.MaxPool2d(k, stride=1, padding=k // 2) for k in kernels)
        self.merge = ConvBlock(hidden * (len(kernels) + 1), outputs, 1, act=act)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
        x = self.reduce(x)
        return self.merge(torch.cat([x, *(pool(x) for pool in self.pools)], dim=1))
