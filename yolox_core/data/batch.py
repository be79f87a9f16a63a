"""From samples to a batch of tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from yolox_core.augmentation.sample import Image, ImageTargets
from yolox_core.data.coco import Skipped
from yolox_core.structures import Targets


@dataclass(frozen=True)
class Batch:
    """This rank's share of one iteration.

    images: (b, 3, S, S) uint8, BGR, channels last in memory, as they were decoded. targets: boxes in
    pixels of S. epoch, iteration: both from 0, the iteration within the epoch. damaged: images that could
    not be decoded; others took their place.
    """

    images: Tensor
    targets: Targets
    epoch: int
    iteration: int
    damaged: tuple[Skipped, ...] = ()

    def pin_memory(self) -> Batch:
        targets = Targets(self.targets.boxes_cxcywh.pin_memory(), self.targets.labels.pin_memory())
        return Batch(self.images.pin_memory(), targets, self.epoch, self.iteration, self.damaged)


@dataclass(frozen=True)
class Request:
    """One sample of the stream: its place (position within the global epoch) and its image."""

    epoch: int
    iteration: int
    position: int
    index: int


@dataclass(frozen=True)
class Sample:
    """What a pipeline made for a request, and the images that failed on the way."""

    request: Request
    image: Image
    targets: ImageTargets
    damaged: tuple[Skipped, ...]


@dataclass(frozen=True)
class Collate:
    """Stack samples to a batch; runs in a worker."""

    max_objects: int

    def __call__(self, samples: list[Sample]) -> Batch:
        images = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
        targets = pad_targets([s.targets for s in samples], self.max_objects)
        request = samples[0].request
        damaged = tuple(d for s in samples for d in s.damaged)
        return Batch(images, targets, request.epoch, request.iteration, damaged)


def pad_targets(objects: list[ImageTargets], max_objects: int) -> Targets:
    """Targets of a batch, padded to its largest number of objects: at least 1, at most ``max_objects``.

    Of an image with more, the first ``max_objects`` stay (as in the official code).
    """
    rows = min(max_objects, max(1, *(len(o.labels) for o in objects)))
    boxes = np.zeros((len(objects), rows, 4), np.float32)
    labels = np.full((len(objects), rows), -1, np.int64)
    for i, (xyxy, classes) in enumerate(objects):
        kept = xyxy[:rows]
        boxes[i, : len(kept), :2] = (kept[:, :2] + kept[:, 2:]) / 2
        boxes[i, : len(kept), 2:] = kept[:, 2:] - kept[:, :2]
        labels[i, : len(kept)] = classes[:rows]
    return Targets(torch.from_numpy(boxes), torch.from_numpy(labels))
