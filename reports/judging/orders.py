"""What an ingredient adds, by what is there before it: over all orders, by position, and its sign.

The gain of a factor in an order depends only on which factors came before it, its context: 2^(k-1) contexts
stand for all k! orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np

from reports.judging.effects import Arms, Floats
from roadmap.designs import Combination
from roadmap.designs import factorial as combinations_of

GAINS, LOSES, DEPENDS, OPEN = (
    "gains in every order",
    "loses in every order",
    "depends on the order",
    "not settled",
)
#: The rule of each verdict; the first that applies.
SIGN_RULES: dict[str, str] = {
    DEPENDS: "in some context the gain is above 0 by more than noise, in another below 0 (intervals over "
    "seeds that hold for all contexts at once)",
    GAINS: "the measured gain is above 0 in every context",
    LOSES: "the measured gain is below 0 in every context",
    OPEN: "the measured gain has both signs, but not beyond noise",
}


@dataclass(frozen=True)
class Context:
    """The gain of a factor where exactly ``before`` is on. share: of the orders that begin so."""

    before: Combination
    share: float
    weights: Floats


def contexts(arms: Arms, factor: str) -> tuple[Context, ...]:
    """All measured contexts of a factor, from none to all others."""
    others = [name for name in arms.factors if name != factor]
    k = len(arms.factors)
    found = []
    for before in combinations_of(others):
        weights = arms.unit(before | {factor}, before)
        if weights is not None:
            share = factorial(len(before)) * factorial(k - 1 - len(before)) / factorial(k)
            found.append(Context(before, share, weights))
    return tuple(found)


@dataclass(frozen=True)
class OrderGains:
    """Gains (AP) of a factor over all orders.

    gains, shares: by context, as :func:`contexts` has them. positive: share of the orders in which it gains.
    quantiles: 5, 50 and 95 % over orders. by_position: smallest, mean and largest gain at each position
    from the first. in_order: its gain in the order asked for. rank: share of orders with a smaller gain,
    those with the same counting half.
    """

    gains: tuple[float, ...]
    shares: tuple[float, ...]
    positive: float
    quantiles: tuple[float, float, float]
    by_position: tuple[tuple[float, float, float], ...]
    in_order: float
    rank: float


def order_gains(arms: Arms, values: Floats, factor: str, order: Sequence[str]) -> OrderGains:
    """Gains of a factor over all orders from the AP (V,) of complete arms; ``order``: the one to look for.

    Raises ValueError unless arms are complete.
    """
    if not arms.complete:
        raise ValueError(f"all orders need all {2 ** len(arms.factors)} combinations")
    found = contexts(arms, factor)
    gains = np.array([context.weights @ values for context in found])
    shares = np.array([context.share for context in found])
    sizes = np.array([len(context.before) for context in found])
    by_size = [gains[sizes == size] for size in range(len(arms.factors))]
    before = frozenset(order[: list(order).index(factor)])
    own = float(gains[[context.before for context in found].index(before)])
    below, same = gains < own - 1e-12, np.abs(gains - own) <= 1e-12
    return OrderGains(
        tuple(gains.tolist()),
        tuple(shares.tolist()),
        float(shares[gains > 0].sum()),
        weighted_quantiles(gains, shares),
        tuple((float(g.min()), float(g.mean()), float(g.max())) for g in by_size),
        own,
        float(shares[below].sum() + shares[same].sum() / 2),
    )


def weighted_quantiles(values: Floats, weights: Floats) -> tuple[float, float, float]:
    """The smallest values that at least 5, 50 and 95 % of the weight do not exceed."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / weights.sum()
    low, middle, high = (float(values[order][np.searchsorted(reached, q - 1e-12)]) for q in (0.05, 0.5, 0.95))
    return low, middle, high


def sign_verdict(gains: Sequence[float], half_width: Sequence[float] | None) -> str:
    """A key of SIGN_RULES. half_width: of each gain's interval, None where there are too few seeds."""
    array = np.array(gains)
    if half_width is not None:
        half = np.array(half_width)
        if (array - half > 0).any() and (array + half < 0).any():
            return DEPENDS
    return GAINS if (array > 0).all() else LOSES if (array < 0).all() else OPEN
