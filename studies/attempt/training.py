"""Training as a run does it: the trainer with its stream of samples, and what a terminal shows of it.

:func:`wired_trainer` is the one place where a trainer meets its data; a run, the probe and the benchmarks
use it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from roadmap.protocols import IMAGENET
from roadmap.recipe import Run
from studies.attempt.data import RunData, photographs
from studies.attempt.share import data_workers
from yolox_core.build import build_detector, build_pipelines
from yolox_core.config import Ingredients, TrainConfig
from yolox_core.data.coco import CocoDataset
from yolox_core.data.loader import TrainStream, training_side
from yolox_core.deploy.folded_norms import unfold_norms
from yolox_core.deploy.imagenet import ImagenetReport, load_imagenet
from yolox_core.deploy.weights import LoadReport, load_official
from yolox_core.detector import Detector
from yolox_core.training.checkpoint import CheckpointStore
from yolox_core.training.distributed import World
from yolox_core.training.loop import Hooks, Trainer

log = logging.getLogger(__name__)

#: Batch norms of a checkpoint that was folded are restated on this many training images, dealt to the ranks.
NORM_IMAGES = 96

Figures = dict[str, float | None]


@contextmanager
def wired_trainer(
    detector: Detector,
    ingredients: Ingredients,
    config: TrainConfig,
    images: CocoDataset,
    *,
    seed: int,
    world: World,
    checkpoints: Path,
    workers: int | None = None,
    damaged: dict[str, str] | None = None,
    evaluate: Callable[[nn.Module, int], Figures] = lambda model, epoch: {"AP": None},
    should_stop: Callable[[], bool] = lambda: False,
    on_start: Callable[[int, int], None] = lambda epoch, iteration: None,
    on_epoch: Callable[[list[dict[str, Any]]], None] = lambda history: None,
    on_iteration: Callable[[int, int, float], None] = lambda epoch, iteration, loss: None,
    on_settled: Callable[[Sequence[tuple[int, int]], float], None] = lambda positions, seconds: None,
) -> Iterator[Trainer]:
    """A trainer on the training split; leaving the block ends its data processes.

    workers: data processes, None to choose. damaged: filled with the images that cannot be decoded.
    on_start(epoch, iteration): where the stream of samples begins.
    """
    main, closing = build_pipelines(ingredients, config)
    iterations = config.iterations_per_epoch(len(images))
    with ExitStack() as streams:

        def batches(epoch: int, iteration: int) -> TrainStream:
            on_start(epoch, iteration)
            return streams.enter_context(
                TrainStream(
                    images,
                    main,
                    closing,
                    config,
                    seed,
                    epoch,
                    iteration,
                    world.rank,
                    world.size,
                    data_workers(workers, world),
                    pin_memory=world.device.type == "cuda",
                    damaged=damaged,
                )
            )

        yield Trainer(
            detector,
            config,
            images=len(images),
            world=world,
            store=CheckpointStore(checkpoints),
            hooks=Hooks(
                batches=batches,
                side=lambda epoch, iteration: training_side(config, seed, epoch, iteration, iterations),
                evaluate=evaluate,
                should_stop=should_stop,
                on_epoch=on_epoch,
                on_iteration=on_iteration,
                on_settled=on_settled,
            ),
        )


def build_for_training(run: Run, weights: Path | None, data: RunData, world: World) -> Detector:
    """The recipe's detector on the world's device: random weights of the run's seed, or those of a file."""
    torch.manual_seed(run.seed)
    detector = build_detector(run.recipe.model, run.recipe.ingredients)
    pretrained = run.recipe.training.pretrained
    if pretrained and weights is not None:
        load = load_imagenet if pretrained.startswith(IMAGENET) else load_official
        report: ImagenetReport | LoadReport = load(detector, weights)
        log.info("%s", report)
        if report.folded:
            detector.to(world.device)
            side = run.recipe.training.image_size
            shown = photographs(data.train, NORM_IMAGES, side, world.rank, world.size)
            own = (batch.to(world.device) for batch in shown.split(8) if len(batch))
            unfold_norms(detector, own, lambda sums: torch.stack(world.gather(sums)).sum(0))
            log.info("its batch norms were folded; restated on training images")
    return detector


def train(
    run: Run,
    detector: Detector,
    data: RunData,
    *,
    world: World,
    checkpoints: Path,
    workers: int | None,
    evaluate: Callable[[nn.Module, int], Figures],
    should_stop: Callable[[], bool],
    on_epoch: Callable[[list[dict[str, Any]]], None],
) -> Trainer:
    """Train to the last epoch, from the newest checkpoint on where there is one; the trainer, done.

    Raises InterruptedTraining after a checkpoint when ``should_stop``, NonFiniteLossError, and whatever
    reading the images raises.
    """
    config = run.recipe.training
    iterations = config.iterations_per_epoch(len(data.train))
    bar = tqdm(
        total=config.epochs * iterations,
        desc=f"{run.arm} (seed {run.seed})",
        unit="it",
        disable=None if world.is_main else True,
        dynamic_ncols=True,
    )

    def show_start(epoch: int, iteration: int) -> None:
        bar.update(epoch * iterations + iteration - bar.n)

    def show_iteration(epoch: int, iteration: int, loss: float) -> None:
        bar.update(1)
        bar.set_postfix(epoch=f"{epoch + 1}/{config.epochs}", loss=f"{loss:.2f}", refresh=False)

    def log_epoch(history: list[dict[str, Any]]) -> None:
        on_epoch(history)
        row = history[-1]
        ap = f", AP {row['AP']:.2f}" if row.get("AP") is not None else ""
        log.info(
            "%s epoch %d/%d: loss %.3f, %.1f images/s%s",
            run.arm,
            row["epoch"],
            config.epochs,
            row["loss"],
            row["images_per_second"],
            ap,
        )

    wiring = wired_trainer(
        detector,
        run.recipe.ingredients,
        config,
        data.train,
        seed=run.seed,
        world=world,
        checkpoints=checkpoints,
        workers=workers,
        damaged=data.damaged_train,
        evaluate=evaluate,
        should_stop=should_stop,
        on_start=show_start,
        on_epoch=log_epoch,
        on_iteration=show_iteration,
    )
    with bar, logging_redirect_tqdm(), wiring as trainer:
        if trainer.resume():
            log.info("resumed at epoch %d, iteration %d", trainer.epoch + 1, trainer.iteration)
        trainer.run()
    return trainer
