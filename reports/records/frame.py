"""Run records as tidy tables: one row per run, one row per run and epoch. Everything a report shows is
computed from these two, and a notebook starts from them as well (docs/runs-frame.md).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from reports.records.collect import FIGURES, Collection, RunRecord, Unfinished, read_runs
from roadmap.recipe import flatten
from roadmap.record import RunFolder, find_runs

#: A folder of run records (``runs/``), or records read before.
Runs: TypeAlias = str | Path | Iterable[RunRecord]

#: Who a row is, before its figures.
IDENTITY = ("study", "arm", "seed", "run")
#: What of environment.json a row holds.
ENVIRONMENT = ("commit", "dirty", "precision", "determinism", "python")


def runs_frame(runs: Runs = "runs", study: str | None = None, unfinished: bool = False) -> pd.DataFrame:
    """One row per finished run, with its figures, its whole recipe and its conditions.

    runs: the folder with the records, of which only ``study``'s are read when it is given, or records.
    unfinished: with a row for every run that has no result yet; what it lacks is missing (NaN).
    Columns are dotted names, described in docs/runs-frame.md; lists are tuples. A record that cannot be read
    is left out with a warning; a folder without any run gives an empty table.
    """
    rows = []
    for collection in _collections(runs, study):
        rows += [_row(run) for run in collection.runs]
        if unfinished:
            rows += [_unfinished_row(run) for run in collection.unfinished]
    frame = pd.DataFrame.from_records(rows, columns=None if rows else IDENTITY)
    figures = [f"{part}.{name}" for part in ("best", "last") for name in FIGURES]
    # A column of None alone would be of objects.
    frame = frame.astype({name: float for name in figures if name in frame})
    if "finished" in frame:
        frame["finished"] = pd.to_datetime(frame["finished"], utc=True, errors="coerce")
    return frame


def epochs_frame(runs: Runs = "runs", study: str | None = None) -> pd.DataFrame:
    """One row per run and finished epoch: study, arm, seed, run and every figure of metrics.jsonl.

    AP (percent) is missing where the epoch was not evaluated. Finished runs only.
    """
    rows = [
        {"study": run.study, "arm": run.arm, "seed": run.seed, "run": run.run, **e.row, "epoch": e.epoch,
         "AP": e.ap, "loss": e.loss}
        for collection in _collections(runs, study)
        for run in collection.runs
        for e in run.epochs
    ]  # fmt: skip
    frame = pd.DataFrame.from_records(rows, columns=None if rows else [*IDENTITY, "epoch", "AP", "loss"])
    return frame.astype({"AP": float, "loss": float})


def _collections(runs: Runs, study: str | None) -> list[Collection]:
    if not isinstance(runs, (str, Path)):
        return [Collection("", tuple(runs), (), ())]
    root = Path(runs)
    names = [study] if study else sorted({folder.study for folder in find_runs(root)})
    found = [read_runs(root, name) for name in names]
    for item in (item for collection in found for item in collection.skipped):
        warnings.warn(f"left out {item.run}: {item.reason}", stacklevel=3)
    return found


def _row(run: RunRecord) -> dict[str, Any]:
    figures = {"best": run.best, "last": run.last, "profile": run.profile}
    figures |= {"full_size_profile": run.full_size_profile or {}, "latency": run.latency or {}}
    environment = {
        k: run.environment.get(k) for k in ("commit", "dirty", "precision", "determinism", "python")
    }
    return {
        "study": run.study, "arm": run.arm, "seed": run.seed, "run": run.run, "state": "finished",
        "epoch": run.last["epoch"], "protocol": run.protocol, "recipe_hash": run.recipe_hash,
        "finished": run.finished, **flatten(figures), **_hashable(run.recipe), **_dataset(run.dataset),
        **flatten({"trained": run.training, "hardware": run.hardware, "environment": environment}),
        "deviations": deviations_text(run.deviations), "path": str(run.path),
    }  # fmt: skip


def _unfinished_row(found: Unfinished) -> dict[str, Any]:
    folder = RunFolder(found.path)
    identity = folder.identity() or {}
    return {
        "study": folder.study, "arm": found.arm, "seed": found.seed, "run": found.run, "state": found.state,
        "epoch": found.epoch, "protocol": identity.get("protocol"),
        "recipe_hash": identity.get("recipe_hash"), **_hashable(flatten(identity.get("recipe") or {})),
        "deviations": deviations_text(identity.get("deviations") or ()), "path": str(folder.path),
    }  # fmt: skip


def _dataset(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The record's dataset, which knows better than the recipe what was used, and the images left out."""
    facts = {key: value for key, value in dataset.items() if key != "skipped"}
    return flatten({"dataset": facts, "skipped": dataset.get("skipped") or {}})


def _hashable(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as tuples: a column of lists can be neither grouped nor compared."""
    return {key: _tuple(value) for key, value in recipe.items()}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


def deviations_text(deviations: Iterable[Mapping[str, Any]]) -> str:
    """``training.epochs: 18 (paper: 300); …``"""
    return "; ".join(f"{d['field']}: {d.get('here')} (paper: {d.get('paper')})" for d in deviations)
