"""Box formats and IoU. Coordinates in pixels; any leading dimensions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def cxcywh_to_xyxy(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Centre and size to corners."""
    half = boxes[..., 2:] * 0.5
    return torch.cat((boxes[..., :2] - half, boxes[..., :2] + half), dim=-1)


def xyxy_to_cxcywh(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """Corners to centre and size."""
    return torch.cat(((boxes[..., :2] + boxes[..., 2:]) * 0.5, boxes[..., 2:] - boxes[..., :2]), dim=-1)


def paired_iou(a_cxcywh: Float[Tensor, "*n 4"], b_cxcywh: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n"]:
    """IoU of box i of a with box i of b; 0 for two empty boxes."""
    a, b = cxcywh_to_xyxy(a_cxcywh), cxcywh_to_xyxy(b_cxcywh)
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp_min(0)
    intersection = overlap[..., 0] * overlap[..., 1]
    union = a_cxcywh[..., 2:].prod(-1) + b_cxcywh[..., 2:].prod(-1) - intersection
    return intersection / (union + 1e-16)


def pairwise_iou(
    a_cxcywh: Float[Tensor, "B G 4"], b_cxcywh: Float[Tensor, "B N 4"]
) -> Float[Tensor, "B G N"]:
    """IoU of every box of a with every box of b, image by image; 0 for two empty boxes.

    Coordinates are handled one by one, so that the largest temporary is (B, G, N) and not (B, G, N, 4).
    """
    (ax1, ay1, ax2, ay2), area_a = _corners(a_cxcywh, -1)
    (bx1, by1, bx2, by2), area_b = _corners(b_cxcywh, -2)
    intersection = torch.minimum(ax2, bx2).sub_(torch.maximum(ax1, bx1)).clamp_min_(0)
    intersection *= torch.minimum(ay2, by2).sub_(torch.maximum(ay1, by1)).clamp_min_(0)
    union = (area_a + area_b).sub_(intersection).clamp_min_(1e-16)
    return intersection.div_(union)


def _corners(boxes_cxcywh: Float[Tensor, "B M 4"], axis: int) -> tuple[tuple[Tensor, ...], Tensor]:
    """Left, top, right, bottom and area, each contiguous, with a new dimension at ``axis``."""
    x, y, w, h = boxes_cxcywh.movedim(-1, 0).contiguous().unsqueeze(axis)
    return (x - w * 0.5, y - h * 0.5, x + w * 0.5, y + h * 0.5), w * h
