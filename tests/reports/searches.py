"""Searches without training: records of trials in every state, and of the runs with fresh seeds behind them.

The true AP of a setting is a known function; a run sees it with noise, so that what a search claims and what
fresh seeds say can be worked out.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from roadmap.search import (
    FIRST_FRESH_SEED,
    Base,
    Confirmation,
    Objective,
    Parameter,
    SearchRecord,
    Space,
    Trial,
    winners,
    write_search,
)
from roadmap.stages import stage_recipe
from roadmap.study import ArmRecord, StudyRecord
from roadmap.typed import to_json
from tests.reports.factory import DEMO_HERE, SHAPES, write_run

AP, LATENCY = Objective("AP", "up"), Objective("latency_ms", "down")
PARAMETERS = (
    Parameter("training.learning_rate", "number", 1e-3, 5e-2, log=True),
    Parameter("training.weight_decay", "number", 1e-5, 1e-3, log=True),
    Parameter("model.assigner.candidates", "whole", 5, 20),
    Parameter("ingredients.multi_positives", "choice", choices=(False, True)),
)
#: Standard deviation of one run (AP).
NOISE = 0.8
STUDY = "search"


def true_ap(parameters: dict[str, Any], base: float = 0.0) -> float:
    """What a setting gives: best at a learning rate of 0.02, better with several positives."""
    away = math.log10(parameters["training.learning_rate"] / 0.02)
    return 33.0 + base - 5.0 * away**2 + 1.5 * parameters["ingredients.multi_positives"]


def latency(parameters: dict[str, Any]) -> float:
    """What a setting takes in ms: more candidates and more AP cost time."""
    return 6.0 + 0.2 * parameters["model.assigner.candidates"] + 0.5 * max(0.0, true_ap(parameters) - 30)


def write_searched(
    runs: Path,
    trials: int = 40,
    bases: tuple[str, ...] = ("simota",),
    objectives: tuple[Objective, ...] = (AP,),
    fresh: int = 3,
    seed: int = 0,
    study: str = STUDY,
) -> SearchRecord:
    """A search of ``trials`` per base, failed, stopped, running and waiting ones among them, and its runs."""
    rng = np.random.default_rng(seed)
    space = Space("What AP can be had for by tuning", bases, objectives, PARAMETERS, pruner="median",
                  trials=trials, fresh_seeds=max(1, fresh))  # fmt: skip
    recipes = {name: stage_recipe(name, DEMO_HERE, SHAPES) for name in bases}
    record = SearchRecord(study, space, tuple(Base(n, r, r) for n, r in recipes.items()), command="…")
    for place, name in enumerate(bases):
        record = replace(
            record,
            trials=record.trials + tuple(_trial(record, rng, runs, name, n, place) for n in range(trials)),
        )
    for place, name in enumerate(bases if fresh else ()):
        record = replace(record, confirmations=record.confirmations + _again(record, rng, runs, name, place))
    record = replace(record, phase="finished" if fresh else "confirming")
    write_search(runs / study, record)
    arms = [ArmRecord(t.arm, t.arm) for t in record.trials]
    keys = tuple(parameter.key for parameter in PARAMETERS)
    arms += {c.arm: ArmRecord(c.arm, c.arm, record.arm(c.base, "base"), changes=keys)
             if c.rank else ArmRecord(c.arm, c.arm)
             for c in record.confirmations}.values()  # fmt: skip
    plan = StudyRecord(study, "What AP can be had for by tuning", tuple(arms), noun="trial")
    (runs / study / "study.json").write_text(_json({"schema": 1, **to_json(plan)}))
    return record


def _json(data: Any) -> str:
    import json

    return json.dumps(data)


def _trial(
    record: SearchRecord, rng: np.random.Generator, runs: Path, base: str, number: int, place: int
) -> Trial:
    parameters = {
        "training.learning_rate": float(10 ** rng.uniform(-3, math.log10(5e-2))),
        "training.weight_decay": float(10 ** rng.uniform(-5, -3)),
        "model.assigner.candidates": int(rng.integers(5, 21)),
        "ingredients.multi_positives": bool(rng.integers(0, 2)),
    }
    arm = record.arm(base, f"trial-{number:04d}")
    ap = true_ap(parameters, 2.0 * place) + float(rng.normal(0, NOISE))
    trial = Trial(number, base, arm, parameters, intermediate=((4, ap - 15), (8, ap - 6)))
    last = record.space.trials - 1
    if number in (5, 17):
        reason = "non-finite-loss: loss is nan (epoch 3)" if number == 5 else "cancelled by the user"
        folder = _run(runs, record, arm, 0, base, ap, parameters, "failed")
        return replace(trial, state="failed", reason=reason, run=folder)
    if number in (last, last - 1):
        if number == last:
            return replace(trial, intermediate=())
        return replace(
            trial, state="running", run=_run(runs, record, arm, 0, base, ap, parameters, "interrupted")
        )
    if ap < 29.0 + 2 * place and number > 8:
        reason = f"AP {ap - 6:.1f} at epoch 8 is below the median of the trials before it"
        folder = _run(runs, record, arm, 0, base, ap, parameters, "interrupted")
        return replace(trial, state="stopped", reason=reason, run=folder)
    folder = _run(runs, record, arm, 0, base, ap, parameters)
    values = (ap, latency(parameters))[: len(record.space.objectives)]
    return replace(trial, state="finished", run=folder, values=values)


def _again(
    record: SearchRecord, rng: np.random.Generator, runs: Path, base: str, place: int
) -> tuple[Confirmation, ...]:
    none: dict[str, Any] = {}
    rows: list[tuple[str, int, int | None, float, float, dict[str, Any]]]
    rows = [("base", 0, None, 33.0 + 2.0 * place, 9.0, none)]
    for rank, trial in enumerate(winners(record, base), 1):
        truth = true_ap(trial.parameters, 2.0 * place)
        rows.append((f"best-{rank}", rank, trial.number, truth, latency(trial.parameters), trial.parameters))
    found = []
    for name, rank, number, truth, milliseconds, parameters in rows:
        for seed in range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + record.space.fresh_seeds):
            ap, arm = truth + float(rng.normal(0, NOISE)), record.arm(base, name)
            again = Confirmation(
                arm, base, rank, number, seed, "finished", _run(runs, record, arm, seed, base, ap, parameters)
            )
            values = (ap, milliseconds + float(rng.normal(0, 0.1)))[: len(record.space.objectives)]
            found.append(replace(again, values=values))
    return tuple(found)


def _run(
    runs: Path,
    record: SearchRecord,
    arm: str,
    seed: int,
    base: str,
    ap: float,
    parameters: dict[str, Any],
    state: str = "finished",
) -> str:
    recipe = record.recipe(base, parameters)
    folder = write_run(runs, arm, seed, study=record.name, ap=ap, recipe=recipe, state=state)
    return f"{record.name}/{folder.name}"
