"""How certain an effect is: over seeds, over validation images, and before anything is run.

An effect is a weighted sum of the AP of V arms (``reports/judging/effects.py``) with S common seeds.
Pure functions; randomness is an argument. The choices are in docs/decisions/0047.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reports.judging.effects import Floats
from reports.judging.gains import MORE_THAN_NOISE, TOO_FEW_SEEDS, WITHIN_NOISE
from reports.judging.statistics import (
    LEVEL,
    ROUNDING,
    SMALLEST_BOOTSTRAP,
    Interval,
    studentised_interval,
    t_quantile,
)

#: How sure a study wants to be to find an effect that is there.
POWER = 0.8
#: Rules of the words behind effects; the first that applies.
EFFECT_WORDS: dict[str, str] = {
    TOO_FEW_SEEDS: "one seed, or the same AP in every seed",
    WITHIN_NOISE: "the 95 % interval of the effect over seeds contains 0",
    MORE_THAN_NOISE: "it does not",
}


@dataclass(frozen=True)
class Noise:
    """Standard deviation (AP) of a single run around its arm, what a seed does to all arms alike taken out.

    freedom: degrees of freedom behind it, infinite where it was not estimated from the runs in question.
    """

    sd: float
    freedom: float


def run_noise(values: Floats) -> Noise | None:
    """Noise from the AP (V, S) of V arms with the same S seeds, taken to be alike in all arms; None from one
    seed or one arm, and where no AP varies.
    """
    arms, seeds = values.shape
    if arms < 2 or seeds < 2:
        return None
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0, keepdims=True) + values.mean()
    freedom = (arms - 1) * (seeds - 1)
    sd = math.sqrt(float((rest**2).sum()) / freedom)
    return Noise(sd, freedom) if sd >= ROUNDING else None


def effect_interval(
    weights: Floats, values: Floats, rng: np.random.Generator, level: float = LEVEL
) -> Interval | None:
    """Interval over seeds of an effect, weights (V,) that add up to 0, of the AP (V, S); None for one seed.

    From four seeds on a studentised bootstrap that draws seeds, the same for all arms: it keeps whatever the
    arms of a seed have in common. Of two or three seeds that says nothing (docs/decisions/0040); then the
    noise of single runs is pooled over all arms, and t-based.
    """
    if values.shape[1] >= SMALLEST_BOOTSTRAP:
        return studentised_interval(weights @ values, rng, level)
    noise = run_noise(values)
    if noise is None:
        return None
    half = half_width(weights, values.shape[1], noise, level)
    mean = float((weights @ values).mean())
    return Interval(mean - half, mean + half, level, "t, noise of all arms pooled")


def interval_freedom(arms: int, seeds: int) -> float:
    """Degrees of freedom behind :func:`effect_interval` of so many arms and, two or more, seeds."""
    return seeds - 1 if seeds >= SMALLEST_BOOTSTRAP else (arms - 1) * (seeds - 1)


def half_width(weights: Floats, seeds: int, noise: Noise, level: float = LEVEL, of: int = 1) -> float:
    """Half the width of an effect's t interval; ``of``: how many of them are to hold at once (Bonferroni)."""
    quantile = _quantile(1 - (1 - level) / of, noise.freedom)
    return quantile * noise.sd * math.sqrt(float(weights @ weights) / seeds)


def effect_word(interval: Interval | None) -> str:
    """A key of EFFECT_WORDS."""
    if interval is None:
        return TOO_FEW_SEEDS
    return WITHIN_NOISE if interval.contains(0.0) else MORE_THAN_NOISE


def image_intervals(weights: Floats, ap: Floats, level: float = LEVEL) -> list[Interval]:
    """Percentile intervals over images of effects, weights (E, V), from the AP (V, B) of B resamples of the
    validation images, the same for all arms.
    """
    tail = (1 - level) / 2
    low, high = np.nanquantile(weights @ ap, [tail, 1 - tail], axis=1)
    method = "percentile bootstrap over images"
    return [Interval(float(a), float(b), level, method) for a, b in zip(low, high, strict=True)]


def detectable(
    weights: Floats, seeds: int, noise: Noise, level: float = LEVEL, power: float = POWER
) -> float:
    """The smallest effect (AP) that so many seeds find, by an interval without 0, with this probability.

    noise: of single runs, as known before; its freedom counts. By the shifted t distribution, exact to a few
    percent.
    """
    both = _quantile(level, noise.freedom) + _quantile(2 * power - 1, noise.freedom)
    return both * noise.sd * math.sqrt(float(weights @ weights) / seeds)


def _quantile(level: float, freedom: float) -> float:
    """How many standard errors a two-sided interval of ``level`` reaches."""
    if math.isinf(freedom):
        from statistics import NormalDist

        return NormalDist().inv_cdf((1 + level) / 2)
    return t_quantile(level, int(freedom) + 1)
