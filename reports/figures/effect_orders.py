"""What each ingredient adds at each position in the order, over all orders."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.style import BLUE, FAINT, INK, ORANGE, new_figure, watermark
from reports.judging.attribution import Attribution, IngredientEffects
from reports.judging.orders import contexts
from reports.records.groups import Group
from reports.tables.caption import stamp_line

_COLUMNS = 2


def draw(found: Attribution, group: Group) -> Figure | None:
    """One small panel per ingredient, all on one axis; None unless every combination was measured."""
    if not found.arms.complete:
        return None
    rows = -(-len(found.ingredients) // _COLUMNS)
    figure, panels = new_figure(
        0.35 + 1.02 * rows, stamp_line(group), rows=rows, columns=_COLUMNS, sharex=True, sharey=True
    )
    for axes, item in zip(panels, found.ingredients, strict=False):
        _panel(axes, found, item)
        watermark(axes, group.narrow_mark, size=9)
    for axes in panels[len(found.ingredients) :]:
        axes.set_visible(False)
    for axes in panels[-_COLUMNS:]:
        axes.set_xlabel("position in the order")
    for axes in panels[::_COLUMNS]:
        axes.set_ylabel("gain (AP)")
    return figure


def _panel(axes: Axes, found: Attribution, item: IngredientEffects) -> None:
    gains = item.orders
    assert gains is not None
    before = [context.before for context in contexts(found.arms, item.factor)]
    sizes = np.array([len(one) for one in before])
    spread = np.concatenate([_spread(int((sizes == size).sum())) for size in range(len(gains.by_position))])
    axes.axhline(0, color=INK, lw=0.7, zorder=1)
    axes.plot(sizes + 1 + spread, gains.gains, "o", color=FAINT, markersize=2, alpha=0.75, zorder=2)
    axes.plot(
        range(1, len(gains.by_position) + 1),
        [mean for _, mean, _ in gains.by_position],
        "-",
        color=BLUE,
        zorder=3,
    )
    axes.plot(
        found.order.index(item.factor) + 1, gains.in_order, "D", color=ORANGE, markeredgecolor=INK,
        markeredgewidth=0.5, markersize=4, zorder=4,
    )  # fmt: skip
    axes.set_title(item.label)
    axes.set_xticks(range(1, len(gains.by_position) + 1))
    axes.locator_params(axis="y", nbins=5)


def _spread(count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Small offsets that keep points of one position apart."""
    return np.linspace(-0.22, 0.22, count) if count > 1 else np.zeros(count)
