"""Networks of the sources of ImageNet weights: small, with their names, written from their architecture."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Residuals and channels of the five stages of a DarkNet53 at depth 0.2 and width 0.125, and its stem's.
RESIDUALS, CHANNELS, STEM = (1, 1, 2, 2, 1), (8, 16, 32, 64, 128), 4


class ConvNorm(nn.Module):
    def __init__(self, inputs: int, outputs: int, side: int, stride: int, slope: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)  # PyTorch's epsilon, 1e-5
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.bn(self.conv(x)), self.slope)


class Residual(nn.Module):
    def __init__(self, channels: int, slope: float) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels, channels // 2, 1, 1, slope)
        self.conv2 = ConvNorm(channels // 2, channels, 3, 1, slope)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


def stages() -> Iterator[tuple[int, int, int]]:
    """Channels before and after, and residuals, of each stage."""
    return zip((STEM, *CHANNELS[:-1]), CHANNELS, RESIDUALS, strict=True)


class TimmStage(nn.Module):
    def __init__(self, inputs: int, outputs: int, residuals: int) -> None:
        super().__init__()
        self.conv_down = ConvNorm(inputs, outputs, 3, 2, 0.01)
        self.blocks = nn.Sequential(*(Residual(outputs, 0.01) for _ in range(residuals)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.conv_down(x))


class Timm(nn.Module):
    """darknet53 of timm: PyTorch's slope; images in RGB, by ImageNet's mean and standard deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(OrderedDict(conv1=ConvNorm(3, STEM, 3, 1, 0.01)))
        self.stages = nn.Sequential(*(TimmStage(*stage) for stage in stages()))
        self.head = nn.Sequential(OrderedDict(fc=nn.Linear(CHANNELS[-1], 7)))

    def features(self, bgr: Tensor) -> list[Tensor]:
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        x, found = self.stem((bgr[:, [2, 1, 0]] / 255 - mean) / std), []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found[2:]


class Mmdetection(nn.Module):
    """Darknet of mmdetection: images in RGB, divided by 255."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, STEM, 3, 1, 0.1)
        for number, (inputs, outputs, residuals) in enumerate(stages(), 1):
            parts = OrderedDict[str, nn.Module](conv=ConvNorm(inputs, outputs, 3, 2, 0.1))
            parts |= {f"res{k}": Residual(outputs, 0.1) for k in range(residuals)}
            self.add_module(f"conv_res_block{number}", nn.Sequential(parts))

    def features(self, bgr: Tensor) -> list[Tensor]:
        x, found = self.conv1(bgr[:, [2, 1, 0]] / 255), []
        for number in range(1, 6):
            x = self.get_submodule(f"conv_res_block{number}")(x)
            found.append(x)
        return found[2:]


@torch.no_grad()
def randomise(network: nn.Module, run: Callable[[Tensor], object]) -> None:
    """Norms such as training leaves. Some channels hardly vary, so that it matters which epsilon is added."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight *= 10 ** torch.empty(len(layer.weight), 1, 1, 1).uniform_(-3, 0)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
            layer.momentum = 1.0
    network.train()
    run(photograph())
    network.eval()


def photograph() -> Tensor:
    """In blue, green and red of 0 to 255, bright up to its edges."""
    return torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(3)).float()


def write_darknet(
    network: Mmdetection, path: Path, *, version: tuple[int, int] = (0, 2), more: int = 0
) -> None:
    """The same network as Darknet saves it: numbers alone, layer by layer. more: numbers behind them."""
    seen = struct.pack("<q" if version >= (0, 2) else "<i", 32013312)
    content = struct.pack("<3i", *version, 0) + seen
    for layer in (m for m in network.modules() if isinstance(m, ConvNorm)):
        norm = layer.bn
        for values in (norm.bias, norm.weight, norm.running_mean, norm.running_var, layer.conv.weight):
            assert values is not None
            numbers = values.detach().flatten().tolist()
            content += struct.pack(f"<{len(numbers)}f", *numbers)
    path.write_bytes(content + struct.pack(f"<{more}f", *[0.5] * more))


class DarknetReader:
    """Darknet itself, as far as this network needs it: reads a file layer by layer and runs it."""

    def __init__(self, path: Path) -> None:
        self.data, self.at = path.read_bytes(), 0
        major, minor, _ = struct.unpack("<3i", self._bytes(12))
        self._bytes(8 if major * 10 + minor >= 2 else 4)

    def features(self, bgr: Tensor) -> list[Tensor]:
        x, found = self._convolution(bgr[:, [2, 1, 0]] / 255, STEM, 3), []
        for _, outputs, residuals in stages():
            x = self._convolution(x, outputs, 3, stride=2)
            for _ in range(residuals):
                x = x + self._convolution(self._convolution(x, outputs // 2, 1), outputs, 3)
            found.append(x)
        return found[2:]

    def _convolution(self, x: Tensor, outputs: int, side: int, stride: int = 1) -> Tensor:
        biases, scales, means, variances = (self._numbers(outputs).view(-1, 1, 1) for _ in range(4))
        kernel = self._numbers(outputs * x.shape[1] * side**2).view(outputs, x.shape[1], side, side)
        x = F.conv2d(x, kernel.to(x.dtype), stride=stride, padding=side // 2)
        x = scales * (x - means) / (variances + 1e-5).sqrt() + biases
        return torch.where(x > 0, x, 0.1 * x)

    def _numbers(self, count: int) -> Tensor:
        return torch.tensor(struct.unpack(f"<{count}f", self._bytes(4 * count)), dtype=torch.float64)

    def _bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]
