"""From predictions to detections: with NMS, or the best k without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from yolox_core.boxes import cxcywh_to_xyxy
from yolox_core.structures import ImageDetections, Prediction
from yolox_core.suppression import suppress_at_once, suppress_one_by_one


@runtime_checkable
class Postprocess(Protocol):
    """Turns a prediction into each image's detections of at least ``confidence``."""

    def __call__(
        self, prediction: Prediction, confidence: float, nms_iou: float
    ) -> list[ImageDetections]: ...

    def probabilities(self, prediction: Prediction) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N C"]]:
        """What a score is the product of: one factor per prior, one per prior and class."""

    def choose(
        self,
        boxes_cxcywh: Float[Tensor, "B N 4"],
        objectness: Float[Tensor, "B N"],
        classes: Float[Tensor, "B N C"],
        confidence: float,
        nms_iou: float,
    ) -> list[ImageDetections]:
        """The same from the :meth:`probabilities` of a prediction."""


@dataclass(frozen=True)
class NMS:
    """Each prior stands for its best class; non-maximum suppression class by class.

    The score is class times objectness probability. ``nms_iou``: overlap above which the weaker goes.
    """

    @torch.no_grad()
    def __call__(self, prediction: Prediction, confidence: float, nms_iou: float) -> list[ImageDetections]:
        return self.choose(prediction.boxes_cxcywh, *self.probabilities(prediction), confidence, nms_iou)

    def probabilities(self, prediction: Prediction) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N C"]]:
        return prediction.objectness.sigmoid(), prediction.classes.sigmoid()

    @torch.no_grad()
    def choose(
        self,
        boxes_cxcywh: Float[Tensor, "B N 4"],
        objectness: Float[Tensor, "B N"],
        classes: Float[Tensor, "B N C"],
        confidence: float,
        nms_iou: float,
    ) -> list[ImageDetections]:
        best_class, labels = classes.max(-1)
        scores = objectness * best_class
        suppress = suppress_one_by_one if scores.device.type == "cpu" else suppress_at_once
        return suppress(boxes_cxcywh, scores, labels, confidence, nms_iou)


@dataclass(frozen=True)
class TopK:
    """The ``limit`` best pairs of prior and class, without NMS.

    The score is class times objectness times one-to-one probability, the last two of which are one
    factor. ``nms_iou`` is not used.
    """

    limit: int = 100

    @torch.no_grad()
    def __call__(self, prediction: Prediction, confidence: float, nms_iou: float) -> list[ImageDetections]:
        return self.choose(prediction.boxes_cxcywh, *self.probabilities(prediction), confidence, nms_iou)

    def probabilities(self, prediction: Prediction) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N C"]]:
        assert prediction.one_to_one is not None, "top-k needs the one-to-one branch"
        single = prediction.objectness.sigmoid() * prediction.one_to_one.sigmoid()
        return single, prediction.classes.sigmoid()

    @torch.no_grad()
    def choose(
        self,
        boxes_cxcywh: Float[Tensor, "B N 4"],
        objectness: Float[Tensor, "B N"],
        classes: Float[Tensor, "B N C"],
        confidence: float,
        nms_iou: float,
    ) -> list[ImageDetections]:
        scores = classes * objectness[..., None]
        number = scores.shape[-1]
        best, place = scores.flatten(1).topk(min(self.limit, scores[0].numel()), dim=1)
        # The kept ones first, in their order; how many they are is the only thing that is waited for.
        kept = best >= confidence
        order = (~kept).to(torch.uint8).sort(dim=1, stable=True).indices
        best, place = best.gather(1, order), place.gather(1, order)
        prior = (place // number)[..., None].expand(-1, -1, 4)
        boxes = cxcywh_to_xyxy(boxes_cxcywh.gather(1, prior))
        return [
            ImageDetections(boxes[image, :count], best[image, :count], place[image, :count] % number)
            for image, count in enumerate(kept.sum(1).cpu().tolist())
        ]
