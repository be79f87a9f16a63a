"""Several processes: who we are, and the few things they do together.

Started by torchrun (RANK, WORLD_SIZE, LOCAL_RANK) or by Slurm's srun, one task per GPU, when the job
script exports ``YOLOX_DISTRIBUTED=slurm`` (SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID). Both need
MASTER_ADDR and MASTER_PORT.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

TIMEOUT = timedelta(minutes=10)


@dataclass(frozen=True)
class World:
    """This process among all. ``device`` is the one it computes on."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def is_lost(self) -> bool:
        """Whether this process has left the others (:meth:`abandon`)."""
        return self.size > 1 and not dist.is_initialized()

    def abandon(self) -> None:
        """Leave the others without a word: something failed here that they don't know of. They wait for
        this process in vain until the launcher, which sees it end, ends them too. A farewell could wait
        for them as long.
        """
        if self.size == 1 or not dist.is_initialized():
            return
        if dist.get_backend() == dist.Backend.NCCL:
            dist.distributed_c10d._abort_process_group()
        else:
            dist.destroy_process_group()  # gloo just closes its connections, which the others notice

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process; every process must ask."""
        if self.size == 1:
            return flag
        value = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return bool(value.item())

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.size
        return values

    def gather(self, value: Any) -> list[Any]:
        """Every process's picklable value, in the order of ranks, on every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """The first process's picklable value on every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()


def place(environment: Mapping[str, str]) -> tuple[int, int, int]:
    """Rank, world size and local rank that the launcher's environment gives; (0, 1, 0) without one.

    Raises ValueError when a rank is given but the rendezvous is not.
    """
    names = {"torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    names["slurm"] = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
    launcher = "slurm" if environment.get("YOLOX_DISTRIBUTED") == "slurm" else "torchrun"
    if any(name not in environment for name in names[launcher]):
        return 0, 1, 0
    rank, size, local = (int(environment[name]) for name in names[launcher])
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in environment]
    if size > 1 and missing:
        raise ValueError(
            f"{size} processes but no {' and no '.join(missing)} in the environment; start with torchrun, "
            "or export them in the job script"
        )
    return rank, size, local


@contextmanager
def join_world(device: str | None = None) -> Iterator[World]:
    """Meet the other processes; leave them at the end. Once per process: the meeting point of a second
    time may still be closing from the first.

    device: ``cpu``, ``cuda`` or None for CUDA when there is one. NCCL on CUDA, gloo on CPU.
    """
    rank, size, local = place(os.environ)
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError("--device cuda, but PyTorch sees no CUDA device here")
    if kind == "cuda":
        visible = torch.cuda.device_count()
        # srun binds one GPU to each task: it is then device 0 for everyone
        chosen = torch.device("cuda", local if local < visible else 0)
        torch.cuda.set_device(chosen)
    else:
        chosen = torch.device(kind)
    if size > 1:
        backend = "nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(
            backend,
            init_method="env://",
            rank=rank,
            world_size=size,
            timeout=TIMEOUT,
            device_id=chosen if chosen.type == "cuda" else None,
        )
    world = World(rank, size, local, chosen)
    try:
        yield world
    except BaseException:
        world.abandon()
        raise
    if size > 1 and not world.is_lost:
        # A model in a reference cycle keeps the group, and its threads then run into the interpreter's end,
        # where one that drops a tensor aborts the finished process.
        gc.collect()
        dist.destroy_process_group()


def batch_norm_buffers(model: nn.Module) -> list[Tensor]:
    """Running means and variances, in the model's order."""
    return [
        buffer
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        for buffer in (module.running_mean, module.running_var)
        if buffer is not None
    ]


@torch.no_grad()
def average_batch_norm(model: nn.Module, world: World) -> None:
    """Replace the running statistics by their mean over the processes, as the official code does before
    it evaluates.
    """
    buffers = batch_norm_buffers(model)
    if world.size == 1 or not buffers:
        return
    flat = world.mean(torch.cat([b.flatten() for b in buffers]))
    for buffer, mean in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
        buffer.copy_(mean.view_as(buffer))
