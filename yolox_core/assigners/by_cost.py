"""What SimOTA and OTA share: which priors are candidates, what they cost, and how many an object wants.

The cost of a prior for an object is its classification loss plus ``iou_cost`` times -log IoU; a prior that
does not stand both in the box and near its centre comes behind those that do. What is left to an assigner is
to choose.

The work is on tables of objects × priors. On a CPU they are made image by image, for real objects and
candidates alone: looking which those are is free there, one image's tables fit into the cache, and SimOTA's
outcome is the official code's even where costs are equal. On an accelerator all images are one table with
masks, and no value is read back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from yolox_core.assigners.common import axes, image_parts, join_images, nothing_assigned
from yolox_core.boxes import pairwise_iou
from yolox_core.structures import Assignment, Prediction, Priors, Targets


class Candidates(NamedTuple):
    """What assignment reads of the predictions of M priors."""

    boxes_cxcywh: Float[Tensor, "B M 4"]
    objectness: Float[Tensor, "B M"]
    classes: Float[Tensor, "B M C"]

    def part(self, images: slice) -> Candidates:
        return Candidates(*(tensor[images] for tensor in self))

    def at(self, places: Int[Tensor, " K"]) -> Candidates:
        return Candidates(*(tensor.index_select(1, places) for tensor in self))


@dataclass(frozen=True)
class Claims:
    """Which object takes which prior, in S places per image.

    prior: (B, S) index, the number of priors where the place is empty. owner: (B, S) index of the object.
    iou: (B, S) of the prior's box with its owner. A prior may stand in several places, always with the
    same owner.
    """

    prior: Int[Tensor, "B S"]
    owner: Int[Tensor, "B S"]
    iou: Float[Tensor, "B S"]

    def assignment(self, count: int) -> Assignment:
        """The same per prior, of ``count`` priors."""
        matched = self.owner.new_full((len(self.prior), count + 1), -1).scatter_(1, self.prior, self.owner)
        iou = self.iou.new_zeros(matched.shape).scatter_(1, self.prior, self.iou)
        ignored = torch.zeros_like(matched, dtype=torch.bool)
        return Assignment(matched[:, :count], iou[:, :count], ignored[:, :count])


class Costs(NamedTuple):
    """iou, cost: (B, G, M) of every object with every prior, without regions. background: (B, M) the cost of
    a prior that is no object's.
    """

    iou: Float[Tensor, "B G M"]
    cost: Float[Tensor, "B G M"]
    background: Float[Tensor, "B M"]


@dataclass(frozen=True)
class AssignerByCost(ABC):
    """geometry: ``box-or-center`` (official code up to 0.3.0) or ``center`` (later). dynamic: number of
    positives by IoU; False asks for a single one (without multi positives).
    center_radius in strides; candidates: how many IoUs are summed.
    """

    geometry: str = "box-or-center"
    dynamic: bool = True
    center_radius: float = 2.5
    iou_cost: float = 3.0
    candidates: int = 10

    @torch.no_grad()
    def __call__(self, priors: Priors, prediction: Prediction, targets: Targets) -> Assignment:
        count = len(priors.strides)
        if targets.labels.shape[1] == 0:
            return nothing_assigned(prediction)
        candidates = Candidates(prediction.boxes_cxcywh, prediction.objectness, prediction.classes)
        on_cpu = targets.labels.device.type == "cpu"
        claim = self.claim_one_by_one if on_cpu else self.claim_together
        claims = claim(priors, candidates, targets)
        return join_images([some.assignment(count) for some in claims])

    def claim_together(self, priors: Priors, candidates: Candidates, targets: Targets) -> list[Claims]:
        """Claims of as many images at once as memory allows, without reading a value from the device."""
        claims = []
        for part in image_parts(targets, priors):
            some = targets.images(part)
            eligible, preferred = self._regions(priors, some)
            claims.append(self._choose(candidates.part(part), some, preferred, eligible))
        return claims

    def claim_one_by_one(self, priors: Priors, candidates: Candidates, targets: Targets) -> list[Claims]:
        """Claims of each image, from its real objects and candidates alone. It reads values: for the CPU."""
        eligible, preferred = self._regions(priors, targets)
        claims = []
        for image in range(len(targets.labels)):
            objects = targets.valid[image].nonzero().squeeze(1)
            places = eligible[image].nonzero().squeeze(1)
            if len(places) == 0:  # nor can there be without objects
                claims.append(_no_claims(objects))
                continue
            real = Targets(targets.boxes_cxcywh[image, objects][None], targets.labels[image, objects][None])
            some = candidates.part(slice(image, image + 1)).at(places)
            own = self._choose(some, real, preferred[image, objects].index_select(1, places)[None])
            places = pad(places, (0, 1), value=len(priors.strides))
            claims.append(Claims(places[own.prior], objects[own.owner], own.iou))
        return claims

    def _regions(self, priors: Priors, targets: Targets) -> tuple[Bool[Tensor, "B N"], Bool[Tensor, "B G N"]]:
        """Candidates of each image, and the priors that each object prefers.

        Both regions are rectangles, so a cell is in one when its column and its row are.
        """
        valid = targets.valid[..., None]
        centre, half = targets.boxes_cxcywh[..., :2, None], targets.boxes_cxcywh[..., 2:, None] * 0.5
        eligible, preferred = [], []
        for columns, rows, stride in axes(priors):
            reach = self.center_radius * stride
            near = [_between(x, centre[:, :, k], reach) & valid for k, x in enumerate((columns, rows))]
            inside = [
                _between(x, centre[:, :, k], half[:, :, k]) & valid for k, x in enumerate((columns, rows))
            ]
            region = near_cells = _cells(*near)
            if self.geometry == "box-or-center":
                region = near_cells | _cells(*inside)
                near_cells = _cells(near[0] & inside[0], near[1] & inside[1])
            # any() over objects: the maximum of bytes is much faster
            eligible.append(region.view(torch.uint8).amax(1).bool().flatten(1))
            preferred.append(near_cells.flatten(2))
        if priors.per_cell > 1:
            eligible = [cells.repeat_interleave(priors.per_cell, -1) for cells in eligible]
            preferred = [cells.repeat_interleave(priors.per_cell, -1) for cells in preferred]
        return torch.cat(eligible, -1), torch.cat(preferred, -1)

    @abstractmethod
    def _choose(
        self,
        candidates: Candidates,
        targets: Targets,
        preferred: Bool[Tensor, "B G M"],
        eligible: Bool[Tensor, "B M"] | None = None,
    ) -> Claims:
        """Which object takes which of M priors. eligible: which may be taken at all; None: all of them."""

    @property
    def _penalty(self) -> float:
        """What a prior costs more that an object does not prefer, as in the official code of the geometry."""
        return 1e5 if self.geometry == "box-or-center" else 1e6

    def _costs(self, candidates: Candidates, targets: Targets) -> Costs:
        iou = pairwise_iou(targets.boxes_cxcywh, candidates.boxes_cxcywh)
        cost = (iou + 1e-8).log_().mul_(-self.iou_cost)
        classes, background = classification_cost(candidates, targets.labels)
        cost += classes
        return Costs(iou, cost, background)

    def _wanted(self, iou: Float[Tensor, "B G M"]) -> Int[Tensor, "B G 1"]:
        """How many positives each object asks for: the sum of its highest IoUs, rounded down, at least 1."""
        most = min(self.candidates, iou.shape[-1])
        return iou.topk(most, -1).values.sum(-1, keepdim=True).int().clamp_min(1)


def _no_claims(like: Tensor) -> Claims:
    empty = like.new_empty(1, 0)
    return Claims(empty, empty, empty.float())


def _between(x: Float[Tensor, " L"], centre: Float[Tensor, "B G 1"], reach: Tensor) -> Bool[Tensor, "B G L"]:
    """Coordinates less than ``reach`` away from a centre; the ends are rounded as in the official code."""
    return (x > centre - reach) & (x < centre + reach)


def _cells(columns: Bool[Tensor, "B G W"], rows: Bool[Tensor, "B G H"]) -> Bool[Tensor, "B G H W"]:
    return rows[..., None] & columns[..., None, :]


def classification_cost(
    candidates: Candidates, labels: Int[Tensor, "B G"]
) -> tuple[Float[Tensor, "B G N"], Float[Tensor, "B N"]]:
    """Binary cross-entropy of every prior's scores against every object's one-hot class, and against none.

    The score is the square root of class times objectness probability. The sum over the classes is the
    same for all objects of an image but for the object's own class, so it is taken once per prior and
    corrected by a gather, instead of building (G, N, C). log(1 - score) and not log1p(-score): nine times
    faster on a CPU, and wrong by 6e-8 at most.
    """
    score = candidates.classes.sigmoid().mul_(candidates.objectness.sigmoid()[..., None]).sqrt_()
    label = labels.clamp_min(0)[:, None].expand(-1, score.shape[1], -1)
    own = score.gather(2, label).transpose(1, 2).contiguous()
    negative = score.neg_().add_(1).log_().clamp_min_(-100).sum(-1)
    cost = (1 - own).log_().clamp_min_(-100)
    return cost.sub_(own.log_().clamp_min_(-100)).sub_(negative[:, None]), negative.neg()
