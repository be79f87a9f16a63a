"""The official code (yolox 0.3.0), which `make peer` installs beside the project in ``.peer``.

Importing this module skips the importing test module when the official code is absent.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from yolox_core.build import build_detector
from yolox_core.config import MODELS, YOLOX_INGREDIENTS
from yolox_core.deploy.weights import load_tensors
from yolox_core.detector import Detector
from yolox_core.structures import Targets

_PEER = Path(__file__).resolve().parents[2] / ".peer"
if _PEER.is_dir() and str(_PEER) not in sys.path:
    sys.path.append(str(_PEER))  # last: the project's own packages come first

pytest.importorskip(
    "yolox", reason="the official code is not installed; run: make peer", exc_type=ImportError
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its dependencies use deprecated parts of distutils
    from yolox.data import MosaicDetection, TrainTransform, data_augment
    from yolox.data.datasets import mosaicdetection
    from yolox.evaluators import COCOEvaluator
    from yolox.exp import get_exp
    from yolox.models import YOLOX
    from yolox.utils import LRScheduler, postprocess
    from yolox.utils import ModelEMA as OfficialEMA

__all__ = [
    "YOLOX",
    "COCOEvaluator",
    "LRScheduler",
    "MosaicDetection",
    "OfficialEMA",
    "TrainTransform",
    "assignments",
    "data_augment",
    "exp_name",
    "get_exp",
    "liven",
    "mosaicdetection",
    "official_labels",
    "official_model",
    "our_model",
    "postprocess",
    "random_targets",
]


def exp_name(model: str) -> str:
    """The official experiment of one of our models."""
    return "yolov3" if model == "yolox-darknet53" else model


def official_model(model: str, seed: int = 0) -> YOLOX:
    """The official model with random weights and lively batch norms, in evaluation mode."""
    torch.manual_seed(seed)
    network = get_exp(None, exp_name(model)).get_model()
    liven(network, torch.Generator().manual_seed(seed))
    return network.eval()


def our_model(model: str, weights: nn.Module) -> Detector:
    """Our model with the weights of an official one, in evaluation mode."""
    detector = build_detector(MODELS[model], YOLOX_INGREDIENTS)
    report = load_tensors(detector, weights.state_dict(), "the official model")
    assert report.complete, str(report)
    assert not report.unexpected, str(report)
    return detector.eval()


def liven(network: nn.Module, generator: torch.Generator) -> None:
    """Give batch norms statistics and scales of their own, and outputs some spread: fresh ones hide
    mistakes.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.weight.data.mul_(10)
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.6, 1.4),
                (module.bias, -0.3, 0.3),
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.6, 1.4),
            ):
                tensor.data.uniform_(low, high, generator=generator)


def official_labels(targets: Targets) -> Tensor:
    """Targets in the official layout: (B, G, 5) class, centre and size; padding is zero."""
    labels = torch.cat((targets.labels[..., None].float(), targets.boxes_cxcywh), -1)
    return labels * targets.valid[..., None]


def random_targets(
    generator: torch.Generator, images: int, height: int, width: int, most: int = 8, classes: int = 80
) -> Targets:
    """Objects of all sizes from a few pixels up, some over the border; the first image has none."""
    boxes = torch.zeros(images, most, 4)
    labels = torch.full((images, most), -1)
    for image in range(1, images):
        count = int(torch.randint(1, most + 1, (), generator=generator))
        side = torch.tensor([float(width), float(height)])
        centre = torch.rand(count, 2, generator=generator) * side
        size = (torch.rand(count, 2, generator=generator) * 4.5 - 4.8).exp() * side
        boxes[image, :count] = torch.cat((centre, size.clamp_min(2)), -1)
        labels[image, :count] = torch.randint(0, classes, (count,), generator=generator)
    return Targets(boxes, labels)


def assignments(head: Any, outputs: Tensor, labels: Tensor, grid: tuple[tuple[int, int], ...]) -> Tensor:
    """Object of each prior, (B, N), -1 for none, by the official SimOTA.

    outputs: (B, N, 5 + C) decoded boxes and logits. labels: (B, G, 5).
    """
    x, y, strides = [], [], []
    for (rows, columns), stride in zip(grid, (8, 16, 32), strict=True):
        row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        x.append(column.flatten().float())
        y.append(row.flatten().float())
        strides.append(torch.full((rows * columns,), float(stride)))
    x_shifts, y_shifts, expanded = (torch.cat(parts)[None] for parts in (x, y, strides))
    boxes, objectness, classes = outputs[..., :4], outputs[..., 4:5], outputs[..., 5:]
    matched = torch.full(outputs.shape[:2], -1)
    for image in range(len(outputs)):
        count = int((labels[image].sum(-1) > 0).sum())
        if count == 0:
            continue
        _, foreground, _, inside, _ = head.get_assignments(
            image,
            count,
            outputs.shape[1],
            labels[image, :count, 1:5],
            labels[image, :count, 0],
            boxes[image],
            expanded,
            x_shifts,
            y_shifts,
            classes,
            boxes,
            objectness,
            labels,
            None,
        )
        matched[image, foreground] = inside
    return matched
