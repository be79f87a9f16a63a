"""Optimiser, learning rate and weight average against the official code's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.peer.official import (
    LRScheduler,
    OfficialEMA,
    get_exp,
    official_labels,
    official_model,
    our_model,
    random_targets,
)
from yolox_core.config import TrainConfig
from yolox_core.deploy.weights import official_keys
from yolox_core.training.ema import ModelEMA
from yolox_core.training.loop import to_network_input
from yolox_core.training.optimiser import build_optimizer, learning_rate, set_learning_rate

CONFIG = TrainConfig()


def test_optimiser_steps_agree() -> None:
    """Three steps, so that momentum and weight decay have both had their say."""
    peer = official_model("yolox-nano", seed=11)
    detector = our_model("yolox-nano", peer)
    experiment = get_exp(None, "yolox-s")
    experiment.model = peer
    theirs = experiment.get_optimizer(batch_size=CONFIG.batch_size)
    ours = build_optimizer(detector, CONFIG)
    names, peers = official_keys(detector), dict(peer.named_parameters())
    before = {key: value.detach().clone() for key, value in peers.items()}
    generator = torch.Generator().manual_seed(12)
    for step in range(3):
        for group in theirs.param_groups:
            group["lr"] = 0.02 / (step + 1)
        set_learning_rate(ours, 0.02 / (step + 1))
        for key, parameter in detector.named_parameters():
            gradient = torch.randn(parameter.shape, generator=generator)
            parameter.grad, peers[names[key]].grad = gradient, gradient.clone()
        theirs.step()
        ours.step()
    for key, parameter in detector.named_parameters():
        assert not torch.equal(parameter, before[names[key]])
        torch.testing.assert_close(parameter, peers[names[key]], rtol=1e-6, atol=1e-7, msg=key)


@pytest.mark.parametrize("name", ["yolox-darknet53", "yolox-nano"])
def test_the_same_parameters_are_decayed(name: str) -> None:
    peer = official_model(name)
    detector = our_model(name, peer)
    experiment = get_exp(None, "yolox-s")
    experiment.model = peer
    names = {id(parameter): name for name, parameter in peer.named_parameters()}
    theirs = {
        names[id(p)]
        for group in experiment.get_optimizer(64).param_groups
        if group["weight_decay"]
        for p in group["params"]
    }
    translated = official_keys(detector)
    mine = {id(parameter): translated[name] for name, parameter in detector.named_parameters()}
    ours = {
        mine[id(p)]
        for group in build_optimizer(detector, CONFIG).param_groups
        if group["weight_decay"]
        for p in group["params"]
    }
    assert ours == theirs


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, epochs=24, warmup_epochs=2, closing_epochs=4, learning_rate=0.013),
        replace(CONFIG, epochs=10, warmup_epochs=1, closing_epochs=0, floor_ratio=0.2),
        replace(CONFIG, epochs=6, warmup_epochs=3, closing_epochs=3),
    ],
    ids=["paper", "short", "never closing", "warm-up to closing"],
)
@pytest.mark.parametrize("per_epoch", [1, 7, 40])
def test_learning_rate_agrees_at_every_iteration(config: TrainConfig, per_epoch: int) -> None:
    theirs = LRScheduler(
        "yoloxwarmcos",
        config.learning_rate,
        per_epoch,
        config.epochs,
        warmup_epochs=config.warmup_epochs,
        warmup_lr_start=0,
        no_aug_epochs=config.closing_epochs,
        min_lr_ratio=config.floor_ratio,
    )
    for iteration in range(config.epochs * per_epoch):
        expected = theirs.update_lr(iteration)
        assert learning_rate(config, iteration, per_epoch) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("side", [96, 160, 224])
def test_multiscale_input_is_resized_the_same(side: int) -> None:
    generator = torch.Generator().manual_seed(15)
    images = torch.randint(0, 256, (2, 3, 160, 160), generator=generator, dtype=torch.uint8)
    targets = random_targets(generator, 2, 160, 160)
    experiment = get_exp(None, "yolox-s")
    experiment.input_size = (160, 160)
    theirs, labels = experiment.preprocess(images.float(), official_labels(targets), (side, side))
    ours, scaled = to_network_input(images, targets, side, torch.device("cpu"))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(official_labels(scaled), labels, rtol=1e-6, atol=1e-5)


def test_average_after_a_hundred_updates_agrees() -> None:
    """On a part of the detector; both classes average any module."""
    part = our_model("yolox-nano", official_model("yolox-nano", seed=13)).head
    theirs = OfficialEMA(part, CONFIG.ema_decay)
    ours = ModelEMA(part, CONFIG.ema_decay, CONFIG.ema_ramp)
    generator = torch.Generator().manual_seed(14)
    state = part.state_dict()
    for _ in range(100):
        for value in state.values():
            if value.is_floating_point():
                value.add_(torch.randn(value.shape, generator=generator) * 0.1)
            else:
                value.add_(1)
        theirs.update(part)
        ours.update()
    expected = theirs.ema.state_dict()
    for key, value in ours.model.state_dict().items():
        torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=1e-6)
        assert not torch.equal(value, state[key])
