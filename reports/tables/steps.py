"""The main table as numbers: each arm's measured figures beside the paper's.

``reports/tables/columns.py`` prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from reports.judging.statistics import standard_deviation
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
    previous: the arm that it builds on, None where arms do not build on each other.
    """

    arm: str | None
    label: str
    previous: str | None = None
    seeds: tuple[int, ...] = ()
    ap_best: Measured | None = None
    gain: Measured | None = None
    ap_last: Measured | None = None
    params: Measured | None = None
    params_full: Measured | None = None
    gflops: Measured | None = None
    gflops_full: Measured | None = None
    latency: Measured | None = None
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


def build_table2(group: Group) -> Table2:
    """The main table of a group."""
    conditions, notes = _common_conditions(group)
    plans = plan_rows(tuple(s.arm for s in group.arms))
    rows = []
    for plan in plans:
        arm = group.find(plan.arm) if plan.arm else None
        if arm is None:
            rows.append(Row(plan.arm, plan.label, plan.previous, published=plan.published))
            continue
        before = group.find(plan.previous) if plan.previous else None
        rows.append(_measured_row(plan, arm, before, conditions))
    return Table2(group, tuple(rows), conditions, notes)


def _measured_row(
    plan: RowPlan,
    arm: ArmRuns,
    before: ArmRuns | None,
    conditions: LatencyConditions | None,
) -> Row:
    runs = arm.runs
    timed = [run for run in runs if latency_conditions(run) == conditions and run.latency is not None]
    return Row(
        arm.arm,
        plan.label,
        plan.previous,
        arm.seeds,
        ap_best=measure(runs, lambda r: r.best["AP"]),
        gain=paired_gain(arm, before) if before else None,
        ap_last=measure(runs, lambda r: r.last["AP"]),
        params=measure(runs, lambda r: r.profile["params"] / 1e6),
        params_full=measure(runs, lambda r: _full(r, "params", 1e6)),
        gflops=measure(runs, lambda r: r.profile["gflops_paper"]),
        gflops_full=measure(runs, lambda r: _full(r, "gflops_paper", 1.0)),
        latency=measure(timed, _forward),
        fps=measure(timed, lambda r: 1000 / _forward(r)),
        published=plan.published,
    )


def measure(runs: Sequence[RunRecord], figure: Callable[[RunRecord], float | None]) -> Measured | None:
    """A figure over runs; runs where it is undefined are left out, None when that leaves none."""
    pairs = [(run.run, value) for run in runs if (value := figure(run)) is not None]
    if not pairs:
        return None
    names, values = zip(*pairs, strict=True)
    return _summary(tuple(float(v) for v in values), tuple(names))


def paired_gain(arm: ArmRuns, before: ArmRuns) -> Measured | None:
    """Gain in best AP over an earlier arm, paired by seed; None without a common seed."""
    earlier = {run.seed: run for run in before.runs if run.best["AP"] is not None}
    pairs = [(r, earlier[r.seed]) for r in arm.runs if r.seed in earlier and r.best["AP"] is not None]
    if not pairs:
        return None
    values = tuple(float(a.best["AP"] - b.best["AP"]) for a, b in pairs)
    return _summary(values, tuple(run.run for pair in pairs for run in pair))


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


def _common_conditions(group: Group) -> tuple[LatencyConditions | None, tuple[str, ...]]:
    """The conditions that most arms share (then the newest): latencies of others are not comparable."""
    arms: dict[LatencyConditions, set[str]] = {}
    newest: dict[LatencyConditions, str] = {}
    for run in group.runs:
        conditions = latency_conditions(run)
        if conditions is not None:
            arms.setdefault(conditions, set()).add(run.arm)
            newest[conditions] = max(newest.get(conditions, ""), run.finished)
    if not arms:
        return None, ()
    chosen = max(arms, key=lambda c: (len(arms[c]), newest[c]))
    left_out = [r.run for r in group.runs if latency_conditions(r) not in (None, chosen)]
    if not left_out:
        return chosen, ()
    return chosen, (f"latency measured under other conditions is left out: {', '.join(left_out)}",)


def _summary(values: tuple[float, ...], runs: tuple[str, ...]) -> Measured:
    return Measured(fmean(values), standard_deviation(values), values, runs)


def _full(run: RunRecord, name: str, unit: float) -> float | None:
    return None if run.full_size_profile is None else run.full_size_profile[name] / unit


def _forward(run: RunRecord) -> float:
    assert run.latency is not None
    return float(run.latency["forward_ms"]["median"])
