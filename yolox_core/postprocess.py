"""From predictions to detections: with NMS, or the best k without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import batched_nms, nms

from yolox_core.boxes import cxcywh_to_xyxy
from yolox_core.structures import Prediction

#: Candidates of several images in one suppression, which takes a bit for every pair of them: 32 MB.
TOGETHER = 1 << 14


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
        on_cpu = scores.device.type == "cpu"
        suppress = suppress_one_by_one if on_cpu else suppress_together
        return suppress(prediction.boxes_cxcywh, scores, labels, confidence, nms_iou)


def suppress_one_by_one(
    boxes_cxcywh: Float[Tensor, "B N 4"],
    scores: Float[Tensor, "B N"],
    labels: Int[Tensor, "B N"],
    confidence: float,
    nms_iou: float,
) -> list[ImageDetections]:
    """NMS image by image. It waits for the device several times per image: for the CPU."""
    results = []
    for image, kept in enumerate(scores >= confidence):
        boxes = cxcywh_to_xyxy(boxes_cxcywh[image, kept])
        score, label = scores[image, kept], labels[image, kept]
        keep = batched_nms(boxes, score, label, nms_iou)
        results.append(ImageDetections(boxes[keep], score[keep], label[keep]))
    return results


def suppress_together(
    boxes_cxcywh: Float[Tensor, "B N 4"],
    scores: Float[Tensor, "B N"],
    labels: Int[Tensor, "B N"],
    confidence: float,
    nms_iou: float,
) -> list[ImageDetections]:
    """The same for as many images at once as :data:`TOGETHER` boxes allow: three waits for a usual batch.

    Boxes of other images and classes are moved out of each other's way, in float64, where that changes no
    overlap.
    """
    kept = scores >= confidence
    counts = kept.sum(1).tolist()
    # The candidates are the best so many of all images; their number being known, nothing is waited for.
    best, place = torch.where(kept, scores, -1.0).flatten().topk(sum(counts))
    order = (place // scores.shape[1]).sort(stable=True)  # each image's together, best first
    image, place, score = order.values, place[order.indices], best[order.indices]
    boxes, label = cxcywh_to_xyxy(boxes_cxcywh.flatten(0, 1)[place]), labels.flatten()[place]
    apart = boxes.double().nan_to_num(0.0, 1e6, -1e6).clamp(-1e6, 1e6)
    classes = labels.amax() + 1
    if len(apart):
        apart = apart + ((image * classes + label) * (apart.amax() - apart.amin() + 1))[:, None]
    groups = _groups(counts)
    keep = [start + nms(apart[start:end], score[start:end].double(), nms_iou) for start, end in groups]
    # In the order of the candidates: by image, the best first.
    chosen = torch.cat([some.sort().values for some in keep]) if keep else place
    sizes = torch.bincount(image[chosen], minlength=len(counts)).tolist()
    parts = (boxes[chosen].split(sizes), score[chosen].split(sizes), label[chosen].split(sizes))
    return [ImageDetections(*part) for part in zip(*parts, strict=True)]


def _groups(counts: list[int]) -> list[tuple[int, int]]:
    """Ranges of candidates of whole images, of at most :data:`TOGETHER` or of one image."""
    groups: list[tuple[int, int]] = []
    start = end = 0
    for count in counts:
        if end > start and end + count - start > TOGETHER:
            groups.append((start, end))
            start = end
        end += count
    return [*groups, (start, end)] if end > start else groups


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
            for image, count in enumerate(kept.sum(1).tolist())
        ]
