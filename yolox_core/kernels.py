"""How a device computes: chosen in one place, so that training, evaluation and latency have the same.

On CUDA cuDNN picks its convolutions by timing them. TF32, which drops thirteen of float32's 23 bits and which
PyTorch lets cuDNN use by default, is off: what the records call fp32 is float32, as on the paper's V100.
"""

from __future__ import annotations

from typing import Any

import torch


def choose_kernels(device: torch.device | str) -> None:
    """Settle for this process how convolutions and matrix products are computed."""
    torch.backends.cudnn.benchmark = torch.device(device).type == "cuda"
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def describe_kernels(device: torch.device | str) -> dict[str, Any]:
    """What is in force on a CUDA device; everything is None on others.

    clock_mhz: of the multiprocessors at this moment, None where it cannot be read.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return {"cudnn_benchmark": None, "tf32": None, "clock_mhz": None}
    tf32 = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    return {"cudnn_benchmark": torch.backends.cudnn.benchmark, "tf32": tf32, "clock_mhz": _clock(device)}


def _clock(device: torch.device) -> int | None:
    try:
        return torch.cuda.clock_rate(device)
    except (ImportError, RuntimeError, AssertionError):  # no nvidia-ml-py, no permission, no CUDA here
        return None
