"""Positives of the anchor-free detector before SimOTA: the centre of the object, on one level.

Paper §2.1 "Anchor-free" (the centre cell, the level by a scale range as in FCOS) and "Multi positives"
(the centre 3×3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from yolox_core.assigners.common import centre_cells, matched_iou, nothing_assigned, resolve_claims, visible
from yolox_core.structures import Assignment, Prediction, Priors, Targets


@dataclass(frozen=True)
class CenterAssigner:
    """radius: 0 for the centre cell, 1 for the centre 3×3. scale_ranges: upper bounds in pixels of the
    larger half side of an object for every level but the last (FCOS, arXiv 1904.01355 §3.2).

    A prior claimed by several objects goes to the smallest, as in FCOS.
    """

    radius: int = 0
    scale_ranges: tuple[float, ...] = (64.0, 128.0)

    @torch.no_grad()
    def __call__(self, priors: Priors, prediction: Prediction, targets: Targets) -> Assignment:
        if targets.labels.shape[1] == 0:
            return nothing_assigned(prediction)
        half_side = targets.boxes_cxcywh[..., 2:].amax(-1) * 0.5
        level = torch.zeros_like(targets.labels)
        for bound in self.scale_ranges:  # not bucketize: its bounds would be copied from the host
            level += half_side >= bound
        claimed = centre_cells(priors, targets, self.radius)
        claimed &= priors.levels == level[..., None]
        claimed &= visible(priors, targets)[..., None]
        area = targets.boxes_cxcywh[..., 2:].prod(-1)
        matched = resolve_claims(claimed, area[..., None].expand_as(claimed))
        ignored = torch.zeros_like(matched, dtype=torch.bool)
        return Assignment(matched, matched_iou(matched, prediction, targets), ignored)
