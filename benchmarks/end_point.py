"""The end point trained by the official code too: does the whole agree, as its parts do?

    make peer                                                                                    once
    python -m studies.run STUDY.py --data DIR --seeds 3 --runs RUNS                    our side: plain runs
    python -m benchmarks.end_point train RUNS/STUDY/ARM-s0-1a2b3c4d … --data DIR --out OUT   the official side
    python -m benchmarks.end_point compare RUNS/STUDY/ARM-s0-1a2b3c4d … --out OUT

``train`` reads a run's recipe and seed and trains the same on the CPU with the official code (0.3.0): its
model, assigner, losses, optimiser, schedule, average of the weights, samples and evaluation. Nothing but the
loop around them is ours, for the official one needs CUDA. A recipe that the official code cannot carry out is
refused. Killed, the same command goes on after the last whole epoch. ``compare`` sets both sides' AP beside
each other, with the interval of their difference: seeds draw other samples in either code, so the two sides
are not paired.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools.cocoeval import COCOeval

from benchmarks.in_turn import official
from reports.judging.statistics import Interval
from roadmap.planned import read_planned
from roadmap.recipe import Recipe, Run, flatten, to_json
from roadmap.record import RunFolder, write_json
from roadmap.text_table import format_table
from yolox_core.config import YOLOX_INGREDIENTS, AssignerConfig, LossConfig
from yolox_core.files import read_json

#: Recipe fields that the official code has fixed, with its value.
FIXED: dict[str, Any] = {
    "ingredients": to_json(YOLOX_INGREDIENTS),
    "model.backbone": "csp-darknet",
    "model.activation": "silu",
    "model.head_width": 256,
    "model.strides": [8, 16, 32],
    "model.assigner.solver": "simota",
    "model.assigner.simota_geometry": AssignerConfig.simota_geometry,
    "model.assigner.center_radius": AssignerConfig.center_radius,
    "model.assigner.iou_cost": AssignerConfig.iou_cost,
    "model.assigner.candidates": AssignerConfig.candidates,
    "model.loss": to_json(LossConfig()),
    "training.augmentation.hsv": [5.0, 30.0, 30.0],
    "training.augmentation.copy_paste": 0.0,
    "training.ema_decay": 0.9998,
    "training.ema_ramp": 2000,
    "training.max_objects": 120,
    "training.multiscale_interval": 10,
    "training.pretrained": "",
}


def check_recipe(recipe: Recipe) -> None:
    """Raises ValueError naming every field that the official code has no setting for."""
    ours, wanted = flatten(to_json(recipe)), flatten(FIXED)
    other = [
        f"{name} = {ours[name]!r} (there: {wanted[name]!r})" for name in wanted if ours[name] != wanted[name]
    ]
    if other:
        raise ValueError("the official code cannot train this recipe: " + "; ".join(other))


def official_experiment(recipe: Recipe, data: Path, seed: int) -> Any:
    """The official experiment that says the same as a recipe. Raises ValueError when there is none."""
    check_recipe(recipe)
    model, training = recipe.model, recipe.training
    augmentation = training.augmentation
    experiment = official("yolox.exp").get_exp(None, "yolox-nano" if model.depthwise else "yolox-s")
    side = (training.image_size, training.image_size)
    settings = {
        "depth": model.depth,
        "width": model.width,
        "num_classes": model.num_classes,
        "data_dir": str(data),
        "data_num_workers": 0,
        "seed": seed,
        "input_size": side,
        "test_size": side,
        "random_size": tuple(bound // 32 for bound in training.multiscale),
        "flip_prob": augmentation.flip,
        "mosaic_prob": augmentation.mosaic,
        "mosaic_scale": augmentation.mosaic_scale,
        "degrees": augmentation.degrees,
        "shear": augmentation.shear,
        "translate": augmentation.translate,
        "enable_mixup": augmentation.mixup > 0,
        "mixup_prob": augmentation.mixup,
        "mixup_scale": augmentation.mixup_scale,
        "max_epoch": training.epochs,
        "warmup_epochs": training.warmup_epochs,
        "no_aug_epochs": training.closing_epochs,
        "basic_lr_per_img": training.learning_rate / training.batch_size,
        "min_lr_ratio": training.floor_ratio,
        "momentum": training.momentum,
        "weight_decay": training.weight_decay,
        "eval_interval": training.evaluate_every,
        "test_conf": training.final_confidence,
        "nmsthre": training.nms_iou,
    }
    for name, value in settings.items():
        if not hasattr(experiment, name) and name != "random_size":
            raise ValueError(f"the official experiment has no setting {name!r}")
        setattr(experiment, name, value)
    return experiment


class OfficialTraining:
    """The official code's parts in a plain loop on the CPU, resumable after every epoch."""

    def __init__(self, recipe: Recipe, data: Path, seed: int, checkpoint: Path) -> None:
        self.training = recipe.training
        self.seed = seed
        self.checkpoint = checkpoint
        torch.manual_seed(seed)
        self.experiment = official_experiment(recipe, data, seed)
        self.network = self.experiment.get_model().train()
        self.optimizer = self.experiment.get_optimizer(self.training.batch_size)
        self.average = official("yolox.utils").ModelEMA(self.network, self.training.ema_decay)
        with _quiet():
            self.iterations = self.training.iterations_per_epoch(len(self._loader(0).dataset))
        self.schedule = self.experiment.get_lr_scheduler(self.training.learning_rate, self.iterations)
        self.evaluations: list[dict[str, float]] = []
        self.seconds = 0.0
        self.side = self.experiment.input_size
        self.epoch = 0
        self._resume()

    def run(self) -> Iterator[int]:
        """Train; a number of finished epochs after each."""
        while self.epoch < self.training.epochs:
            started = time.monotonic()
            loss = self._train_epoch()
            self.epoch += 1
            found = ""
            if self.epoch % self.training.evaluate_every == 0 or self.epoch == self.training.epochs:
                self.evaluations.append({"epoch": self.epoch, "AP": self.evaluate()})
                found = f", AP {self.evaluations[-1]['AP']:.2f}"
            self.seconds += time.monotonic() - started
            self._save()
            print(f"official epoch {self.epoch}/{self.training.epochs}: loss {loss:.3f}{found}", flush=True)
            yield self.epoch

    def evaluate(self) -> float:
        """AP (percent) of the averaged weights on the validation split, by the official evaluator's parts."""
        with _quiet(), torch.no_grad():
            evaluator = self.experiment.get_evaluator(self.training.batch_size, False)
            found: list[dict[str, Any]] = []
            network = self.average.ema.eval()
            for images, _, sizes, ids in evaluator.dataloader:
                outputs = official("yolox.utils").postprocess(
                    network(images.float()), evaluator.num_classes, evaluator.confthre, evaluator.nmsthre
                )
                found += evaluator.convert_to_coco_format(outputs, sizes, ids)
            if not found:
                return 0.0
            truth = evaluator.dataloader.dataset.coco
            judge = COCOeval(truth, truth.loadRes(found), "bbox")
            judge.evaluate()
            judge.accumulate()
            judge.summarize()
        return 100 * float(judge.stats[0])

    def _closing(self, epoch: int) -> bool:
        return epoch >= self.training.epochs - self.training.closing_epochs

    def _loader(self, epoch: int) -> Any:
        """Batches of an epoch: a stream of its own, so that a resumed training sees the same."""
        self.experiment.seed = 1000 * self.seed + epoch
        return self.experiment.get_data_loader(self.training.batch_size, False, no_aug=self._closing(epoch))

    def _train_epoch(self) -> float:
        self.network.head.use_l1 = self._closing(self.epoch)
        for seeded in (random.seed, np.random.seed, torch.manual_seed):
            seeded(1000 * self.seed + self.epoch)
        with _quiet():
            batches = iter(self._loader(self.epoch))
        total = 0.0
        for iteration in range(self.iterations):
            images, labels, *_ = next(batches)
            images, labels = self.experiment.preprocess(images.float(), labels.float(), self.side)
            loss = self.network(images, labels)["total_loss"]
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.average.update(self.network)
            done = self.epoch * self.iterations + iteration + 1
            for group in self.optimizer.param_groups:
                group["lr"] = self.schedule.update_lr(done)
            if done % self.training.multiscale_interval == 0:
                self.side = (32 * random.randint(*self.experiment.random_size),) * 2
            total += float(loss.detach())
        return total / self.iterations

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "average": (self.average.ema.state_dict(), self.average.updates),
            "optimizer": self.optimizer.state_dict(),
            "rest": (self.epoch, self.side, self.evaluations, self.seconds),
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.checkpoint)

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        self.network.load_state_dict(state["network"])
        weights, self.average.updates = state["average"]
        self.average.ema.load_state_dict(weights)
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.side, self.evaluations, self.seconds = state["rest"]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*pin_memory.*")
        yield


def train(run: Run, data: Path, out: Path) -> Path:
    """Train a run's recipe with its seed by the official code; its result lies below ``out``."""
    result = result_file(out, run)
    if result.exists():
        return result
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = result.with_suffix(".pth")
    training = OfficialTraining(run.recipe, data, run.seed, checkpoint)
    for _ in training.run():
        pass
    write_json(
        result,
        {
            "code": "yolox 0.3.0 (official), plain loop on the CPU",
            "seed": run.seed,
            "recipe_hash": run.recipe.hash,
            "dataset": run.recipe.dataset.name,
            "evaluations": training.evaluations,
            "seconds": round(training.seconds, 1),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
    )
    checkpoint.unlink()
    return result


def result_file(out: Path, run: Run) -> Path:
    """Where the official side of a run is kept."""
    return out / f"official-s{run.seed}-{run.recipe.hash}.json"


@dataclass(frozen=True)
class Comparison:
    """AP (percent) of every seed on both sides."""

    what: str
    ours: tuple[float, ...]
    official: tuple[float, ...]

    @property
    def difference(self) -> float:
        """Mean of the official side minus ours, in AP."""
        return float(np.mean(self.official) - np.mean(self.ours))

    @property
    def interval(self) -> Interval | None:
        """Of the difference; None with fewer than two seeds."""
        return welch_interval(self.ours, self.official)


def welch_interval(before: Sequence[float], after: Sequence[float], level: float = 0.95) -> Interval | None:
    """Welch's t interval of the difference of two means, after minus before; None below two values each."""
    from scipy import stats  # type: ignore[import-untyped]  # slow to import

    if min(len(before), len(after)) < 2:
        return None
    found = stats.ttest_ind(after, before, equal_var=False).confidence_interval(level)
    return Interval(float(found.low), float(found.high), level, "Welch's t")


def compare(folders: Sequence[RunFolder], out: Path) -> tuple[Comparison, Comparison]:
    """Best and last epoch of finished runs and of their official counterparts. Raises ValueError when a side
    is missing.
    """
    best: tuple[list[float], list[float]] = [], []
    last: tuple[list[float], list[float]] = [], []
    for folder in folders:
        run, result = read_planned(folder).run, folder.result()
        if result is None:
            raise ValueError(f"{folder.path} has no result yet")
        theirs = read_json(result_file(out, run))
        if theirs is None:
            raise ValueError(f"{result_file(out, run)} is missing; train it first")
        evaluations = theirs["evaluations"]
        if result.best.AP is None or result.last.AP is None:
            raise ValueError(f"{folder.path} has no AP: its validation split has no objects")
        best[0].append(result.best.AP)
        best[1].append(max(row["AP"] for row in evaluations))
        last[0].append(result.last.AP)
        last[1].append(evaluations[-1]["AP"])
    return Comparison("best epoch", *map(tuple, best)), Comparison("last epoch", *map(tuple, last))


def comparison_text(found: Sequence[Comparison]) -> str:
    """A table of both sides."""
    rows = []
    for one in found:
        interval = one.interval
        rows.append(
            {
                "AP": one.what,
                "ours, by seed": " ".join(f"{value:.2f}" for value in one.ours),
                "official, by seed": " ".join(f"{value:.2f}" for value in one.official),
                "official - ours": f"{one.difference:+.2f}",
                "95 % interval": "needs two seeds"
                if interval is None
                else f"{interval.low:+.2f} to {interval.high:+.2f}",
            }
        )
    return format_table(rows)


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    if options.what == "train" and options.data is None:
        parser.error("train needs --data DIR")
    torch.set_num_threads(options.threads)
    folders = [RunFolder(path) for path in options.runs]
    try:
        if options.what == "compare":
            print(comparison_text(compare(folders, options.out)))
            return
        for folder in folders:
            run = read_planned(folder).run
            path = train(run, options.data, options.out)
            print(f"{path}: {json.dumps(read_json(path)['evaluations'][-1])}")
    except ValueError as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.end_point",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("train", "compare"))
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of our runs")
    parser.add_argument("--data", type=Path, help="the dataset, in COCO's layout")
    parser.add_argument("--out", type=Path, required=True, help="where the official side's results lie")
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
