"""Effects of ingredients: by hand first, then the axioms as properties, then known truths."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.judging.effects import (
    Arms,
    Floats,
    add_one_in_weights,
    aliased_weights,
    draw_orders,
    interaction_weights,
    leave_one_out_weights,
    mean_effect_weights,
    sampled_shapley,
    shapley_weights,
    spread_shares,
)
from reports.judging.orders import (
    DEPENDS,
    GAINS,
    LOSES,
    OPEN,
    contexts,
    order_gains,
    sign_verdict,
    weighted_quantiles,
)
from roadmap.attribution import QUARTER
from roadmap.designs import Combination, factorial, one_order
from yolox_core.config import INGREDIENTS

AB, ABC = ("a", "b"), ("a", "b", "c")


def whole(factors: tuple[str, ...]) -> Arms:
    return Arms(factors, factorial(factors))


def ap(arms: Arms, figure: Callable[[Combination], float]) -> Floats:
    return np.array([figure(one) for one in arms.combinations])


#: AP of a and b: none 10, a 13, b 11, both 20. Alone they give 3 and 1, together 6 more than that.
HAND = Arms(AB, factorial(AB))
HAND_AP = np.array([10.0, 13.0, 11.0, 20.0])


# --- by hand -------------------------------------------------------------------------------------------


def test_two_ingredients_by_hand() -> None:
    assert HAND.combinations == (frozenset(), frozenset("a"), frozenset("b"), frozenset("ab"))
    assert shapley_weights(HAND) @ HAND_AP == pytest.approx([(3 + 9) / 2, (1 + 7) / 2])
    assert {f: w @ HAND_AP for f, w in add_one_in_weights(HAND).items()} == {"a": 3, "b": 1}
    assert {f: w @ HAND_AP for f, w in leave_one_out_weights(HAND).items()} == {"a": 9, "b": 7}
    means = {f: w @ HAND_AP for f, w in mean_effect_weights(HAND).items()}
    assert means == pytest.approx({"a": 16.5 - 10.5, "b": 15.5 - 11.5})
    pairs = {p: w @ HAND_AP for p, w in interaction_weights(HAND).items()}
    assert pairs == pytest.approx({frozenset("ab"): 9 - 3})


def test_three_ingredients_of_which_all_are_needed_share_alike() -> None:
    arms = whole(ABC)
    assert shapley_weights(arms) @ ap(arms, lambda one: 9.0 * (len(one) == 3)) == pytest.approx([3, 3, 3])


def test_orders_of_two_ingredients_by_hand() -> None:
    found = order_gains(HAND, HAND_AP, "a", ("b", "a"))
    assert (found.gains, found.shares) == ((3, 9), (0.5, 0.5))
    assert (found.in_order, found.rank, found.positive) == (9, 0.75, 1.0)
    assert found.by_position == ((3, 3, 3), (9, 9, 9))


def test_contexts_stand_for_as_many_orders_as_have_them() -> None:
    arms = whole(ABC)
    shares = {context.before: context.share for context in contexts(arms, "a")}
    for before, share in shares.items():
        having = [order for order in permutations(ABC) if set(order[: order.index("a")]) == before]
        assert share == pytest.approx(len(having) / 6)


def test_quantiles_over_orders_by_hand() -> None:
    assert weighted_quantiles(np.array([3.0, 1.0, 2.0]), np.array([0.2, 0.05, 0.75])) == (1, 2, 3)


def test_shares_of_the_spread_by_hand() -> None:
    # signs -1/+1: 13.5 + 3 a + 2 b + 1.5 ab; squares 9, 4 and 2.25 of 15.25
    found = spread_shares(HAND, HAND_AP)
    assert found["a"].alone == pytest.approx(9 / 15.25)
    assert found["a"].together == pytest.approx((9 + 2.25 / 2) / 15.25)
    assert found["a"].together + found["b"].together == pytest.approx(1)
    assert spread_shares(HAND, np.full(4, 20.0)) == {}


def test_verdicts_on_the_sign_by_hand() -> None:
    assert sign_verdict([3.0, -2.0], [1.0, 1.0]) == DEPENDS
    assert sign_verdict([3.0, -2.0], [1.0, 2.5]) == OPEN
    assert sign_verdict([3.0, -2.0], None) == OPEN
    assert sign_verdict([3.0, 0.1], [1.0, 1.0]) == GAINS
    assert sign_verdict([-3.0, -0.1], None) == LOSES


# --- axioms --------------------------------------------------------------------------------------------

figures = st.lists(st.floats(0, 60, allow_subnormal=False), min_size=16, max_size=16)
ABCD = ("a", "b", "c", "d")


@given(figures)
def test_efficiency(values: list[float]) -> None:
    """Shapley values add up to AP of all minus AP of none."""
    arms = whole(ABCD)
    found = shapley_weights(arms) @ np.array(values)
    assert found.sum() == pytest.approx(values[-1] - values[0], abs=1e-9)


@given(figures)
def test_symmetry(values: list[float]) -> None:
    """Ingredients that may stand for each other everywhere get the same."""
    arms = whole(ABCD)
    swap = {"a": "b", "b": "a"}
    twin = [arms.combinations.index(frozenset(swap.get(f, f) for f in one)) for one in arms.combinations]
    alike = (np.array(values) + np.array(values)[twin]) / 2
    found = shapley_weights(arms) @ alike
    assert found[0] == pytest.approx(found[1], abs=1e-9)


@given(figures)
def test_an_ingredient_that_does_nothing_gets_nothing(values: list[float]) -> None:
    arms = whole(ABCD)
    without = [arms.combinations.index(one - {"a"}) for one in arms.combinations]
    null = np.array(values)[without]
    assert shapley_weights(arms)[0] @ null == pytest.approx(0, abs=1e-9)
    assert all(context.weights @ null == 0 for context in contexts(arms, "a"))
    pairs = interaction_weights(arms)
    assert all(pairs[pair] @ null == pytest.approx(0, abs=1e-9) for pair in pairs if "a" in pair)


@given(figures)
def test_shapley_is_the_mean_over_all_orders(values: list[float]) -> None:
    arms = whole(ABCD)
    array = np.array(values)
    by_combination = dict(zip(arms.combinations, values, strict=True))
    sampled = sampled_shapley(by_combination, permutations(ABCD))
    for factor, exact in zip(ABCD, shapley_weights(arms) @ array, strict=True):
        found = order_gains(arms, array, factor, ABCD)
        assert np.dot(found.gains, found.shares) == pytest.approx(exact, abs=1e-9)
        assert np.mean([mean for _, mean, _ in found.by_position]) == pytest.approx(exact, abs=1e-9)
        assert (sampled[factor].mean, sampled[factor].orders) == (pytest.approx(exact, abs=1e-9), 24)


# --- known truths --------------------------------------------------------------------------------------

RNG = np.random.default_rng(5)
MAIN = dict(zip(INGREDIENTS, RNG.normal(0, 3, 6).tolist(), strict=True))
PAIRS = {frozenset(pair): float(RNG.normal(0, 1)) for pair in combinations(INGREDIENTS, 2)}


def additive(one: Combination) -> float:
    return 20 + sum(MAIN[factor] for factor in one)


def with_pairs(one: Combination) -> float:
    return additive(one) + sum(gain for pair, gain in PAIRS.items() if pair <= one)


def test_a_known_additive_truth_is_returned_by_every_design() -> None:
    ends = (frozenset[str](), frozenset(INGREDIENTS))
    for arms in (whole(INGREDIENTS), Arms(INGREDIENTS, QUARTER.combinations())):
        values = ap(arms, additive)
        assert {f: w @ values for f, w in mean_effect_weights(arms).items()} == pytest.approx(MAIN)
        assert all(abs(w @ values) < 1e-9 for w in interaction_weights(arms).values())
    arms = whole(INGREDIENTS)
    assert shapley_weights(arms) @ ap(arms, additive) == pytest.approx(list(MAIN.values()))
    alone = Arms(INGREDIENTS, (*ends, *map(frozenset, combinations(INGREDIENTS, 1))))
    assert {f: w @ ap(alone, additive) for f, w in add_one_in_weights(alone).items()} == pytest.approx(MAIN)
    assert leave_one_out_weights(alone) == {}


def test_known_interactions_are_found() -> None:
    arms = whole(INGREDIENTS)
    found = {pair: float(w @ ap(arms, with_pairs)) for pair, w in interaction_weights(arms).items()}
    assert found == pytest.approx(PAIRS)


def test_of_a_quarter_main_effects_are_clear_of_interactions_and_these_come_in_sets() -> None:
    arms = Arms(INGREDIENTS, QUARTER.combinations())
    assert arms.fraction is not None
    assert arms.fraction.defining == QUARTER.defining
    values = ap(arms, with_pairs)
    expected = {f: MAIN[f] + sum(gain for pair, gain in PAIRS.items() if f in pair) / 2 for f in INGREDIENTS}
    assert {f: w @ values for f, w in mean_effect_weights(arms).items()} == pytest.approx(expected)
    exact = shapley_weights(whole(INGREDIENTS)) @ ap(whole(INGREDIENTS), with_pairs)
    assert list(expected.values()) == pytest.approx(exact)
    assert interaction_weights(arms) == {}
    sets = {members: float(w @ values) for members, w in aliased_weights(arms).items()}
    assert sets == pytest.approx({members: sum(PAIRS[pair] for pair in members) for members in sets})
    assert sorted(map(len, sets)) == [2, 2, 2, 2, 2, 2, 3]


def test_one_order_gives_no_mean_effect() -> None:
    arms = Arms(INGREDIENTS, one_order(INGREDIENTS))
    assert mean_effect_weights(arms) == {}
    assert arms.fraction is None
    with pytest.raises(ValueError, match="need all 64 combinations"):
        shapley_weights(arms)


def test_an_unfinished_factorial_still_gives_what_two_factors_at_a_time_allow() -> None:
    arms = Arms(INGREDIENTS, factorial(INGREDIENTS)[:-9])
    values = ap(arms, with_pairs)
    assert {p: w @ values for p, w in interaction_weights(arms).items()} == pytest.approx(PAIRS)


def test_sampled_orders_are_as_near_as_their_error_says() -> None:
    """Over many draws the estimate lies within 1.96 of its errors 95 times in 100."""
    arms = whole(ABCD)
    rng = np.random.default_rng(2)
    values = dict(zip(arms.combinations, rng.normal(20, 4, 16).tolist(), strict=True))
    exact = shapley_weights(arms)[0] @ np.array(list(values.values()))
    near = 0
    for _ in range(300):
        found = sampled_shapley(values, draw_orders(ABCD, 60, rng))["a"]
        assert found.error is not None
        near += abs(found.mean - exact) <= 1.96 * found.error
    assert 0.91 <= near / 300 <= 0.985
    assert sampled_shapley(values, [ABCD])["a"].error is None
    with pytest.raises(ValueError, match="at least one order"):
        sampled_shapley(values, [])
