"""Effects of ingredients as tables: what each gives, whether its sign depends on the order, interactions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from reports.grid import NOTHING, Cell, Column, Grid
from reports.judging.attribution import Attribution, Effect, IngredientEffects
from reports.tables.columns import gain_text
from reports.tables.steps import Table2
from reports.tables.verdicts import interval_text
from roadmap.designs import one_order
from roadmap.words import counted

_LABEL = Column("", "Ingredient", "l")


def effects_grid(found: Attribution) -> Grid | None:
    """One row per ingredient: its effect with intervals, and beside it what other questions answer. None
    where these arms give no mean effect.
    """
    if not any(item.mean for item in found.ingredients):
        return None
    exact, images = found.arms.complete, any(effect.images for effect in found.effects())
    heading = "Shapley value (AP)" if exact else "Mean effect (AP)"
    columns = [_LABEL, Column(heading, "value"), Column(heading, "95 % over seeds")]
    columns += [Column(heading, "95 % over images")] if images else []
    columns += [Column("", "Word", "l"), Column("Gain (AP)", "alone"), Column("Gain (AP)", "taken from all")]
    columns += [Column("Gain (AP)", "paper's order, here")] if exact else []
    columns += [Column("Gain (AP)", "paper, COCO")]
    columns += (
        [Column("Share of spread", "main effect"), Column("Share of spread", "with interactions")]
        if exact
        else []
    )
    rows = []
    for item in found.ingredients:
        row = [Cell(item.label, kind="label"), *_effect(item.mean, images), _word(item.mean)]
        row += [_gain(item.add_one_in), _gain(item.leave_one_out)]
        row += [Cell(gain_text(item.orders.in_order))] if item.orders else [Cell()] if exact else []
        row += [Cell(NOTHING if item.paper is None else gain_text(item.paper), kind="paper")]
        if exact:
            shares = item.shares
            row += (
                [Cell(percent(shares.alone)), Cell(percent(shares.together))] if shares else [Cell(), Cell()]
            )
        rows.append(tuple(row))
    return Grid(tuple(columns), tuple(rows))


def singles_grid(found: Attribution) -> Grid | None:
    """One row per ingredient: its gain over none of them, and when it is taken from all; None without any."""
    alone = any(item.add_one_in for item in found.ingredients)
    out = any(item.leave_one_out for item in found.ingredients)
    if not alone and not out:
        return None
    images = any(effect.images for effect in found.effects())
    shown = (("Alone (AP)", alone), ("Taken from all (AP)", out))
    columns = [_LABEL]
    for heading, known in shown:
        titles = ["gain", "95 % over seeds", *(["95 % over images"] if images else []), "word"]
        columns += [Column(heading, title, "l" if title == "word" else "r") for title in titles if known]
    rows = []
    for item in found.ingredients:
        row = [Cell(item.label, kind="label")]
        for effect, known in ((item.add_one_in, alone), (item.leave_one_out, out)):
            row += [*_effect(effect, images), _word(effect)] if known else []
        rows.append(tuple(row))
    return Grid(tuple(columns), tuple(rows))


def orders_grid(found: Attribution) -> Grid | None:
    """One row per ingredient: its gain over all orders; None unless every combination was measured."""
    if not found.arms.complete:
        return None
    columns = (
        _LABEL, Column("", "Does its sign depend on the order?", "l"), Column("Orders", "in which it gains"),
        Column("Gain over all orders (AP)", "smallest"), Column("Gain over all orders (AP)", "5 %"),
        Column("Gain over all orders (AP)", "median"), Column("Gain over all orders (AP)", "95 %"),
        Column("Gain over all orders (AP)", "largest"), Column("Paper's order", "gain here"),
        Column("Paper's order", "larger than in"),
    )  # fmt: skip
    rows = []
    for item in found.ingredients:
        gains = item.orders
        assert gains is not None
        verdict = item.verdict or NOTHING
        figures = (min(gains.gains), *gains.quantiles, max(gains.gains), gains.in_order)
        rows.append(
            (
                Cell(item.label, kind="label"), Cell(verdict, kind=verdict.replace(" ", "-")),
                Cell(percent(gains.positive)), *(Cell(gain_text(figure)) for figure in figures),
                Cell(f"{percent(gains.rank)} of orders"),
            )
        )  # fmt: skip
    return Grid(columns, tuple(rows))


def pairs_grid(found: Attribution) -> Grid | None:
    """One row per interaction that these arms give, the largest first; of sets where they come in sets."""
    images = any(effect.images for effect in found.effects())
    named = [(found.label(pair), effect) for pair, effect in found.pairs.items()]
    named += [(" + ".join(map(found.label, members)), effect) for members, effect in found.sets.items()]
    if not named:
        return None
    columns = [Column("", "Ingredients", "l"), Column("Interaction (AP)", "value"),
               Column("Interaction (AP)", "95 % over seeds")]  # fmt: skip
    columns += [Column("Interaction (AP)", "95 % over images")] if images else []
    rows = [
        (Cell(label, kind="label"), *_effect(effect, images), _word(effect))
        for label, effect in sorted(named, key=lambda item: -abs(item[1].value))
    ]
    return Grid((*columns, Column("", "Word", "l")), tuple(rows))


def papers_order(table: Table2, found: Attribution) -> Table2 | None:
    """The table with the arms of the paper's order alone, each called by the ingredient that it adds; None
    where not all of them were measured.
    """
    names = dict(zip(found.arms.combinations, found.names, strict=True))
    steps = one_order(found.order)
    if any(step not in names for step in steps):
        return None
    added = {factor: f"+{found.label([factor])}" for factor in found.order}
    labels = dict(zip((names[step] for step in steps), ("none", *added.values()), strict=True))
    rows = {row.arm: row for row in table.rows}
    kept = tuple(replace(rows[name], label=label) for name, label in labels.items())
    arms = tuple(arm for name in labels if (arm := table.group.find(name)) is not None)
    return replace(table, group=replace(table.group, arms=arms), rows=kept)


def effects_note(found: Attribution) -> str:
    """What the figures are, and of what."""
    number, factors = len(found.names), len(found.arms.factors)
    text = f"From {number} of {2**factors} combinations of {factors} ingredients, "
    text += counted(len(found.seeds), "common seed") + ". "
    if found.arms.complete:
        text += (
            "Shapley value: the mean over all orders of what the ingredient adds to those before it; they "
            f"add up to AP of all minus AP of none ({gain_text(found.total or 0.0)}). "
        )
    elif any(item.mean for item in found.ingredients):
        text += (
            "Mean effect: AP with the ingredient minus AP without, averaged over combinations; the Shapley "
            "value if ingredients interact by twos at most. "
        )
    text += "Alone: over none of them. Taken from all: AP of all minus AP of all but it. "
    if found.arms.complete:
        text += (
            "Share of spread: of the variance of AP over the combinations, explained by the ingredient's "
            "main effect, and with its equal part of every interaction (these add up to 100 %). "
        )
    if found.noise is not None:
        text += f"Noise of a run: standard deviation {found.noise.sd:.2f} AP"
        text += f", {percent(found.noise_share)} of the variance" if found.noise_share is not None else ""
        text += ". "
    return text + "Each interval and word is of its effect alone (docs/decisions/0047)."


#: What an interaction is, below its table.
PAIRS_NOTE = (
    "Interaction: how much more one of the two gives where the other is on than where it is off, averaged "
    "over the rest. Sums stand for interactions that these arms cannot tell apart."
)


def effect_records(found: Attribution) -> dict[str, Any]:
    """The same as plain JSON, unrounded."""
    return {
        "factors": list(found.arms.factors), "arms": list(found.names), "seeds": list(found.seeds),
        "combinations": [[f for f in found.arms.factors if f in one] for one in found.arms.combinations],
        "exact": found.arms.complete, "total": found.total,
        "noise_sd": found.noise.sd if found.noise else None,
        "ingredients": [_record(item) for item in found.ingredients],
        "interactions": [
            {"pair": sorted(pair), **_plain(effect)} for pair, effect in found.pairs.items()
        ],
        "interaction_sets": [
            {"pairs": [sorted(pair) for pair in members], **_plain(effect)}
            for members, effect in found.sets.items()
        ],
        "notes": list(found.notes),
    }  # fmt: skip


def _record(item: IngredientEffects) -> dict[str, Any]:
    kinds = {"mean": item.mean, "leave_one_out": item.leave_one_out, "add_one_in": item.add_one_in}
    found: dict[str, Any] = {"ingredient": item.factor, "paper_gain": item.paper, "verdict": item.verdict}
    found |= {name: None if effect is None else _plain(effect) for name, effect in kinds.items()}
    if item.shares:
        found["spread"] = {"alone": item.shares.alone, "together": item.shares.together}
    if item.orders:
        found["orders"] = {
            "positive": item.orders.positive, "in_papers_order": item.orders.in_order,
            "rank_of_papers_order": item.orders.rank,
            "by_position": [list(figures) for figures in item.orders.by_position],
        }  # fmt: skip
    return found


def _plain(effect: Effect) -> dict[str, Any]:
    interval, images = effect.interval, effect.images
    found: dict[str, Any] = {"value": effect.value, "word": effect.word}
    found["over_seeds"] = [interval.low, interval.high] if interval else None
    return found | ({"over_images": [images.low, images.high]} if images else {})


def _effect(effect: Effect | None, images: bool) -> tuple[Cell, ...]:
    if effect is None:
        return (Cell(),) * (3 if images else 2)
    cells = (Cell(gain_text(effect.value)), Cell(interval_text(effect.interval)))
    return (*cells, Cell(interval_text(effect.images))) if images else cells


def _word(effect: Effect | None) -> Cell:
    return Cell() if effect is None else Cell(effect.word, kind=effect.word.replace(" ", "-"))


def _gain(effect: Effect | None) -> Cell:
    return Cell() if effect is None else Cell(gain_text(effect.value))


def percent(share: float | None) -> str:
    """A share of 1 in whole percent."""
    return NOTHING if share is None else f"{100 * share:.0f} %"
