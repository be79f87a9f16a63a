"""Training batches as one stream over all remaining epochs.

Every sample has its own random generator, made from (seed, epoch, position in the epoch). The same seed
therefore gives the same batches, to the bit, with any number of worker processes, from any starting point,
and for any number of ranks. torch's global generator is neither read nor advanced.
"""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import multiprocessing.process
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from yolox_core.augmentation.pipelines import Pipeline
from yolox_core.config import TrainConfig
from yolox_core.data.batch import Batch, Collate, Request, Sample
from yolox_core.data.coco import MAX_SKIPPED, CocoDataset, ImageError, Skipped

log = logging.getLogger(__name__)

#: Keeps the generators of order, samples and sides apart.
_ORDER, _SAMPLE, _SIDE = 1, 2, 3
#: How many other images are tried for a sample whose image can't be decoded.
_ATTEMPTS = 8
_PREFETCH = 4
#: Seconds that workers get to end by themselves, before they are killed.
_PATIENCE = 3.0
_FOR_THE_TRAINER = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class TrainStream:
    """Iterator over :class:`Batch`, from (start_epoch, start_iteration) to the end of the last epoch.

    dataset: the training split. main_pipeline, closing_pipeline: the latter makes the last
    ``config.closing_epochs``. rank, world_size: each rank takes every world_size-th sample of the global
    batch, which is the same for any world size. workers: processes; 0 makes samples in this one. They live
    as long as the stream, not an epoch. max_damaged: share of images that may fail to decode. damaged: where
    the images that failed are collected, by name, with the reason; each is said once in the log. Close the
    stream (or leave its ``with`` block) to stop the workers early.

    Raises ValueError when batch_size is no multiple of world_size, when the start lies outside the run,
    and, while iterating, when too many images fail to decode.
    """

    def __init__(
        self,
        dataset: CocoDataset,
        main_pipeline: Pipeline,
        closing_pipeline: Pipeline,
        config: TrainConfig,
        seed: int,
        start_epoch: int = 0,
        start_iteration: int = 0,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        pin_memory: bool = False,
        max_damaged: float = MAX_SKIPPED,
        damaged: dict[str, str] | None = None,
    ) -> None:
        _check_shares(config, rank, world_size)
        iterations = config.iterations_per_epoch(len(dataset))
        if not (0 <= start_epoch <= config.epochs and 0 <= start_iteration <= iterations):
            raise ValueError(
                f"can't start at epoch {start_epoch}, iteration {start_iteration}: the run has "
                f"{config.epochs} epochs of {iterations} iterations"
            )
        self.damaged: dict[str, str] = {} if damaged is None else damaged
        self._allowed = max(3.0, max_damaged * len(dataset))
        order = _Order(len(dataset), config, seed, start_epoch, start_iteration, rank, world_size)
        samples = _Samples(dataset, main_pipeline, closing_pipeline, config, seed)
        self._loader: Any = DataLoader(
            samples,  # type: ignore[arg-type]  # has __getitem__ by request, which is all that is used
            batch_sampler=order,
            num_workers=workers,
            collate_fn=Collate(config.max_objects),
            pin_memory=pin_memory,
            worker_init_fn=_start_worker,
            prefetch_factor=_PREFETCH if workers else None,
            # A generator of its own: DataLoader would otherwise draw from torch's global one.
            generator=torch.Generator(),
        )
        self._batches: Iterator[Batch] | None = None
        self._workers: list[multiprocessing.process.BaseProcess] = []

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        self.start()
        if self._batches is None:
            raise StopIteration
        try:
            batch = next(self._batches)
        except StopIteration:
            self.close()
            raise
        self._note_damage(batch)
        return batch

    def start(self) -> None:
        """Let the workers begin, before the first batch is asked for."""
        if self._batches is not None or self._loader is None:
            return
        # Held back until a worker is ready to ignore them: one that just starts would die of them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_THE_TRAINER)
        others = set(multiprocessing.active_children())
        try:
            self._batches = iter(self._loader)
        finally:
            self._workers = [p for p in multiprocessing.active_children() if p not in others]
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        # Workers ignore the signals meant for the trainer, so they must be told to stop.
        atexit.register(self.close)

    def __enter__(self) -> TrainStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, whatever they are at; the stream has then ended. May be called again."""
        atexit.unregister(self.close)
        batches, self._batches, self._loader = self._batches, None, None
        workers, self._workers = self._workers, []
        if not workers:
            return
        # Not by dropping the iterator: the traceback of an error may hold it, and then nobody tells them.
        # In a thread, for DataLoader waits without end for a worker that died with a lock in its hand.
        ending = threading.Thread(target=batches._shutdown_workers, daemon=True)  # type: ignore[union-attr]
        with _deaf_to_children():
            with suppress(RuntimeError):  # no thread starts any more while Python ends
                ending.start()
                ending.join(_PATIENCE)
            for worker in workers:
                if worker.is_alive():
                    log.warning("data process %d did not end by itself; killed", worker.pid)
                    worker.kill()
            for worker in workers:
                worker.join(_PATIENCE)  # not for ever: one that waits for a dead disk cannot even be killed

    def _note_damage(self, batch: Batch) -> None:
        for name, reason in batch.damaged:
            if name not in self.damaged:
                log.warning("%s can't be used (%s); other images take its place", name, reason)
            self.damaged[name] = reason
        if len(self.damaged) > self._allowed:
            examples = "; ".join(f"{n}: {r}" for n, r in list(self.damaged.items())[:5])
            raise ValueError(
                f"{len(self.damaged)} images could not be decoded, too many to go on ({examples}); "
                "repair or download them again"
            )


@contextmanager
def _deaf_to_children() -> Iterator[None]:
    """DataLoader raises in the middle of anything when a worker is killed; here they are, on purpose."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def epoch_order(seed: int, epoch: int, images: int) -> np.ndarray:
    """Permutation of the images in an epoch."""
    return np.random.default_rng((_ORDER, seed, epoch)).permutation(images)


def sample_generator(seed: int, epoch: int, position: int, attempt: int = 0) -> np.random.Generator:
    """The generator of one sample; attempt counts replacements of damaged images."""
    return np.random.default_rng((_SAMPLE, seed, epoch, position, attempt))


def training_side(
    config: TrainConfig, seed: int, epoch: int, iteration: int, iterations_per_epoch: int
) -> int:
    """Input side in pixels of an iteration, the same on every rank.

    Drawn evenly from ``config.multiscale`` in steps of 32, again every ``config.multiscale_interval``
    iterations of the run; a function of its arguments alone, so that a resumed run draws the same sides.
    """
    low, high = config.multiscale
    block = (epoch * iterations_per_epoch + iteration) // config.multiscale_interval
    rng = np.random.default_rng((_SIDE, seed, block))
    return int(rng.integers(low // 32, high // 32 + 1)) * 32


class _Order:
    """Batch sampler: a list of requests per iteration, for this rank, over all remaining epochs."""

    def __init__(
        self,
        images: int,
        config: TrainConfig,
        seed: int,
        start_epoch: int,
        start_iteration: int,
        rank: int,
        world_size: int,
    ) -> None:
        self.images, self.config, self.seed = images, config, seed
        self.start_epoch, self.start_iteration = start_epoch, start_iteration
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        per_epoch = self.config.iterations_per_epoch(self.images)
        return (self.config.epochs - self.start_epoch) * per_epoch - self.start_iteration

    def __iter__(self) -> Iterator[list[Request]]:
        size = self.config.batch_size
        for epoch in range(self.start_epoch, self.config.epochs):
            order = epoch_order(self.seed, epoch, self.images)
            first = self.start_iteration if epoch == self.start_epoch else 0
            for iteration in range(first, self.config.iterations_per_epoch(self.images)):
                positions = range(iteration * size + self.rank, (iteration + 1) * size, self.world_size)
                # A dataset smaller than the batch repeats its images; each copy is augmented anew.
                yield [Request(epoch, iteration, p, int(order[p % self.images])) for p in positions]


class _Samples:
    """Makes the sample of a request; runs in a worker."""

    def __init__(
        self, dataset: CocoDataset, main: Pipeline, closing: Pipeline, config: TrainConfig, seed: int
    ) -> None:
        self.dataset, self.main, self.closing, self.seed = dataset, main, closing, seed
        self.first_closing_epoch = config.epochs - config.closing_epochs

    def __getitem__(self, request: Request) -> Sample:
        pipeline = self.closing if request.epoch >= self.first_closing_epoch else self.main
        damaged: list[Skipped] = []
        index = request.index
        for attempt in range(_ATTEMPTS):
            rng = sample_generator(self.seed, request.epoch, request.position, attempt)
            try:
                image, targets = pipeline(self.dataset, index, rng)
            except ImageError as error:
                # A run of days must not die of one bad sector; the stream counts, and stops at too many.
                damaged.append(Skipped(error.name, error.reason))
                index = int(rng.integers(len(self.dataset)))
            except Exception as error:
                error.add_note(f"while making a training sample of {self.dataset.name(index)}")
                raise
            else:
                return Sample(request, image, targets, tuple(damaged))
        names = ", ".join(str(d.name) for d in damaged)
        raise ValueError(f"{_ATTEMPTS} images in a row could not be decoded: {names}")


def _start_worker(_: int) -> None:
    """Settings of a worker process."""
    # One thread each: the workers are the parallelism.
    cv2.setNumThreads(0)
    # Ctrl-C and a scheduler's signals reach the whole process group. The trainer answers them with a
    # checkpoint; its workers must live until it closes the stream (or dies, which they notice).
    for number in _FOR_THE_TRAINER:
        signal.signal(number, signal.SIG_IGN)


def _check_shares(config: TrainConfig, rank: int, world_size: int) -> None:
    if config.batch_size % world_size:
        raise ValueError(
            f"batch_size {config.batch_size} can't be dealt to {world_size} processes evenly; "
            "use a number of processes that divides it"
        )
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be from 0 to {world_size - 1}, not {rank}")
