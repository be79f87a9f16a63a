"""Box codings: where priors stand, and how raw outputs become boxes and back.

``raw`` is what the head gives; ``offsets`` the same in the coding's own units, which the L1 loss compares;
``boxes`` are pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from yolox_core.config import AnchorShapes
from yolox_core.structures import Priors

#: Sizes are exp(offset); beyond this the box is millions of pixels wide and the loss overflows.
LARGEST_LOG_SIZE = 12.0


class PointCoding:
    """One prior per cell: the grid point. Centre relative to the cell's corner in strides, size as
    exp(offset) strides (paper §2.1 "Anchor-free"; FCOS's FAQ).
    """

    per_cell = 1

    def __init__(self, strides: tuple[int, ...]) -> None:
        self.strides = strides

    def priors(self, grid: tuple[tuple[int, int], ...], device: torch.device) -> Priors:
        """Priors of feature maps of ``grid`` (rows, columns) per level."""
        return _grid_priors(grid, self.strides, [[(s, s)] for s in self.strides], device)

    def offsets(self, raw: Float[Tensor, "B N 4"]) -> Float[Tensor, "B N 4"]:
        return raw

    def decode(self, offsets: Float[Tensor, "B N 4"], priors: Priors) -> Float[Tensor, "B N 4"]:
        """Offsets to cxcywh boxes."""
        stride = priors.strides[:, None]
        centre = (offsets[..., :2] + priors.cells) * stride
        return torch.cat((centre, offsets[..., 2:].clamp(max=LARGEST_LOG_SIZE).exp() * stride), -1)

    def encode(
        self,
        boxes_cxcywh: Float[Tensor, "P 4"],
        priors: Priors,
        index: Int[Tensor, " P"],
    ) -> Float[Tensor, "P 4"]:
        """Boxes to offsets, box i from prior ``index[i]``."""
        stride = priors.strides[index, None]
        centre = boxes_cxcywh[:, :2] / stride - priors.cells[index]
        return torch.cat((centre, torch.log(boxes_cxcywh[:, 2:] / stride + 1e-8)), -1)


class AnchorCoding:
    """Several anchor boxes per cell. Centre as the sigmoid's place in the cell, size as exp(offset)
    anchors (YOLOv3, arXiv 1804.02767 §2.1).
    """

    def __init__(self, strides: tuple[int, ...], anchors: AnchorShapes) -> None:
        self.strides = strides
        self.anchors = anchors
        self.per_cell = len(anchors[0])

    def priors(self, grid: tuple[tuple[int, int], ...], device: torch.device) -> Priors:
        """Priors of feature maps of ``grid`` (rows, columns) per level."""
        return _grid_priors(grid, self.strides, self.anchors, device)

    def offsets(self, raw: Float[Tensor, "B N 4"]) -> Float[Tensor, "B N 4"]:
        return torch.cat((raw[..., :2].sigmoid(), raw[..., 2:]), -1)

    def decode(self, offsets: Float[Tensor, "B N 4"], priors: Priors) -> Float[Tensor, "B N 4"]:
        """Offsets to cxcywh boxes."""
        centre = (offsets[..., :2] + priors.cells) * priors.strides[:, None]
        size = offsets[..., 2:].clamp(max=LARGEST_LOG_SIZE).exp() * priors.boxes_cxcywh[:, 2:]
        return torch.cat((centre, size), -1)

    def encode(
        self,
        boxes_cxcywh: Float[Tensor, "P 4"],
        priors: Priors,
        index: Int[Tensor, " P"],
    ) -> Float[Tensor, "P 4"]:
        """Boxes to offsets, box i from prior ``index[i]``."""
        centre = boxes_cxcywh[:, :2] / priors.strides[index, None] - priors.cells[index]
        size = boxes_cxcywh[:, 2:] / priors.boxes_cxcywh[index, 2:]
        return torch.cat((centre, torch.log(size + 1e-8)), -1)


Coding = PointCoding | AnchorCoding


def _grid_priors(
    grid: tuple[tuple[int, int], ...],
    strides: tuple[int, ...],
    shapes: AnchorShapes | list[list[tuple[int, int]]],
    device: torch.device,
) -> Priors:
    boxes, cells, stride_of, level_of, shape_of = [], [], [], [], []
    for level, ((rows, columns), stride) in enumerate(zip(grid, strides, strict=True)):
        size = torch.tensor(shapes[level], dtype=torch.float32, device=device)
        per_cell = len(size)
        y, x = torch.meshgrid(
            torch.arange(rows, device=device), torch.arange(columns, device=device), indexing="ij"
        )
        cell = torch.stack((x, y), -1).reshape(-1, 1, 2).float().expand(-1, per_cell, 2).reshape(-1, 2)
        count = len(cell)
        cells.append(cell)
        boxes.append(torch.cat(((cell + 0.5) * stride, size.repeat(rows * columns, 1)), -1))
        stride_of.append(torch.full((count,), float(stride), device=device))
        level_of.append(torch.full((count,), level, device=device))
        shape_of.append(torch.arange(per_cell, device=device).repeat(rows * columns))
    return Priors(
        torch.cat(boxes),
        torch.cat(cells),
        torch.cat(stride_of),
        torch.cat(level_of),
        torch.cat(shape_of),
        grid,
        len(shapes[0]),
    )
