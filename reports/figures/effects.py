"""What each ingredient gives, as bars beside the paper's steps; and how ingredients work on each other."""

from __future__ import annotations

import string

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from reports.figures.style import BACKGROUND, BLUE, FAINT, INK, ORANGE, VERMILLION, new_figure, watermark
from reports.judging.attribution import Attribution, Effect, IngredientEffects
from reports.judging.gains import MORE_THAN_NOISE
from reports.records.groups import Group
from reports.tables.caption import stamp_line
from reports.tables.columns import gain_text

_DIVERGING = LinearSegmentedColormap.from_list("effect", (VERMILLION, BACKGROUND, BLUE))
#: Cells darker than this share of the largest interaction have white text.
_DARK = 0.62


def draw_effects(found: Attribution, group: Group) -> Figure | None:
    """Bars with intervals; None where no mean effect is known."""
    items = [item for item in found.ingredients if item.mean is not None]
    if not items:
        return None
    published = any(item.paper is not None for item in items)
    height = 0.9 + 0.27 * len(items)
    ratios = {"width_ratios": (2.1, 1)} if published else {}
    figure, panels = new_figure(
        height, stamp_line(group), columns=2 if published else 1, sharey=True, gridspec_kw=ratios
    )
    _bars(panels[0], items, found, group)
    watermark(panels[0], group.narrow_mark, size=13)
    if published:
        _published(panels[1], items)
    return figure


def _bars(axes: Axes, items: list[IngredientEffects], found: Attribution, group: Group) -> None:
    for place, item in enumerate(items):
        assert item.mean is not None
        value, interval = item.mean.value, item.mean.interval
        axes.barh(place, value, 0.62, color=BLUE if value >= 0 else VERMILLION, zorder=2)
        if interval is not None:
            error = [[value - interval.low], [interval.high - value]]
            axes.errorbar(value, place, xerr=error, color=INK, capsize=2.2, elinewidth=0.9, zorder=3)
        if item.orders is not None:
            axes.plot(
                item.orders.in_order,
                place,
                "D",
                color=ORANGE,
                markeredgecolor=INK,
                markeredgewidth=0.5,
                zorder=4,
            )
    _frame(axes, [item.label for item in items])
    kind = "Shapley value" if found.arms.complete else "Mean effect"
    axes.set_xlabel("AP")
    axes.set_title(f"{kind}\n({group.narrow_mark or 'COCO val'})")


def _published(axes: Axes, items: list[IngredientEffects]) -> None:
    for place, item in enumerate(items):
        if item.paper is not None:
            axes.barh(place, item.paper, 0.62, color=FAINT, zorder=2)
            end = max(item.paper, 0.0)
            axes.annotate(
                gain_text(item.paper),
                (end, place),
                (2, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
            )
    _frame(axes, [item.label for item in items])
    values = [item.paper for item in items if item.paper is not None]
    axes.set_xlim(min(0.0, *values) - 0.3, max(1.0, *values) * 1.9)
    axes.set_xlabel("AP")
    axes.set_title("paper's step\n(COCO val)")


def _frame(axes: Axes, labels: list[str]) -> None:
    axes.axvline(0, color=INK, lw=0.7, zorder=5)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.locator_params(axis="x", nbins=5)


def draw_interactions(found: Attribution, group: Group) -> Figure | None:
    """A map of interactions of two; None where these arms give none."""
    factors = found.arms.factors
    cells: dict[frozenset[str], tuple[Effect, str]] = {pair: (e, "") for pair, e in found.pairs.items()}
    for letter, (members, effect) in zip(string.ascii_lowercase, found.sets.items(), strict=False):
        cells |= dict.fromkeys(members, (effect, letter))
    if not cells or len(factors) < 3:
        return None
    labels = [item.label for item in found.ingredients]
    figure, (axes,) = new_figure(0.9 + 0.36 * len(factors), stamp_line(group))
    largest = max(abs(effect.value) for effect, _ in cells.values()) or 1.0
    values = np.full((len(factors), len(factors)), np.nan)
    for pair, (effect, letter) in cells.items():
        first, second = sorted(factors.index(f) for f in pair)
        values[second, first] = effect.value
        _cell(axes, first, second, effect, letter, abs(effect.value) > _DARK * largest)
    axes.imshow(values, cmap=_DIVERGING, vmin=-largest, vmax=largest, aspect="auto", zorder=1)
    axes.set_xticks(range(len(factors) - 1), labels[:-1], rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(1, len(factors)), labels[1:])
    axes.set_xlim(-0.5, len(factors) - 1.5)
    axes.set_ylim(len(factors) - 0.5, 0.5)
    axes.tick_params(length=0)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(f"interaction, AP ({group.narrow_mark or 'COCO val'})")
    watermark(axes, group.narrow_mark, size=11, at=(0.74, 0.8))
    return figure


def _cell(axes: Axes, x: int, y: int, effect: Effect, letter: str, dark: bool) -> None:
    axes.text(
        x, y, f"{gain_text(effect.value)} ({letter})" if letter else gain_text(effect.value),
        ha="center", va="center", fontsize=7.5,
        color=BACKGROUND if dark else INK, style="italic" if letter else "normal",
        fontweight="bold" if effect.word == MORE_THAN_NOISE else "normal", zorder=3,
    )  # fmt: skip
