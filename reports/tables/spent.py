"""What the runs cost: GPU-hours and core-hours, as far as their records have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from reports.grid import NOTHING, Cell, Column, Grid
from reports.records.collect import RunRecord, Unfinished
from reports.records.everything import Everything
from roadmap.cost import training_flops
from roadmap.recipe import recipe_from_json
from roadmap.record import RunFolder

#: What the table says below itself.
SPENT_NOTE = (
    "Training alone, summed over the epochs of each run's record: evaluation, start-up, and epochs that an "
    "interrupted attempt had to repeat come on top. GPU-hours count every GPU of a run; core-hours are of "
    "runs without a GPU, by the threads that they computed with."
)


@dataclass(frozen=True)
class Spent:
    """Training time of some runs. where: dataset and protocol. hours: of the devices, GPUs or cores."""

    study: str
    where: str
    hardware: str
    on_gpu: bool
    runs: int
    hours: float


def spent(everything: Everything) -> tuple[Spent, ...]:
    """By study, conditions and hardware; unfinished runs with what they have spent so far."""
    found: dict[tuple[str, str, str, bool], list[float]] = {}
    for study in everything.studies:
        for run in study.collection.runs:
            key = (study.name, f"{run.dataset['name']}, {run.protocol}", *_device(run.hardware))
            found.setdefault(key, []).append(_hours(run.hardware, run.training.get("seconds")))
        for other in study.collection.unfinished:
            hardware, seconds = _so_far(other)
            if seconds:
                key = (study.name, "unfinished", *_device(hardware))
                found.setdefault(key, []).append(_hours(hardware, seconds))
    return tuple(Spent(*key, len(hours), sum(hours)) for key, hours in found.items())


def spent_grid(rows: Sequence[Spent]) -> Grid:
    """One row each, and their sum."""
    columns = (
        Column("", "Study", "l"), Column("", "Dataset, protocol", "l"), Column("", "Hardware", "p"),
        Column("", "Runs"), Column("", "GPU-hours"), Column("", "Core-hours"),
    )  # fmt: skip
    cells = [
        (
            *(Cell(text, kind="label") for text in (row.study, row.where, row.hardware)), Cell(str(row.runs)),
            Cell(hours_text(row.hours) if row.on_gpu else NOTHING),
            Cell(NOTHING if row.on_gpu else hours_text(row.hours)),
        )
        for row in rows
    ]  # fmt: skip
    sums = [sum(row.hours for row in rows if row.on_gpu == on_gpu) for on_gpu in (True, False)]
    total = (
        Cell("all", kind="label"), Cell("", kind="label"), Cell("", kind="label"),
        Cell(str(sum(row.runs for row in rows))),
        *(Cell(hours_text(hours) if hours else NOTHING) for hours in sums),
    )  # fmt: skip
    return Grid(columns, (*map(tuple, cells), total) if len(cells) > 1 else tuple(map(tuple, cells)))


def hours_text(hours: float) -> str:
    """``0.03``, ``2.5``, ``1,234``."""
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2f}"


@dataclass(frozen=True)
class Speed:
    """Arithmetic that training got through. flops: per second and GPU. hardware: where."""

    flops: float
    hardware: str


def training_speed(runs: Iterable[RunRecord]) -> Speed | None:
    """How fast GPUs trained the paper's recipes on COCO; None where none did. Of several the slowest."""
    done: dict[str, list[float]] = {}
    for run in runs:
        name, on_gpu = _device(run.hardware)
        seconds = 3600 * _hours(run.hardware, run.training.get("seconds"))
        if run.dataset["coco"] is not True or run.protocol != "paper" or not on_gpu or seconds <= 0:
            continue
        with suppress(ValueError):  # a recipe of other code
            recipe = recipe_from_json((RunFolder(run.path).identity() or {}).get("recipe"))
            sums = done.setdefault(name, [0.0, 0.0])
            sums[0] += training_flops(recipe)
            sums[1] += seconds
    speeds = [Speed(flops / seconds, name) for name, (flops, seconds) in done.items()]
    return min(speeds, key=lambda speed: speed.flops) if speeds else None


def _device(hardware: Mapping[str, Any]) -> tuple[str, bool]:
    return str(hardware.get("name", "unknown")), hardware.get("device") == "cuda"


def _hours(hardware: Mapping[str, Any], seconds: Any) -> float:
    """Hours of all devices: GPUs, or the cores that a CPU run's threads keep busy."""
    processes = hardware.get("world_size") or 1
    devices = processes if hardware.get("device") == "cuda" else processes * (hardware.get("threads") or 1)
    return float(seconds or 0) * devices / 3600


def _so_far(run: Unfinished) -> tuple[Mapping[str, Any], float]:
    """Hardware of an unfinished run, and the seconds that it has trained; 0 where its record does not say."""
    folder = RunFolder(run.path)
    try:
        hardware = (folder.environment() or {}).get("hardware")
        seconds = sum(float(row["seconds"]) for row in folder.metrics())
    except (ValueError, OSError, KeyError, TypeError, AttributeError):
        return {}, 0.0
    return (hardware, seconds) if isinstance(hardware, Mapping) else ({}, 0.0)
