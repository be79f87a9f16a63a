"""Non-maximum suppression of a batch, class by class: the same result in three ways.

Where numbers lie on a GPU, each look at them makes the host wait until all that was asked for before is done.
torchvision's operator is such a look by itself, so a batch with one look only takes its decisions without it.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.ops import batched_nms, nms

from yolox_core.boxes import cxcywh_to_xyxy
from yolox_core.structures import ImageDetections

#: Candidates of several images in one call of torchvision's, which takes a bit for every pair: 32 MB.
TOGETHER = 1 << 14
#: Candidates of an image, and rounds of decisions, for which one look is enough. YOLOX-Nano finds 776 and
#: decides in 8 rounds at a confidence of 0.001 on COCO (nine images of ten, 416 px).
FEW, ROUNDS = 1024, 12
#: Pairs of boxes compared at a time, in float64: some 200 MB.
_PAIRS = 1 << 22


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


def suppress_at_once(
    boxes_cxcywh: Float[Tensor, "B N 4"],
    scores: Float[Tensor, "B N"],
    labels: Int[Tensor, "B N"],
    confidence: float,
    nms_iou: float,
) -> list[ImageDetections]:
    """The same with a single wait: how many there are of each image.

    An image with more than :data:`FEW` candidates, or that is not decided after :data:`ROUNDS`, is done again
    by :func:`suppress_together`.
    """
    likely = torch.where(scores >= confidence, scores, -1.0).sort(dim=1, descending=True, stable=True)
    best, place = likely.values[:, :FEW], likely.indices[:, :FEW]
    candidate = best >= confidence
    boxes = cxcywh_to_xyxy(boxes_cxcywh.gather(1, place[..., None].expand(-1, -1, 4)))
    label = labels.gather(1, place)
    part = max(1, _PAIRS // max(1, best.shape[1] ** 2))
    pieces = zip(boxes.split(part), label.split(part), candidate.split(part), strict=True)
    decided = [_decide(*piece, nms_iou) for piece in pieces]
    keep, settled = (torch.cat(both) for both in zip(*decided, strict=True))
    settled &= (likely.values[:, FEW:] < confidence).all(1)
    order = (~keep).to(torch.uint8).sort(dim=1, stable=True).indices  # the kept ones first, in their order
    boxes, best, label = (
        boxes.gather(1, order[..., None].expand(-1, -1, 4)),
        best.gather(1, order),
        label.gather(1, order),
    )
    sizes, done = torch.stack((keep.sum(1), settled)).cpu().tolist()
    found = [
        ImageDetections(boxes[i, :size], best[i, :size], label[i, :size]) for i, size in enumerate(sizes)
    ]
    again = [image for image, whole in enumerate(done) if not whole]
    if again:
        rest = suppress_together(boxes_cxcywh[again], scores[again], labels[again], confidence, nms_iou)
        for image, detections in zip(again, rest, strict=True):
            found[image] = detections
    return found


def _decide(
    boxes_xyxy: Float[Tensor, "B K 4"],
    labels: Int[Tensor, "B K"],
    candidate: Bool[Tensor, "B K"],
    nms_iou: float,
) -> tuple[Bool[Tensor, "B K"], Bool[Tensor, " B"]]:
    """Which candidates stay, the best first; and for which images that is final.

    Each round all boxes at once are held against those that stayed in the round before. The first few are
    right from the start, and each round makes at least the next one right; what a round leaves as it was is
    the only answer.
    """
    x1, y1, x2, y2 = boxes_xyxy.double().unbind(-1)
    area = (x2 - x1) * (y2 - y1)
    wide = torch.minimum(x2[:, :, None], x2[:, None]) - torch.maximum(x1[:, :, None], x1[:, None])
    high = torch.minimum(y2[:, :, None], y2[:, None]) - torch.maximum(y1[:, :, None], y1[:, None])
    shared = wide.clamp_min_(0) * high.clamp_min_(0)
    over = shared / (area[:, :, None] + area[:, None] - shared) > nms_iou
    over &= labels[:, :, None] == labels[:, None]
    against = over.triu_(1).to(torch.float16 if over.is_cuda else torch.float32)
    keep = before = candidate
    for _ in range(ROUNDS):
        before = keep
        keep = candidate & (torch.bmm(before[:, None].to(against), against)[:, 0] == 0)
    return keep, (keep == before).all(1)


def suppress_together(
    boxes_cxcywh: Float[Tensor, "B N 4"],
    scores: Float[Tensor, "B N"],
    labels: Int[Tensor, "B N"],
    confidence: float,
    nms_iou: float,
) -> list[ImageDetections]:
    """The same for any number of candidates, of as many images at once as :data:`TOGETHER` allows: three
    waits for a usual batch.

    Boxes of other images and classes are moved out of each other's way, in float64, where that changes no
    overlap.
    """
    kept = scores >= confidence
    counts = kept.sum(1).tolist()
    # The candidates are the best so many of all images; their number being known, nothing is waited for.
    likely = torch.where(kept, scores, -1.0).flatten().sort(descending=True, stable=True)
    best, place = likely.values[: sum(counts)], likely.indices[: sum(counts)]
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
