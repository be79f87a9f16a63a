"""AP against latency, a panel per engine: what models and precisions give there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from reports.figures.style import FAINT, SERIES, limits, new_figure
from reports.tables.engines import load
from roadmap.words import counted

_PRECISIONS = ("fp32", "fp16", "int8")


def draw(record: Mapping[str, Any]) -> Figure:
    """One panel per engine with the same axes; a colour and marker per precision, a line per model."""
    rows = record["rows"]
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    models = list(dict.fromkeys(row["model"] for row in rows))
    lines, columns = -(-len(engines) // 2), 2
    figure, panels = new_figure(1.75 * lines, _stamp(record), lines, columns, sharex=True, sharey=True)
    for axes, engine in zip(panels, engines, strict=False):
        axes.set_title(engine)
        for model in models:
            own = [row for row in rows if (row["engine"], row["model"]) == (engine, model)]
            axes.plot(*_points(own), "-", color=FAINT, linewidth=0.6, zorder=1)
            for row in own:
                color, marker, _ = SERIES[1 + _PRECISIONS.index(row["precision"])]
                total = row["total_ms"]
                reach = [[total["median"] - total["p5"]], [total["p95"] - total["median"]]]
                axes.errorbar(
                    total["median"],
                    row["ap"],
                    xerr=reach,
                    fmt=marker,
                    color=color,
                    elinewidth=0.6,
                    capsize=1.5,
                )
    for axes in panels[len(engines) :]:
        axes.set_visible(False)
    panels[0].set_ylim(limits([row["ap"] for row in rows]))
    panels[0].set_xlim(left=0)
    for axes in panels[-columns:]:
        axes.set_xlabel("latency, whole (ms)")
    for axes in panels[::columns]:
        axes.set_ylabel("AP (%)")
    handles = [
        axes.plot([], [], SERIES[1 + place][1], color=SERIES[1 + place][0], label=name)[0]
        for place, name in enumerate(_PRECISIONS)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _points(rows: list[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    ordered = sorted(rows, key=lambda row: row["total_ms"]["median"])
    return [row["total_ms"]["median"] for row in ordered], [row["ap"] for row in ordered]


def _stamp(record: Mapping[str, Any]) -> str:
    given = record["conditions"]
    rows = record["rows"]
    names = ", ".join(dict.fromkeys(row["model"] for row in rows))
    return (
        f"{names}; {rows[0]['images']} images of {rows[0]['split']}, {rows[0]['image_size']} px; "
        f"{given['processor']}, {counted(given['threads'], 'thread')}, single images. {load(given)}"
    )
