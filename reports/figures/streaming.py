"""AP and streaming AP against latency, and streaming AP against the frame rate."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from reports.figures.style import BACKGROUND, FAINT, INK, SERIES, from_zero, new_figure, watermark
from reports.tables.streaming import mark, stamp
from roadmap.streaming import StreamArm, StreamingRecord

PLAIN, BOTH = (False, False), (True, True)
#: Latencies that an axis is labelled with, in milliseconds.
_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


def draw(record: StreamingRecord) -> Figure:
    """Two panels: what each arm loses at the record's frame rate, and what it has left at others."""
    rates = record.conditions.swept
    rows = 2 if len(rates) > 1 else 1
    figure, axes = new_figure(2.1 * rows + 0.13 * -(-len(record.arms) // 2), stamp(record), rows=rows)
    _against_latency(axes[0], record)
    if rows == 2:
        _against_rate(axes[1], record)
    handles = [
        axes[0].plot([], [], line, color=color, marker=marker, markerfacecolor=face)[0]
        for color, marker, line, face in map(_look, range(len(record.arms)))
    ]
    labels = [arm.label for arm in record.arms]
    columns = 2 if max(map(len, labels)) <= 22 else 1
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def _look(index: int) -> tuple[str, str, str, str]:
    """Colour, marker, line and the marker's face: hollow the second time round."""
    round_, place = divmod(index, len(SERIES))
    color, marker, line = SERIES[place]
    return color, marker, line, BACKGROUND if round_ % 2 else color


def _against_latency(axes: Axes, record: StreamingRecord) -> None:
    fps = record.conditions.fps
    for index, arm in enumerate(record.arms):
        color, marker, _, face = _look(index)
        x = max(arm.latency_ms.median, 0.1)
        heights = [arm.ap, _ap(arm, fps, PLAIN), _ap(arm, fps, BOTH)]
        known = [y for y in heights if y is not None]
        if known:
            axes.plot([x, x], [min(known), max(known)], color=color, linewidth=0.6, alpha=0.6)
        offline, plain, both = heights
        if offline is not None:
            axes.plot(x, offline, "_", color=color, markersize=7, markeredgewidth=1.2)
        if plain is not None:
            axes.plot(x, plain, marker, color=color, markerfacecolor=face)
        if both is not None:
            axes.plot(x, both, "x", color=color, markersize=3.5)
    axes.set_xscale("log")
    medians = [max(arm.latency_ms.median, 0.1) for arm in record.arms]
    low, high = min(medians) / 1.25, max(medians) * 1.25
    axes.set_xlim(low, high)
    inside = [tick for tick in _TICKS if low <= tick <= high]
    axes.xaxis.set_major_locator(FixedLocator(inside or [round(medians[0], 1)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(*from_zero(axes))
    axes.set_xlabel("latency, median (ms)")
    axes.set_ylabel(_axis("AP (%)", record))
    kinds = [
        Line2D([], [], color=INK, marker="_", linestyle="", markersize=7, label="AP, no stream"),
        Line2D([], [], color=INK, marker="o", linestyle="", label=f"sAP at {fps:g} fps"),
        Line2D([], [], color=INK, marker="x", linestyle="", markersize=3.5, label="dynamic + Kalman"),
    ]
    axes.legend(handles=kinds, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, handletextpad=0.2)
    watermark(axes, mark(record), size=13)


def _against_rate(axes: Axes, record: StreamingRecord) -> None:
    rates = record.conditions.swept
    for index, arm in enumerate(record.arms):
        color, marker, line, face = _look(index)
        points = [(rate, ap) for rate in rates if (ap := _ap(arm, rate, PLAIN)) is not None]
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, linestyle=line, color=color, marker=marker, markerfacecolor=face)
    axes.axvline(record.conditions.fps, color=FAINT, linewidth=0.6, linestyle=":")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(rates))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(axis="x", labelrotation=45)
    axes.set_ylim(*from_zero(axes))
    axes.set_xlabel("frame rate (fps)")
    axes.set_ylabel(_axis("sAP, plain (%)", record))
    watermark(axes, mark(record), size=13)


def _axis(quantity: str, record: StreamingRecord) -> str:
    return f"{quantity}\n{mark(record)}".rstrip()


def _ap(arm: StreamArm, fps: float, variant: tuple[bool, bool]) -> float | None:
    stream = arm.stream(fps, variant)
    return stream.ap if stream else None
