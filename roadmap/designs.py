"""Which of the 64 combinations answer which question: designs of experiments over the ingredients.

An ingredient is a factor with two levels, off (-1) and on (+1). A fraction of the factorial keeps the
combinations in which chosen products of factors are +1; what it saves it pays for by aliasing: effects whose
products then have the same sign in every combination that is left cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations, product
from math import prod

#: A combination: names of the ingredients that are on.
Combination = frozenset[str]
#: An effect: the product of its factors; one factor for a main effect, two for an interaction.
Effect = frozenset[str]


def factorial(factors: Sequence[str]) -> tuple[Combination, ...]:
    """All combinations, from none to all; those of one size in the order of the factors."""
    every = product((False, True), repeat=len(factors))
    found = [frozenset(f for f, on in zip(factors, row, strict=True) if on) for row in every]
    return tuple(
        sorted(found, key=lambda one: (len(one), [factors.index(f) for f in in_order(one, factors)]))
    )


def one_order(order: Sequence[str]) -> tuple[Combination, ...]:
    """None, the first, the first two, … all."""
    return tuple(frozenset(order[:count]) for count in range(len(order) + 1))


def leave_one_out(factors: Sequence[str]) -> tuple[Combination, ...]:
    """All, and all but each one."""
    everything = frozenset(factors)
    return (everything, *(everything - {factor} for factor in factors))


def add_one_in(factors: Sequence[str]) -> tuple[Combination, ...]:
    """None, and each one alone."""
    return (frozenset(), *(frozenset({factor}) for factor in factors))


@dataclass(frozen=True)
class Fraction:
    """A regular fraction of a two-level factorial.

    words: products of factors that are +1 (even words: an even number of their factors is off) in every
    combination of it; those that follow from them need not be given. Raises ValueError for a word without
    factors or with unknown ones, and for words that say the same.
    """

    factors: tuple[str, ...]
    words: tuple[Effect, ...]

    def __post_init__(self) -> None:
        for word in self.words:
            if not word or not word <= set(self.factors):
                raise ValueError(
                    f"a defining word needs factors among {', '.join(self.factors)}: {sorted(word)}"
                )
        if len(self.defining) != 2 ** len(self.words):
            raise ValueError("a defining word follows from the others")

    @property
    def defining(self) -> frozenset[Effect]:
        """The defining relation: every product of words, the empty one included."""
        chosen = (subset for size in range(len(self.words) + 1) for subset in combinations(self.words, size))
        return frozenset(reduce(Effect.symmetric_difference, subset, Effect()) for subset in chosen)

    @property
    def resolution(self) -> int:
        """Length of the shortest word: 3 mixes main effects with interactions of two, 4 these with each
        other. One more than there are factors for a whole factorial.
        """
        return min((len(word) for word in self.defining if word), default=len(self.factors) + 1)

    def combinations(self) -> tuple[Combination, ...]:
        """Those that are kept, from none to all."""
        return tuple(
            one for one in factorial(self.factors) if all(sign(word, one) == 1 for word in self.words)
        )

    def aliases(self, effect: Iterable[str]) -> tuple[Effect, ...]:
        """Effects that cannot be told from this one, itself first, then by size."""
        own = frozenset(effect)
        others = {own ^ word for word in self.defining} - {own}
        return (
            own,
            *sorted(
                others, key=lambda e: (len(e), [self.factors.index(f) for f in in_order(e, self.factors)])
            ),
        )

    def aliased_pairs(self) -> tuple[tuple[Effect, ...], ...]:
        """Interactions of two factors in sets that cannot be told apart; those alone in a set included."""
        pairs = [frozenset(pair) for pair in combinations(self.factors, 2)]
        found: dict[frozenset[Effect], tuple[Effect, ...]] = {}
        for pair in pairs:
            members = tuple(e for e in self.aliases(pair) if len(e) == 2)
            found.setdefault(frozenset(members), members)
        return tuple(found.values())


def found_fraction(factors: Sequence[str], present: Iterable[Combination]) -> Fraction | None:
    """The regular fraction (or whole factorial) of exactly these combinations; None if there is none.

    Only fractions whose words are +1 are looked for.
    """
    members = frozenset(present)
    if not members:
        return None
    words = (frozenset(w) for size in range(1, len(factors) + 1) for w in combinations(factors, size))
    constant = [word for word in words if all(sign(word, one) == 1 for one in members)]
    independent: list[Effect] = []
    spanned: set[Effect] = {Effect()}
    for word in constant:
        if word not in spanned:
            independent.append(word)
            spanned |= {word ^ other for other in spanned}
    if len(members) * 2 ** len(independent) != 2 ** len(factors):
        return None
    return Fraction(tuple(factors), tuple(independent))


def sign(effect: Effect, combination: Combination) -> int:
    """Product of the effect's factors, +1 where on and -1 where off."""
    return prod(1 if factor in combination else -1 for factor in effect)


def in_order(names: Iterable[str], factors: Sequence[str]) -> list[str]:
    """Names in the order of the factors."""
    return sorted(names, key=list(factors).index)


def aliasing(fraction: Fraction, labels: Mapping[str, str]) -> str:
    """The aliasing of a fraction in words. labels: what a factor is called.

    Main effects of resolution IV stand with interactions of three, which are taken to be small.
    """

    def text(effect: Effect) -> str:
        return " × ".join(labels[f] for f in in_order(effect, fraction.factors))

    kept, whole = len(fraction.combinations()), 2 ** len(fraction.factors)
    words = sorted((word for word in fraction.defining if word), key=lambda word: (len(word), text(word)))
    sizes = sorted({len(word) - 1 for word in words})
    lines = [
        f"{kept} of {whole} combinations, resolution {_ROMAN.get(fraction.resolution, fraction.resolution)}",
        "never change sign: " + "; ".join(map(text, words)),
        f"effects of single factors stand with interactions of {sizes[0]} or more",
    ]
    pairs = [members for members in fraction.aliased_pairs() if len(members) > 1]
    return "\n".join([*lines, *(f"cannot be told apart: {' = '.join(map(text, m))}" for m in pairs)])


_ROMAN = {3: "III", 4: "IV", 5: "V", 6: "VI"}
