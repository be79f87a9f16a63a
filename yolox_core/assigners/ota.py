"""OTA: positives by optimal transport (arXiv 2103.14259), which SimOTA simplifies.

Objects and the background supply labels, an object as many as SimOTA gives it positives and the background
the rest; every candidate demands one. The plan that ships them at the least cost is approached by Sinkhorn's
iterations, and a prior goes to whom it gets most from. Candidates, costs and the number of positives are
SimOTA's (:mod:`yolox_core.assigners.by_cost`), so that the two differ in how they choose alone. What OTA's
paper leaves open: docs/decisions/0091-ota.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from yolox_core.assigners.by_cost import AssignerByCost, Candidates, Claims
from yolox_core.structures import Targets

#: Iterations that multiply one plan. In each an entry grows by less than the square of the number of
#: receivers, so that one which was too small for a float stays negligible.
FRESH = 3


@dataclass(frozen=True)
class OTAAssigner(AssignerByCost):
    """epsilon: how soft the plan is, in units of cost (the paper's γ). iterations: Sinkhorn's, of both sides
    each. The others as :class:`AssignerByCost` has them.
    """

    epsilon: float = 0.1
    iterations: int = 50

    def _choose(
        self,
        candidates: Candidates,
        targets: Targets,
        preferred: Bool[Tensor, "B G M"],
        eligible: Bool[Tensor, "B M"] | None = None,
    ) -> Claims:
        """Every prior goes to the object that ships most to it, unless the background ships more."""
        iou, cost, background = self._costs(candidates, targets)
        if eligible is None:
            demand = torch.ones_like(background)
        else:
            demand = eligible.to(iou.dtype)
            iou *= demand[:, None]
        # The same for a whole column, or for a whole row, changes no plan: the background costs nothing, and
        # the penalty of objects that prefer no prior is left out, which keeps their costs' digits.
        cost -= background[:, None]
        choosy = preferred.view(torch.uint8).amax(-1, keepdim=True).bool()
        cost.add_(choosy & ~preferred, alpha=self._penalty)
        cost = torch.cat((cost, torch.zeros_like(cost[:, :1])), 1)

        wanted = self._wanted(iou).squeeze(-1) if self.dynamic else torch.ones_like(targets.labels)
        plan = sinkhorn(cost, supply(wanted * targets.valid, demand), demand, self.epsilon, self.iterations)
        owner, take = decode(plan)
        take &= demand > 0

        count = owner.shape[-1]
        prior = torch.arange(count, device=owner.device).expand_as(owner)
        place = torch.where(take, prior, count)
        return Claims(place, owner, iou.flatten(1).gather(1, owner * count + prior))


def supply(wanted: Tensor, demand: Float[Tensor, "B M"]) -> Float[Tensor, "B R"]:
    """Labels of the G objects and, last, of the background: together as many as there is demand for.

    wanted: (B, G). Where objects want more than there is, each gets its share and the background none.
    """
    there, asked = demand.sum(-1, keepdim=True), wanted.sum(-1, keepdim=True)
    granted = wanted * (there / asked.clamp_min(1)).clamp_max(1)
    return torch.cat((granted, (there - asked).clamp_min(0)), -1)


def sinkhorn(
    cost: Float[Tensor, "B R M"],
    supply: Float[Tensor, "B R"],
    demand: Float[Tensor, "B M"],
    epsilon: float,
    iterations: int,
) -> Float[Tensor, "B R M"]:
    """Logarithm of the plan, R suppliers × M receivers, of the least cost less ``epsilon`` times its entropy.

    After any number of iterations every receiver gets its whole demand; suppliers ship what they have the
    more exactly the more iterations. Costs may be of any size: potentials are kept as logarithms, and the
    plan is made anew from them every :data:`FRESH` iterations. Supply and demand may be 0 and have the same
    sum.
    """
    kernel = cost * (-1 / epsilon)
    tiny = torch.finfo(cost.dtype).tiny
    # Nothing comes from whom has nothing, also where nobody demands anything (-inf + inf).
    rows = supply.log() - (kernel + demand.log()[:, None]).logsumexp(-1)
    rows = torch.where(supply > 0, rows, -torch.inf)
    columns = demand.log() - (kernel + rows[..., None]).logsumexp(1)
    columns = torch.where(demand > 0, columns, -torch.inf)
    plan = torch.empty_like(kernel)
    for iteration in range(iterations - 1):
        if iteration % FRESH == 0:
            torch.add(kernel, rows[..., None], out=plan).add_(columns[:, None]).exp_()
        factor = supply / plan.sum(-1).clamp_min(tiny)
        plan *= factor[..., None]
        rows += factor.log()
        factor = demand / plan.sum(1).clamp_min(tiny)
        plan *= factor[:, None]
        columns += factor.log()
    return kernel.add_(rows[..., None]).add_(columns[:, None])


def decode(plan: Float[Tensor, "B R M"]) -> tuple[Tensor, Bool[Tensor, "B M"]]:
    """Object of each prior, and whether it gets it, from the plan's logarithm (the background is last).

    Each supplier's shipments are compared with the largest of its own: an object that ships little to many
    equally good priors would lose all of them to the background otherwise. Of equals the one that ships more.
    """
    share = plan - plan.amax(-1, keepdim=True).clamp_min(torch.finfo(plan.dtype).min)
    objects, background = share[:, :-1], share[:, -1]
    best = objects.amax(1, keepdim=True)
    owner = torch.where(objects == best, plan[:, :-1], -torch.inf).argmax(1)
    best = best.squeeze(1)
    return owner, (best >= background) & (best > -torch.inf)
