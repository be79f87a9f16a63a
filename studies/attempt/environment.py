"""Where a run happens: packages, commit, hardware. What a reader needs to judge a figure."""

from __future__ import annotations

import os
import platform
import socket
import sys
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from roadmap.code import code_state
from yolox_core.kernels import describe_kernels
from yolox_core.training.distributed import World

PACKAGES = (
    "yolox-roadmap",
    "torch",
    "torchvision",
    "numpy",
    "opencv-python",
    "pycocotools",
    "mlflow",
    "pandas",
    "matplotlib",
    "optuna",
)


def describe_environment(world: World, mixed_precision: bool) -> dict[str, Any]:
    """environment.json without the dataset (docs/record.md)."""
    mixed = mixed_precision and world.device.type == "cuda"
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        **asdict(code_state()),
        "hardware": describe_hardware(world),
        "precision": "fp16 mixed" if mixed else "fp32",
        "kernels": describe_kernels(world.device),
        "determinism": (
            "bitwise for the same number of threads and processes"
            if world.device.type == "cpu"
            else "same batches; not bitwise (cuDNN picks its kernels by timing)"
        ),
        "command": [Path(sys.executable).name, *sys.orig_argv[1:]],
    }


def describe_hardware(world: World) -> dict[str, Any]:
    """Device, processor and how many processes share the work."""
    on_cuda = world.device.type == "cuda"
    return {
        "device": world.device.type,
        "name": device_name(world.device),
        "cpu": processor_name(),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": world.size if on_cuda else 0,
        "world_size": world.size,
        "threads": torch.get_num_threads(),
        "host": socket.gethostname(),
        "cuda": torch.version.cuda if on_cuda else None,
        "cudnn": torch.backends.cudnn.version() if on_cuda else None,
    }


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def processor_name() -> str:
    """The processor's name as the kernel gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # no /proc: the platform's word has to do
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
