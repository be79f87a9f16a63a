"""Optimisation history: what the search saw, trial by trial, and beside it what fresh seeds say."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.figures.style import (
    BACKGROUND,
    BLUE,
    FAINT,
    INK,
    ORANGE,
    SKY,
    VERMILLION,
    limits,
    new_figure,
    watermark,
)
from reports.judging.tuning import Estimate, estimate
from reports.records.groups import Group
from reports.records.search import BaseSearch
from reports.tables.caption import stamp_line
from reports.tables.search import figure_name, own_figure, shown
from roadmap.search import Objective, State, Trial

#: Marker of a trial's state: style, face, edge.
MARKS: dict[State, tuple[str, str, str]] = {
    "finished": ("o", BLUE, BLUE),
    "stopped": ("v", BACKGROUND, ORANGE),
    "failed": ("x", VERMILLION, VERMILLION),
    "running": ("o", BACKGROUND, FAINT),
    "waiting": (".", FAINT, FAINT),
}
#: Where trials without a final figure stand, as a share of the axis's height.
_FLOOR = 0.04


def axis_label(objective: Objective, group: Group) -> str:
    """A figure with its unit; of an AP also what it is not."""
    accuracy = objective.name.startswith("AP")
    return figure_name(objective.name) + (f", {group.narrow_mark or 'COCO val'}" if accuracy else "")


def draw(search: BaseSearch, group: Group) -> Figure | None:
    """History of the first objective; None before any trial has finished."""
    known = [own_figure(search, trial) for trial in search.finished]
    if not known:
        return None
    ranks = (0, *(winner.rank for winner in search.winners))
    again = [(rank, found) for rank in ranks if (found := _shown(search, rank)) is not None]
    options: dict[str, Any] = {"sharey": True, "width_ratios": [2.6, 0.5 + 0.3 * len(again)]} if again else {}
    figure, axes = new_figure(2.5, stamp_line(group), columns=1 + bool(again), **options)
    known += [end for _, found in again for end in _reach(found)]
    axes[0].set_ylim(limits(_ordinary(known), pad=0.16))
    _trials(axes[0], search)
    axes[0].set_ylabel(axis_label(search.objectives[0], group))
    axes[0].set_title("as the search saw it", loc="left")
    if again:
        _fresh(axes[1], search, again)
        axes[1].set_title("fresh seeds", loc="left")
    watermark(axes[0], group.narrow_mark, size=13)
    _legend(figure, search, bool(again))
    return figure


def _ordinary(values: list[float]) -> list[float]:
    """Values without those so far off that the rest would be a line; they stand at the axis's end."""
    low, high = np.percentile(values, [25, 75])
    reach = 4 * max(high - low, 1e-9)
    return [v for v in values if low - reach <= v <= high + reach]


def _trials(axes: Axes, search: BaseSearch) -> None:
    low, high = axes.get_ylim()
    floor, top = low + _FLOOR * (high - low), high - _FLOOR * (high - low)
    for trial in search.trials:
        marker, face, edge = MARKS[trial.state]
        height = floor if trial.values is None else min(max(own_figure(search, trial), floor), top)
        axes.plot(trial.number, height, marker, mfc=face, mec=edge, ms=3.4, mew=0.8, ls="", zorder=3)
    axes.plot(*_best_so_far(search), color=BLUE, lw=0.9, drawstyle="steps-post", zorder=2)
    for winner in search.winners:
        axes.plot(
            winner.trial.number,
            own_figure(search, winner.trial),
            "o",
            mfc="none",
            mec=INK,
            ms=7,
            mew=0.8,
            zorder=4,
        )
    axes.set_xlabel("trial")
    axes.set_xlim(-1, search.trials[-1].number + 1)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _best_so_far(search: BaseSearch) -> tuple[list[int], list[float]]:
    numbers: list[int] = []
    best: list[float] = []
    pick = max if search.objectives[0].direction == "up" else min
    for trial in search.finished:
        numbers.append(trial.number)
        best.append(pick([own_figure(search, trial), *best[-1:]]))
    return ([*numbers, search.trials[-1].number], [*best, best[-1]]) if best else ([], [])


def _shown(search: BaseSearch, rank: int) -> Estimate | None:
    """The first objective over fresh seeds, as it is shown."""
    name = search.objectives[0].name
    return estimate({seed: shown(name, value) for seed, value in search.fresh(rank).items()})


def _reach(found: Estimate) -> tuple[float, ...]:
    ends = (found.interval.low, found.interval.high) if found.interval else ()
    return (*found.values.values(), *ends)


def _fresh(axes: Axes, search: BaseSearch, again: list[tuple[int, Estimate]]) -> None:
    trials: dict[int, Trial] = {winner.rank: winner.trial for winner in search.winners}
    for place, (rank, found) in enumerate(again):
        color = BLUE if rank else INK
        own = list(found.values.values())
        axes.plot([place] * len(own), own, "o", color=SKY if rank else FAINT, ms=2.2, ls="", zorder=2)
        reach = found.interval.half_width if found.interval else 0.0
        axes.errorbar(place, found.mean, reach, fmt="D", color=color, ms=3.4, capsize=2.5, elinewidth=0.9)
        if rank:
            axes.plot(
                place, own_figure(search, trials[rank]), "o", mfc="none", mec=INK, ms=6, mew=0.8, zorder=4
            )
    names = [f"#{trials[rank].number}" if rank else "base" for rank, _ in again]
    axes.set_xticks(range(len(again)), names, rotation=60 if len(again) > 2 else 0)
    axes.set_xlim(-0.6, len(again) - 0.4)


def _legend(figure: Figure, search: BaseSearch, fresh: bool) -> None:
    present = {t.state for t in search.trials}
    handles = [key(*MARKS[state], state) for state in MARKS if state in present]
    handles.append(Line2D([], [], color=BLUE, lw=0.9, label="best so far"))
    if search.winners:
        handles.append(key("o", "none", INK, "the best, as the search saw it"))
    if fresh:
        handles.append(key("D", BLUE, BLUE, "fresh: mean, 95 % interval"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, handlelength=1.0, columnspacing=0.7,
        handletextpad=0.4, borderpad=0.2, alignment="left",
    )  # fmt: skip


def key(marker: str, face: str, edge: str, label: str) -> Line2D:
    """A legend's entry for a marker."""
    return Line2D([], [], marker=marker, mfc=face, mec=edge, ls="", ms=4, mew=0.8, label=label)
