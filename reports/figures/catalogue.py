"""The figures of a report, in the order in which it shows them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from reports import blocks
from reports.figures import curves, effect_orders, effects, head_curves, lattice, roadmap, tradeoffs
from reports.figures.style import drawing, save
from reports.judging.attribution import Attribution
from reports.records.groups import Group
from reports.tables.caption import curve_sentence, short_caption
from reports.tables.effects import papers_order
from reports.tables.steps import Table2, leading


@dataclass(frozen=True)
class _Entry:
    name: str
    title: str
    text: str
    draw: Callable[[Table2], Figure | None]
    more: Callable[[Group], str] = lambda group: ""
    published: Callable[[], Figure] | None = None


#: In the place of the first, for arms that do not build on each other.
_ARMS = _Entry("arms", "AP of each arm", "Whiskers: 95 % t interval of the mean over seeds.", roadmap.draw)

_ENTRIES = (
    _Entry(
        "roadmap",
        "AP step by step",
        "Each tread goes from the previous arm's AP to the arm's own (orange-red where AP falls). "
        "Whiskers: 95 % t interval of the mean over seeds.",
        roadmap.draw,
    ),
    _Entry(
        "speed_accuracy",
        "Speed and accuracy (the paper's Figure 1, top)",
        "AP against latency of the forward pass; marker area grows with parameters (Table 6 gives none). "
        "Whiskers: upright, standard deviation over seeds; lying, 5th to 95th percentile of the repeats "
        "(measured points). The latency axis of published figures is logarithmic.",
        tradeoffs.draw_speed,
        published=tradeoffs.published_speed,
    ),
    _Entry(
        "size_accuracy",
        "Size and accuracy",
        "AP against parameters, with every published point of Tables 2, 3 and 4.",
        tradeoffs.draw_size,
    ),
    _Entry(
        "light_models",
        "Size and accuracy of the light models (the paper's Figure 1, bottom)",
        "AP against parameters of the models that the paper compares by size alone, with Table 4's points.",
        tradeoffs.draw_light,
        published=tradeoffs.published_light,
    ),
    _Entry(
        "training_curves",
        "Training curves",
        "AP at the evaluated epochs and the training loss of each arm: mean over seeds, band from the "
        "smallest to the largest. Losses of different arms have different terms.",
        curves.draw,
        curve_sentence,
    ),
    _Entry(
        "head_curves",
        "Coupled and decoupled head (the paper's Figure 3)",
        "AP over training of YOLOv3 with either head and nothing else of the paper's, and the paper's own "
        "curves.",
        head_curves.draw,
        curve_sentence,
        head_curves.published,
    ),
)


@dataclass(frozen=True)
class _EffectEntry:
    name: str
    title: str
    text: str
    draw: Callable[[Attribution, Group], Figure | None]


_EFFECTS = (
    _EffectEntry(
        "effects",
        "What each ingredient gives, whatever the order",
        "Bars: Shapley value, or mean effect where not every combination was run; whiskers: 95 % interval "
        "over seeds. Diamonds: the gain in the paper's order. Right, on an axis of its own: what the paper "
        "prints for the step that adds the ingredient.",
        effects.draw_effects,
    ),
    _EffectEntry(
        "combinations",
        "Every combination",
        "One line per combination, the highest AP on top: dots say which ingredients are on. AP is the mean "
        "over seeds, bars reach from the lowest to the highest. Orange: the paper's order, numbered by step.",
        lattice.draw,
    ),
    _EffectEntry(
        "interactions",
        "Interactions",
        "How much more (blue) or less (orange-red) the ingredient of the row gives where that of the column "
        "is on. Bold: more than noise. In italics: sums over cells with the same letter, which these arms "
        "cannot tell apart.",
        effects.draw_interactions,
    ),
    _EffectEntry(
        "gains_by_position",
        "Gain by position in the order",
        "One point per set of ingredients that came before; lines join the means at each position, whose "
        "mean is the Shapley value. Orange diamond: the paper's order.",
        effect_orders.draw,
    ),
)

#: More arms than this cannot be told apart in a figure of column width.
MOST_ARMS = 16
#: Up to so many combinations of ingredients, every figure shows them all.
FEW_COMBINATIONS = 8


def draw_all(
    table: Table2, folder: Path, only: Collection[str] = (), found: Attribution | None = None
) -> tuple[blocks.Figure, ...]:
    """Draw every figure that has something to show; files go to ``folder``.

    Of a study with many arms, those of the highest AP; of many combinations of ingredients, those of the
    paper's order. only: names of figures, all of them when empty. found: effects of its ingredients.
    """
    drawn = [] if found is None or only else _draw_effects(table.group, found, folder)
    shown = leading(table, MOST_ARMS)
    note = "" if shown is table else f" Shown: the {MOST_ARMS} arms of the highest AP."
    if found is not None and len(found.names) > FEW_COMBINATIONS:
        ordered = papers_order(table, found)
        if ordered is None:  # every figure below would be of arms that do not build on each other
            return tuple(drawn)
        shown, note = ordered, " Shown: the arms of the paper's order, by what each adds."
    steps = any(row.previous for row in table.rows)
    with drawing():
        for entry in _ENTRIES if steps else (_ARMS, *_ENTRIES[1:]):
            figure = entry.draw(shown) if not only or entry.name in only else None
            if figure is not None:
                files = save(figure, folder, entry.name)
                text = entry.text + entry.more(table.group) + note
                conditions = short_caption(table.group)
                drawn.append(blocks.Figure(entry.name, entry.title, text, conditions, files))
    return tuple(drawn)


def draw_published(folder: Path, only: Collection[str]) -> tuple[blocks.Figure, ...]:
    """Draw the paper's own figures of these names, for want of anything measured; files go to ``folder``."""
    drawn = []
    with drawing():
        for entry in _ENTRIES:
            if entry.name in only and entry.published is not None:
                files = save(entry.published(), folder, entry.name)
                said = "Published figures alone; nothing was measured."
                drawn.append(blocks.Figure(f"published-{entry.name}", entry.title, "", said, files))
    return tuple(drawn)


def _draw_effects(group: Group, found: Attribution, folder: Path) -> list[blocks.Figure]:
    drawn = []
    with drawing():
        for entry in _EFFECTS:
            figure = entry.draw(found, group)
            if figure is not None:
                files = save(figure, folder, entry.name)
                drawn.append(blocks.Figure(entry.name, entry.title, entry.text, short_caption(group), files))
    return drawn
