"""What a run came to: its weights evaluated, profiled, timed, and put together as result.json."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from typing import Any

import torch

from roadmap.protocols import Deviation
from roadmap.recipe import Recipe, Run
from roadmap.record import (
    SCHEMA,
    DatasetFacts,
    Figures,
    Hardware,
    Profile,
    Result,
    RunFolder,
    Skipped,
    TrainingFacts,
    now,
    write_atomic,
)
from studies.attempt.data import RunData
from studies.attempt.environment import describe_hardware
from studies.attempt.latency import latency_of
from studies.attempt.share import data_workers
from yolox_core.build import build_detector
from yolox_core.config import MODELS, TrainConfig, input_size
from yolox_core.detector import Detector
from yolox_core.evaluation.collect import Detections, coco_metrics, collect_detections, merge
from yolox_core.profiling import profile_detector
from yolox_core.training.checkpoint import BrokenCheckpointError, CheckpointStore
from yolox_core.training.distributed import World
from yolox_core.training.loop import Trainer, rank_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """COCO's figures on the validation split at the end of an epoch, and what they were computed from."""

    epoch: int
    figures: dict[str, float | None]
    detections: Detections

    def recorded(self) -> Figures:
        return Figures(epoch=self.epoch, **self.figures)


def evaluate(
    detector: Detector, epoch: int, config: TrainConfig, data: RunData, world: World, workers: int | None
) -> Evaluation:
    """Evaluate on the validation split, each process its share; the same result on every process.

    Images that cannot be decoded are left out, and noted in ``data.damaged_val``.
    """
    damaged: dict[int, str] = dict(data.damaged_val)
    own = collect_detections(
        detector,
        data.val,
        config.image_size,
        config.final_confidence,
        config.nms_iou,
        world.device,
        batch_size=16,
        workers=data_workers(workers, world),
        rank=world.rank,
        world_size=world.size,
        damaged=damaged,
    )
    shares = world.gather((own, damaged))
    detections = merge([found for found, _ in shares])
    for _, others in shares:
        data.damaged_val.update(others)
    left = [image for image in data.val.ids.tolist() if image not in data.damaged_val]
    return Evaluation(epoch, coco_metrics(data.val.annotation_file, detections, left), detections)


def better(one: Evaluation, other: Evaluation) -> Evaluation:
    """The one with the higher AP; of equals, or where neither is defined, the later."""
    return max(one, other, key=lambda e: (rank_of(e.figures["AP"]), e.epoch))


def conclude(
    run: Run,
    folder: RunFolder,
    trainer: Trainer,
    data: RunData,
    deviations: list[Deviation],
    attempt: int,
    workers: int | None,
) -> Result | None:
    """Evaluate the last and the best weights, profile and time the best: result.json's content.

    Every process must call it; only the main one writes detections.json and gets an answer.
    """
    config, world, history = run.recipe.training, trainer.world, trainer.history
    data.share_damage(world)
    detector, last_weights = trainer.detector, trainer.ema.model
    assert isinstance(last_weights, Detector)
    last = evaluate(last_weights, config.epochs, config, data, world, workers)
    kept = world.broadcast(kept_epoch(trainer.store, config.epochs) if world.is_main else None)
    best = last
    if kept is not None:
        detector.load_state_dict(trainer.store.load("best.pt")["model"])
        best = better(evaluate(detector, kept, config, data, world, workers), last)
    if best is last:
        detector.load_state_dict(last_weights.state_dict())
    if not world.is_main:
        return None
    if best is last and (kept is not None or not trainer.store.has_best()):
        trainer.keep_as_best(config.epochs)
    write_atomic(folder.path / "detections.json", _json_line(best.detections.to_coco_results()).encode())
    for split, count in data.skipped().items():
        if count:
            deviations.append(Deviation(f"images skipped ({split})", 0, count))
    seconds = sum(row["seconds"] for row in history)
    recipe = run.recipe
    return Result(
        schema=SCHEMA,
        study=run.study,
        arm=run.arm,
        seed=run.seed,
        run=run.name,
        recipe_hash=recipe.hash,
        protocol=recipe.protocol,
        finished=now(),
        best=best.recorded(),
        last=last.recorded(),
        profile=Profile(**asdict(profile_detector(detector, config.image_size))),
        full_size_profile=full_size_profile(recipe),
        latency=latency_of(detector, config, data.val, world.device),
        training=TrainingFacts(
            epochs=config.epochs,
            iterations=history[-1]["iteration"],
            seconds=seconds,
            images_per_second=history[-1]["iteration"] * config.batch_size / seconds,
            data_wait=sum(r["data_wait"] * r["seconds"] for r in history) / seconds,
            memory_mb=max(r["memory_mb"] for r in history),
            attempts=attempt,
        ),
        dataset=DatasetFacts(**vars(recipe.dataset), skipped=Skipped(**data.skipped())),
        hardware=Hardware(**describe_hardware(world)),
        deviations=tuple(deviations),
    )


def kept_epoch(store: CheckpointStore, last: int) -> int | None:
    """The epoch of the weights kept as the best, None when they are the last ones or cannot be read."""
    try:
        kept = store.load_best()
    except BrokenCheckpointError as error:
        log.error("%s; %s; the last epoch's weights take its place", error, store.set_best_aside())
        return None
    return None if kept is None or kept["epoch"] == last else kept["epoch"]


def full_size_profile(recipe: Recipe) -> Profile:
    """Profile of the paper's model with these ingredients: unscaled, 80 classes, the paper's test size."""
    with torch.device("meta"):
        detector = build_detector(MODELS[recipe.model.name], recipe.ingredients)
    return Profile(**asdict(profile_detector(detector, input_size(recipe.model.name))))


def headline(result: Result) -> str:
    """A result in one line."""

    def shown(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.2f}"

    best, last = result.best, result.last
    return (
        f"AP {shown(best.AP)} (best, epoch {best.epoch}), {shown(last.AP)} (last) "
        f"on {result.dataset.name}, {result.protocol} protocol"
    )


def _json_line(value: Any) -> str:
    return json.dumps(value, allow_nan=False)
