"""What each ingredient gives, whatever the order: effects as weighted sums of the AP of combinations.

Every effect here is linear in AP: a weight per measured combination. So one matrix product gives the effects
of every seed, of every resample of images, and their error from the noise of single runs.

A combination is the set of factors (ingredients) that are on; V arms, k factors. Which figures there are is
docs/decisions/0047.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

from roadmap.designs import Combination, Fraction, factorial, found_fraction, sign

Floats = npt.NDArray[np.float64]
#: Below this a least-squares projection counts as 0.
_TINY = 1e-9


@dataclass(frozen=True)
class Arms:
    """Combinations that were measured, each once, and the factors that they are made of."""

    factors: tuple[str, ...]
    combinations: tuple[Combination, ...]

    def __post_init__(self) -> None:
        assert len(set(self.combinations)) == len(self.combinations)
        assert all(one <= set(self.factors) for one in self.combinations)

    @property
    def complete(self) -> bool:
        """Whether every combination was measured."""
        return len(self.combinations) == 2 ** len(self.factors)

    @property
    def fraction(self) -> Fraction | None:
        """The regular fraction that they form, None when they form none."""
        return found_fraction(self.factors, self.combinations)

    def unit(self, plus: Iterable[str], minus: Iterable[str] | None = None) -> Floats | None:
        """(V,) weights of one combination, minus another; None where one of them was not measured."""
        weights = np.zeros(len(self.combinations))
        for combination, weight in ((frozenset(plus), 1.0), (minus, -1.0)):
            if combination is None:
                continue
            if frozenset(combination) not in self.combinations:
                return None
            weights[self.combinations.index(frozenset(combination))] += weight
        return weights


def shapley_weights(arms: Arms) -> Floats:
    """(k, V) weights of the Shapley values: the mean over all k! orders of what a factor adds to those before
    it. Their sum over factors is AP of all minus AP of none. Raises ValueError unless arms are complete.
    """
    if not arms.complete:
        raise ValueError(f"Shapley values need all {2 ** len(arms.factors)} combinations")
    k = len(arms.factors)
    sizes = [len(one) for one in arms.combinations]
    return np.array(
        [
            [
                1 / (k * comb(k - 1, size - 1)) if factor in one else -1 / (k * comb(k - 1, size))
                for one, size in zip(arms.combinations, sizes, strict=True)
            ]
            for factor in arms.factors
        ]
    )


def mean_effect_weights(arms: Arms) -> dict[str, Floats]:
    """Factor -> (V,) weights of its main effect: mean AP with it minus mean AP without.

    From fewer arms than all by least squares, provided that interactions of three and more factors are 0; the
    factors whose effect these arms cannot give then are left out. Where that holds, the Shapley value is the
    same figure.
    """
    found = _estimable(arms, [frozenset({factor}) for factor in arms.factors])
    return {factor: 2 * found[frozenset({factor})] for factor in arms.factors if frozenset({factor}) in found}


def interaction_weights(arms: Arms) -> dict[frozenset[str], Floats]:
    """Pair of factors -> (V,) weights of their interaction: how much more one gives where the other is on
    than where it is off, on average over the rest. Pairs that these arms cannot give are left out.
    """
    pairs = [frozenset(pair) for pair in combinations(arms.factors, 2)]
    return {pair: 4 * weights for pair, weights in _estimable(arms, pairs).items()}


def aliased_weights(arms: Arms) -> dict[tuple[frozenset[str], ...], Floats]:
    """Sets of pairs that a fraction cannot tell apart -> (V,) weights of the sum of their interactions."""
    fraction = arms.fraction
    if fraction is None:
        return {}
    sets = [members for members in fraction.aliased_pairs() if len(members) > 1]
    signs = {members: [sign(members[0], one) for one in arms.combinations] for members in sets}
    return {members: 4 * np.array(row) / len(row) for members, row in signs.items()}


def leave_one_out_weights(arms: Arms) -> dict[str, Floats]:
    """Factor -> (V,) weights of AP of all minus AP of all but it; those not measured are left out."""
    everything = set(arms.factors)
    found = {factor: arms.unit(everything, everything - {factor}) for factor in arms.factors}
    return {factor: weights for factor, weights in found.items() if weights is not None}


def add_one_in_weights(arms: Arms) -> dict[str, Floats]:
    """Factor -> (V,) weights of AP of it alone minus AP of none; those not measured are left out."""
    found = {factor: arms.unit({factor}, ()) for factor in arms.factors}
    return {factor: weights for factor, weights in found.items() if weights is not None}


def _estimable(arms: Arms, wanted: Sequence[frozenset[str]]) -> dict[frozenset[str], Floats]:
    """Weights (V,) of the coefficients of products of -1/+1 factors in AP, of those that can be told from all
    others of the model: all products for complete arms, else those of up to two factors.
    """
    order = len(arms.factors) if arms.complete else min(2, len(arms.factors))
    terms = [frozenset(t) for size in range(order + 1) for t in combinations(arms.factors, size)]
    model = np.array([[sign(term, one) for term in terms] for one in arms.combinations], float)
    inverse = np.linalg.pinv(model)
    alone = np.abs(inverse @ model - np.eye(len(terms))).max(axis=1) < _TINY
    places = {term: place for place, term in enumerate(terms)}
    return {term: inverse[places[term]] for term in wanted if alone[places[term]]}


@dataclass(frozen=True)
class Shares:
    """How much of the variance of AP over all combinations a factor explains.

    alone: its main effect. together: with its part of every interaction, each shared equally by its factors;
    these add up to 1 over the factors.
    """

    alone: float
    together: float


def spread_shares(arms: Arms, values: Floats) -> dict[str, Shares]:
    """Shares by factor from the AP (V,) of complete arms; empty where all have the same AP.

    Raises ValueError unless arms are complete.
    """
    if not arms.complete:
        raise ValueError(f"shares of the spread need all {2 ** len(arms.factors)} combinations")
    terms = [one for one in factorial(arms.factors) if one]
    signs = np.array([[sign(term, one) for one in arms.combinations] for term in terms], float)
    squares = (signs @ values / len(values)) ** 2
    total = float(squares.sum())
    if total <= _TINY**2:
        return {}
    return {
        factor: Shares(
            sum(float(s) for t, s in zip(terms, squares, strict=True) if t == {factor}) / total,
            sum(float(s) / len(t) for t, s in zip(terms, squares, strict=True) if factor in t) / total,
        )
        for factor in arms.factors
    }


@dataclass(frozen=True)
class Sampled:
    """A Shapley value from some orders: mean, its standard error (None from one order), number of orders."""

    mean: float
    error: float | None
    orders: int


def sampled_shapley(
    values: Mapping[Combination, float], orders: Iterable[Sequence[str]]
) -> dict[str, Sampled]:
    """Shapley values estimated from some orders, drawn at random; every combination on the way is needed.

    The error is that of the draw of orders, not of the noise of runs. Raises KeyError for a combination that
    is not there, ValueError without an order.
    """
    gains: dict[str, list[float]] = {}
    for order in orders:
        for place, factor in enumerate(order):
            before = frozenset(order[:place])
            gains.setdefault(factor, []).append(values[before | {factor}] - values[before])
    if not gains:
        raise ValueError("at least one order is needed")
    return {
        factor: Sampled(
            float(np.mean(found)),
            float(np.std(found, ddof=1) / len(found) ** 0.5) if len(found) > 1 else None,
            len(found),
        )
        for factor, found in gains.items()
    }


def draw_orders(factors: Sequence[str], count: int, rng: np.random.Generator) -> list[tuple[str, ...]]:
    """Orders drawn at random, with replacement."""
    return [tuple(np.array(factors)[rng.permutation(len(factors))].tolist()) for _ in range(count)]
