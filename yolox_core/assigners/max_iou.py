"""YOLOv3's assigner: positives are the cells at an object's centre, of the anchor that fits it best.

arXiv 1804.02767 §2.1. "Best" is the IoU of the shapes, as if both stood at the same place. Predictions
that overlap an object well without being its positive are ignored by the objectness loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from yolox_core.assigners.common import (
    assign_in_parts,
    centre_cells,
    matched_iou,
    nothing_assigned,
    resolve_claims,
    visible,
)
from yolox_core.boxes import pairwise_iou
from yolox_core.structures import Assignment, Prediction, Priors, Targets


@dataclass(frozen=True)
class MaxIoUAssigner:
    """radius: 0 for the centre cell (one positive per object), 1 for the centre 3×3 (multi positives).
    ignore_iou: predictions above this IoU with any object are no negatives.

    A prior claimed by several objects goes to the one whose shape fits its anchor best.
    """

    radius: int = 0
    ignore_iou: float = 0.7

    @torch.no_grad()
    def __call__(self, priors: Priors, prediction: Prediction, targets: Targets) -> Assignment:
        if targets.labels.shape[1] == 0:
            return nothing_assigned(prediction)
        return assign_in_parts(self._assign, priors, prediction, targets)

    def _assign(self, priors: Priors, prediction: Prediction, targets: Targets) -> Assignment:
        shape_iou = self._shape_iou(priors, targets)
        best = shape_iou.amax(dim=-1, keepdim=True)
        # several priors share the best shape: all cells of its level. Of equal shapes, the first.
        shape_id = priors.levels * priors.per_cell + priors.shapes
        first = torch.where(shape_iou == best, shape_id, shape_id.numel()).amin(dim=-1, keepdim=True)
        claimed = (shape_id == first) & centre_cells(priors, targets, self.radius)
        claimed &= visible(priors, targets)[..., None]
        matched = resolve_claims(claimed, -shape_iou)
        overlap = pairwise_iou(targets.boxes_cxcywh, prediction.boxes_cxcywh)
        close = ((overlap > self.ignore_iou) & targets.valid[..., None]).any(dim=1)
        return Assignment(matched, matched_iou(matched, prediction, targets), close & (matched < 0))

    @staticmethod
    def _shape_iou(priors: Priors, targets: Targets) -> torch.Tensor:
        """IoU of every object's size with every prior's, (B, G, N)."""
        size, anchor = targets.boxes_cxcywh[..., None, 2:], priors.boxes_cxcywh[:, 2:]
        overlap = torch.minimum(size, anchor).prod(-1)
        return overlap / (size.prod(-1) + anchor.prod(-1) - overlap)
