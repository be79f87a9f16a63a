"""From predictions to detections: with NMS, or the best k without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from yolox_core.boxes import cxcywh_to_xyxy
from yolox_core.structures import ImageDetections, Prediction
from yolox_core.suppression import suppress_at_once, suppress_one_by_one


@runtime_checkable
class Postprocess(Protocol):
    """Turns a prediction into each image's detections of at least ``confidence``."""

    def __call__(
        self, prediction: Prediction, confidence: float, nms_iou: float
    ) -> list[ImageDetections]: ...


@dataclass(frozen=True)
class NMS:
    """Each prior stands for its best class; non-maximum suppression class by class.

    The score is class times objectness probability. ``nms_iou``: overlap above which the weaker goes.
    """

    @torch.no_grad()
    def __call__(self, prediction: Prediction, confidence: float, nms_iou: float) -> list[ImageDetections]:
        best_class, labels = prediction.classes.sigmoid().max(-1)
        scores = prediction.objectness.sigmoid() * best_class
        on_cpu = scores.device.type == "cpu"
        suppress = suppress_one_by_one if on_cpu else suppress_at_once
        return suppress(prediction.boxes_cxcywh, scores, labels, confidence, nms_iou)


@dataclass(frozen=True)
class TopK:
    """The ``limit`` best pairs of prior and class, without NMS.

    The score is class times objectness times one-to-one probability. ``nms_iou`` is not used.
    """

    limit: int = 100

    @torch.no_grad()
    def __call__(self, prediction: Prediction, confidence: float, nms_iou: float) -> list[ImageDetections]:
        assert prediction.one_to_one is not None, "top-k needs the one-to-one branch"
        single = prediction.objectness.sigmoid() * prediction.one_to_one.sigmoid()
        scores = prediction.classes.sigmoid() * single[..., None]
        classes = scores.shape[-1]
        best, place = scores.flatten(1).topk(min(self.limit, scores[0].numel()), dim=1)
        # The kept ones first, in their order; how many they are is the only thing that is waited for.
        kept = best >= confidence
        order = (~kept).to(torch.uint8).sort(dim=1, stable=True).indices
        best, place = best.gather(1, order), place.gather(1, order)
        prior = (place // classes)[..., None].expand(-1, -1, 4)
        boxes = cxcywh_to_xyxy(prediction.boxes_cxcywh.gather(1, prior))
        return [
            ImageDetections(boxes[image, :count], best[image, :count], place[image, :count] % classes)
            for image, count in enumerate(kept.sum(1).cpu().tolist())
        ]
