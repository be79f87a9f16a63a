"""What an arm costs in training time, beside what the paper says of it: the time of a training step."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, median, stdev

from reports.grid import NOTHING, Cell, Column, Grid
from reports.records.collect import RunRecord
from reports.records.groups import ArmRuns
from reports.tables.columns import milliseconds_text
from reports.tables.steps import Table2, row_plans

#: What a table of step times says below itself.
STEP_NOTE = (
    "Time of a training step: median over the epochs, without waiting for data. Extra time: over the arm "
    "compared against, of runs with the same seed on the same hardware. Runs that trained side by side, or "
    "beside other work, disturb each other, and a CPU's figures say little about a GPU."
)
#: What of the hardware the time of a step depends on.
_SAME = ("name", "cpu", "world_size", "threads")


def step_grid(table: Table2) -> Grid | None:
    """One row per measured arm. None where the paper says nothing about any measured arm's training time."""
    group = table.group
    plans = {plan.arm: plan for plan in row_plans(group)}
    printed = {
        arm: plan.published.extra_time
        for arm, plan in plans.items()
        if plan.published is not None and plan.published.extra_time is not None and group.find(arm or "")
    }
    if not printed:
        return None
    columns = (
        Column("", group.plan.noun.capitalize(), "l"), Column("", "Against", "l"),
        Column("Training step (ms)", "measured"), Column("Extra time (%)", "measured"),
        Column("Extra time (%)", "paper"),
    )  # fmt: skip
    labels = {row.arm: row.label for row in table.rows}
    rows = []
    for arm in group.arms:
        before = plans[arm.arm].previous if arm.arm in plans else None
        times = [time for run in arm.runs if (time := step_milliseconds(run)) is not None]
        against = group.find(before) if before else None
        extra = printed.get(arm.arm)
        rows.append(
            (
                Cell(labels.get(arm.arm, arm.arm), kind="label"),
                Cell(labels.get(before, before or NOTHING), kind="label"),
                Cell(_spread(times, milliseconds_text)),
                Cell(_spread(extra_time(against, arm), percent_text) if against else NOTHING),
                Cell(NOTHING if extra is None else percent_text(extra), kind="paper"),
            )
        )
    return Grid(columns, tuple(rows))


def step_milliseconds(run: RunRecord) -> float | None:
    """Median over a run's epochs of the time of a step, without waiting for data; None where not recorded."""
    batch = run.recipe["training.batch_size"]
    known = [e.row for e in run.epochs if e.row.get("images_per_second")]
    times = [1000 * batch / row["images_per_second"] * (1 - row.get("data_wait", 0.0)) for row in known]
    return median(times) if times else None


def extra_time(before: ArmRuns, after: ArmRuns) -> list[float]:
    """Extra time of a step in percent, by common seed in order, where both ran on the same hardware."""
    found = []
    for run in after.runs:
        for other in (each for each in before.runs if each.seed == run.seed and _alike(each, run)):
            ours, theirs = step_milliseconds(run), step_milliseconds(other)
            if ours is not None and theirs:
                found.append(100 * (ours / theirs - 1))
    return found


def percent_text(value: float) -> str:
    """Signed, whole; a typographic minus."""
    text = f"{value:+.0f}"
    return "0" if text in ("+0", "-0") else text.replace("-", "−")


def _spread(values: list[float], text: Callable[[float], str]) -> str:
    """Mean ± standard deviation, a dash without values."""
    if not values:
        return NOTHING
    return text(fmean(values)) + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def _alike(one: RunRecord, other: RunRecord) -> bool:
    return all(one.hardware.get(key) == other.hardware.get(key) for key in _SAME)
