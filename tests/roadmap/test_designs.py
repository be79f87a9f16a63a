"""Designs of experiments over the ingredients: which combinations, and what they cannot tell apart."""

from __future__ import annotations

from itertools import combinations

import pytest

from roadmap.attribution import QUARTER
from roadmap.designs import (
    Fraction,
    add_one_in,
    aliasing,
    factorial,
    found_fraction,
    leave_one_out,
    one_order,
    sign,
)

ABC = ("a", "b", "c")


def sets(*words: str) -> tuple[frozenset[str], ...]:
    return tuple(map(frozenset, words))


def test_designs_of_three_factors_by_hand() -> None:
    assert factorial(ABC) == sets("", "a", "b", "c", "ab", "ac", "bc", "abc")
    assert one_order(("b", "a", "c")) == sets("", "b", "ab", "abc")
    assert leave_one_out(ABC) == sets("abc", "bc", "ac", "ab")
    assert add_one_in(ABC) == sets("", "a", "b", "c")


def test_half_of_three_factors_by_hand() -> None:
    half = Fraction(ABC, sets("abc"))
    assert half.combinations() == sets("a", "b", "c", "abc")
    assert half.resolution == 3
    assert half.aliases("a") == sets("a", "bc")
    assert half.aliased_pairs() == (sets("ab"), sets("ac"), sets("bc"))


def test_half_of_four_factors_pairs_up_its_interactions() -> None:
    half = Fraction(tuple("abcd"), sets("abcd"))
    assert half.resolution == 4
    assert half.aliased_pairs() == (sets("ab", "cd"), sets("ac", "bd"), sets("ad", "bc"))
    assert aliasing(half, {f: f.upper() for f in "abcd"}).splitlines() == [
        "8 of 16 combinations, resolution IV",
        "never change sign: A × B × C × D",
        "effects of single factors stand with interactions of 3 or more",
        "cannot be told apart: A × B = C × D",
        "cannot be told apart: A × C = B × D",
        "cannot be told apart: A × D = B × C",
    ]


def test_wrong_words_are_refused() -> None:
    with pytest.raises(ValueError, match="among a, b, c"):
        Fraction(ABC, sets("ax"))
    with pytest.raises(ValueError, match="follows from the others"):
        Fraction(tuple("abcd"), sets("ab", "cd", "abcd"))


def test_our_quarter_is_balanced_and_keeps_the_ends() -> None:
    kept = QUARTER.combinations()
    assert QUARTER.resolution == 4
    assert len(kept) == 16
    assert {frozenset(), frozenset(QUARTER.factors)} <= set(kept)
    effects = [frozenset({f}) for f in QUARTER.factors]
    effects += [frozenset(pair) for pair in combinations(QUARTER.factors, 2)]
    for effect in effects:
        assert sum(sign(effect, one) for one in kept) == 0, effect
        for other in effects:
            same = other in QUARTER.aliases(effect)
            products = {sign(effect, one) * sign(other, one) for one in kept}
            assert (products == {1}) == same


def test_likely_interactions_do_not_share_a_contrast() -> None:
    assigning = [frozenset(p) for p in combinations(("anchor_free", "multi_positives", "simota"), 2)]
    for pair in assigning:
        assert not set(assigning) & set(QUARTER.aliases(pair)[1:])


def test_a_fraction_is_found_from_its_combinations() -> None:
    found = found_fraction(QUARTER.factors, QUARTER.combinations())
    assert found is not None
    assert found.defining == QUARTER.defining
    whole = found_fraction(ABC, factorial(ABC))
    assert whole is not None
    assert (whole.words, whole.resolution) == ((), 4)
    assert found_fraction(ABC, sets("", "a", "ab")) is None
    assert found_fraction(ABC, ()) is None
