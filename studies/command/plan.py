"""What a study's command line asks for: the runs, their data, and what they would cost."""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roadmap.cost import iterations, training_flops
from roadmap.datasets import describe_dataset, resolve_dataset
from roadmap.protocols import IMAGENET, Deviation, Protocol, deviations, find_protocol
from roadmap.recipe import DatasetConfig, Recipe, Run
from roadmap.record import RunFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Study:
    """A question with a runner.

    module: what follows ``python -m``. names: the arms in order, or whatever ``noun`` calls them.
    recipe(name, protocol, dataset, imagenet): the recipe to run. reference(name): the paper's recipe for
    it. rows: what --list shows, one mapping per name.
    """

    name: str
    module: str
    description: str
    names: tuple[str, ...]
    recipe: Callable[[str, Protocol, DatasetConfig, str], Recipe]
    reference: Callable[[str], Recipe]
    rows: Callable[[], list[dict[str, Any]]]
    noun: str = "stage"


@dataclass(frozen=True)
class Planned:
    """A run that was asked for, its folder, and where it departs from the paper."""

    run: Run
    folder: RunFolder
    deviations: tuple[Deviation, ...]


def chosen_seeds(options: argparse.Namespace) -> list[int]:
    """Seeds that the command line asks for."""
    return list(range(options.seeds)) if options.seeds else [options.seed or 0]


def make_plan(study: Study, options: argparse.Namespace, coco: str = "") -> tuple[list[Planned], Path | None]:
    """The runs asked for, and their dataset's folder (None: embedded). coco: the site's, where the user
    names none. Raises ValueError for an unknown name, a broken dataset or an unreadable weights file.
    """
    names = options.names or list(study.names)
    for name in names:
        if name not in study.names:
            raise ValueError(f"unknown {study.noun} {name!r}; choose one of: {', '.join(study.names)}")
    root = None if options.embedded else resolve_dataset(options.data) or resolve_dataset(coco or None)
    dataset = describe_dataset(root)
    protocol = find_protocol(options.protocol or ("demo" if root is None else "paper"))
    if root is None:
        log.warning(
            "\n*** %s: using the embedded dataset of drawn shapes.\n"
            "*** Its figures show that the code works. They are not COCO figures.\n",
            "As asked" if options.embedded else "No dataset was given (--data or $COCO_DIR)",
        )
    identity = _identity(weights_file(options))
    imagenet = f"{IMAGENET}:{identity}" if options.imagenet_weights else ""
    plan = []
    for seed in chosen_seeds(options):
        for name in dict.fromkeys(names):
            recipe = study.recipe(name, protocol, dataset, imagenet)
            if options.weights:
                training = replace(recipe.training, pretrained=f"weights:{identity}")
                recipe = replace(recipe, training=training)
            run = Run(study.name, name, seed, recipe)
            folder = RunFolder(Path(options.runs) / study.name / run.name)
            plan.append(Planned(run, folder, deviations(run.recipe, study.reference(name))))
    return plan, root


def weights_file(options: argparse.Namespace) -> Path | None:
    """The file that training starts from, None for random weights."""
    given = options.weights or options.imagenet_weights
    return Path(given).absolute() if given else None


def _identity(file: Path | None) -> str:
    """First 12 hex digits of a file's SHA-256: part of the recipe, so that other weights are another run."""
    if file is None:
        return ""
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()[:12]
    except OSError as error:
        raise ValueError(f"weights file {file}: {error.strerror}") from error


def plan_rows(plan: list[Planned]) -> list[dict[str, Any]]:
    """What each planned run would do, as plain values."""
    return [
        {
            "arm": planned.run.arm,
            "seed": planned.run.seed,
            "run": planned.run.name,
            "state": planned.folder.state(),
            "epochs": planned.run.recipe.training.epochs,
            "iterations": iterations(planned.run.recipe),
            "training_flops": training_flops(planned.run.recipe),
            "folder": str(planned.folder.path),
        }
        for planned in plan
    ]


def task_arguments(
    study: Study, planned: Planned, root: Path | None, options: argparse.Namespace
) -> tuple[str, ...]:
    """What follows the interpreter to carry out one run where it is started; every choice spelled out, so
    that a job does not depend on the environment it happens to get.
    """
    run = planned.run
    words = ["-m", study.module, "--only", run.arm, "--seed", str(run.seed)]
    words += ["--protocol", run.recipe.protocol, "--runs", str(Path(options.runs).absolute())]
    words += ["--data", str(root.absolute())] if root is not None else ["--embedded"]
    words += ["--launcher", "local", "--no-report"]
    for name in ("weights", "imagenet_weights"):
        if getattr(options, name):
            words += [f"--{name.replace('_', '-')}", str(weights_file(options))]
    for name in ("device", "workers", "tracking"):
        if getattr(options, name) is not None:
            words += [f"--{name}", str(getattr(options, name))]
    if options.again:
        words.append("--again")
    return tuple(words)
