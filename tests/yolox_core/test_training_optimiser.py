"""Parameter groups, the schedule, the average of the weights."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from yolox_core.build import build_detector
from yolox_core.config import Ingredients, ModelConfig, TrainConfig
from yolox_core.training.ema import ModelEMA
from yolox_core.training.optimiser import build_optimizer, learning_rate, load_optimizer

CONFIG = TrainConfig(epochs=20, warmup_epochs=2, closing_epochs=3, learning_rate=0.4)


def test_weight_decay_on_convolution_weights_only() -> None:
    detector = build_detector(ModelConfig(depth=0.1, width=0.0625, num_classes=2), Ingredients(nms_free=True))
    decayed, plain = build_optimizer(detector, CONFIG).param_groups
    assert decayed["weight_decay"] == 5e-4
    assert plain["weight_decay"] == 0
    assert all(p.ndim == 4 for p in decayed["params"])
    assert all(p.ndim == 1 for p in plain["params"])
    assert len(decayed["params"]) + len(plain["params"]) == len(list(detector.parameters()))


@pytest.mark.parametrize("fused", [False, True])
def test_a_checkpoint_of_another_device_does_not_decide_how_the_step_is_computed(fused: bool) -> None:
    here, there = (build_optimizer(nn.Conv2d(3, 4, 1), CONFIG, fused=how) for how in (fused, not fused))
    for parameter in there.param_groups[0]["params"]:
        parameter.grad = torch.ones_like(parameter)
    there.step()
    load_optimizer(here, there.state_dict())
    assert [bool(group["fused"]) for group in here.param_groups] == [fused, fused]
    momenta = [state["momentum_buffer"] for state in here.state.values()]
    assert len(momenta) == 1
    assert momenta[0].mean() == pytest.approx(1, abs=1e-2)
    assert getattr(here, "_step_supports_amp_scaling", False) is fused


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [
        (0, 0.0),
        (10, 0.1),  # halfway through the warm-up, squared
        (20, 0.4),
        (95, 0.02 + 0.5 * 0.38),  # halfway down the cosine
        (170, 0.02),
        (199, 0.02),
    ],
)
def test_schedule_by_hand(iteration: int, expected: float) -> None:
    assert learning_rate(CONFIG, iteration, 10) == pytest.approx(expected)


@given(st.integers(0, 198))
def test_schedule_rises_then_falls(iteration: int) -> None:
    before, after = (learning_rate(CONFIG, i, 10) for i in (iteration, iteration + 1))
    assert (before <= after) if iteration < 20 else (before >= after)


def test_schedule_without_warmup_starts_at_the_top() -> None:
    config = TrainConfig(epochs=4, warmup_epochs=0, closing_epochs=0, learning_rate=0.4)
    assert learning_rate(config, 0, 10) == 0.4


def test_ema_after_two_updates_by_hand() -> None:
    model = nn.BatchNorm1d(1)
    with torch.no_grad():
        model.weight.fill_(1.0)
    ema = ModelEMA(model, decay=0.5, ramp=2)
    expected = 1.0
    for update in (1, 2):
        with torch.no_grad():
            model.weight.fill_(1.0 + update)
            model.running_mean.fill_(10.0 * update)
        ema.update()
        decay = 0.5 * (1 - math.exp(-update / 2))
        expected = decay * expected + (1 - decay) * (1.0 + update)
    assert ema.model.weight.item() == pytest.approx(expected)
    assert ema.model.running_mean.item() > 10
    assert ema.model.num_batches_tracked.item() == 0, "counts are no averages"


def test_ema_resumes() -> None:
    model = nn.Linear(2, 2)
    one = ModelEMA(model, 0.9, 10)
    two = ModelEMA(model, 0.9, 10)
    one.update()
    two.load_state_dict(one.state_dict())
    assert two.updates == 1
    with torch.no_grad():
        model.weight.add_(1)
    one.update()
    two.update()
    assert torch.equal(one.model.weight, two.model.weight)
