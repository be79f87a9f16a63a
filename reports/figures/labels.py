"""Labels beside points that keep clear of each other, of the points and of the panel's edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from reports.figures.style import BACKGROUND

#: Where a label may go, as offsets in points from its point: nearest first, right before left.
_OFFSETS = tuple(
    (dx * r, dy * r)
    for r in (1.0, 1.7, 2.6, 3.8)
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 0.8), (-0.8, 0.8), (0.8, -0.8), (-0.8, -0.8))
)
#: Width of an average character as a share of the font size.
_CHARACTER = 0.62


@dataclass(frozen=True)
class Label:
    """Text for a point in data coordinates. radius: of the marker, in points."""

    x: float
    y: float
    text: str
    color: str
    radius: float = 2.5


def place_labels(axes: Axes, labels: Sequence[Label], size: float = 7.0) -> None:
    """Write the labels, each at the first place that is free; limits and scales must be final.

    A label far from its point gets a thin line to it. Where no place is free the first is taken.
    """
    figure = axes.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]  # the layout decides where points lie
    to_points = 72 / figure.dpi
    spots = [axes.transData.transform((label.x, label.y)) * to_points for label in labels]
    edge = axes.bbox
    frame = tuple(v * to_points for v in (edge.x0, edge.y0, edge.x1, edge.y1))
    taken = [
        (x - label.radius, y - label.radius, x + label.radius, y + label.radius)
        for (x, y), label in zip(spots, labels, strict=True)
    ]
    for (x, y), label in zip(spots, labels, strict=True):
        if not label.text:
            continue
        choices = [_box(x, y, label, offset, size) for offset in _OFFSETS]
        clashes = [_clashes(box, taken, frame) for box in choices]
        best = min(range(len(choices)), key=lambda i: (clashes[i], i))
        box = choices[best]
        taken.append(box)
        center = ((box[0] + box[2]) / 2 - x, (box[1] + box[3]) / 2 - y)
        far = best >= 16
        axes.annotate(
            label.text, (label.x, label.y), center, textcoords="offset points", fontsize=size,
            color=label.color, ha="center", va="center",
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": label.color} if far else None,
            path_effects=[withStroke(linewidth=1.6, foreground=BACKGROUND)], zorder=5,
        )  # fmt: skip


def _box(
    x: float, y: float, label: Label, offset: tuple[float, float], size: float
) -> tuple[float, float, float, float]:
    half_width, half_height = len(label.text) * size * _CHARACTER / 2, size * 0.55
    gap = label.radius + 1.5
    cx = x + offset[0] * gap + (half_width if offset[0] > 0 else -half_width if offset[0] < 0 else 0)
    cy = y + offset[1] * gap + (half_height if offset[1] > 0 else -half_height if offset[1] < 0 else 0)
    return (cx - half_width, cy - half_height, cx + half_width, cy + half_height)


def _clashes(
    box: tuple[float, float, float, float],
    taken: Sequence[tuple[float, float, float, float]],
    frame: tuple[float, ...],
) -> int:
    """How many boxes it overlaps, and much more for leaving the panel."""
    outside = box[0] < frame[0] or box[1] < frame[1] or box[2] > frame[2] or box[3] > frame[3]
    overlaps = sum(
        box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken
    )
    return overlaps + 100 * outside
