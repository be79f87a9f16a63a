"""An attempt at a run from the inside: open the data, train, evaluate, profile, write the result."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from roadmap.protocols import Deviation
from roadmap.recipe import Recipe, Run, to_json
from roadmap.record import SCHEMA, RunFolder, now, write_atomic, write_json
from studies.attempt.environment import describe_environment, describe_hardware
from studies.attempt.process import data_workers, prepare_process
from studies.mirror.tracker import Tracker, start_tracking
from yolox_core.augmentation.letterbox import letterbox
from yolox_core.build import build_detector, build_pipelines
from yolox_core.config import MODELS, input_size
from yolox_core.data.coco import CocoDataset, open_splits
from yolox_core.data.loader import TrainStream, training_side
from yolox_core.data.shapes import ensure_shapes_dataset
from yolox_core.deploy.folded_norms import unfold_norms
from yolox_core.deploy.weights import load_official
from yolox_core.detector import Detector
from yolox_core.evaluation.collect import Detections, coco_metrics, collect_detections, merge
from yolox_core.profiling import measure_latency, profile_detector
from yolox_core.training.checkpoint import CheckpointStore
from yolox_core.training.distributed import World
from yolox_core.training.loop import Hooks, Trainer

log = logging.getLogger(__name__)

#: Latency is measured on this many validation images in turn, this many times in all.
LATENCY_IMAGES, LATENCY_REPEATS = 32, 200
#: Batch norms of a checkpoint that was folded are restated on this many training images.
NORM_IMAGES = 96


@dataclass(frozen=True)
class Options:
    """What may differ between attempts of the same run without changing its outcome.

    data: COCO-layout folder, None for the embedded dataset (made below ``embedded``). device: cpu, cuda
    or None for the best there is. workers: data processes, None to choose. tracking: an MLflow URI,
    ``off``, or None for the default. again: start a finished or failed run from scratch. weights: file that
    the recipe's ``pretrained`` names.
    """

    runs: Path
    data: Path | None
    embedded: Path
    device: str | None = None
    workers: int | None = None
    tracking: str | None = None
    again: bool = False
    weights: Path | None = None


class Session:
    """One attempt at a run, from opening the data to writing the result."""

    def __init__(
        self,
        run: Run,
        folder: RunFolder,
        deviations: tuple[Deviation, ...],
        options: Options,
        world: World,
        stop: Callable[[], bool],
        attempt: int,
    ) -> None:
        self.run, self.folder, self.options, self.world, self.stop = run, folder, options, world, stop
        self.recipe: Recipe = run.recipe
        self.deviations = list(deviations)
        self.attempt = attempt
        self.store = CheckpointStore(folder.checkpoints)
        self.tracker: Tracker | None = None
        self.damaged: dict[str, str] = {}

    def carry_out(self) -> None:
        """Train, then write the result."""
        prepare_process(self.run.seed, self.world)
        self.train_set, self.val_set = self._open_data()
        if self.world.is_main:
            self._describe()
            self.tracker = start_tracking(self.folder, self.options.tracking)
        detector = self._build()
        history = self._train(detector)
        result = self._conclude(detector, history)
        if self.world.is_main:
            write_json(self.folder.path / "result.json", result)
            log.info("%s: %s", self.run.name, _headline(result))

    def end_tracking(self, reason: str) -> None:
        """Tell the tracker how the attempt ended, once the record says so too, and wait for it a while."""
        if self.tracker is None:
            return
        if reason == "finished":
            self.tracker.finish({})
        elif reason == "signal":
            self.tracker.interrupted()
        else:
            self.tracker.fail({})
        left_over = self.tracker.close()
        if left_over:
            log.warning("%s", left_over)

    def _open_data(self) -> tuple[CocoDataset, CocoDataset]:
        root = self.options.data
        if root is None:
            if self.world.is_main:
                ensure_shapes_dataset(self.options.embedded)
            self.world.barrier()
            root = ensure_shapes_dataset(self.options.embedded)
        splits = open_splits(root)
        skipped = [tuple(sorted(image.name for image in split.skipped)) for split in splits]
        if any(other != skipped for other in self.world.gather(skipped)):
            raise ValueError(f"processes see different images in {root}; is it the same folder on all nodes?")
        return splits

    def _skipped(self) -> dict[str, int]:
        """Images left out: found unusable at the start, or damaged when they were read."""
        return {"train": len(self.train_set.skipped) + len(self.damaged), "val": len(self.val_set.skipped)}

    def _describe(self) -> None:
        environment = describe_environment(self.world, self.recipe.training.mixed_precision)
        environment["dataset"] = to_json(self.recipe.dataset) | {
            "path": str(self.train_set.root),
            "train": self.train_set.summary(),
            "val": self.val_set.summary(),
        }
        write_json(self.folder.path / "environment.json", environment)
        for split, count in self._skipped().items():
            if count:
                log.warning("%d %s images are skipped; environment.json names them", count, split)
        for dataset in (self.train_set, self.val_set):
            if dropped := dataset.dropped_annotations():
                log.warning("%s; environment.json counts them", dropped)
        if environment["precision"] == "fp32" and self.recipe.training.mixed_precision:
            self.deviations.append(Deviation("precision", "fp16 mixed", "fp32"))
        if self.world.size != 8:
            self.deviations.append(Deviation("processes", 8, self.world.size))

    def _build(self) -> Detector:
        torch.manual_seed(self.run.seed)
        detector = build_detector(self.recipe.model, self.recipe.ingredients)
        if self.recipe.training.pretrained and self.options.weights is not None:
            report = load_official(detector, self.options.weights)
            log.info("%s", report)
            if report.folded:
                unfold_norms(detector, self._photographs(self.train_set, NORM_IMAGES).split(8))
                log.info("its batch norms were folded; restated on training images")
        return detector

    def _train(self, detector: Detector) -> list[dict[str, Any]]:
        config, seed, world = self.recipe.training, self.run.seed, self.world
        iterations = config.iterations_per_epoch(len(self.train_set))
        main, closing = build_pipelines(self.recipe.ingredients, config)
        workers = data_workers(self.options.workers, world)
        streams = ExitStack()
        bar = tqdm(
            total=config.epochs * iterations,
            desc=f"{self.run.arm} (seed {seed})",
            unit="it",
            disable=None if world.is_main else True,
            dynamic_ncols=True,
        )

        def batches(epoch: int, iteration: int) -> Iterator[Any]:
            bar.update(epoch * iterations + iteration - bar.n)
            stream = streams.enter_context(
                TrainStream(
                    self.train_set,
                    main,
                    closing,
                    config,
                    seed,
                    epoch,
                    iteration,
                    world.rank,
                    world.size,
                    workers,
                    pin_memory=world.device.type == "cuda",
                )
            )
            self.damaged = stream.damaged
            return stream

        def on_iteration(epoch: int, iteration: int, loss: float) -> None:
            bar.update(1)
            bar.set_postfix(epoch=f"{epoch + 1}/{config.epochs}", loss=f"{loss:.2f}", refresh=False)

        trainer = Trainer(
            detector,
            config,
            images=len(self.train_set),
            world=world,
            store=self.store,
            hooks=Hooks(
                batches=batches,
                side=lambda epoch, iteration: training_side(config, seed, epoch, iteration, iterations),
                evaluate=lambda model, epoch: self._evaluate(model, config.confidence)[0],
                should_stop=self.stop,
                on_epoch=self._on_epoch,
                on_iteration=on_iteration,
            ),
        )
        if trainer.resume():
            log.info("resumed at epoch %d, iteration %d", trainer.epoch + 1, trainer.iteration)
        with bar, streams, logging_redirect_tqdm():
            history = trainer.run()
        self.ema = trainer.ema.model
        return history

    def _on_epoch(self, history: list[dict[str, Any]]) -> None:
        text = "".join(f"{_json_line(row)}\n" for row in history)
        try:
            write_atomic(self.folder.path / "metrics.jsonl", text.encode())
        except OSError as error:
            log.warning("metrics.jsonl not written: %s; its rows are kept, free some space", error)
        row = history[-1]
        ap = f", AP {row['AP']:.2f}" if row.get("AP") is not None else ""
        log.info(
            "%s epoch %d/%d: loss %.3f, %.1f images/s%s",
            self.run.arm,
            row["epoch"],
            self.recipe.training.epochs,
            row["loss"],
            row["images_per_second"],
            ap,
        )
        if self.tracker is not None:
            self.tracker.epoch(row)

    def _evaluate(self, model: nn.Module, confidence: float) -> tuple[dict[str, float | None], Detections]:
        config, world = self.recipe.training, self.world
        assert isinstance(model, Detector)
        own = collect_detections(
            model,
            self.val_set,
            config.image_size,
            confidence,
            config.nms_iou,
            world.device,
            batch_size=16,
            workers=data_workers(self.options.workers, world),
            rank=world.rank,
            world_size=world.size,
        )
        detections = merge(world.gather(own))
        metrics = coco_metrics(self.val_set.annotation_file, detections, list(self.val_set.ids))
        return metrics, detections

    def _conclude(self, detector: Detector, history: list[dict[str, Any]]) -> dict[str, Any]:
        """Evaluate the last and the best weights at the final confidence, profile, and put it together."""
        config = self.recipe.training
        last, detections = self._evaluate(self.ema, config.final_confidence)
        best, best_epoch = last, config.epochs
        kept = self.store.load_best(self.world.device)
        if kept is not None and kept["epoch"] != config.epochs:
            best_epoch = kept["epoch"]
            detector.load_state_dict(kept["model"])
            best, detections = self._evaluate(detector, config.final_confidence)
        else:
            detector.load_state_dict(self.ema.state_dict())
        if not self.world.is_main:
            return {}
        write_atomic(self.folder.path / "detections.json", _json_line(detections.to_coco_results()).encode())
        for split, count in self._skipped().items():
            if count:
                self.deviations.append(Deviation(f"images skipped ({split})", 0, count))
        latency = measure_latency(
            detector,
            config.image_size,
            self.world.device,
            config.final_confidence,
            config.nms_iou,
            repeats=LATENCY_REPEATS,
            images=self._photographs(self.val_set, LATENCY_IMAGES),
        )
        latency["load_average"] = os.getloadavg()[0]
        seconds = sum(row["seconds"] for row in history)
        run, recipe = self.run, self.recipe
        return {
            "schema": SCHEMA,
            "study": run.study,
            "arm": run.arm,
            "seed": run.seed,
            "run": run.name,
            "recipe_hash": recipe.hash,
            "protocol": recipe.protocol,
            "finished": now(),
            "best": {"epoch": best_epoch, **best},
            "last": {"epoch": config.epochs, **last},
            "profile": asdict(profile_detector(detector, config.image_size)),
            "full_size_profile": full_size_profile(recipe),
            "latency": latency,
            "training": {
                "epochs": config.epochs,
                "iterations": history[-1]["iteration"],
                "seconds": seconds,
                "images_per_second": history[-1]["iteration"] * config.batch_size / seconds,
                "data_wait": sum(r["data_wait"] * r["seconds"] for r in history) / seconds,
                "memory_mb": max(r["memory_mb"] for r in history),
                "attempts": self.attempt,
            },
            "dataset": to_json(recipe.dataset) | {"skipped": self._skipped()},
            "hardware": describe_hardware(self.world),
            "deviations": [asdict(d) for d in self.deviations],
        }

    def _photographs(self, dataset: CocoDataset, count: int) -> torch.Tensor:
        """The first images of a split as network input, (n, 3, S, S) float."""
        size = self.recipe.training.image_size
        images = [letterbox(dataset.load_image(index), size)[0] for index in range(min(count, len(dataset)))]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()


def full_size_profile(recipe: Recipe) -> dict[str, Any]:
    """Profile of the paper's model with these ingredients: unscaled, 80 classes, the paper's test size."""
    with torch.device("meta"):
        detector = build_detector(MODELS[recipe.model.name], recipe.ingredients)
    return asdict(profile_detector(detector, input_size(recipe.model.name)))


def _json_line(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _headline(result: dict[str, Any]) -> str:
    def shown(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.2f}"

    best, last = result["best"], result["last"]
    return (
        f"AP {shown(best['AP'])} (best, epoch {best['epoch']}), {shown(last['AP'])} (last) "
        f"on {result['dataset']['name']}, {result['protocol']} protocol"
    )
