"""A made-up batch of COCO's kind for the benchmarks: objects of all sizes, half-trained predictions."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from yolox_core.boxes import pairwise_iou
from yolox_core.coding import PointCoding
from yolox_core.structures import Priors, Targets

STRIDES = (8, 16, 32)
CODING = PointCoding(STRIDES)
CLASSES = 80


def make_priors(side: int) -> Priors:
    """Grid points of a square image."""
    return CODING.priors(tuple((side // s, side // s) for s in STRIDES), torch.device("cpu"))


def make_targets(
    generator: torch.Generator, images: int, side: int, fewest: int = 5, most: int = 40
) -> Targets:
    """Between ``fewest`` and ``most`` objects per image; sides log-uniform from 8 to 500 px at 640."""
    counts = torch.randint(fewest, most + 1, (images,), generator=generator)
    counts[0], counts[-1] = fewest, most
    centre = torch.rand(images, most, 2, generator=generator) * side
    low, high = math.log(8 / 640), math.log(500 / 640)
    size = (torch.rand(images, most, 2, generator=generator) * (high - low) + low).exp() * side
    labels = torch.randint(0, CLASSES, (images, most), generator=generator)
    padded = torch.arange(most) >= counts[:, None]
    boxes = torch.cat((centre, size), -1).masked_fill(padded[..., None], 0)
    return Targets(boxes, labels.masked_fill(padded, -1))


def on_device(
    priors: Priors, targets: Targets, raw: tuple[Tensor, Tensor, Tensor], device: str
) -> tuple[Priors, Targets, tuple[Tensor, Tensor, Tensor]]:
    """The batch, made on the CPU so that it is the same everywhere, on the device that is timed."""
    tensors = {name: value for name, value in vars(priors).items() if isinstance(value, Tensor)}
    there = replace(priors, **{name: value.to(device) for name, value in tensors.items()})
    boxes, objectness, classes = (part.to(device) for part in raw)
    return there, targets.to(torch.device(device)), (boxes, objectness, classes)


def make_raw(generator: torch.Generator, priors: Priors, targets: Targets) -> tuple[Tensor, Tensor, Tensor]:
    """Raw outputs of a half-trained head: boxes (B, N, 4), objectness (B, N), classes (B, N, C).

    Half of the priors that overlap an object predict roughly its box and class.
    """
    images, count = len(targets.labels), len(priors.strides)
    overlap = pairwise_iou(targets.boxes_cxcywh, priors.boxes_cxcywh.expand(images, -1, -1))
    best, nearest = overlap.max(1)
    box = targets.boxes_cxcywh.gather(1, nearest[..., None].expand(-1, -1, 4))
    stride = priors.strides[:, None]
    known = torch.cat((box[..., :2] / stride - priors.cells, (box[..., 2:] / stride + 1e-8).log()), -1)
    noise = torch.randn(images, count, 4, generator=generator)
    hit = (best > 0) & (torch.rand(images, count, generator=generator) < 0.5)
    boxes = torch.where(hit[..., None], known + 0.15 * noise, 0.7 * noise)
    objectness = torch.randn(images, count, generator=generator) - torch.where(hit, 1.0, 4.0)
    classes = torch.randn(images, count, CLASSES, generator=generator) - 4
    label = targets.labels.gather(1, nearest).clamp_min(0)
    classes.scatter_add_(2, label[..., None], 4.0 * hit[..., None])
    return boxes, objectness, classes
