"""Heads: feature maps to raw outputs per prior.

Both heads speak the same language, so that nothing behind them knows which one is there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from yolox_core.models.layers import ConvBlock, conv_block

#: Probability that an untrained head gives to every class and to objectness (RetinaNet §4.1).
PRIOR_PROBABILITY = 0.01


class RawOutput(NamedTuple):
    """Raw outputs of all levels (N priors in the order of structures.Priors) and, per level, the features
    that the box is predicted from.
    """

    boxes: Float[Tensor, "B N 4"]
    objectness: Float[Tensor, "B N"]
    classes: Float[Tensor, "B N C"]
    features: list[Tensor]


def flatten_level(maps: Float[Tensor, "B AD H W"], per_cell: int) -> Float[Tensor, "B HWA D"]:
    """A level's map to one row per prior: row-major cells, the cell's priors innermost. In float32:
    losses and decoding are not safe in half precision.
    """
    batch, channels, rows, columns = maps.shape
    split = maps.view(batch, per_cell, channels // per_cell, rows, columns)
    return split.permute(0, 3, 4, 1, 2).reshape(batch, rows * columns * per_cell, -1).float()


def set_prior_probability(bias: Tensor) -> None:
    """Fill a logit's bias so that the untrained output is PRIOR_PROBABILITY."""
    with torch.no_grad():
        bias.fill_(-math.log((1 - PRIOR_PROBABILITY) / PRIOR_PROBABILITY))


class CoupledHead(nn.Module):
    """YOLOv3's head: per level a 3×3 convolution that doubles the channels, then one 1×1 for everything."""

    def __init__(self, channels: tuple[int, ...], per_cell: int, classes: int, *, act: str) -> None:
        super().__init__()
        self.per_cell = per_cell
        self.convs = nn.ModuleList(ConvBlock(c, 2 * c, 3, act=act) for c in channels)
        self.outputs = nn.ModuleList(nn.Conv2d(2 * c, per_cell * (5 + classes), 1) for c in channels)
        self.feature_channels = tuple(2 * c for c in channels)
        for output in self.outputs:
            set_prior_probability(output.bias.view(per_cell, -1)[:, 4:])  # type: ignore[operator]

    def forward(self, levels: tuple[Tensor, ...]) -> RawOutput:
        features = [conv(level) for conv, level in zip(self.convs, levels, strict=True)]
        raw = torch.cat(
            [
                flatten_level(output(x), self.per_cell)
                for output, x in zip(self.outputs, features, strict=True)
            ],
            dim=1,
        )
        return RawOutput(raw[..., :4], raw[..., 4], raw[..., 5:], features)


class DecoupledHead(nn.Module):
    """Per level a 1×1 stem, then two branches of two 3×3 convolutions: classification from one, box and
    objectness from the other (paper §2.1, Figure 2).
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        per_cell: int,
        classes: int,
        *,
        hidden: int = 256,
        act: str,
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        self.per_cell = per_cell
        self.feature_channels = (hidden,) * len(channels)

        def branch() -> nn.Sequential:
            return nn.Sequential(
                *(conv_block(hidden, hidden, 3, act=act, depthwise=depthwise) for _ in range(2))
            )

        def outputs(per_prior: int) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(hidden, per_cell * per_prior, 1) for _ in channels)

        self.stems = nn.ModuleList(ConvBlock(c, hidden, 1, act=act) for c in channels)
        self.class_convs = nn.ModuleList(branch() for _ in channels)
        self.box_convs = nn.ModuleList(branch() for _ in channels)
        self.class_outputs = outputs(classes)
        self.box_outputs = outputs(4)
        self.objectness_outputs = outputs(1)
        for output in (*self.class_outputs, *self.objectness_outputs):
            set_prior_probability(output.bias)

    def forward(self, levels: tuple[Tensor, ...]) -> RawOutput:
        boxes, objectness, classes, features = [], [], [], []
        for k, level in enumerate(levels):
            x = self.stems[k](level)
            class_features, box_features = self.class_convs[k](x), self.box_convs[k](x)
            classes.append(flatten_level(self.class_outputs[k](class_features), self.per_cell))
            boxes.append(flatten_level(self.box_outputs[k](box_features), self.per_cell))
            objectness.append(flatten_level(self.objectness_outputs[k](box_features), self.per_cell))
            features.append(box_features)
        return RawOutput(
            torch.cat(boxes, 1), torch.cat(objectness, 1).squeeze(-1), torch.cat(classes, 1), features
        )


class OneToOneHead(nn.Module):
    """The NMS-free branch: two 3×3 convolutions on the detached box features, one logit per prior
    (paper §2.1, after arXiv 2101.11782).
    """

    def __init__(self, channels: tuple[int, ...], per_cell: int, *, hidden: int = 256, act: str) -> None:
        super().__init__()
        self.per_cell = per_cell
        self.convs = nn.ModuleList(
            nn.Sequential(ConvBlock(c, hidden, 3, act=act), ConvBlock(hidden, hidden, 3, act=act))
            for c in channels
        )
        self.outputs = nn.ModuleList(nn.Conv2d(hidden, per_cell, 1) for _ in channels)
        for output in self.outputs:
            set_prior_probability(output.bias)  # type: ignore[arg-type]

    def forward(self, features: list[Tensor]) -> Float[Tensor, "B N"]:
        logits = [
            flatten_level(self.outputs[k](self.convs[k](level.detach())), self.per_cell)
            for k, level in enumerate(features)
        ]
        return torch.cat(logits, 1).squeeze(-1)
