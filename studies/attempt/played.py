"""Which detectors a streaming command line means: finished runs, and weights of files."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace
from pathlib import Path

from roadmap.datasets import EMBEDDED
from roadmap.record import Latency, RunFolder
from roadmap.stages import ingredients_at
from roadmap.study import read_study
from roadmap.typed import parse
from yolox_core.config import (
    MODELS,
    YOLOX_INGREDIENTS,
    Ingredients,
    ModelConfig,
    input_size,
    model_config,
)
from yolox_core.files import read_json

#: Sources of latencies that have a name; others are a table's file and a number of milliseconds.
NAMED = ("measured", "record", "realtime")


@dataclass(frozen=True)
class Subject:
    """A detector that is played to. run: its run's folder name, empty for weights of a file.

    latency: of the run's record, or of a table; None where there is none.
    """

    name: str
    label: str
    run: str
    model: ModelConfig
    ingredients: Ingredients
    weights: Path
    image_size: int
    latency: Latency | None = None


def find_subjects(options: argparse.Namespace) -> list[Subject]:
    """The detectors that a command line means, each name once. Raises ValueError when there is none."""
    found: list[Subject] = []
    for folder in options.runs or ():
        found += _finished_runs(folder, embedded=options.annotations is None)
    for name, weights in options.weights or ():
        if not weights.is_file():
            raise ValueError(f"--weights {name}: {weights} is missing")
        if options.image_size is not None and (options.image_size < 32 or options.image_size % 32):
            raise ValueError(f"--image-size must be a positive multiple of 32, not {options.image_size}")
        size = options.image_size or input_size(name if name in MODELS else "yolox-darknet53")
        if name in MODELS:
            model, ingredients = model_config(name), YOLOX_INGREDIENTS
        else:
            model, ingredients = MODELS["yolox-darknet53"], ingredients_at(name)
        found.append(Subject(name, name, "", model, ingredients, weights, size))
    if not found:
        raise ValueError("nothing to play to: give --runs FOLDER (finished runs) or --weights NAME=FILE")
    names = [subject.name for subject in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{twice[0]} is named twice; a run and weights of a file need different names")
    return found


def _finished_runs(root: Path, embedded: bool) -> list[Subject]:
    """Finished runs of a run's folder, a study's or one of studies, as their study orders them."""
    paths = [path.parent for depth in ("", "*/", "*/*/") for path in sorted(root.glob(f"{depth}recipe.json"))]
    runs = [RunFolder(path) for path in paths]
    done = [(run, result) for run in runs if (result := run.result()) is not None]
    if not done:
        raise ValueError(f"--runs {root}: no finished run there, of {len(runs)} in all")
    studies = {run.path.parent: read_study(run.path.parent) for run, _ in done}
    several = len(studies) > 1
    found = []
    for run, result in done:
        recipe, plan = run.verified(run.identity()).recipe, studies[run.path.parent]
        if embedded and recipe.dataset.fingerprint != EMBEDDED.fingerprint:
            raise ValueError(
                f"{run.path} was trained on {recipe.dataset.name}, the embedded video shows the embedded "
                "dataset's shapes; give --annotations FILE and --images DIR"
            )
        if not (weights := run.checkpoints / "best.pt").is_file():
            raise ValueError(f"{weights} is missing; without its weights a run cannot be played to")
        known = plan.find(result.arm) if plan else None
        place = plan.place(result.arm) if plan else None
        label = known.label if known else result.arm
        seeds = len({r.seed for _, r in done if r.arm == result.arm}) > 1
        name = (f"{run.study}/" if several else "") + result.arm + (f", seed {result.seed}" if seeds else "")
        subject = Subject(
            name,
            label + (f", seed {result.seed}" if seeds else ""),
            run.name,
            recipe.model,
            recipe.ingredients,
            weights,
            recipe.training.image_size,
            result.latency,
        )
        found.append((run.study, math.inf if place is None else place, result.seed, subject))
    return [subject for *_, subject in sorted(found, key=lambda item: item[:3])]


def with_latencies(subjects: list[Subject], table: Path | None) -> list[Subject]:
    """The subjects with latencies of their records, or of what ``studies.profile --latency --json`` printed.

    Raises ValueError naming whose is missing, or was measured at another size.
    """
    if table is not None:
        rows = read_json(table)
        if not isinstance(rows, list):
            raise ValueError(
                f"--latency {table}: missing, or not what python -m studies.profile --latency --json prints; "
                f"or one of: {', '.join(NAMED)}, or milliseconds"
            )
        known = {str(row.get("name")): row.get("latency") for row in rows}
        subjects = [
            replace(
                s, latency=parse(Latency, known[s.name], f"{table}, {s.name}") if known.get(s.name) else None
            )
            for s in subjects
        ]
    for subject in subjects:
        where = table or "its run's record"
        if subject.latency is None:
            raise ValueError(f"{subject.name} has no latency in {where}; use --latency measured")
        if subject.latency.image_size != subject.image_size:
            raise ValueError(
                f"{subject.name} was timed at {subject.latency.image_size} px in {where} and is played to at "
                f"{subject.image_size} px; use --latency measured"
            )
    return subjects
