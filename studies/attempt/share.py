"""A run's share of the machine: its cores, the processes that read its data, its GPU among parallel runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yolox_core.training.distributed import World

#: Tells a run how many others ``--jobs`` has running beside it, itself included.
JOBS_AT_ONCE = "YOLOX_JOBS_AT_ONCE"


def data_workers(wanted: int | None, world: World, environment: Mapping[str, str] = os.environ) -> int:
    """Data processes: as asked, else the cores of this process that training leaves, at most eight."""
    if wanted is not None:
        return wanted
    return min(8, max(1, own_cores(environment) - 1)) if world.device.type == "cuda" else 1


def own_cores(environment: Mapping[str, str] = os.environ) -> int:
    """Cores of this process. srun has bound each task to its own already; torchrun's processes share the
    node's, and so do the runs that ``--jobs`` starts.
    """
    cores = len(os.sched_getaffinity(0))
    if environment.get("YOLOX_DISTRIBUTED") == "slurm":
        return min(cores, int(environment.get("SLURM_CPUS_PER_TASK") or cores))
    sharing = int(environment.get("LOCAL_WORLD_SIZE") or 1) * int(environment.get(JOBS_AT_ONCE) or 1)
    return max(1, cores // sharing)


def job_environment(slot: int, at_once: int, devices: Sequence[str]) -> dict[str, str]:
    """What a run among ``at_once`` parallel ones is started with, beside what the user set.

    slot: its place among them, from 0. devices: GPUs to deal out, as CUDA_VISIBLE_DEVICES names them.
    """
    cores = max(1, len(os.sched_getaffinity(0)) // at_once)
    environment = {"OMP_NUM_THREADS": str(cores)} | os.environ | {JOBS_AT_ONCE: str(at_once)}
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    return environment


def visible_devices(device: str | None) -> tuple[str, ...]:
    """GPUs that runs on this ``--device`` may use, as CUDA_VISIBLE_DEVICES names them."""
    if device == "cpu":
        return ()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return tuple(name.strip() for name in given.split(",") if name.strip())
    import torch

    return tuple(str(index) for index in range(torch.cuda.device_count()))
