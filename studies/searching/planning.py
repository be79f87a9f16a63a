"""From a command line and a space to a search's record: what is tuned, on what data, and what it costs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from roadmap.cost import training_flops
from roadmap.models import model_arm
from roadmap.recipe import Run
from roadmap.search import FIRST_FRESH_SEED, Base, SearchRecord, Space
from roadmap.stages import STAGE_NAMES, stage_arm
from roadmap.study import Arm, Study
from roadmap.text_table import format_table
from roadmap.words import counted
from slurm import budget
from slurm.site import Site
from slurm.submission import Task
from studies.command.plan import make_plan
from studies.searching.controller import budget as trials_of

#: What of the command line is kept with the search, for whoever takes the next step.
KEPT = (
    "device",
    "workers",
    "cache",
    "tracking",
    "site",
    "freeze",
    "max_gpu_hours",
    "no_report",
    "look_every",
)


def base_arm(name: str) -> Arm:
    """A stage or a model, as an arm of that name."""
    return stage_arm(name) if name in STAGE_NAMES else model_arm(name)


def new_record(
    space: Space, name: str, options: argparse.Namespace, command: str, coco: str = ""
) -> SearchRecord:
    """The search asked for, with nothing done yet. Raises ValueError for data or settings that are wrong."""
    study = Study(name, space.summary, tuple(base_arm(base) for base in space.base))
    asked = argparse.Namespace(**{**vars(options), "only": None, "seeds": None, "seed": space.run_seed})
    plan = make_plan(study, asked, command, coco)
    bases = tuple(
        Base(planned.run.arm, planned.run.recipe, study.find(planned.run.arm).reference())
        for planned in plan.planned
    )
    inputs = {
        "data": plan.data and str(plan.data.absolute()),
        "weights": plan.weights and str(plan.weights.absolute()),
        "splits": plan.splits and list(plan.splits),
    }
    how = {key: getattr(options, key, None) for key in KEPT}
    return SearchRecord(name, space, bases, command=command, inputs=inputs, how=how)


def tasks(record: SearchRecord) -> list[Task]:
    """Every run that a search may come to, at the cost of what is tuned."""
    found = []
    for base in record.bases:
        space = record.space
        last = FIRST_FRESH_SEED + space.fresh_seeds if space.best else FIRST_FRESH_SEED
        seeds = [(f"{base.name}, trial", number) for number in range(trials_of(record))]
        for rank in range(space.best + 1):
            name = f"{base.name}, best {rank} again" if rank else f"{base.name}, not tuned"
            seeds += [(name, seed) for seed in range(FIRST_FRESH_SEED, last)]
        found += [Task.of(Run(record.name, arm, seed, base.recipe), ()) for arm, seed in seeds]
    return found


def rows(record: SearchRecord) -> list[dict[str, Any]]:
    """What is tuned, as plain values."""
    return [
        {
            "field": parameter.key,
            "values": ", ".join(map(str, parameter.choices))
            if parameter.kind == "choice"
            else f"{parameter.low:g} … {parameter.high:g}",
            "scale": "choice" if parameter.kind == "choice" else "log" if parameter.log else "linear",
            "step": parameter.step,
        }
        for parameter in record.space.parameters
    ]


def description(record: SearchRecord, site: Site | None, runs: Path) -> str:
    """What would be done and what it costs, for a terminal."""
    space, planned = record.space, tasks(record)
    wanted = " and ".join(f"{o.name} ({o.direction})" for o in space.objectives)
    flops = sum(training_flops(base.recipe) for base in record.bases) / len(record.bases)
    lines = [
        format_table(rows(record)),
        "",
        f"Search {record.name}: {wanted} of {', '.join(space.base)}; sampler {space.sampler}, pruner "
        f"{space.pruner}, {counted(trials_of(record), 'trial')} each, {space.at_once} at once.",
        _again(space),
        f"{counted(len(planned), 'run')} at most, {flops / 1e15:.4g} PFLOP of training each as not tuned.",
    ]
    if site is not None:
        lines.append(budget.describe(budget.estimate(planned, site, budget.known_throughput(site, runs))))
    return "\n".join(lines)


def _again(space: Space) -> str:
    if not space.best:
        return "Nothing is run again: the best figure of the search will be an optimistic one."
    seeds = f"{FIRST_FRESH_SEED} … {FIRST_FRESH_SEED + space.fresh_seeds - 1}"
    return f"Then the best {space.best} and what was not tuned again, with the fresh seeds {seeds}."


def check_budget(record: SearchRecord, site: Site, runs: Path, hours: float | None) -> None:
    """Raises ValueError when the whole search would cost more GPU-hours than allowed."""
    cost = budget.estimate(tasks(record), site, budget.known_throughput(site, runs))
    budget.check_budget(cost, hours)
