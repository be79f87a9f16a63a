"""The training loop of one run, resumable at any iteration.

Data and input sides are functions of (seed, epoch, position) alone, so a checkpoint needs no generator
of theirs: the position is enough. Everything else that decides the next step is in the checkpoint.
"""

from __future__ import annotations

import inspect
import logging
import math
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from yolox_core.config import TrainConfig
from yolox_core.detector import Detector
from yolox_core.structures import Targets
from yolox_core.training.checkpoint import CheckpointStore
from yolox_core.training.distributed import World, average_batch_norm, batch_norm_buffers
from yolox_core.training.ema import ModelEMA
from yolox_core.training.optimiser import build_optimizer, learning_rate, load_optimizer, set_learning_rate

log = logging.getLogger(__name__)

#: Minutes between checkpoints inside an epoch.
CHECKPOINT_MINUTES = 10.0


class NonFiniteLossError(RuntimeError):
    """The loss or a gradient is NaN or infinite."""


class InterruptedTraining(Exception):
    """Asked to stop; a checkpoint was written."""


class TrainingBatch(Protocol):
    """What the loop needs of a batch: uint8 BGR images (b, 3, S, S) and targets in their pixels."""

    @property
    def images(self) -> Tensor: ...
    @property
    def targets(self) -> Targets: ...


@dataclass
class Hooks:
    """What the loop calls outside itself.

    batches(epoch, iteration): training batches from this position on, over all remaining epochs.
    side(epoch, iteration): input side in pixels. evaluate(model, epoch): COCO figures of the EMA weights;
    called on every process. should_stop(): whether to checkpoint and leave. on_epoch(history): the rows
    so far, after each epoch, on the main process. on_iteration(epoch, iteration, loss): progress; both
    from 0. on_settled(positions, seconds): the device is done with the iterations at these (epoch,
    iteration), for which this process took so long since it was done with those before.
    """

    batches: Callable[[int, int], Iterator[TrainingBatch]]
    side: Callable[[int, int], int]
    evaluate: Callable[[nn.Module, int], dict[str, float | None]]
    should_stop: Callable[[], bool] = lambda: False
    on_epoch: Callable[[list[dict[str, Any]]], None] = lambda history: None
    on_iteration: Callable[[int, int, float], None] = lambda epoch, iteration, loss: None
    on_settled: Callable[[Sequence[tuple[int, int]], float], None] = lambda positions, seconds: None


@dataclass
class _EpochSums:
    """Running sums of an epoch; part of the checkpoint, so that a resumed epoch has the same means."""

    terms: dict[str, float] = field(default_factory=dict)
    iterations: int = 0
    seconds: float = 0.0
    waiting: float = 0.0

    def add(self, losses: Mapping[str, float], waiting: float) -> None:
        for name, value in losses.items():
            self.terms[name] = self.terms.get(name, 0.0) + value
        self.iterations += 1
        self.waiting += waiting

    def means(self) -> dict[str, float]:
        rows = {n: v / max(self.iterations, 1) for n, v in self.terms.items()}
        total, positives = rows.pop("total", 0.0), rows.pop("positives", 0.0)
        return {"loss": total, **{f"loss_{n}": v for n, v in rows.items()}, "positives": positives}


@dataclass(frozen=True)
class _Step:
    """An iteration whose losses have not been read back yet. waiting: seconds it waited for its batch."""

    iteration: int
    losses: dict[str, Tensor]
    waiting: float

    def name(self) -> str:
        return f"iteration {self.iteration + 1}"


class Trainer:
    """Trains a detector from wherever its checkpoints left it to the last epoch.

    images: number of training images. deterministic results on CPU need the same number of threads.
    """

    def __init__(
        self,
        detector: Detector,
        config: TrainConfig,
        *,
        images: int,
        world: World,
        store: CheckpointStore,
        hooks: Hooks,
    ) -> None:
        self.config = config
        self.world = world
        self.store = store
        self.hooks = hooks
        self.iterations_per_epoch = config.iterations_per_epoch(images)
        self.detector = detector.to(world.device).to(memory_format=torch.channels_last)
        self.ema = ModelEMA(self.detector, config.ema_decay, config.ema_ramp)
        self.optimizer = build_optimizer(self.detector, config, fused=world.device.type == "cuda")
        self.mixed = config.mixed_precision and world.device.type == "cuda"
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.mixed)
        self.model: nn.Module = self.detector
        if world.size > 1:
            self.model = averaged_over_processes(self.detector, world)
        self.epoch = 0
        self.iteration = 0
        self.sums = _EpochSums()
        self.history: list[dict[str, Any]] = []
        # reading a value back stalls a GPU's queue, so checks come every ten iterations there
        self.check_every = 1 if world.device.type == "cpu" else 10
        self._saved_at = time.monotonic()
        self._settled_at = time.perf_counter()

    def resume(self) -> bool:
        """Load the newest checkpoint that is whole; whether there was one.

        It may come from another device. On CUDA, mixed precision then starts with a new scale of the loss.
        """
        name = self.world.broadcast(self.store.newest() if self.world.is_main else None)
        if name is None:
            return False
        state = self.store.load(name)
        self.detector.load_state_dict(state["model"])
        if self.world.size > 1 and len(state["statistics"]) == self.world.size:
            own = state["statistics"][self.world.rank]
            for buffer, value in zip(batch_norm_buffers(self.detector), own, strict=True):
                buffer.copy_(value)
        self.ema.load_state_dict(state["ema"])
        load_optimizer(self.optimizer, state["optimizer"])
        if state["scaler"]:  # empty from a run in single precision
            self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["torch_rng"])
        if self.world.device.type == "cuda" and state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"], self.world.device)
        self.epoch, self.iteration = state["epoch"], state["iteration"]
        self.sums = _EpochSums(**state["sums"])
        self.history = state["history"]
        return True

    def run(self) -> list[dict[str, Any]]:
        """Train to the end; one row per epoch.

        Raises NonFiniteLossError, or InterruptedTraining after writing a checkpoint.
        """
        if self.epoch >= self.config.epochs:
            return self.history
        batches = self.hooks.batches(self.epoch, self.iteration)
        self.model.train()
        reset_peak_memory(self.world.device)
        for epoch in range(self.epoch, self.config.epochs):
            pending: list[_Step] = []
            self._settled_at = time.perf_counter()
            for iteration in range(self.iteration, self.iterations_per_epoch):
                started = time.perf_counter()
                batch = next(batches)
                waited = time.perf_counter() - started
                pending.append(_Step(iteration, self.step(batch, epoch, iteration), waited))
                self.iteration = iteration + 1
                last = self.iteration == self.iterations_per_epoch
                if last or self.iteration % self.check_every == 0:
                    self._settle(pending)
                    if not last:
                        self._checkpoint_if_due()
            self._end_epoch()
        return self.history

    def step(self, batch: TrainingBatch, epoch: int, iteration: int) -> dict[str, Tensor]:
        """One optimiser step; the losses, detached, and the gradient's norm.

        Raises NonFiniteLossError before the weights are touched, where checks come every iteration.
        """
        position = epoch * self.iterations_per_epoch + iteration
        set_learning_rate(self.optimizer, learning_rate(self.config, position, self.iterations_per_epoch))
        closing = epoch >= self.config.epochs - self.config.closing_epochs
        with_l1 = closing and self.detector.ingredients.strong_augmentation
        side = self.hooks.side(epoch, iteration)
        images, targets = to_network_input(batch.images, batch.targets, side, self.world.device)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.world.device.type, torch.float16, enabled=self.mixed):
            losses: dict[str, Tensor] = self.model(images, targets, with_l1)
        self.scaler.scale(losses["total"]).backward()
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.detector.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not self.mixed and self.check_every == 1 and not torch.isfinite(norm):
            # before the step, so that the weights of the last checkpoint and of the moment stay usable
            self._refuse(f"iteration {iteration + 1}", _read_back([losses])[0], float(norm))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.ema.update()
        return {name: value.detach() for name, value in losses.items()} | {"gradient_norm": norm}

    def _settle(self, pending: list[_Step]) -> None:
        """Read back the losses of the last iterations and stop when one is not finite."""
        bad: tuple[str, dict[str, float], float] | None = None
        for step, losses in zip(pending, _read_back([step.losses for step in pending]), strict=True):
            norm, total = losses.pop("gradient_norm"), losses["total"]
            # in mixed precision the scaler skips steps whose gradients overflow; a bad loss is no overflow
            finite = math.isfinite(total) and (self.mixed or math.isfinite(norm))
            if not finite and bad is None:
                bad = (step.name(), losses, norm)
            self.sums.add(losses, step.waiting)
            self.hooks.on_iteration(self.epoch, step.iteration, total)
        now = time.perf_counter()
        seconds, self._settled_at = now - self._settled_at, now
        self.sums.seconds += seconds
        self.hooks.on_settled([(self.epoch, step.iteration) for step in pending], seconds)
        if self.world.any(bad is not None):
            span = f"{pending[0].name()} to {pending[-1].iteration + 1}"
            self._refuse(*(bad or (span, {}, float("nan"))))
        self._check_scale()
        pending.clear()

    def _refuse(self, where: str, losses: Mapping[str, float], norm: float) -> None:
        terms = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        raise NonFiniteLossError(
            f"the loss or its gradient is not finite in epoch {self.epoch + 1}, {where} "
            f"({terms or 'on another process'}; gradient norm {norm:.4g}); lower the learning rate, or look "
            "at the images of this batch"
        )

    def _check_scale(self) -> None:
        """Each step whose gradients overflow halves the scale of the loss and is left out. Below 1 there is
        nothing left to halve: the gradients themselves are too large, and nothing has been learnt for long.
        """
        scale = self.scaler.get_scale() if self.mixed else 1.0
        if scale < 1:
            raise NonFiniteLossError(
                f"the gradients overflow in half precision at every step, up to epoch {self.epoch + 1}, "
                f"iteration {self.iteration} (loss scale {scale:.3g}); lower the learning rate, or "
                "train in single precision (mixed_precision = false)"
            )

    def _checkpoint_if_due(self) -> None:
        stop = self.world.any(self.hooks.should_stop())
        due = self.world.any(time.monotonic() - self._saved_at > CHECKPOINT_MINUTES * 60)
        if stop or due:
            self.checkpoint(required=stop)
            self._settled_at = time.perf_counter()
        if stop:
            raise InterruptedTraining(f"stopped in epoch {self.epoch + 1}, iteration {self.iteration}")

    def _end_epoch(self) -> None:
        epoch = self.epoch + 1
        row: dict[str, Any] = {
            "epoch": epoch,
            "iteration": epoch * self.iterations_per_epoch,
            **self.sums.means(),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": self.sums.seconds,
            "images_per_second": self.config.batch_size * self.sums.iterations / self.sums.seconds,
            "data_wait": self.sums.waiting / self.sums.seconds,
            "memory_mb": peak_memory_mb(self.world.device),
        }
        if epoch % self.config.evaluate_every == 0 or epoch == self.config.epochs:
            average_batch_norm(self.ema.model, self.world)
            row |= self.hooks.evaluate(self.ema.model, epoch)
            self._keep_if_best(row)
        self.history.append(row)
        self.epoch, self.iteration, self.sums = epoch, 0, _EpochSums()
        self.checkpoint(required=epoch == self.config.epochs)
        if self.world.is_main:
            self.hooks.on_epoch(self.history)
        if epoch < self.config.epochs and self.world.any(self.hooks.should_stop()):
            self.checkpoint(required=True)
            raise InterruptedTraining(f"stopped after epoch {epoch}")

    def _keep_if_best(self, row: dict[str, Any]) -> None:
        """Keep the weights of the best evaluated epoch; of equals, and of undefined ones, the last."""
        before = [rank_of(r["AP"]) for r in self.history if "AP" in r]
        if self.world.is_main and rank_of(row["AP"]) >= max(before, default=-math.inf):
            self.keep_as_best(row["epoch"])

    def keep_as_best(self, epoch: int) -> None:
        """Keep the present averaged weights as those of the best evaluated epoch."""
        self.store.save_best({"model": self.ema.model.state_dict(), "epoch": epoch})

    def checkpoint(self, required: bool = False) -> None:
        """Write a checkpoint. A full disk only warns, unless the checkpoint is ``required``."""
        statistics = self.world.gather([b.cpu() for b in batch_norm_buffers(self.detector)])
        self._saved_at = time.monotonic()
        if not self.world.is_main:
            return
        on_cuda = self.world.device.type == "cuda"
        state = {
            "model": self.detector.state_dict(),
            "statistics": statistics,
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.world.device) if on_cuda else None,
            "epoch": self.epoch,
            "iteration": self.iteration,
            "sums": vars(self.sums),
            "history": self.history,
        }
        try:
            self.store.save(state, self.epoch * self.iterations_per_epoch + self.iteration)
        except OSError as error:
            if required:
                raise
            log.warning("no checkpoint this time: %s; training goes on, free some space", error)


def _read_back(steps: Sequence[Mapping[str, Tensor]]) -> list[dict[str, float]]:
    """The values of every step as numbers, by one copy from the device: each copy waits for its queue."""
    values = torch.stack([torch.stack([v.detach().float() for v in step.values()]) for step in steps])
    rows = values.cpu().tolist()
    return [dict(zip(step, row, strict=True)) for step, row in zip(steps, rows, strict=True)]


def rank_of(ap: float | None) -> float:
    """AP as something to compare: undefined is below everything."""
    return -math.inf if ap is None else ap


def averaged_over_processes(detector: Detector, world: World) -> DistributedDataParallel:
    """The detector with its gradients averaged over the processes; batch-norm statistics stay each
    process's own, as in the official code, until they are averaged before an evaluation.
    """
    # a later torch than 2.11 renamed the option that leaves buffers alone
    known = inspect.signature(DistributedDataParallel).parameters
    own_buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    devices = [world.device] if world.device.type == "cuda" else None
    settings: dict[str, Any] = {own_buffers: False}
    return DistributedDataParallel(detector, device_ids=devices, gradient_as_bucket_view=True, **settings)


def to_network_input(
    images: UInt8[Tensor, "B 3 S S"], targets: Targets, side: int, device: torch.device
) -> tuple[Float[Tensor, "B 3 side side"], Targets]:
    """A batch on its device, at the input side that multi-scale training drew; boxes scaled along."""
    pixels = images.to(device, non_blocking=True).to(torch.float32, memory_format=torch.channels_last)
    targets = targets.to(device, non_blocking=True)
    if side != images.shape[-1]:
        scale = side / images.shape[-1]
        pixels = F.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False)
        targets = Targets(targets.boxes_cxcywh * scale, targets.labels)
    return pixels, targets


def reset_peak_memory(device: torch.device) -> None:
    """Let :func:`peak_memory_mb` count from now on, not from what this process did before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # Linux forgets the peak; elsewhere it is that of the whole process
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory since the last reset, in MB: of the device on CUDA, of the process on CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
