"""What the arms of a group say about each ingredient, whatever the order.

Which arms belong together follows from their recipes: those that differ in ingredients alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.judging.effect_intervals import (
    Noise,
    effect_interval,
    effect_word,
    half_width,
    image_intervals,
    run_noise,
)
from reports.judging.effects import (
    Arms,
    Floats,
    Shares,
    add_one_in_weights,
    aliased_weights,
    interaction_weights,
    leave_one_out_weights,
    mean_effect_weights,
    shapley_weights,
    spread_shares,
)
from reports.judging.gains import PRETRAINED
from reports.judging.orders import OrderGains, contexts, order_gains, sign_verdict
from reports.judging.statistics import LEVEL, Interval
from reports.records.groups import ArmRuns, Group
from roadmap.designs import Combination
from roadmap.paper import published_stage
from roadmap.stages import INGREDIENT_LABELS, STAGES

SEED = 0
_INGREDIENTS = "ingredients."
#: Fields in which arms that differ in ingredients alone may differ too: names, and what is looked at apart.
_FREE = ("protocol", PRETRAINED)

Pair = frozenset[str]


@dataclass(frozen=True)
class Effect:
    """An effect in AP, weights (V,) of the arms' AP. interval, word: over seeds. images: over images."""

    value: float
    weights: Floats
    interval: Interval | None
    word: str
    images: Interval | None = None


@dataclass(frozen=True)
class IngredientEffects:
    """What is known of an ingredient; None for what these arms cannot tell.

    mean: its Shapley value where every combination was measured, else its mean effect. orders, verdict: over
    all orders. paper: the gain that the paper prints for the step that adds it, of COCO.
    """

    factor: str
    label: str
    mean: Effect | None = None
    leave_one_out: Effect | None = None
    add_one_in: Effect | None = None
    shares: Shares | None = None
    orders: OrderGains | None = None
    verdict: str | None = None
    paper: float | None = None


@dataclass(frozen=True)
class Attribution:
    """Effects of a group's ingredients.

    names: of the arms, one per combination of ``arms``. values: AP (V, S) of the seeds that all of them have,
    with no such seed the mean of each arm's own. order: the paper's, of these ingredients. total: AP of all
    minus AP of none. noise_share: share of the variance of AP over the arms that is noise of runs.
    """

    arms: Arms
    names: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Floats
    order: tuple[str, ...]
    ingredients: tuple[IngredientEffects, ...]
    pairs: Mapping[Pair, Effect]
    sets: Mapping[tuple[Pair, ...], Effect]
    noise: Noise | None
    total: float | None
    noise_share: float | None
    notes: tuple[str, ...]

    @property
    def ap(self) -> Floats:
        """(V,) AP, mean over seeds."""
        return self.values.mean(axis=1)

    def label(self, factors: Iterable[str]) -> str:
        """An effect in words."""
        known = {item.factor: item.label for item in self.ingredients}
        return " × ".join(known[f] for f in self.arms.factors if f in set(factors))

    def effects(self) -> list[Effect]:
        """All of them, in a fixed order."""
        single = [
            effect
            for item in self.ingredients
            for effect in (item.mean, item.leave_one_out, item.add_one_in)
            if effect is not None
        ]
        return [*single, *self.pairs.values(), *self.sets.values()]


def attribute(group: Group, level: float = LEVEL) -> Attribution | None:
    """Effects of the largest set of arms that differ in ingredients alone; None where these say no more than
    single gains do.
    """
    arms, runs = _family(group)
    if len(arms.factors) < 2:
        return None
    seeds, values = _values(runs)
    order = paper_order(arms.factors)
    rng = np.random.default_rng(SEED)

    def effect(weights: Floats | None) -> Effect | None:
        if weights is None:
            return None
        interval = effect_interval(weights, values, rng, level)
        return Effect(float(weights @ values.mean(axis=1)), weights, interval, effect_word(interval))

    exact = dict(zip(arms.factors, shapley_weights(arms), strict=True)) if arms.complete else None
    means, without, alone = (
        exact or mean_effect_weights(arms),
        leave_one_out_weights(arms),
        add_one_in_weights(arms),
    )
    if not means and len(without) < 2 and len(alone) < 2:
        return None
    noise, ap = run_noise(values), values.mean(axis=1)
    shares = spread_shares(arms, ap) if arms.complete else {}
    published = {stage.adds: published_stage(stage.row).gain for stage in STAGES}
    found = []
    for factor in arms.factors:
        orders = order_gains(arms, ap, factor, order) if arms.complete else None
        found.append(
            IngredientEffects(
                factor, INGREDIENT_LABELS.get(factor, factor.replace("_", " ")),
                effect(means.get(factor)), effect(without.get(factor)), effect(alone.get(factor)),
                shares.get(factor), orders, _verdict(arms, factor, orders, len(seeds), noise, level),
                published.get(factor),
            )
        )  # fmt: skip
    pairs = {pair: made for pair, w in interaction_weights(arms).items() if (made := effect(w))}
    sets = {} if arms.complete else {s: made for s, w in aliased_weights(arms).items() if (made := effect(w))}
    total = arms.unit(arms.factors, ())
    spread = float(ap.var())
    return Attribution(
        arms, tuple(run.arm for run in runs), seeds, values, order, tuple(found), pairs, sets, noise,
        None if total is None else float(total @ ap),
        min(1.0, noise.sd**2 / len(seeds) / spread) if noise and spread > 0 else None,
        _notes(group, arms, runs, seeds),
    )  # fmt: skip


def with_images(found: Attribution, ap: Floats) -> Attribution:
    """The same with intervals over images. ap: (V, B) AP of every arm on B resamples of the images."""
    effects = found.effects()
    intervals = image_intervals(np.array([effect.weights for effect in effects]), ap)
    known = {id(effect): replace(effect, images=i) for effect, i in zip(effects, intervals, strict=True)}

    def seen(effect: Effect | None) -> Effect | None:
        return None if effect is None else known[id(effect)]

    ingredients = tuple(
        replace(
            item,
            mean=seen(item.mean),
            leave_one_out=seen(item.leave_one_out),
            add_one_in=seen(item.add_one_in),
        )
        for item in found.ingredients
    )
    pairs = {pair: known[id(effect)] for pair, effect in found.pairs.items()}
    sets = {members: known[id(effect)] for members, effect in found.sets.items()}
    return replace(found, ingredients=ingredients, pairs=pairs, sets=sets)


def paper_order(factors: Sequence[str]) -> tuple[str, ...]:
    """The factors as the paper's roadmap adds them, what it does not have behind."""
    roadmap = [stage.adds for stage in STAGES if stage.adds in factors]
    return (*(f for f in roadmap if f), *(f for f in factors if f not in roadmap))


def _family(group: Group) -> tuple[Arms, tuple[ArmRuns, ...]]:
    """The most arms that share everything but ingredients, one per combination; and their factors. Arms
    whose AP is undefined are in none.
    """
    families: dict[str, dict[Combination, ArmRuns]] = {}
    for arm in (one for one in group.arms if any(run.best["AP"] is not None for run in one.runs)):
        recipe = arm.runs[0].recipe
        on = frozenset(
            name.removeprefix(_INGREDIENTS)
            for name, value in recipe.items()
            if name.startswith(_INGREDIENTS) and value
        )
        rest = {
            name: value for name, value in recipe.items() if not name.startswith((_INGREDIENTS, "dataset."))
        }
        key = repr(sorted((name, value) for name, value in rest.items() if name not in _FREE))
        families.setdefault(key, {}).setdefault(on, arm)
    if not families:
        return Arms((), ()), ()
    chosen = max(families.values(), key=len)
    every = [
        name.removeprefix(_INGREDIENTS) for name in group.runs[0].recipe if name.startswith(_INGREDIENTS)
    ]
    factors = tuple(name for name in every if len({name in one for one in chosen}) > 1)
    return Arms(factors, tuple(one & set(factors) for one in chosen)), tuple(chosen.values())


def _values(runs: Sequence[ArmRuns]) -> tuple[tuple[int, ...], Floats]:
    ap = [{run.seed: run.best["AP"] for run in arm.runs if run.best["AP"] is not None} for arm in runs]
    seeds = tuple(sorted(set.intersection(*(set(one) for one in ap))))
    if seeds:
        return seeds, np.array([[one[seed] for seed in seeds] for one in ap])
    return (), np.array([[float(np.mean(list(one.values())))] for one in ap])


def _verdict(
    arms: Arms, factor: str, orders: OrderGains | None, seeds: int, noise: Noise | None, level: float
) -> str | None:
    if orders is None:
        return None
    found = contexts(arms, factor)
    widths = [half_width(c.weights, seeds, noise, level, len(found)) for c in found] if noise else None
    return sign_verdict(orders.gains, widths)


def _notes(group: Group, arms: Arms, runs: Sequence[ArmRuns], seeds: Sequence[int]) -> tuple[str, ...]:
    notes = []
    if len(runs) < len(group.arms):
        notes.append(
            f"effects are of {len(runs)} of {len(group.arms)} arms, those that differ in ingredients alone"
        )
    if not seeds:
        notes.append("no seed is common to all arms: effects compare different seeds")
    elif any(set(arm.seeds) - set(seeds) for arm in runs):
        notes.append(f"effects are of the seeds that all arms have: {', '.join(map(str, seeds))}")
    starts = {str(arm.runs[0].recipe.get(PRETRAINED) or "scratch") for arm in runs}
    if len(starts) > 1:
        notes.append(
            f"arms start from different weights ({', '.join(sorted(starts))}): what that gives is part of "
            "the effect of the ingredient that it comes with"
        )
    return tuple(notes)
