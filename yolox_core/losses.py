"""Losses: sums over the batch; the detector divides them by the number of positives.

Paper §2.1 and the official code, version 0.3.0: binary cross-entropy for classes and objectness,
1 - IoU² for boxes, L1 on the offsets in the last epochs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from yolox_core.boxes import paired_iou
from yolox_core.coding import Coding
from yolox_core.config import LossConfig
from yolox_core.structures import Assignment, Prediction, Priors, Targets


class LossSums(NamedTuple):
    """Weighted sums over a batch, and the number of positives to divide by."""

    terms: dict[str, Float[Tensor, ""]]
    positives: Float[Tensor, ""]


def detection_loss(
    prediction: Prediction,
    priors: Priors,
    assignment: Assignment,
    targets: Targets,
    coding: Coding,
    config: LossConfig,
    with_l1: bool,
) -> LossSums:
    """Loss of the dense branch: terms ``box``, ``objectness``, ``classification`` and, with L1, ``l1``.

    Class targets are the matched IoU instead of 1 when ``config.iou_aware``.
    """
    image, prior = assignment.positive.nonzero(as_tuple=True)
    matched = assignment.matched[image, prior]
    boxes = targets.boxes_cxcywh[image, matched]

    iou = paired_iou(prediction.boxes_cxcywh[image, prior], boxes)
    objectness = F.binary_cross_entropy_with_logits(
        prediction.objectness,
        assignment.positive.to(prediction.objectness.dtype),
        weight=(~assignment.ignored).to(prediction.objectness.dtype),
        reduction="sum",
    )
    # Not F.one_hot, which reads the labels back to check them.
    columns = torch.arange(prediction.classes.shape[-1], device=matched.device)
    class_targets = (targets.labels[image, matched, None] == columns).float()
    if config.iou_aware:
        class_targets = class_targets * assignment.iou[image, prior, None]
    classification = F.binary_cross_entropy_with_logits(
        prediction.classes[image, prior], class_targets, reduction="sum"
    )
    terms = {
        "box": config.box * (1 - iou.square()).sum(),
        "objectness": config.objectness * objectness,
        "classification": config.classification * classification,
    }
    if with_l1:
        offsets = coding.encode(boxes, priors, prior)
        terms["l1"] = config.l1 * (prediction.offsets[image, prior] - offsets).abs().sum()
    return LossSums(terms, assignment.positive.sum().to(iou.dtype))


def one_to_one_loss(logits: Float[Tensor, "B N"], assignment: Assignment, config: LossConfig) -> LossSums:
    """Loss of the NMS-free branch: is this prior the one that stands for its object?"""
    target = assignment.positive.to(logits.dtype)
    value = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    return LossSums({"one_to_one": config.one_to_one * value}, target.sum())


def divide(sums: LossSums, positives: Tensor | None = None) -> dict[str, Tensor]:
    """Terms per positive. The batch's own count is at least 1; ``positives``, the number to divide by
    where several processes share the batch, is taken as it is.
    """
    count = sums.positives.clamp_min(1.0) if positives is None else positives
    return {name: value / count for name, value in sums.terms.items()}
