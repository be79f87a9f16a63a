"""One-to-one assignment for the NMS-free branch: one positive prior per object.

The paper only points to "Object detection made simpler by eliminating heuristic NMS" (arXiv 2101.11782);
the quality and how conflicts end are our reading: docs/decisions/0006-one-to-one-assigner.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from yolox_core.assigners.common import assign_in_parts, matched_iou, nothing_assigned
from yolox_core.boxes import pairwise_iou
from yolox_core.structures import Assignment, Prediction, Priors, Targets


@dataclass(frozen=True)
class OneToOneAssigner:
    """Quality = score^(1-alpha) × IoU^alpha, the score being class times objectness probability. Priors
    near the object's centre (``center_radius`` strides) and inside its box come first, then those that
    are only near. Objects propose to their best priors in turn and a prior keeps the best proposal, so
    the outcome is a stable matching; ``candidates`` bounds how far down its list an object goes.
    """

    alpha: float = 0.8
    center_radius: float = 2.5
    candidates: int = 10

    @torch.no_grad()
    def __call__(self, priors: Priors, prediction: Prediction, targets: Targets) -> Assignment:
        if targets.labels.shape[1] == 0:
            return nothing_assigned(prediction)
        return assign_in_parts(self._assign, priors, prediction, targets)

    def _assign(self, priors: Priors, prediction: Prediction, targets: Targets) -> Assignment:
        quality = self._quality(priors, prediction, targets)
        most = min(self.candidates, quality.shape[-1])
        values, choices = quality.topk(most, dim=-1, sorted=True)
        matched = _propose(values, choices, quality.shape[-1])
        ignored = torch.zeros_like(matched, dtype=torch.bool)
        return Assignment(matched, matched_iou(matched, prediction, targets), ignored)

    def _quality(self, priors: Priors, prediction: Prediction, targets: Targets) -> Float[Tensor, "B G N"]:
        """Quality in [0, 1], one higher where the prior is also inside the box, -inf where it is no
        candidate.
        """
        index = targets.labels.clamp_min(0)[..., None].expand(-1, -1, prediction.objectness.shape[1])
        score = prediction.classes.sigmoid().transpose(1, 2).gather(1, index)
        score = score * prediction.objectness.sigmoid()[:, None]
        iou = pairwise_iou(targets.boxes_cxcywh, prediction.boxes_cxcywh)
        quality = score.pow(1 - self.alpha) * iou.pow(self.alpha)
        offset = (priors.boxes_cxcywh[:, :2] - targets.boxes_cxcywh[:, :, None, :2]).abs()
        near = (offset < self.center_radius * priors.strides[:, None]).all(-1)
        inside = (offset < targets.boxes_cxcywh[:, :, None, 2:] * 0.5).all(-1)
        near &= targets.valid[..., None]
        return torch.where(near, quality + inside.float(), -torch.inf)


def _propose(values: Float[Tensor, "B G K"], choices: Tensor, count: int) -> Tensor:
    """Deferred acceptance: (B, N) object of each prior, -1 for none.

    In each round every object without a prior proposes to its next choice; a prior keeps the highest
    value, the first object of equals. ``2 K`` rounds settle all but contrived batches; an object that is
    still without a prior then has no positive.
    """
    batch, objects, most = values.shape
    device = values.device
    order = torch.arange(objects, device=device).expand(batch, objects)
    turn = torch.zeros_like(order)
    holder = torch.full((batch, count), -1, device=device)
    for _ in range(2 * most):
        value = values.gather(-1, turn.clamp_max(most - 1)[..., None]).squeeze(-1)
        prior = choices.gather(-1, turn.clamp_max(most - 1)[..., None]).squeeze(-1)
        bidding = (turn < most) & torch.isfinite(value)
        bid = torch.where(bidding, value, -torch.inf)
        highest = torch.full((batch, count), -torch.inf, device=device)
        highest = highest.scatter_reduce(1, prior, bid, "amax")
        wins = bidding & (bid == highest.gather(1, prior))
        first = torch.full((batch, count), objects, device=device)
        first = first.scatter_reduce(1, prior, torch.where(wins, order, objects), "amin")
        wins &= first.gather(1, prior) == order
        holder = torch.where(first < objects, first, -1)
        turn = torch.where(wins, turn, turn + 1)
    return holder
