"""Where in the searched space the figures are high: slices, and parallel coordinates."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from reports.figures.search_history import MARKS, axis_label
from reports.figures.style import BLUE, FAINT, INK, ORANGE, SKY, limits, new_figure, watermark
from reports.records.groups import Group
from reports.records.search import BaseSearch
from reports.tables.caption import stamp_line
from reports.tables.search import own_figure, setting_name, value_text
from roadmap.search import Parameter

#: From light to dark, told apart in grey as well.
_SCALE = LinearSegmentedColormap.from_list("search", ["#bcdff5", SKY, BLUE, "#00263b"])
#: More settings than this do not fit into a column; those that decide most are shown.
MOST = 8


def place(parameter: Parameter, value: Any) -> float:
    """Where a value lies on its setting's axis, 0 to 1."""
    if parameter.kind == "choice":
        return (parameter.choices.index(value) + 0.5) / len(parameter.choices)
    low, high, here = (
        math.log(v) if parameter.log else float(v) for v in (parameter.low, parameter.high, value)
    )
    return (here - low) / (high - low) if high > low else 0.5


def draw_slices(search: BaseSearch, group: Group) -> Figure | None:
    """The first objective against each setting, a panel each; None without a finished trial."""
    shown, done = search.parameters[:MOST], search.finished
    if not done:
        return None
    columns = min(2, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure, panels = new_figure(0.5 + 1.3 * rows, stamp_line(group), rows, columns, sharey=True)
    values = [own_figure(search, trial) for trial in done]
    panels[0].set_ylim(limits(values, pad=0.16, least=1e-9))
    colors = Normalize(0, search.trials[-1].number or 1)
    for panel, parameter in zip(panels, shown, strict=False):
        _slice(panel, parameter, search, colors)
    for panel in panels[len(shown) :]:
        panel.set_visible(False)
    figure.supylabel(axis_label(search.objectives[0], group), fontsize=7.5)
    bar = figure.colorbar(ScalarMappable(colors, _SCALE), ax=panels, location="bottom", aspect=40, pad=0.02)
    bar.set_label("trial (later is darker)")
    bar.outline.set_visible(False)
    watermark(panels[0], group.narrow_mark, size=10)
    return figure


def _slice(panel: Axes, parameter: Parameter, search: BaseSearch, colors: Normalize) -> None:
    low, high = panel.get_ylim()
    for trial in search.trials:
        x = place(parameter, trial.parameters[parameter.key])
        if trial.values is not None:
            color, y = _SCALE(colors(trial.number)), own_figure(search, trial)
            panel.plot(x, y, "o", mfc=color, mec=INK, ms=3.4, mew=0.3, ls="", zorder=3)
        elif trial.state in ("failed", "stopped"):
            marker, face, edge = MARKS[trial.state]
            floor = low + 0.05 * (high - low)
            panel.plot(x, floor, marker, mfc=face, mec=edge, ms=3.2, mew=0.8, ls="", zorder=2)
    _scale(panel, parameter)
    panel.set_title(setting_name(search.record.space, parameter.key), loc="left")


def _scale(panel: Axes, parameter: Parameter) -> None:
    panel.set_xlim(-0.06, 1.06)
    marks = ticks(parameter)
    panel.set_xticks([place(parameter, value) for value in marks], [value_text(value) for value in marks])
    if parameter.kind == "choice" and sum(len(value_text(v)) for v in marks) > 14:
        panel.tick_params(axis="x", labelrotation=30)


def ticks(parameter: Parameter) -> tuple[Any, ...]:
    """Values that an axis of a setting names: all choices, or both ends and the middle."""
    if parameter.kind == "choice":
        return parameter.choices
    low, high = parameter.low, parameter.high
    middle = math.sqrt(low * high) if parameter.log else (low + high) / 2
    if parameter.kind == "whole":
        middle = round(middle)
    return tuple(dict.fromkeys((low, middle, high)))


def draw_parallel(search: BaseSearch, group: Group) -> Figure | None:
    """A line per finished trial through its settings to its figure; None without two."""
    shown, done = search.parameters[: MOST - 1], search.finished
    if len(done) < 2:
        return None
    figure, (axes,) = new_figure(2.7, stamp_line(group))
    values = {trial.number: own_figure(search, trial) for trial in done}
    upwards = search.objectives[0].direction == "up"
    lowest, highest = min(values.values()), max(values.values())
    span = Normalize(lowest, highest)
    best = {winner.trial.number for winner in search.winners}
    for number in sorted(values, key=lambda n: values[n], reverse=not upwards):
        trial = search.trial(number)
        heights = [place(p, trial.parameters[p.key]) for p in shown] + [float(span(values[number]))]
        share = span(values[number]) if upwards else 1 - span(values[number])
        color, width = (ORANGE, 1.5) if number in best else (_SCALE(share), 0.8)
        axes.plot(range(len(heights)), heights, color=color, lw=width, zorder=3 if number in best else 2)
    for x, parameter in enumerate(shown):
        axes.axvline(x, color=FAINT, lw=0.7, zorder=1)
        for value in ticks(parameter):
            _tick(axes, x, place(parameter, value), value_text(value))
    axes.axvline(len(shown), color=INK, lw=0.9, zorder=1)
    for value in (lowest, (lowest + highest) / 2, highest):
        _tick(axes, len(shown), float(span(value)), f"{value:.3g}")
    names = [setting_name(search.record.space, p.key) for p in shown]
    axes.set_xticks(range(len(names) + 1), [*names, axis_label(search.objectives[0], group)], rotation=20)
    for label in axes.get_xticklabels():
        label.set(ha="right", rotation_mode="anchor")
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(shown) + 0.45)
    axes.set_ylim(-0.05, 1.05)
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    watermark(axes, group.narrow_mark, size=13)
    return figure


def _tick(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(
        text, (x, y), (3, 0), textcoords="offset points", va="center", fontsize=7, color=INK, zorder=4,
        bbox={"boxstyle": "square,pad=0.1", "fc": "#ffffffcc", "ec": "none"},
    )  # fmt: skip
