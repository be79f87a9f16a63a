"""Exponential moving average of the weights, which evaluation uses (official code 0.3.0)."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn


class ModelEMA:
    """Average of weights and batch-norm statistics.

    The decay ramps up as ``decay × (1 - exp(-updates / ramp))``, so that early weights are forgotten.
    """

    def __init__(self, model: nn.Module, decay: float, ramp: int) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.ramp = ramp
        self.updates = 0
        source = model.state_dict()
        self._pairs = [(v, source[k]) for k, v in self.model.state_dict().items() if v.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the model's present weights."""
        self.updates += 1
        decay = self.decay * (1 - math.exp(-self.updates / self.ramp))
        averages: list[Tensor] = [average for average, _ in self._pairs]
        torch._foreach_mul_(averages, decay)
        torch._foreach_add_(averages, [value for _, value in self._pairs], alpha=1 - decay)

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
