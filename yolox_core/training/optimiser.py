"""SGD groups and the learning-rate schedule (paper §2.1; official code 0.3.0)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from yolox_core.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig, fused: bool = False) -> torch.optim.SGD:
    """Nesterov SGD; weight decay on the weights of convolutions only, not on biases and norms.

    fused: one kernel for all weights, which also leaves out the step of overflown gradients by itself; the
    loss scaler of mixed precision would otherwise wait for the device at every step.
    """
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            (plain if is_norm or name == "bias" else decayed).append(parameter)
    return torch.optim.SGD(
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=True,
        fused=fused or None,
    )


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore momenta and settings but for how the step is computed, which belongs to this device."""
    fused = [group["fused"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, value in zip(optimizer.param_groups, fused, strict=True):
        group["fused"] = value


def learning_rate(config: TrainConfig, iteration: int, iterations_per_epoch: int) -> float:
    """Learning rate of a global iteration (from 0): quadratic warm-up from 0, cosine, then the floor
    during the closing epochs.
    """
    warmup = config.warmup_epochs * iterations_per_epoch
    closing = config.closing_epochs * iterations_per_epoch
    total = config.epochs * iterations_per_epoch
    floor = config.learning_rate * config.floor_ratio
    if iteration <= warmup and warmup > 0:
        return config.learning_rate * (iteration / warmup) ** 2
    if iteration >= total - closing:
        return floor
    progress = (iteration - warmup) / (total - warmup - closing)
    return floor + 0.5 * (config.learning_rate - floor) * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """The same learning rate for every group."""
    for group in optimizer.param_groups:
        group["lr"] = value
