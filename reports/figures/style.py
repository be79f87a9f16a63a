"""How every figure looks, and how it is written: the same bytes from the same records.

Column width of a two-column paper, no text below 7 pt, colours that stay apart for colour-blind readers
(Okabe and Ito's palette) and are never the only difference between two lines.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

#: Width in inches of a column.
COLUMN = 3.3
FORMATS = ("png", "svg", "pdf")
#: Characters that fit its width at 7 pt.
STAMP_LINE = 54
#: The stamp of a figure of the paper's own figures.
PUBLISHED_ALONE = "published figures alone: nothing was measured"
#: Pixels per inch of the PNG.
RESOLUTION = 220

INK, FAINT, GRID, BACKGROUND = "#1b1b1f", "#6b6b76", "#dcdce2", "#ffffff"
BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY = (
    "#0072b2", "#d55e00", "#009e73", "#aa4499", "#e69f00", "#56b4e9",
)  # fmt: skip
#: Colour, marker and line of the n-th series; the arms take them in the study's order.
SERIES: tuple[tuple[str, str, str], ...] = (
    (INK, "o", "-"),
    (BLUE, "s", "--"),
    (ORANGE, "^", "-"),
    (PURPLE, "v", "-."),
    (SKY, "D", "-"),
    (VERMILLION, "P", "-"),
    (GREEN, "X", "--"),
)

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same shapes on every machine
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.2,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "legend.columnspacing": 1.0,
    "legend.labelspacing": 0.3,
    "figure.constrained_layout.w_pad": 0.04,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.wspace": 0.02,
    "figure.constrained_layout.hspace": 0.03,
    "figure.facecolor": BACKGROUND,
    "savefig.facecolor": BACKGROUND,
    "svg.hashsalt": "yolox-roadmap",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "path.simplify": True,
}

#: What each format would write about the moment and the tool; None leaves it out.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}


def new_figure(
    height: float, stamp: str, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of column width and ``height`` inches with its axes, row by row.

    stamp: what it was measured on; it stands above the axes, for a picture travels without its caption, and
    adds its lines to the height.
    """
    lines = textwrap.wrap(stamp, STAMP_LINE)
    figure = Figure(figsize=(COLUMN, height + 0.14 * len(lines)), layout="constrained")
    figure.suptitle("\n".join(lines), x=0.015, ha="left", fontsize=7, color=FAINT, parse_math=False)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.flat)


def watermark(axes: Axes, mark: str, size: float = 17, at: tuple[float, float] = (0.5, 0.5)) -> None:
    """Write across the axes, one part of the mark per line, why their figures are not the paper's."""
    if mark:
        axes.text(
            *at, mark.upper().replace(", ", "\n"), transform=axes.transAxes, rotation=18, fontsize=size,
            fontweight="bold", color=FAINT, alpha=0.19, ha="center", va="center", zorder=0.5, clip_on=True,
            linespacing=1.3,
        )  # fmt: skip


def save(figure: Figure, folder: Path, name: str) -> tuple[Path, ...]:
    """Write a figure in every format; the paths. Its layout is worked out once, so all show the same."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    paths = []
    for kind in FORMATS:
        path = folder / f"{name}.{kind}"
        figure.savefig(path, format=kind, dpi=RESOLUTION, metadata=_METADATA[kind])
        paths.append(path)
    return tuple(paths)


def drawing() -> Any:
    """Context in which figures are drawn and saved."""
    return mpl.rc_context(cast(Any, STYLE))


def darker(color: str) -> str:
    """The colour dark enough for small text on white."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    share = min(1.0, 115 / (0.299 * red + 0.587 * green + 0.114 * blue + 1e-9))
    return f"#{int(red * share):02x}{int(green * share):02x}{int(blue * share):02x}"


def from_zero(axes: Axes) -> tuple[float, float]:
    """Limits from 0 to the highest value drawn, with room for whole markers at both ends."""
    highest = axes.dataLim.y1 or 1.0
    return -0.03 * highest, 1.05 * highest


def limits(values: Iterable[float], pad: float = 0.08, least: float = 1.0) -> tuple[float, float]:
    """An axis range around values with a margin, at least ``least`` wide.

    Where no value is negative it begins just below 0 at the lowest: there are no negative AP.
    """
    found = list(values)
    low, high = min(found), max(found)
    half = max(high - low, least) / 2 * (1 + 2 * pad)
    return place_range((low + high) / 2 - half, 2 * half, low)


def place_range(start: float, width: float, lowest: float) -> tuple[float, float]:
    """A range of a width from ``start`` on, moved up to just below 0 when it begins lower without need."""
    start = max(start, -0.03 * width) if lowest >= 0 else start
    return start, start + width
