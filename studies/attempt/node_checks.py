"""What a node must give to every process on it: GPUs of its own, and shared memory for its batches."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: One training batch of the paper on one of eight GPUs: 16 images of 640 × 640, a byte per channel.
_BATCH_BYTES = 16 * 3 * 640 * 640
#: Batches that a data process holds: those fetched ahead (yolox_core/data/loader.py) and the one it makes.
_BATCHES = 5


@dataclass(frozen=True)
class Finding:
    """check: what was looked at. fix: what to do when it is not ok."""

    check: str
    ok: bool
    detail: str
    fix: str = ""


def check_gpus(expected: int, environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Whether Slurm grants the node's GPUs and PyTorch sees those of this process.

    expected: GPUs per node. With a binding (``--gpus-per-task``, ``--gpu-bind``) a process sees its own only.
    """
    if not expected:
        return []
    import torch

    visible = [d for d in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    on_node = int(environment.get("SLURM_GPUS_ON_NODE") or 0)
    bound = 0 < len(visible) < expected <= on_node
    granted = max(len(visible), on_node)
    here = f"; this process is bound to {len(visible)} of them" if bound else ""
    findings = [
        Finding(
            "GPUs granted",
            granted >= expected,
            f"Slurm grants {granted} of {expected} on this node{here}",
            "check gpus_per_node and gpu_type in the site profile, and GRES in the cluster's slurm.conf",
        )
    ]
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ", ".join(sorted({torch.cuda.get_device_name(i) for i in range(seen)}))
    findings.append(
        Finding(
            "GPUs usable",
            seen >= (len(visible) if bound else expected),
            f"PyTorch {torch.__version__} sees {seen}{f' ({names})' if names else ''}",
            "install a CUDA build of PyTorch that the node's driver supports; in a container pass the GPUs "
            "through (apptainer --nv)",
        )
    )
    return findings


def check_own_gpu(world: Any, node: str) -> list[Finding]:
    """Whether every process has a GPU that no other one has; nothing without CUDA. All processes call it."""
    if world.device.type != "cuda":
        return []
    import torch

    mine = (node, str(torch.cuda.get_device_properties(world.device).uuid))
    sharing = [rank for rank, other in enumerate(world.gather(mine)) if other == mine]
    detail = f"GPU {mine[1]}" + (f" is shared by processes {sharing}" if len(sharing) > 1 else "")
    fix = "give each process its own: no --gpu-bind that gives several the same, no CUDA_VISIBLE_DEVICES"
    return [Finding("own GPU", len(sharing) == 1, detail, fix)]


def check_shared_memory(processes: int, workers: int, folder: Path = Path("/dev/shm")) -> Finding:
    """Whether the data processes of a node have room for the batches they hand over.

    processes: training processes on the node. workers: data processes of each.
    """
    need = processes * workers * _BATCHES * _BATCH_BYTES
    free = shutil.disk_usage(folder).free
    return Finding(
        "shared memory",
        free >= need,
        f"{free / 2**20:.0f} MiB free in {folder}; {processes} × {workers} data processes want up to "
        f"{need / 2**20:.0f} MiB",
        "give the container more (docker run --shm-size=8g, or --ipc=host), remount it larger, or train with "
        "fewer --workers",
    )
