"""A search as tables: what it claims and what fresh seeds say, every trial, and tuned against tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from reports.grid import NOTHING, Cell, Column, Grid
from reports.judging.gains import Gain
from reports.judging.statistics import Interval
from reports.judging.tuning import Rerun, TunedGain, estimate, judge_reruns, judge_tuned
from reports.records.search import BaseSearch
from reports.tables.columns import ap_text, gain_text
from reports.tables.verdicts import interval_text
from roadmap.search import Space, Trial


@dataclass(frozen=True)
class Judged:
    """A base's search with its best trials judged by fresh seeds, in the search's order."""

    search: BaseSearch
    reruns: tuple[Rerun, ...]


@dataclass(frozen=True)
class Tuned:
    """One base against another, each at its best: names of the bases and the gain."""

    before: str
    after: str
    gain: TunedGain


def judge(search: BaseSearch) -> Judged:
    """The best trials of a base's search, by its first objective."""
    upwards = search.objectives[0].direction == "up"
    best = [(w.trial.values[0], search.fresh(w.rank)) for w in search.winners if w.trial.values is not None]
    seeds = frozenset({search.record.space.run_seed})
    return Judged(search, judge_reruns(best, search.fresh(0), seeds, upwards))


def tuned_gains(judged: Sequence[Judged]) -> tuple[Tuned, ...]:
    """Each base against the one before it, as soon as both searches have a best trial."""
    found = []
    for one, other in pairwise(judged):
        if one.reruns and other.reruns:
            before, after = ((side.reruns[0], side.search.fresh(0)) for side in (one, other))
            found.append(Tuned(one.search.base, other.search.base, judge_tuned(before, after)))
    return tuple(found)


def claims_grid(judged: Judged) -> Grid:
    """One row for the base and each of the best trials: the search's own figure beside the fresh seeds'."""
    search = judged.search
    first, *others = search.objectives
    own, fresh, gain = f"Search's own {first.name}", f"{first.name}, fresh seeds", "Gain over the base"
    columns = [
        Column("", "Recipe", "l"), Column(own, "figure"), Column(own, "too good by"),
        Column(fresh, "mean"), Column(fresh, "95 % interval"), Column(fresh, "n"),
        Column(gain, "mean"), Column(gain, "95 % interval"), Column(gain, "word", "l"),
    ]  # fmt: skip
    columns += [Column("Fresh seeds", figure_name(o.name)) for o in others]
    rows = [_base_row(search)]
    rows += [
        _winner_row(search, w.rank, w.trial, r) for w, r in zip(search.winners, judged.reruns, strict=True)
    ]
    return Grid(tuple(columns), tuple(rows))


def _base_row(search: BaseSearch) -> tuple[Cell, ...]:
    label = Cell(f"{search.base}, as it is", kind="label")
    empty = (Cell(), Cell(), Cell())
    return (label, Cell(), Cell(), *_fresh_cells(search, 0), *empty, *_other_cells(search, 0))


def _winner_row(search: BaseSearch, rank: int, trial: Trial, found: Rerun) -> tuple[Cell, ...]:
    name, gain = search.objectives[0].name, found.gain
    return (
        Cell(f"trial {trial.number} ({_ordinal(search, rank)})", kind="label"),
        Cell(figure_text(name, found.claimed)),
        Cell(NOTHING if found.optimism is None else change_text(name, found.optimism)),
        *_fresh_cells(search, rank),
        Cell(NOTHING if gain is None else change_text(name, gain.mean)),
        Cell(interval_text_of(name, gain.interval if gain else None, signed=True)),
        Cell(gain.word if gain else NOTHING, kind=(gain.word if gain else "").replace(" ", "-")),
        *_other_cells(search, rank),
    )


def _ordinal(search: BaseSearch, rank: int) -> str:
    if len(search.objectives) > 1:
        return "on the front"
    return "the search's best" if rank == 1 else f"its no. {rank}"


def _fresh_cells(search: BaseSearch, rank: int) -> tuple[Cell, ...]:
    found, name = estimate(search.fresh(rank)), search.objectives[0].name
    if found is None:
        return (Cell(), Cell(), Cell("0"))
    seeds = Cell(str(len(found.values)))
    return (Cell(figure_text(name, found.mean)), Cell(interval_text_of(name, found.interval)), seeds)


def _other_cells(search: BaseSearch, rank: int) -> tuple[Cell, ...]:
    means = [
        (o.name, estimate(search.fresh(rank, place))) for place, o in enumerate(search.objectives) if place
    ]
    return tuple(Cell(figure_text(name, found.mean) if found else NOTHING) for name, found in means)


def trials_grid(search: BaseSearch) -> Grid:
    """Every trial: what was set, what came of it, and why not more."""
    space = search.record.space
    columns = [Column("", "Trial", "r"), Column("", "State", "l")]
    columns += [Column("", figure_name(o.name)) for o in search.objectives]
    columns += [Column("Settings", setting_name(space, p.key)) for p in space.parameters]
    columns += [Column("", "Reason", "p")]
    rows = []
    for trial in search.trials:
        figures = [Cell(_seen_text(trial, place, o.name)) for place, o in enumerate(search.objectives)]
        settings = [Cell(value_text(trial.parameters.get(p.key))) for p in space.parameters]
        reason = Cell(trial.reason or NOTHING, kind="label")
        state = Cell(trial.state, kind="failed" if trial.state == "failed" else "label")
        rows.append((Cell(str(trial.number), kind="label"), state, *figures, *settings, reason))
    return Grid(tuple(columns), tuple(rows))


def _seen_text(trial: Trial, place: int, name: str) -> str:
    if trial.values is not None:
        return figure_text(name, trial.values[place])
    if place or not trial.intermediate:
        return NOTHING
    epoch, value = trial.intermediate[-1]
    return f"({figure_text(name, value)} at epoch {epoch})"


def trial_records(search: BaseSearch) -> list[dict[str, Any]]:
    """Every trial with unrounded figures, for CSV and JSON."""
    return [
        {
            "base": trial.base, "trial": trial.number, "state": trial.state, "reason": trial.reason,
            "run": trial.run,
            **{o.name: trial.values[i] if trial.values else None for i, o in enumerate(search.objectives)},
            "last_seen": seen(trial),
            **{p.key: trial.parameters.get(p.key) for p in search.record.space.parameters},
        }
        for trial in search.trials
    ]  # fmt: skip


def claim_records(judged: Judged) -> list[dict[str, Any]]:
    """The best trials with unrounded figures, for JSON."""
    return [
        {
            "base": judged.search.base, "rank": winner.rank, "trial": winner.trial.number,
            "claimed": found.claimed, "too_good_by": found.optimism,
            "fresh": dict(found.fresh.values) if found.fresh else {},
            "mean": found.fresh.mean if found.fresh else None,
            "interval": _ends(found.fresh.interval if found.fresh else None),
            "gain": found.gain.mean if found.gain else None,
            "gain_interval": _ends(found.gain.interval if found.gain else None),
            "word": found.gain.word if found.gain else None, "answer": found.answer,
        }
        for winner, found in zip(judged.search.winners, judged.reruns, strict=True)
    ]  # fmt: skip


def tuned_records(found: Sequence[Tuned]) -> list[dict[str, Any]]:
    """Tuned against tuned with unrounded figures, for JSON."""
    return [
        {"before": each.before, "after": each.after, "claimed": each.gain.claimed}
        | {
            name: gain and {"gain": gain.mean, "interval": _ends(gain.interval), "word": gain.word}
            for name, gain in (("untuned", each.gain.untuned), ("tuned", each.gain.tuned))
        }
        for each in found
    ]


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]


def tuned_grid(found: Sequence[Tuned], name: str) -> Grid:
    """One row per pair of bases: their gain untuned, tuned, and as the searches' own maxima would have it."""
    columns = (
        Column("", "Base", "l"), Column("", "Against", "l"),
        Column("Untuned, fresh seeds", "gain"), Column("Untuned, fresh seeds", "95 % interval"),
        Column("Untuned, fresh seeds", "word", "l"),
        Column("Tuned against tuned, fresh seeds", "gain"),
        Column("Tuned against tuned, fresh seeds", "95 % interval"),
        Column("Tuned against tuned, fresh seeds", "word", "l"),
        Column("The searches' own figures", "difference"),
    )  # fmt: skip
    return Grid(
        columns,
        tuple(
            (
                Cell(each.after, kind="label"), Cell(each.before, kind="label"),
                *_gain_cells(name, each.gain.untuned), *_gain_cells(name, each.gain.tuned),
                Cell(change_text(name, each.gain.claimed)),
            )
            for each in found
        ),
    )  # fmt: skip


def _gain_cells(name: str, gain: Gain | None) -> tuple[Cell, ...]:
    if gain is None:
        return (Cell(), Cell(), Cell())
    interval = Cell(interval_text_of(name, gain.interval, signed=True))
    return (Cell(change_text(name, gain.mean)), interval, Cell(gain.word, kind=gain.word.replace(" ", "-")))


# --- words and figures ---------------------------------------------------------------------------------


#: What stands on an axis and above a column, by objective.
_NAMES = {
    "AP": "AP (%)",
    "AP_last": "AP, last epoch (%)",
    "latency_ms": "latency (ms)",
    "params": "parameters (M)",
    "training_flops": "training (PFLOPs)",
}
#: What an objective is divided by to be shown.
UNITS = {"params": 1e6, "training_flops": 1e15}


def figure_name(objective: str) -> str:
    """An objective with its unit."""
    return _NAMES.get(objective, objective)


def shown(objective: str, value: float) -> float:
    """A figure in the unit that it is shown in."""
    return value / UNITS.get(objective, 1.0)


def figure_text(objective: str, value: float) -> str:
    """A figure without its unit."""
    value = shown(objective, value)
    return ap_text(value) if objective.startswith("AP") else f"{value:.3g}"


def change_text(objective: str, value: float) -> str:
    """A difference of two figures, signed."""
    value = shown(objective, value)
    return gain_text(value) if objective.startswith("AP") else f"{value:+.3g}".replace("-", "−")


def interval_text_of(objective: str, interval: Interval | None, signed: bool = False) -> str:
    """``31.20 … 31.80``; of differences signed; a dash where there is none."""
    if interval is None:
        return NOTHING
    low, high = shown(objective, interval.low), shown(objective, interval.high)
    if signed and objective.startswith("AP"):
        return interval_text(interval)
    if objective.startswith("AP"):
        return f"{low:.2f} … {high:.2f}"
    sign = "+" if signed else ""
    return f"{low:{sign}.3g} … {high:{sign}.3g}".replace("-", "−")


def own_figure(search: BaseSearch, trial: Trial) -> float:
    """The search's own figure of a finished trial in its first objective, as it is shown."""
    assert trial.values is not None
    return shown(search.objectives[0].name, trial.values[0])


def seen(trial: Trial) -> float | None:
    """The first objective as far as it is known: the final figure, else that of the last evaluated epoch of
    a stopped trial.
    """
    if trial.values is not None:
        return trial.values[0]
    return trial.intermediate[-1][1] if trial.state == "stopped" and trial.intermediate else None


def setting_name(space: Space, key: str) -> str:
    """A searched setting in words: the last part of its name, with more of it where two would be the same."""
    parts = key.split(".")
    for count in range(1, len(parts) + 1):
        tail = parts[-count:]
        if sum(p.key.split(".")[-count:] == tail for p in space.parameters) == 1:
            break
    return " ".join(tail).replace("_", " ")


def value_text(value: Any) -> str:
    """A setting's value, a number to three digits."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)
