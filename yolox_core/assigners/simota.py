"""SimOTA: positives by cost (paper §2.1 "SimOTA"; details from the official code, version 0.3.0).

Each object takes the k cheapest candidates of its image, k being the sum of its ten highest IoUs (at least
1); a prior that several objects take goes to the cheapest of *all* objects of the image, as in the official
code (docs/decisions/0005-simota-geometry.md). Costs and candidates: :mod:`yolox_core.assigners.by_cost`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from yolox_core.assigners.by_cost import AssignerByCost, Candidates, Claims
from yolox_core.structures import Targets


@dataclass(frozen=True)
class SimOTAAssigner(AssignerByCost):
    """Settings of :class:`AssignerByCost`; without ``dynamic`` the single cheapest prior."""

    def _choose(
        self,
        candidates: Candidates,
        targets: Targets,
        preferred: Bool[Tensor, "B G M"],
        eligible: Bool[Tensor, "B M"] | None = None,
    ) -> Claims:
        """Every object's k cheapest priors."""
        objects, count = preferred.shape[1:]
        iou, cost, _ = self._costs(candidates, targets)
        cost.add_(~preferred, alpha=self._penalty)
        if eligible is not None:  # broadcast sums and products: much faster than selecting
            cost += torch.where(eligible, 0.0, torch.inf)[:, None]
            cost += torch.where(targets.valid, 0.0, torch.inf)[..., None]
            iou *= eligible.to(iou.dtype)[:, None]

        price, prior = cost.min(-1, keepdim=True)
        take = price < torch.inf
        if self.dynamic:
            most, wanted = min(self.candidates, count), self._wanted(iou)
            if eligible is None:
                prior = _cheapest_by_number(cost, wanted, most)
            else:  # of equally cheap priors, a single positive is the first
                several = cost.topk(most, -1, largest=False, sorted=True).indices
                prior = torch.where(wanted == 1, prior, several)
            rank = torch.arange(most, device=cost.device)
            take = (rank < wanted) & (cost.gather(-1, prior) < torch.inf)

        prior, take = prior.flatten(1), take.flatten(1)
        place = torch.where(take, prior, count)
        times = place.new_zeros(len(place), count + 1).scatter_add_(1, place, torch.ones_like(place))
        taker = torch.arange(objects, device=place.device).repeat_interleave(prior.shape[1] // objects)
        cheapest = cost.gather(2, prior[:, None].expand(-1, objects, -1)).argmin(1)
        owner = torch.where(times.gather(1, place) > 1, cheapest, taker)
        return Claims(place, owner, iou.flatten(1).gather(1, owner * count + prior))


def _cheapest_by_number(
    cost: Float[Tensor, "1 G M"], wanted: Int[Tensor, "1 G 1"], most: int
) -> Int[Tensor, "1 G K"]:
    """The ``wanted`` cheapest priors of each object in the first places, the other places are 0.

    Objects that want equally many go together: which of several equal costs top-k gives depends on its k,
    and the penalty leaves many costs equal.
    """
    prior = wanted.new_zeros(1, cost.shape[1], most, dtype=torch.int64)
    for number in wanted.unique().tolist():
        objects = (wanted[0, :, 0] == number).nonzero().squeeze(1)
        prior[0, objects, :number] = cost[0, objects].topk(number, largest=False).indices
    return prior
