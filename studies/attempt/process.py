"""Settings of a process that trains: determinism, memory, how many helpers read data."""

from __future__ import annotations

import os

import cv2
import torch

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
    torch.backends.cudnn.benchmark = not on_cpu


def data_workers(wanted: int | None, world: World) -> int:
    """Data processes: as asked, else the cores that training leaves, at most eight."""
    if wanted is not None:
        return wanted
    cores = len(os.sched_getaffinity(0)) // world.size
    return min(8, max(1, cores - 1)) if world.device.type == "cuda" else 1
