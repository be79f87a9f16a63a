"""The main table as numbers: each arm's measured figures beside the paper's.

``reports/tables/columns.py`` prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from reports.judging.gains import Gain, judge_gain, pooled_sd, start_refusal
from reports.records.collect import RunRecord
from reports.records.groups import ArmRuns, Group
from reports.tables.published import RowPlan, plan_rows
from roadmap.paper import Published


@dataclass(frozen=True)
class Measured:
    """A figure over seeds: mean, standard deviation (None with one seed) and where it comes from."""

    mean: float
    std: float | None
    values: tuple[float, ...]
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A row: measured figures (None where there is none) and the paper's.

    AP in percent, params in millions, gflops in the paper's convention, latency in ms (forward pass).
    params and gflops are the trained model's; the full ones those of the paper's model of this arm.
    latency_range: 5th and 95th percentile of the repeats, means over the runs.
    previous: the arm that it is compared against, None for none. judged: the gain's interval and word.
    """

    arm: str | None
    label: str
    previous: str | None = None
    seeds: tuple[int, ...] = ()
    ap_best: Measured | None = None
    gain: Measured | None = None
    judged: Gain | None = None
    refused: str = ""
    ap_last: Measured | None = None
    params: Measured | None = None
    params_full: Measured | None = None
    gflops: Measured | None = None
    gflops_full: Measured | None = None
    latency: Measured | None = None
    latency_range: tuple[float, float] | None = None
    fps: Measured | None = None
    published: Published | None = None


@dataclass(frozen=True)
class Table2:
    """All rows of a group; latency_conditions: those every latency in it was measured under, or None.

    notes: what a reader must know about single cells.
    """

    group: Group
    rows: tuple[Row, ...]
    latency_conditions: LatencyConditions | None
    notes: tuple[str, ...]


@dataclass(frozen=True, order=True)
class LatencyConditions:
    """What a latency depends on besides the model."""

    hardware: str
    device: str
    dtype: str
    batch: int
    image_size: int
    fused: bool
    threads: int | None
    warmup: int | None
    repeats: int | None


def leading(table: Table2, count: int) -> Table2:
    """The table with only the ``count`` measured arms of the highest AP, in their order."""
    measured = [row for row in table.rows if row.ap_best is not None]
    if len(measured) <= count:
        return table
    best = sorted(measured, key=lambda r: -r.ap_best.mean if r.ap_best else 0.0)[:count]
    kept = {row.arm for row in best}
    group = replace(table.group, arms=tuple(s for s in table.group.arms if s.arm in kept))
    return replace(table, group=group, rows=tuple(r for r in table.rows if r.arm in kept))


#: Figures of a row: the column of runs_frame that each is the mean of, and its unit.
_FIGURES = {
    "ap_best": ("best.AP", 1.0),
    "ap_last": ("last.AP", 1.0),
    "params": ("profile.params", 1e6),
    "params_full": ("full_size_profile.params", 1e6),
    "gflops": ("profile.gflops_paper", 1.0),
    "gflops_full": ("full_size_profile.gflops_paper", 1.0),
}
_LEFT_OUT = "latency measured under other conditions is left out"
_FORWARD = [f"latency.forward_ms.{name}" for name in ("median", "p5", "p95")]


@dataclass(frozen=True)
class Comparison:
    """An arm and the one that it is compared against, both measured. refused: why there is no gain."""

    plan: RowPlan
    before: ArmRuns
    after: ArmRuns
    refused: str = ""


def build_table2(group: Group) -> Table2:
    """The main table of a group."""
    frame = group.frame.set_index("run")
    figures = pd.DataFrame(
        {name: frame.get(column, pd.Series(dtype=float)) / unit for name, (column, unit) in _FIGURES.items()},
        frame.index,
    )
    conditions, latency, notes = _latency(group.runs, frame)
    compared = comparisons(group)
    refused = {c.after.arm: c.refused for c in compared if c.refused}
    gains = _gains(frame, [c for c in compared if not c.refused])
    rows = []
    for plan in row_plans(group):
        why = refused.get(plan.arm or "", "")
        row = Row(plan.arm, plan.label, plan.previous, refused=why, published=plan.published)
        arm = group.find(plan.arm) if plan.arm else None
        if arm is not None:
            mine = frame["arm"] == plan.arm
            values: dict[str, Any] = {str(name): measured(column[mine]) for name, column in figures.items()}
            row = _timed(row, latency.loc[mine])
            row = replace(row, seeds=arm.seeds, **values, **gains.get(arm.arm, {}))
        rows.append(row)
    without = [
        f"no gain of {c.after.arm} over {c.before.arm}: {c.refused}, and not as the paper has it"
        for c in compared
        if c.refused
    ]
    return Table2(group, tuple(rows), conditions, (*notes, *without, *_odd_best(frame)))


def with_own_latency(table: Table2) -> Table2:
    """Some rows of a group's table with the latencies of the conditions that most of *their* arms share: the
    paper's small models are tested at another size than the others.
    """
    group, arms = table.group, {row.arm for row in table.rows}
    runs = [run for run in group.runs if run.arm in arms]
    frame = group.frame.set_index("run").loc[[run.run for run in runs]]
    conditions, latency, notes = _latency(runs, frame)
    rows = tuple(
        _timed(row, latency.loc[frame["arm"] == row.arm]) if row.seeds else row for row in table.rows
    )
    others = (note for note in table.notes if not note.startswith(_LEFT_OUT))
    return replace(table, rows=rows, latency_conditions=conditions, notes=(*notes, *others))


def _timed(row: Row, times: pd.DataFrame) -> Row:
    """A row with the latencies of its runs."""
    forward = times[_FORWARD[0]]
    low, high = times[_FORWARD[1:]].mean()
    spread = (float(low), float(high)) if high >= low else None
    return replace(row, latency=measured(forward), fps=measured(1000 / forward), latency_range=spread)


def _odd_best(frame: pd.DataFrame) -> list[str]:
    """Runs of earlier versions chose their best epoch at another confidence than they reported."""
    below = frame.index[frame["best.AP"] < frame["last.AP"]]
    text = "the best epoch has less AP than the last, as it was chosen at another confidence"
    return [f"{text}: {', '.join(below)}"] if len(below) else []


def row_plans(group: Group) -> tuple[RowPlan, ...]:
    """The rows of a group's main table, in order."""
    return plan_rows(group.plan, [arm.arm for arm in group.arms])


def comparisons(group: Group) -> tuple[Comparison, ...]:
    """Every pair of a group's measured arms that a gain is asked for, in order."""
    plans = {plan.arm: plan for plan in row_plans(group) if plan.arm}
    found = []
    for name, plan in plans.items():
        after, before = group.find(name), group.find(plan.previous or "")
        if after is not None and before is not None:
            recipes = before.runs[0].recipe, after.runs[0].recipe
            refused = start_refusal(*recipes, (plans[before.arm].start, plan.start))
            found.append(Comparison(plan, before, after, refused))
    return tuple(found)


def measured(values: pd.Series[float]) -> Measured | None:
    """A figure over the runs in its index; runs where it is undefined are left out, None without any."""
    found = values.dropna()
    if found.empty:
        return None
    std = float(found.std()) if len(found) > 1 else None
    return Measured(float(found.mean()), std, tuple(map(float, found)), tuple(map(str, found.index)))


def _gains(frame: pd.DataFrame, compared: Sequence[Comparison]) -> dict[str, dict[str, Any]]:
    """Gain in best AP of each arm, paired by seed, where there is a common seed."""
    ap = frame.pivot(columns="arm", index="seed", values="best.AP")
    pairs = {c.after.arm: ap[[c.before.arm, c.after.arm]].dropna() for c in compared}
    spread = pooled_sd(_by_seed(pair.iloc[:, 1] - pair.iloc[:, 0]) for pair in pairs.values())
    found = {}
    for arm, pair in pairs.items():
        judged = judge_gain(_by_seed(pair.iloc[:, 0]), _by_seed(pair.iloc[:, 1]), spread)
        if judged is not None:
            runs = frame[frame["seed"].isin(judged.values) & frame["arm"].isin(pair.columns)].index
            gain = Measured(judged.mean, judged.sd, tuple(judged.values.values()), tuple(runs))
            found[arm] = {"gain": gain, "judged": judged}
    return found


def _by_seed(values: pd.Series[float]) -> dict[int, float]:
    return dict(zip(values.index.astype(int).tolist(), values.tolist(), strict=True))


def latency_conditions(run: RunRecord) -> LatencyConditions | None:
    """Conditions of a run's latency, None when it has none."""
    if run.latency is None:
        return None
    data = run.latency
    return LatencyConditions(
        str(run.hardware.get("name", "unknown hardware")), str(data.get("device")), str(data.get("dtype")),
        int(data.get("batch", 1)), int(data.get("image_size", 0)), bool(data.get("fused")),
        data.get("threads"), data.get("warmup"), data.get("repeats"),
    )  # fmt: skip


def _latency(
    runs: Sequence[RunRecord], frame: pd.DataFrame
) -> tuple[LatencyConditions | None, pd.DataFrame, tuple[str, ...]]:
    """Latencies under the conditions that most arms share (then the newest): others are not comparable."""
    times = frame.reindex(columns=_FORWARD).astype(float)
    conditions = pd.Series([latency_conditions(run) for run in runs], frame.index, dtype=object)
    shared = frame.groupby(conditions, sort=False).agg(arms=("arm", "nunique"), newest=("finished", "max"))
    if shared.empty:
        return None, times, ()
    chosen = shared.sort_values(["arms", "newest"]).index[-1]
    others = conditions.index[conditions.notna() & (conditions != chosen)]
    note = f"{_LEFT_OUT}: {', '.join(others)}"
    return chosen, times.where(conditions == chosen), (note,) if len(others) else ()
