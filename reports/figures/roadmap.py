"""AP along the roadmap as steps, with intervals over seeds, beside the paper's steps.

In a study whose arms do not build on each other, the same without the steps.

Under the paper's conditions both share one axis. Otherwise each has its own panel, both as many AP wide, so
that steps of the same gain are of the same length; of a demo's only the direction may be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.style import BLUE, FAINT, VERMILLION, limits, new_figure, place_range, watermark
from reports.judging.statistics import t_interval
from reports.tables.caption import stamp_line
from reports.tables.columns import gain_text
from reports.tables.steps import Row, Table2

#: Points between an axis and the right end of the gain and the AP that are printed beside it.
_TEXT = 50.0


@dataclass(frozen=True)
class Step:
    """An arm's AP in percent at a place (0 at the top), with its interval over seeds if there is one.

    before: place of the arm that it is compared with, None for none, or where there is no gain over it.
    gain: over that arm in AP; measured ones are paired by seed, as in the table.
    """

    place: int
    ap: float
    before: int | None
    gain: float = 0.0
    interval: tuple[float, float] | None = None


def draw(table: Table2) -> Figure | None:
    """The figure; None when no arm has an AP."""
    rows = [row for row in table.rows if row.arm is not None]
    places = {row.arm: place for place, row in enumerate(rows)}
    ours = [_step(i, row, places) for i, row in enumerate(rows) if row.ap_best is not None]
    theirs = _published(rows, places)
    if not ours:
        return None
    labels = [row.label.removesuffix(" (optional)").removeprefix("YOLOv3 ") for row in rows]
    height, stamp = 0.75 + 0.3 * len(rows), stamp_line(table.group)
    if not theirs:
        figure, (axes,) = new_figure(height, stamp)
        _panel(axes, ours, labels, f"measured ({table.group.narrow_mark or 'COCO val'})", BLUE, 0.0)
        watermark(axes, table.group.narrow_mark)
        return figure
    if table.group.papers_conditions:
        figure, (axes,) = new_figure(height + 0.2 * len(rows), stamp)
        _overlay(axes, ours, theirs, labels)
        return figure
    figure, (top, bottom) = new_figure(1.15 + 0.38 * len(rows), stamp, rows=2)
    width = max(high - low for low, high in (limits(_extent(steps), pad=0.1) for steps in (ours, theirs)))
    _panel(top, ours, labels, f"measured ({table.group.narrow_mark})", BLUE, width)
    watermark(top, table.group.narrow_mark, size=14)
    _panel(bottom, theirs, labels, "paper (COCO val)", FAINT, width)
    return figure


def _step(place: int, row: Row, places: Mapping[str | None, int]) -> Step:
    assert row.ap_best is not None
    found = t_interval(row.ap_best.values)
    interval = (found.low, found.high) if found else None
    if row.gain is None:
        return Step(place, row.ap_best.mean, None, interval=interval)
    return Step(place, row.ap_best.mean, places.get(row.previous), row.gain.mean, interval)


def _published(rows: Sequence[Row], places: Mapping[str | None, int]) -> list[Step]:
    aps = {
        i: row.published.ap for i, row in enumerate(rows) if row.published and row.published.ap is not None
    }
    found = []
    for place, ap in aps.items():
        before = places.get(rows[place].previous) if rows[place].previous else None
        found.append(Step(place, ap, before, ap - aps.get(before, ap) if before is not None else 0.0))
    return found


def _panel(
    axes: Axes, steps: Sequence[Step], labels: Sequence[str], title: str, color: str, width: float
) -> None:
    """Steps on an axis that spans ``width`` AP, or what they need if that is more."""
    _staircase(axes, steps, 0.0, color)
    extent = _extent(steps)
    low, high = limits(extent, pad=0.1)
    if width > high - low:
        low, high = place_range((low + high - width) / 2, width, min(extent))
    axes.set_xlim(low, high)
    for before, step in _pairs(steps):
        _value(axes, step, before, 0.0, color)
    _frame(axes, labels, title)


def _overlay(axes: Axes, ours: Sequence[Step], theirs: Sequence[Step], labels: Sequence[str]) -> None:
    axes.set_xlim(limits([*_extent(ours), *_extent(theirs)]))
    for steps, offset, color in ((theirs, 0.19, FAINT), (ours, -0.19, BLUE)):
        _staircase(axes, steps, offset, color)
        for before, step in _pairs(steps):
            _value(axes, step, before, offset, color)
    _frame(axes, labels, "")
    axes.plot([], [], color=BLUE, marker="o", label="measured (COCO val)")
    axes.plot([], [], color=FAINT, marker="o", markerfacecolor="white", label="paper (COCO val)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2)


def _staircase(axes: Axes, steps: Sequence[Step], offset: float, color: str) -> None:
    """A tread per arm from the AP it is compared with to its own, and a thin riser down to it."""
    for before, step in _pairs(steps):
        y = step.place + offset
        if before is not None:
            axes.plot([before.ap, before.ap], [before.place + offset, y], color=color, lw=0.6, ls=":")
            tread = color if step.ap >= before.ap else VERMILLION
            axes.plot([before.ap, step.ap], [y, y], color=tread, lw=2.2, solid_capstyle="butt")
        if step.interval is not None:
            axes.errorbar(
                step.ap, y, xerr=[[step.ap - step.interval[0]], [step.interval[1] - step.ap]],
                color=color, capsize=2.2, elinewidth=0.9, capthick=0.9, zorder=3,
            )  # fmt: skip
        face = "white" if color == FAINT else color
        axes.plot(step.ap, y, "o", color=color, markerfacecolor=face, zorder=4)


def _pairs(steps: Sequence[Step]) -> list[tuple[Step | None, Step]]:
    """Each step with the one that it builds on, None where that was not measured."""
    by_place = {step.place: step for step in steps}
    return [(None if step.before is None else by_place.get(step.before), step) for step in steps]


def _value(axes: Axes, step: Step, before: Step | None, offset: float, color: str) -> None:
    """The gain and the figure, beside the axes: nothing may lie under a number."""
    gain = gain_text(step.gain) if before else ""
    axes.annotate(
        f"{gain}  {step.ap:.1f}".strip(), (1.0, step.place + offset), (_TEXT, 0.0),
        xycoords=axes.get_yaxis_transform(), textcoords="offset points", ha="right", va="center", color=color,
        fontsize=7, annotation_clip=False,
    )  # fmt: skip


def _frame(axes: Axes, labels: Sequence[str], title: str) -> None:
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel("AP (%)")
    axes.set_title(title)


def _extent(steps: Sequence[Step]) -> list[float]:
    return [value for step in steps for value in (step.ap, *(step.interval or ()))]
