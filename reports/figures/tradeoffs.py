"""The paper's Figure 1: AP against latency (top), and against size for the light models (bottom); and against
size for all. Published points and ours.

Under the paper's conditions ours lie among the published ones. Otherwise they have a panel of their own,
so that no demo figure stands beside a COCO one.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.figures.labels import Label, place_labels
from reports.figures.points import (
    FAMILIES,
    LINES,
    ROADMAP,
    Point,
    latency_points,
    light_points,
    size_points,
    stage_rows,
)
from reports.figures.style import (
    BACKGROUND,
    BLUE,
    FAINT,
    PUBLISHED_ALONE,
    darker,
    limits,
    new_figure,
    watermark,
)
from reports.tables.caption import stamp_line
from reports.tables.steps import Measured, Row, Table2

#: Marker area in square points: this much, and more per million parameters of the largest model.
_AREA, _GROWTH = 8.0, 50.0
#: The largest published model (YOLOX-X), in millions of parameters.
_LARGEST = 99.1


@dataclass(frozen=True)
class Ours:
    """A measured arm. number: its place in the legend, from 1. before: the number of the arm that it is
    compared with, None for none.

    percentiles: 5th and 95th of what x is the median of.
    """

    number: int
    label: str
    before: int | None
    x: Measured
    ap: Measured
    params_m: float
    percentiles: tuple[float, float] | None = None


def draw_speed(table: Table2) -> Figure | None:
    """AP against latency of the forward pass, marker area by parameters; None without any latency.

    Light models are in it only where nothing else was measured: the paper compares their size.
    """
    conditions = table.latency_conditions
    if conditions is None:
        return None
    dtype = conditions.dtype.replace("float", "FP")
    where = f"{_short(conditions.hardware)}, {dtype}"
    plot = replace(_SPEED, ours=where)
    heavy = _only(table, light=False)
    shown = heavy if _ours(heavy, "latency") else table
    return _draw(shown, _ours(shown, "latency"), latency_points(), plot)


def draw_size(table: Table2) -> Figure | None:
    """AP against parameters; None when no arm has an AP."""
    plot = _Plot("parameters (M)", ticks=(1, 2, 5, 10, 20, 50, 100), sized=False)
    return _draw(table, _ours(table, "params"), size_points(), plot)


def draw_light(table: Table2) -> Figure | None:
    """AP against parameters of the light models, among those of Table 4; None when no such has an AP."""
    light = _only(table, light=True)
    return _draw(light, _ours(light, "params"), light_points(), _LIGHT)


def published_speed() -> Figure:
    """The published points of :func:`draw_speed` alone."""
    return _alone(latency_points(), _SPEED)


def published_light() -> Figure:
    """The published points of :func:`draw_light` alone."""
    return _alone(light_points(), _LIGHT)


def _only(table: Table2, light: bool) -> Table2:
    """The table with the light models alone, or with all others: light are those for which the paper prints
    a size and no latency.
    """
    kept = [row for row in table.rows if _is_light(row) == light]
    return replace(table, rows=tuple(kept))


def _is_light(row: Row) -> bool:
    paper = row.published
    return paper is not None and paper.params_m is not None and paper.latency_ms is None


@dataclass(frozen=True)
class _Plot:
    """What the x axis is. conditions: under which ours and the paper's values were measured, or empty."""

    quantity: str
    ours: str = ""
    paper: str = ""
    ticks: tuple[int, ...] = ()
    sized: bool = True


_SPEED = _Plot("latency (ms)", "", "V100, FP16", (8, 10, 12, 15, 20, 25, 30, 40, 60, 100, 200, 400))
_LIGHT = _Plot("parameters (M)", ticks=(1, 2, 3, 4, 5, 6, 8, 10), sized=False)


def _alone(published: Sequence[Point], plot: _Plot) -> Figure:
    figure, (axes,) = new_figure(3.6, PUBLISHED_ALONE)
    _published_frame(axes, published, plot)
    axes.set_xlabel(_axis(plot.quantity, plot.paper))
    labels = _without_numbers(_published(axes, published, plot))
    _legend(figure, published, "", "")
    place_labels(axes, labels)
    return figure


def _draw(table: Table2, ours: Sequence[Ours], published: Sequence[Point], plot: _Plot) -> Figure | None:
    if not ours:
        return None
    mark = table.group.narrow_mark
    if not mark:
        figure, (axes,) = new_figure(3.9, stamp_line(table.group))
        conditions = f"paper: {plot.paper}\nmeasured: {plot.ours}" if plot.ours else ""
        _published_frame(axes, published, plot, _reach(ours), _extent(ours))
        axes.set_title(conditions)
        # One number for both: ours carry it, the paper's roadmap is the line beneath.
        labels = _without_numbers(_published(axes, published, plot))
        labels += _measured(axes, ours, plot, 0.6)
        _legend(figure, published, "measured", _key(table))
        place_labels(axes, labels)
        return figure
    figure, (top, bottom) = new_figure(5.5, stamp_line(table.group), rows=2, height_ratios=[1, 1.5])
    low, high = limits(_reach(ours), least=max(o.x.mean for o in ours) * 0.2)
    top.set_xlim(max(0.0, low), high)
    top.set_ylim(limits(_extent(ours), pad=0.12))
    mine = _measured(top, ours, plot, 1.0)
    watermark(top, mark)
    top.set_title(f"measured ({mark})")
    top.set_xlabel(_axis(plot.quantity, plot.ours))
    top.set_ylabel(f"AP (%), {mark}")
    _published_frame(bottom, published, plot)
    theirs = _published(bottom, published, plot)
    if tuple(row.label for row in table.rows if row.arm) != stage_rows():  # numbers of other things
        theirs = _without_numbers(theirs)
    bottom.set_title("paper (COCO)")
    bottom.set_xlabel(_axis(plot.quantity, plot.paper))
    _legend(figure, published, f"measured ({mark})", _key(table))
    place_labels(top, mine)
    place_labels(bottom, theirs)
    return figure


def _published_frame(
    axes: Axes, points: Sequence[Point], plot: _Plot, xs: Sequence[float] = (), aps: Sequence[float] = ()
) -> None:
    """A logarithmic x axis over the published points and ours."""
    places = [*(p.x for p in points), *xs]
    axes.set_xscale("log")
    axes.set_xlim(min(places) / 1.12, max(places) * 1.12)
    low, high = axes.get_xlim()
    ticks = [t for t in plot.ticks if low <= t <= high]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_ylim(limits([*(p.ap for p in points), *aps]))
    axes.set_xlabel(plot.quantity)
    axes.set_ylabel("AP (%), COCO")


def _ours(table: Table2, x: str) -> list[Ours]:
    found = []
    arms = [row for row in table.rows if row.arm is not None]
    numbers = {row.arm: number for number, row in enumerate(arms, 1)}
    for number, row in enumerate(arms, 1):
        place: Measured | None = getattr(row, x)
        if place is not None and row.ap_best is not None and row.params is not None:
            spread = row.latency_range if x == "latency" else None
            before = numbers.get(row.previous)
            found.append(Ours(number, _name(row), before, place, row.ap_best, row.params.mean, spread))
    return found


def _key(table: Table2) -> str:
    """What the numbers stand for: all arms of the table, measured or not."""
    names = [_name(row) for row in table.rows if row.arm is not None]
    return textwrap.fill(
        ",  ".join(f"{i} {name}".replace(" ", "\u00a0") for i, name in enumerate(names, 1)),
        62,
        break_on_hyphens=False,
    )


def _measured(axes: Axes, ours: Sequence[Ours], plot: _Plot, size: float) -> list[Label]:
    """Ours as filled blue circles; ``size`` scales their area. Shrunk models span the same areas."""
    xs, aps = [o.x.mean for o in ours], [o.ap.mean for o in ours]
    largest = max(o.params_m for o in ours)
    areas = [size * _area(o.params_m * (1.0 if largest > 10 else _LARGEST / 2 / largest), plot) for o in ours]
    for o in ours:
        if o.ap.std:
            axes.errorbar(o.x.mean, o.ap.mean, yerr=o.ap.std, color=BLUE, elinewidth=0.8, capsize=2, zorder=3)
        if o.percentiles is not None:
            low, high = (abs(end - o.x.mean) for end in o.percentiles)
            axes.errorbar(
                o.x.mean, o.ap.mean, xerr=[[low], [high]], color=BLUE, elinewidth=0.8, alpha=0.6, zorder=3
            )
    known = {o.number: o for o in ours}
    for o, other in ((o, known[o.before]) for o in ours if o.before in known):
        ends = ([other.x.mean, o.x.mean], [other.ap.mean, o.ap.mean])
        axes.plot(*ends, "-", color=BLUE, lw=0.6, alpha=0.6, zorder=3)
    axes.scatter(xs, aps, areas, color=BLUE, edgecolors=BACKGROUND, linewidths=0.4, zorder=4)
    return [
        Label(o.x.mean, o.ap.mean, str(o.number), BLUE, (area**0.5) / 2)
        for o, area in zip(ours, areas, strict=True)
    ]


def _published(axes: Axes, points: Sequence[Point], plot: _Plot) -> list[Label]:
    labels = []
    for family, (color, marker) in FAMILIES.items():
        for test_dev in (False, True):
            members = [p for p in points if p.family == family and p.test_dev == test_dev]
            areas = [_area(p.params_m or 0.0, plot) for p in members]
            axes.scatter(
                [p.x for p in members], [p.ap for p in members], areas, marker=marker,
                facecolors=BACKGROUND if test_dev else color, edgecolors=color, linewidths=0.8, zorder=2.5,
            )  # fmt: skip
            if family in LINES and (not test_dev or family == "EfficientDet"):
                line = members if family == ROADMAP else sorted(members, key=lambda p: p.x)
                axes.plot([p.x for p in line], [p.ap for p in line], "-", color=color, lw=0.6, alpha=0.6)
            labels += [
                Label(p.x, p.ap, p.label, darker(color), (area**0.5) / 2)
                for p, area in zip(members, areas, strict=True)
            ]
    return labels


def _without_numbers(labels: Sequence[Label]) -> list[Label]:
    return [Label(x.x, x.y, "", x.color, x.radius) if x.text.isdigit() else x for x in labels]


def _extent(ours: Sequence[Ours]) -> list[float]:
    return [o.ap.mean + side * (o.ap.std or 0.0) for o in ours for side in (-1, 1)]


def _reach(ours: Sequence[Ours]) -> list[float]:
    return [x for o in ours for x in (o.x.mean, *(o.percentiles or ()))]


def _area(params_m: float, plot: _Plot) -> float:
    return _AREA + (_GROWTH * params_m / _LARGEST if plot.sized else 6.0)


def _legend(figure: Figure, points: Sequence[Point], ours: str, key: str) -> None:
    handles = [Line2D([], [], color=BLUE, marker="o", ls="", label=ours)] if ours else []
    present = {p.family for p in points}
    for family, (color, marker) in FAMILIES.items():
        if family in present:
            handles.append(Line2D([], [], color=color, marker=marker, ls="", label=family))
    if any(p.test_dev for p in points):
        hollow = Line2D([], [], color=FAINT, marker="o", markerfacecolor=BACKGROUND, ls="")
        hollow.set_label("hollow: test-dev")
        handles.append(hollow)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, handlelength=1.0, title=key or None,
        title_fontsize=7, alignment="left", columnspacing=0.6, handletextpad=0.4, borderpad=0.2,
    )  # fmt: skip


def _axis(quantity: str, conditions: str) -> str:
    return f"{quantity}, {conditions}" if conditions else quantity


def _short(hardware: str) -> str:
    return hardware if len(hardware) <= 26 else hardware[:25].rstrip() + "…"


def _name(row: Row) -> str:
    return row.label.removesuffix(" (optional)").removeprefix("YOLOv3 ").removeprefix("+")
