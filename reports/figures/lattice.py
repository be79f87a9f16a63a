"""Every combination: which ingredients are on, and its AP, sorted."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.style import BLUE, GRID, ORANGE, darker, limits, new_figure, watermark
from reports.judging.attribution import Attribution
from reports.records.groups import Group
from reports.tables.caption import stamp_line
from roadmap.designs import one_order

#: Inches per combination.
_LINE = 0.092


def draw(found: Attribution, group: Group) -> Figure | None:
    """Lines of dots and, at their right, AP; None below four combinations."""
    count = len(found.names)
    if count < 4:
        return None
    ranks = np.argsort(-found.ap, kind="stable")
    figure, (dots, axes) = new_figure(
        1.35 + _LINE * count,
        stamp_line(group),
        columns=2,
        sharey=True,
        gridspec_kw={"width_ratios": (1, 2.2)},
    )
    steps = {one: place for place, one in enumerate(one_order(found.order))}
    for line, arm in enumerate(ranks):
        on = found.arms.combinations[arm]
        step = steps.get(on)
        color = ORANGE if step is not None else BLUE
        _dots(dots, line, [factor in on for factor in found.arms.factors], color)
        values = found.values[arm]
        axes.plot([values.min(), values.max()], [line, line], color=color, lw=1.1, zorder=2)
        axes.plot(found.ap[arm], line, "o", color=color, markersize=2.8, zorder=3)
        if step is not None:
            axes.annotate(
                str(step), (values.max(), line), (4, 0), textcoords="offset points", va="center", fontsize=7,
                color=darker(ORANGE), fontweight="bold", zorder=4,
            )  # fmt: skip
    _frame(dots, axes, found, group)
    return figure


def _dots(axes: Axes, line: int, on: list[bool], color: str) -> None:
    places = np.arange(len(on))
    axes.plot(places[np.array(on)], np.full(sum(on), line), "o", color=color, markersize=3.4, zorder=3)
    off = [place for place, is_on in zip(places, on, strict=True) if not is_on]
    axes.plot(off, [line] * len(off), "o", color=GRID, markersize=2.2, zorder=2)


def _frame(dots: Axes, axes: Axes, found: Attribution, group: Group) -> None:
    labels = [item.label for item in found.ingredients]
    dots.set_xlim(-0.6, len(labels) - 0.4)
    dots.set_xticks(range(len(labels)), labels, rotation=90)
    dots.set_ylim(len(found.names) - 0.4, -0.6)
    dots.set_yticks([])
    dots.tick_params(length=0)
    dots.grid(False)
    for spine in dots.spines.values():
        spine.set_visible(False)
    axes.set_xlim(limits(found.values.ravel().tolist()))
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"AP (%), {group.narrow_mark or 'COCO val'}")
    watermark(axes, group.narrow_mark)
