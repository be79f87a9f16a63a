"""Settings of a process that trains: determinism and memory."""

from __future__ import annotations

import cv2
import torch

from yolox_core.kernels import choose_kernels
from yolox_core.training.allocator import keep_freed_memory
from yolox_core.training.distributed import World


def prepare_process(seed: int, world: World) -> None:
    """Seed torch; on CPU ask for deterministic kernels, on CUDA for fast ones."""
    cv2.setNumThreads(0)
    keep_freed_memory()
    torch.manual_seed(seed)
    on_cpu = world.device.type == "cpu"
    torch.use_deterministic_algorithms(on_cpu)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    choose_kernels(world.device)
