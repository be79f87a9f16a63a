"""Mixed precision tried on the CPU: the same first loss as in single precision, and no NaN while training.

What half precision breaks on a GPU (a sum that overflows, a logarithm of a rounded zero) breaks here too.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from roadmap.stages import STAGE_NAMES, ingredients_at
from tests.yolox_core.test_cuda_without_a_gpu import shorten_body
from yolox_core.build import build_detector
from yolox_core.config import ModelConfig, TrainConfig
from yolox_core.detector import Detector
from yolox_core.structures import Targets
from yolox_core.training.optimiser import build_optimizer

TINY = replace(ModelConfig(num_classes=4), depth=0.1)
HALVES = (torch.float16, torch.bfloat16)


def scene(images: int, side: int) -> tuple[torch.Tensor, Targets]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, side, side), generator=generator).float()
    boxes = (torch.rand(images, 3, 4, generator=generator) * 24 + 16) * side / 64
    return pixels, Targets(boxes, torch.randint(0, 4, (images, 3), generator=generator))


def detector(stage: str, width: float) -> Detector:
    torch.manual_seed(0)
    return build_detector(replace(TINY, width=width), ingredients_at(stage)).train()


def loss(model: Detector, half: torch.dtype | None, images: int = 2, side: int = 64) -> torch.Tensor:
    pixels, targets = scene(images, side)
    with torch.autocast("cpu", half or torch.bfloat16, enabled=half is not None):
        losses = model(pixels, targets, with_l1=True)
    assert isinstance(losses, dict)
    return losses["total"]


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_the_first_loss_is_that_of_single_precision(stage: str) -> None:
    expected, *found = (
        float(loss(detector(stage, 0.125), how, images=4).detach()) for how in (None, *HALVES)
    )
    assert found == pytest.approx([expected] * len(HALVES), rel=5e-3)


#: Backbone and neck, most of a step's time, are the same at every stage: whole in the first and the last.
WHOLE = (STAGE_NAMES[0], STAGE_NAMES[-1])


@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_thirty_steps_without_nan(stage: str, half: torch.dtype) -> None:
    model = detector(stage, 0.0625)
    if stage not in WHOLE:
        shorten_body(model)
    optimizer = build_optimizer(model, TrainConfig(learning_rate=0.005))
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        value = loss(model, half)
        value.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert torch.isfinite(torch.nn.utils.get_total_norm(gradients))
        optimizer.step()
        values.append(float(value.detach()))
    assert torch.isfinite(torch.tensor(values)).all()
    assert values[-1] < values[0]
