"""What the assigners share: the call signature, and the step from claims to an assignment.

Everything here works on whole batches, without a Python loop over objects and without reading a value
back from the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from yolox_core.boxes import paired_iou
from yolox_core.structures import Assignment, Prediction, Priors, Targets

#: Entries of a table of objects × priors of several images: 1 GB of memory at the peak.
TABLE_ENTRIES = 1 << 25


@runtime_checkable
class Assigner(Protocol):
    """Decides which priors are positive for which object. Gradients never flow through it."""

    def __call__(self, priors: Priors, prediction: Prediction, targets: Targets) -> Assignment: ...


def image_parts(targets: Targets, priors: Priors) -> Iterator[slice]:
    """The batch in parts whose tables of objects × priors have at most :data:`TABLE_ENTRIES` entries, or
    one image each. Padding to the batch's most crowded image makes such tables large.
    """
    images, objects = targets.labels.shape
    together = max(1, TABLE_ENTRIES // max(1, objects * len(priors.strides)))
    return (slice(start, start + together) for start in range(0, images, together))


def assign_in_parts(assign: Assigner, priors: Priors, prediction: Prediction, targets: Targets) -> Assignment:
    """What ``assign`` says of the images, asked for as many at once as memory allows."""
    parts = list(image_parts(targets, priors))
    if len(parts) == 1:
        return assign(priors, prediction, targets)
    return join_images([assign(priors, prediction.images(part), targets.images(part)) for part in parts])


def join_images(parts: Sequence[Assignment]) -> Assignment:
    """Assignments of the parts of a batch as one."""
    if len(parts) == 1:
        return parts[0]
    return Assignment(
        torch.cat([part.matched for part in parts]),
        torch.cat([part.iou for part in parts]),
        torch.cat([part.ignored for part in parts]),
    )


def nothing_assigned(prediction: Prediction) -> Assignment:
    """No positives and nothing ignored: the answer for a batch without a single place for an object."""
    matched = torch.full_like(prediction.objectness, -1, dtype=torch.int64)
    return Assignment(
        matched, torch.zeros_like(prediction.objectness), torch.zeros_like(matched, dtype=torch.bool)
    )


def axes(priors: Priors) -> Iterator[tuple[Float[Tensor, " W"], Float[Tensor, " H"], Float[Tensor, ""]]]:
    """Per level: x of its columns and y of its rows (centres of the cells, in pixels), and its stride."""
    for (_, columns), (start, end) in zip(priors.grid, pairwise(priors.level_starts), strict=True):
        row = columns * priors.per_cell
        xs = priors.boxes_cxcywh[start : start + row : priors.per_cell, 0]
        ys = priors.boxes_cxcywh[start:end:row, 1]
        yield xs, ys, priors.strides[start]


def resolve_claims(claimed: Bool[Tensor, "B G N"], cost: Float[Tensor, "B G N"]) -> Tensor:
    """The object each prior goes to, (B, N), -1 for none: of the objects that claim it, the cheapest
    (the first of equals).
    """
    best_cost, best = torch.where(claimed, cost, torch.inf).min(dim=1)
    return torch.where(torch.isfinite(best_cost), best, -1)


def matched_boxes(matched: Tensor, targets: Targets) -> Float[Tensor, "B N 4"]:
    """Box of each prior's object; the first object's where there is none (mask it)."""
    index = matched.clamp_min(0).unsqueeze(-1).expand(-1, -1, 4)
    return targets.boxes_cxcywh.gather(1, index)


def matched_iou(matched: Tensor, prediction: Prediction, targets: Targets) -> Float[Tensor, "B N"]:
    """IoU of each prior's predicted box with its object, 0 where there is none."""
    iou = paired_iou(prediction.boxes_cxcywh, matched_boxes(matched, targets))
    return torch.where(matched >= 0, iou, 0.0)


def centre_cells(priors: Priors, targets: Targets, radius: int) -> Bool[Tensor, "B G N"]:
    """Priors whose cell is the one that holds the object's centre (radius 0), or one of the 3×3 around it
    (radius 1), on every level. A centre outside the image counts to the nearest cell of the border.
    """
    # a level's last prior stands in its last cell; slices, because a tensor of numbers would be a copy
    # from the host
    spans = list(pairwise(priors.level_starts))
    last = torch.cat([priors.cells[end - 1].expand(end - start, 2) for start, end in spans])
    centre = targets.boxes_cxcywh[:, :, None, :2] / priors.strides[:, None]
    cell = torch.minimum(centre.floor().clamp_min(0), last)
    return ((priors.cells - cell).abs() <= radius).all(-1)


def visible(priors: Priors, targets: Targets) -> Bool[Tensor, "B G"]:
    """Objects that are no padding and have some area inside the image."""
    rows, columns = priors.grid[0]
    stride = priors.strides[0]
    half = targets.boxes_cxcywh[..., 2:] * 0.5
    low = (targets.boxes_cxcywh[..., :2] - half).clamp_min(0)
    high = targets.boxes_cxcywh[..., :2] + half
    x = torch.minimum(high[..., 0], columns * stride) - low[..., 0]
    y = torch.minimum(high[..., 1], rows * stride) - low[..., 1]
    return targets.valid & (x > 0) & (y > 0)
