"""Tables of the runs themselves: what ran where, and how it went."""

from __future__ import annotations

from collections.abc import Sequence

from reports.grid import NOTHING, Cell, Column, Grid, plain_grid
from reports.records.collect import RunRecord
from reports.tables.columns import ap_text


def runs_grid(runs: Sequence[RunRecord]) -> Grid:
    """One row per run, with its id."""
    columns = (
        Column("", "Run", "l"), Column("", "Dataset, protocol", "l"), Column("AP (%)", "best"),
        Column("AP (%)", "at epoch"), Column("AP (%)", "last"), Column("", "Minutes"), Column("", "Images/s"),
        Column("", "Attempts"), Column("", "Finished (UTC)", "l"),
    )  # fmt: skip
    return Grid(columns, tuple(_run_row(run) for run in runs))


def _run_row(run: RunRecord) -> tuple[Cell, ...]:
    training = run.training
    return (
        Cell(run.run, kind="label"),
        Cell(f"{run.dataset['name']}, {run.protocol}", kind="label"),
        Cell(_number(run.best["AP"])),
        Cell(str(run.best["epoch"])),
        Cell(_number(run.last["AP"])),
        Cell(_number(training.get("seconds"), 60.0)),
        Cell(_number(training.get("images_per_second"))),
        Cell(str(training.get("attempts", NOTHING))),
        Cell(run.finished.replace("+00:00", "").replace("T", " "), kind="label"),
    )


def environment_grid(runs: Sequence[RunRecord]) -> Grid:
    """One row per distinct environment, with how many runs it holds for."""
    found: dict[tuple[str, ...], list[str]] = {}
    for run in runs:
        found.setdefault(_environment(run), []).append(run.run)
    rows = [(*key, _names(names)) for key, names in found.items()]
    titles = ("hardware", "software", "code", "precision", "determinism", "runs")
    return plain_grid(titles, rows, long=("software", "determinism", "runs"))


def _environment(run: RunRecord) -> tuple[str, ...]:
    environment, hardware = run.environment, run.hardware
    packages = environment.get("packages")
    software = [f"Python {environment.get('python', '?')}"]
    if isinstance(packages, dict):
        software += [f"{name} {version}" for name, version in packages.items()]
    commit = str(environment.get("commit") or "unknown commit")[:12]
    world = hardware.get("world_size") or 1
    machine = f"{hardware.get('name', 'unknown')}, {hardware.get('cores', '?')} cores"
    return (
        f"{world} × {machine}" if world != 1 else machine,
        ", ".join(software),
        commit + (" with local changes" if environment.get("dirty") else ""),
        str(environment.get("precision") or NOTHING),
        str(environment.get("determinism") or NOTHING),
    )


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def progress(epoch: int, epochs: int | None) -> str:
    """``12 of 24``."""
    return f"{epoch} of {epochs}" if epochs else str(epoch)


def _number(value: object, unit: float = 1.0) -> str:
    return ap_text(value / unit) if isinstance(value, (int, float)) else NOTHING
