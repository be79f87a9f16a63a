"""The figures of a search, in the order in which a report shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from reports import blocks
from reports.figures import search_history, search_results, search_space
from reports.figures.style import drawing, save
from reports.records.groups import Group
from reports.records.search import BaseSearch
from reports.tables.caption import short_caption
from roadmap.words import counted


@dataclass(frozen=True)
class _Entry:
    name: str
    title: str
    text: str
    draw: Callable[[BaseSearch, Group], Figure | None]


_ENTRIES = (
    _Entry(
        "history",
        "Optimisation history",
        "Left: every trial as the search saw it, and the best so far, which is too good as the highest of "
        "many noisy figures is. A trial without a final figure stands at the foot of the axis. Rings: the "
        "trials that were trained again. Right: these and the base with seeds that the search never saw; "
        "small dots are single runs, diamonds their mean with its 95 % t interval, rings what the search had "
        "seen.",
        search_history.draw,
    ),
    _Entry(
        "front",
        "Pareto front",
        "Every finished trial, and those that none beats in both objectives, as the search saw them. "
        "Diamonds: trained again with fresh seeds, mean and 95 % t interval; arrows lead there from what the "
        "search saw.",
        search_results.draw_front,
    ),
    _Entry("importances", "What decided", "", search_results.draw_importances),
    _Entry(
        "slices",
        "Slices",
        "The search's own figure of every finished trial against each setting. At the foot: trials that "
        "failed (crosses) or were stopped (triangles).",
        search_space.draw_slices,
    ),
    _Entry(
        "parallel",
        "Parallel coordinates",
        "A line per finished trial through its settings to the search's own figure, darker where better. "
        "Orange: the trials that were trained again.",
        search_space.draw_parallel,
    ),
)


def draw_searches(searches: Sequence[BaseSearch], group: Group, folder: Path) -> tuple[blocks.Figure, ...]:
    """Draw every figure of every base's search that has something to show; files go to ``folder``."""
    drawn = []
    with drawing():
        for search in searches:
            end, of = ("", "") if len(searches) == 1 else (f"-{search.base}", f" ({search.base})")
            for entry in _ENTRIES:
                figure = entry.draw(search, group)
                if figure is None:
                    continue
                text = _importances_text(search) if entry.name == "importances" else entry.text
                files = save(figure, folder, f"search_{entry.name}{end}")
                title, conditions = entry.title + of, _conditions(search, group)
                drawn.append(blocks.Figure(f"search_{entry.name}{end}", title, text, conditions, files))
    return tuple(drawn)


def _importances_text(search: BaseSearch) -> str:
    assert search.importances is not None
    number, finished = search.importances.trials.get(search.base, 0), len(search.finished)
    stale = (
        "" if number == finished else f" Of {number} of {finished} finished trials: computed before the rest."
    )
    return (
        f"{search.importances.method} Orange marks: what the setting reaches in 95 of 100 searches whose "
        f"figures were dealt out anew among the trials; a bar below it says nothing.{stale}"
    )


def _conditions(search: BaseSearch, group: Group) -> str:
    trials = counted(len(search.trials), "trial")
    return f"{short_caption(group)} {trials}, each one run with seed {search.record.space.run_seed}."
