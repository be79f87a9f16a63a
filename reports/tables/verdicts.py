"""The verdicts on the paper's claims as a table, CSV and JSON."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.grid import NOTHING, Cell, Column, Grid
from reports.judging.claims import more_claims, paper_claims
from reports.judging.gains import ASSUMED_SD
from reports.judging.statistics import Interval
from reports.judging.verdicts import ELSEWHERE_RULE, NOT_MEASURED, RULES, Verdict, judge_study
from reports.records.collect import RunRecord
from reports.tables.columns import gain_text
from roadmap.study import StudyRecord
from roadmap.words import counted

#: What the columns of seeds and of other conditions mean.
NOTES = (
    "Seeds to settle: how many seeds in all leave the interval room for 0 or for the paper's gain, but not "
    f"for both, at the measured spread of gains; ≈ at an assumed standard deviation of {ASSUMED_SD} AP.",
    ELSEWHERE_RULE,
)

#: Bootstrap intervals are drawn from this seed, so that a rebuilt report is the same report.
SEED = 0


@dataclass(frozen=True)
class Judged:
    """A claim's verdict on the best evaluated epoch (what the paper prints) and on the last one."""

    best: Verdict
    last: Verdict

    @property
    def touched(self) -> bool:
        """Whether any run at hand has something to say about it."""
        return self.best.label != NOT_MEASURED or bool(self.best.gains) or self.best.direction is not None


def judge_all(runs: Sequence[RunRecord], plans: Sequence[StudyRecord] = ()) -> tuple[Judged, ...]:
    """Every claim of the paper, and those that follow from studies' own arms, judged on both epochs."""
    ordered = [*paper_claims(), *more_claims(plans)]
    sides = [judge_study(runs, np.random.default_rng(SEED), ordered, epoch) for epoch in ("best", "last")]
    return tuple(Judged(best, last) for best, last in zip(*sides, strict=True))


def counts(judged: Sequence[Judged]) -> str:
    """``2 reproduced, 1 within noise, 20 not measured``, in the order of the rules."""
    found = Counter(item.best.label for item in judged)
    return ", ".join(f"{found[label]} {label}" for label in RULES if found[label])


def verdict_grid(judged: Sequence[Judged]) -> Grid:
    """One row per claim; runs under other conditions get a column where there are any."""
    columns = [
        Column("", "Claim", "p"), Column("", "Source", "l"), Column("Gain (AP)", "paper"),
        Column("Gain (AP)", "measured"), Column("Gain (AP)", "95 % interval"), Column("Seeds", "run"),
        Column("Seeds", "to settle"), Column("Verdict", "best epoch", "l"),
        Column("Verdict", "last epoch", "l"), Column("", "Other conditions", "p"),
    ]  # fmt: skip
    rows = [_row(item) for item in judged]
    width = len(columns) if any(item.best.direction for item in judged) else len(columns) - 1
    return Grid(tuple(columns[:width]), tuple(row[:width] for row in rows))


def _row(item: Judged) -> tuple[Cell, ...]:
    verdict = item.best
    return (
        Cell(statement(verdict), kind="label"),
        Cell(verdict.claim.source, kind="label"),
        Cell(gain_text(verdict.paper_gain), kind="paper"),
        Cell(NOTHING if verdict.mean is None else f"{verdict.mean:+.2f}".replace("-", "−")),
        Cell(interval_text(verdict.interval)),
        Cell(str(len(verdict.gains)) if verdict.gains else NOTHING),
        Cell(_to_settle(verdict)),
        _label_cell(verdict),
        Cell() if verdict.claim.epoch else _label_cell(item.last),
        Cell(_elsewhere(verdict), kind="label"),
    )


def statement(verdict: Verdict) -> str:
    """The claim in words, with a typographic minus."""
    return re.sub(r"^-", "−", verdict.claim.statement)


def _label_cell(verdict: Verdict) -> Cell:
    """The verdict; its kind is how a page colours it."""
    if verdict.fails:
        return Cell(f"{verdict.label} (fails)", kind="failed")
    return Cell(verdict.label, kind=verdict.label.replace(" ", "-"))


def interval_text(interval: Interval | None, decimals: int = 2) -> str:
    """``+0.21 … +1.95``; a dash where there is none."""
    if interval is None:
        return NOTHING
    return f"{interval.low:+.{decimals}f} … {interval.high:+.{decimals}f}".replace("-", "−")


def _to_settle(verdict: Verdict) -> str:
    if verdict.seeds_to_settle is None:
        return NOTHING
    return f"{'≈ ' if verdict.sd_assumed else ''}{verdict.seeds_to_settle}"


def _elsewhere(verdict: Verdict) -> str:
    found = verdict.direction
    if found is None:
        return NOTHING
    seeds = len(found.gain.values)
    return f"{found.where}: {gain_text(found.gain.mean)}, {found.word} ({counted(seeds, 'seed')})"


def reasons(judged: Sequence[Judged]) -> list[tuple[str, str]]:
    """(statement, why it was judged so, and what to know about it) for every claim that runs touch."""
    return [
        (statement(item.best), ". ".join((item.best.reason, *item.best.notes)) + ".")
        for item in judged
        if item.touched
    ]


def verdict_records(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """The verdicts as plain mappings (for CSV and JSON)."""
    return [_record(verdict) for item in judged for verdict in _epochs(item)]


def _epochs(item: Judged) -> tuple[Verdict, ...]:
    return (item.best,) if item.best.claim.epoch else (item.best, item.last)


def _record(verdict: Verdict) -> dict[str, Any]:
    interval, bootstrap, direction = verdict.interval, verdict.bootstrap, verdict.direction
    return {
        "claim": verdict.claim.key, "statement": verdict.claim.statement, "source": verdict.claim.source,
        "epoch": verdict.epoch, "verdict": verdict.label, "fails": verdict.fails, "reason": verdict.reason,
        "paper_gain": verdict.paper_gain, "gain": verdict.mean, "sd": verdict.sd, "seeds": len(verdict.gains),
        "low": interval.low if interval else None, "high": interval.high if interval else None,
        "bootstrap_low": bootstrap.low if bootstrap else None,
        "bootstrap_high": bootstrap.high if bootstrap else None,
        "p_value": verdict.p_value, "seeds_to_settle": verdict.seeds_to_settle,
        "spread_assumed": verdict.sd_assumed,
        "elsewhere": direction.where if direction else None,
        "gain_elsewhere": direction.gain.mean if direction else None,
        "seeds_elsewhere": len(direction.gain.values) if direction else None,
        "word_elsewhere": direction.word if direction else None,
        "runs": " ".join(verdict.runs),
    }  # fmt: skip
