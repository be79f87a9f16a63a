"""SimOTA: positives by cost (paper §2.1 "SimOTA"; details from the official code, version 0.3.0).

The cost of a prior for an object is its classification loss plus ``iou_cost`` times -log IoU, plus a
penalty where the prior does not stand both in the box and near its centre. Each object takes the k
cheapest candidates of its image, k being the sum of its ten highest IoUs (at least 1); a prior that
several objects take goes to the cheapest of *all* objects of the image, as in the official code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from yolox_core.assigners.common import matched_iou, nothing_assigned
from yolox_core.boxes import pairwise_iou
from yolox_core.structures import Assignment, Prediction, Priors, Targets


@dataclass(frozen=True)
class SimOTAAssigner:
    """geometry: ``box-or-center`` (official code up to 0.3.0) or ``center`` (later). dynamic: number of
    positives by IoU; False takes the single cheapest prior (SimOTA without multi positives).
    center_radius in strides; candidates: how many IoUs are summed.
    """

    geometry: str = "box-or-center"
    dynamic: bool = True
    center_radius: float = 2.5
    iou_cost: float = 3.0
    candidates: int = 10

    @torch.no_grad()
    def __call__(self, priors: Priors, prediction: Prediction, targets: Targets) -> Assignment:
        if targets.labels.shape[1] == 0:
            return nothing_assigned(prediction)
        eligible, preferred = self._regions(priors, targets)
        penalty = 1e5 if self.geometry == "box-or-center" else 1e6
        iou = pairwise_iou(targets.boxes_cxcywh, prediction.boxes_cxcywh)
        cost = self.iou_cost * -torch.log(iou + 1e-8)
        cost += classification_cost(prediction, targets)
        cost += torch.where(preferred, 0.0, penalty)
        usable = eligible[:, None, :] & targets.valid[..., None]
        cost = torch.where(usable, cost, torch.inf)

        most = min(self.candidates, cost.shape[-1])
        # of equal costs the first prior: beyond the penalty float32 is coarse and ties are common
        cheapest = cost.topk(most, dim=-1, largest=False, sorted=False).indices.sort(dim=-1).values
        cheapest_cost, order = cost.gather(-1, cheapest).sort(dim=-1, stable=True)
        cheapest = cheapest.gather(-1, order)
        wanted = torch.ones_like(targets.labels)
        if self.dynamic:
            best_ious = torch.where(usable, iou, 0.0).topk(most, dim=-1).values
            wanted = best_ious.sum(-1).int().clamp_min(1)
        rank = torch.arange(most, device=cost.device)
        take = (rank < wanted[..., None]) & torch.isfinite(cheapest_cost)
        taken = torch.zeros_like(usable).scatter_(-1, cheapest, take)

        claims = taken.sum(dim=1)
        first_claim = taken.int().argmax(dim=1)
        matched = torch.where(claims > 1, cost.argmin(dim=1), first_claim)
        matched = torch.where(claims > 0, matched, -1)
        ignored = torch.zeros_like(matched, dtype=torch.bool)
        return Assignment(matched, matched_iou(matched, prediction, targets), ignored)

    def _regions(self, priors: Priors, targets: Targets) -> tuple[Bool[Tensor, "B N"], Bool[Tensor, "B G N"]]:
        """Candidates of each image, and the priors that each object prefers."""
        offset = (priors.boxes_cxcywh[:, :2] - targets.boxes_cxcywh[:, :, None, :2]).abs()
        near = (offset < self.center_radius * priors.strides[:, None]).all(-1)
        near &= targets.valid[..., None]
        if self.geometry == "center":
            return near.any(dim=1), near
        inside = (offset < targets.boxes_cxcywh[:, :, None, 2:] * 0.5).all(-1)
        inside &= targets.valid[..., None]
        return (near | inside).any(dim=1), near & inside


def classification_cost(prediction: Prediction, targets: Targets) -> Float[Tensor, "B G N"]:
    """Binary cross-entropy of every prior's scores against every object's one-hot class.

    The score is the square root of class times objectness probability. The sum over the classes is the
    same for all objects of an image but for the object's own class, so it is taken once per prior and
    corrected by a gather, instead of building (G, N, C).
    """
    score = (prediction.classes.sigmoid() * prediction.objectness.sigmoid()[..., None]).sqrt()
    negative = torch.log1p(-score).clamp_min(-100)
    index = targets.labels.clamp_min(0)[..., None].expand(-1, -1, score.shape[1])
    own = score.transpose(1, 2).gather(1, index)
    own_negative = negative.transpose(1, 2).gather(1, index)
    return own_negative - torch.log(own).clamp_min(-100) - negative.sum(-1)[:, None, :]
