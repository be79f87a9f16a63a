"""A planned run: its folder says what will run before anything does.

Planning resolves a recipe once. What it leaves in the run's folder is what runs, on whatever machine and
whenever that is, even if code, defaults or a protocol's file have changed by then:

    recipe.json   the run's identity and whole recipe; written once
    plan.json     where its data and starting weights lie, and who planned it; the newest planning counts
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadmap.protocols import Deviation
from roadmap.recipe import Run, to_json
from roadmap.record import SCHEMA, Identity, RunFolder, identity_from_json, now, read_json, write_json

PLAN = "plan.json"


@dataclass(frozen=True)
class Inputs:
    """Where a run's files lie; what is in them belongs to the recipe, by fingerprint.

    data: the dataset's folder, None for the embedded one. weights: what training starts from, if anything.
    splits: names of its training and validation split, None for the names that are usual.
    """

    data: Path | None
    weights: Path | None
    splits: tuple[str, str] | None = None


@dataclass(frozen=True)
class PlannedRun:
    """A run as its folder describes it. commit: of the code that planned it, None when unknown."""

    run: Run
    deviations: tuple[Deviation, ...]
    inputs: Inputs | None
    commit: str | None


def write_planned(
    folder: RunFolder,
    run: Run,
    deviations: tuple[Deviation, ...],
    inputs: Inputs,
    facts: Mapping[str, Any],
) -> None:
    """Leave a run's recipe and inputs in its folder, made if need be; a finished run is left as it is.

    facts: of the planning itself: command, commit, dirty.
    """
    if (folder.path / "result.json").exists():
        return
    folder.path.mkdir(parents=True, exist_ok=True)
    write_identity(folder, run, deviations)
    places: dict[str, Any] = {
        "data": inputs.data and str(inputs.data.absolute()),
        "weights": inputs.weights and str(inputs.weights.absolute()),
        "splits": inputs.splits and list(inputs.splits),
    }
    write_json(folder.path / PLAN, {"schema": SCHEMA, "time": now(), **places, **facts})


def write_identity(folder: RunFolder, run: Run, deviations: tuple[Deviation, ...]) -> None:
    """Write recipe.json, unless there is one: what was recorded first is what runs.

    Raises ValueError when the one that is there is not this run's.
    """
    path = folder.path / "recipe.json"
    if not path.exists():
        write_json(path, to_json(Identity.of(run, deviations)))
        return
    try:
        folder.verified(folder.identity())
    except ValueError as error:
        raise ValueError(f"{folder.path}: {error}") from error


def read_planned(folder: RunFolder) -> PlannedRun:
    """What a folder says will run. Raises ValueError saying why it cannot, and what to do."""
    path = folder.path / "recipe.json"
    identity, plan = folder.identity(), read_json(folder.path / PLAN) or {}
    if identity is None:
        raise ValueError(f"{folder.path} has no recipe.json: no run was planned there")
    commit = plan.get("commit")
    by = f"; commit {commit[:12]} planned it" if commit else ""
    try:
        recorded = identity_from_json(identity)
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be carried out by this code: {error}{by}; run it with the code that planned it, "
            "or plan the study again"
        ) from error
    run = Run(recorded.study, recorded.arm, recorded.seed, recorded.recipe)
    if run.recipe.hash != recorded.recipe_hash or run.name != folder.name or run.study != folder.study:
        raise ValueError(
            f"{path} is of {run.study}/{run.name} and says its hash is {recorded.recipe_hash}: the recipe "
            f"was edited, or the folder was renamed{by}; put it back, or plan the study again"
        )
    inputs = None
    if plan:
        data, weights = (Path(plan[key]) if plan.get(key) else None for key in ("data", "weights"))
        inputs = Inputs(data, weights, tuple(plan["splits"]) if plan.get("splits") else None)
    return PlannedRun(run, recorded.deviations, inputs, commit)
