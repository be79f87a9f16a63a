"""From predictions to detections: with NMS, or the best k without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import batched_nms

from yolox_core.boxes import cxcywh_to_xyxy
from yolox_core.structures import Prediction


class ImageDetections(NamedTuple):
    """Detections of one image, best first, in pixels of the network's input."""

    boxes_xyxy: Float[Tensor, "M 4"]
    scores: Float[Tensor, " M"]
    labels: Int[Tensor, " M"]


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
        results = []
        for image, kept in enumerate(scores >= confidence):
            boxes = cxcywh_to_xyxy(prediction.boxes_cxcywh[image, kept])
            score, label = scores[image, kept], labels[image, kept]
            keep = batched_nms(boxes, score, label, nms_iou)
            results.append(ImageDetections(boxes[keep], score[keep], label[keep]))
        return results


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
        best, index = scores.flatten(1).topk(min(self.limit, scores[0].numel()), dim=1)
        results = []
        for image, kept in enumerate(best >= confidence):
            place = index[image, kept]
            boxes = cxcywh_to_xyxy(prediction.boxes_cxcywh[image, place // classes])
            results.append(ImageDetections(boxes, best[image, kept], place % classes))
        return results
