"""The vocabulary that the parts of the detector share.

B images, G objects (padded), N priors over all levels, C classes. Boxes are in pixels of the network's
input unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Priors:
    """All places a prediction starts from, level after level, row-major, shapes innermost.

    boxes_cxcywh: (N, 4) the anchor box; for a point, the cell's centre and a square of one stride.
    cells: (N, 2) column and row of the cell. strides: (N,) pixels per cell. levels: (N,) level index.
    shapes: (N,) index of the anchor within its cell (0 for points).
    grid: per level (rows, columns). per_cell: priors per cell.
    """

    boxes_cxcywh: Float[Tensor, "N 4"]
    cells: Float[Tensor, "N 2"]
    strides: Float[Tensor, " N"]
    levels: Int[Tensor, " N"]
    shapes: Int[Tensor, " N"]
    grid: tuple[tuple[int, int], ...]
    per_cell: int

    @property
    def level_starts(self) -> tuple[int, ...]:
        """Index of the first prior of each level, then N."""
        starts = [0]
        for rows, columns in self.grid:
            starts.append(starts[-1] + rows * columns * self.per_cell)
        return tuple(starts)


@dataclass(frozen=True)
class Prediction:
    """What a branch says about every prior.

    boxes_cxcywh: (B, N, 4) decoded. offsets: (B, N, 4) the same in the coding's own units, for the L1
    loss. objectness: (B, N) logits. classes: (B, N, C) logits. one_to_one: (B, N) logits of the NMS-free
    branch, or None.
    """

    boxes_cxcywh: Float[Tensor, "B N 4"]
    offsets: Float[Tensor, "B N 4"]
    objectness: Float[Tensor, "B N"]
    classes: Float[Tensor, "B N C"]
    one_to_one: Float[Tensor, "B N"] | None = None

    def images(self, part: slice) -> Prediction:
        """The same for some of the images."""
        single = self.one_to_one[part] if self.one_to_one is not None else None
        return Prediction(
            self.boxes_cxcywh[part], self.offsets[part], self.objectness[part], self.classes[part], single
        )


@dataclass(frozen=True)
class Targets:
    """Ground truth of a batch, padded to the same number of objects.

    boxes_cxcywh: (B, G, 4) pixels. labels: (B, G) contiguous class index, -1 where padded.
    """

    boxes_cxcywh: Float[Tensor, "B G 4"]
    labels: Int[Tensor, "B G"]

    @property
    def valid(self) -> Bool[Tensor, "B G"]:
        return self.labels >= 0

    def images(self, part: slice) -> Targets:
        """The same for some of the images."""
        return Targets(self.boxes_cxcywh[part], self.labels[part])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Targets:
        return Targets(
            self.boxes_cxcywh.to(device, non_blocking=non_blocking),
            self.labels.to(device, non_blocking=non_blocking),
        )


@dataclass(frozen=True)
class Assignment:
    """Which priors are positive for which object.

    matched: (B, N) index of the object, -1 for none. iou: (B, N) IoU of the predicted box with its
    object, 0 where none. ignored: (B, N) neither positive nor negative for the objectness.
    """

    matched: Int[Tensor, "B N"]
    iou: Float[Tensor, "B N"]
    ignored: Bool[Tensor, "B N"]

    @property
    def positive(self) -> Bool[Tensor, "B N"]:
        return self.matched >= 0


class ImageDetections(NamedTuple):
    """Detections of one image, best first, in pixels of the network's input."""

    boxes_xyxy: Float[Tensor, "M 4"]
    scores: Float[Tensor, " M"]
    labels: Int[Tensor, " M"]
