"""The word beside a difference between two arms: by hand first, then properties and a simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.judging.gains import (
    MORE_THAN_NOISE,
    TOO_FEW_SEEDS,
    WITHIN_NOISE,
    WORDS,
    Gain,
    judge_gain,
    pooled_sd,
)


def gain(*gains: float, spread: float | None = None) -> Gain:
    """The gain of runs whose baseline has AP 30, 31, 30, 31, …"""
    before = {seed: 30.0 + seed % 2 for seed in range(len(gains))}
    found = judge_gain(before, {s: before[s] + g for s, g in enumerate(gains)}, spread)
    assert found is not None
    return found


# --- by hand -------------------------------------------------------------------------------------------


def test_three_gains_far_from_zero_are_more_than_noise() -> None:
    found = gain(0.9, 1.0, 1.1)  # sd 0.1, half width 4.303 x 0.1 / sqrt(3) = 0.248
    assert found.word == MORE_THAN_NOISE
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((0.752, 1.248), abs=1e-3)
    assert found.seeds_to_settle is None


def test_a_loss_is_more_than_noise_as_well() -> None:
    assert gain(-0.9, -1.0, -1.1).word == MORE_THAN_NOISE


def test_an_interval_around_zero_is_within_noise_and_says_how_many_seeds_would_tell() -> None:
    found = gain(0.0, 1.0, 2.0)  # mean 1, sd 1: full width at n = 18 is 0.995, at n = 17 it is 1.028
    assert found.word == WITHIN_NOISE
    assert (found.seeds_to_settle, found.sd_assumed) == (18, False)


def test_one_or_two_seeds_are_too_few_however_large_the_gain() -> None:
    assert [gain(*values).word for values in ((20.0,), (20.0, 20.1))] == [TOO_FEW_SEEDS] * 2
    assert gain(20.0).interval is None


def test_with_one_seed_the_spread_is_assumed_unless_other_gains_tell_it() -> None:
    assumed = gain(1.1)  # 0.35 assumed: 5 seeds, as in test_statistics
    assert (assumed.seeds_to_settle, assumed.sd_assumed) == (5, True)
    known = gain(1.1, spread=0.7)  # full width at n = 9 is 1.08, at n = 8 it is 1.17
    assert (known.seeds_to_settle, known.sd_assumed) == (9, False)


def test_seeds_that_change_nothing_are_one_seed() -> None:
    same = judge_gain(dict.fromkeys(range(5), 30.0), dict.fromkeys(range(5), 31.0))
    assert same is not None
    assert (same.word, same.mean) == (TOO_FEW_SEEDS, 1.0)


def test_no_difference_at_all_has_no_number_of_seeds() -> None:
    assert (gain(0.0).word, gain(0.0).seeds_to_settle) == (TOO_FEW_SEEDS, None)


def test_only_seeds_of_both_sides_count() -> None:
    found = judge_gain({0: 30.0, 1: 31.0}, {1: 33.0, 2: 50.0})
    assert found is not None
    assert found.values == {1: 2.0}
    assert judge_gain({0: 30.0}, {1: 33.0}) is None


def test_the_pooled_spread_weighs_by_degrees_of_freedom() -> None:
    # squares around the means: 2 of (0, 2) with 1 degree of freedom, 2 of (1, 2, 3) with 2
    assert pooled_sd([{0: 0.0, 1: 2.0}, {0: 1.0, 1: 2.0, 2: 3.0}, {0: 9.0}]) == pytest.approx(
        math.sqrt(4 / 3)
    )
    assert pooled_sd([{0: 1.0}, {0: 2.0}]) is None
    assert pooled_sd([{0: 1.0, 1: 1.0}]) is None


# --- properties and rates ------------------------------------------------------------------------------


@given(st.lists(st.floats(-5, 5, allow_subnormal=False), min_size=1, max_size=6))
def test_the_word_is_what_its_rule_says(gains: list[float]) -> None:
    found = gain(*gains)
    assert found.word in WORDS
    if len(gains) < 3:
        assert found.word == TOO_FEW_SEEDS
    else:
        assert found.interval is not None
        assert (found.word == WITHIN_NOISE) == found.interval.contains(0.0)
    assert found.seeds_to_settle is None or found.seeds_to_settle >= 3
    assert found.word != WITHIN_NOISE or (found.seeds_to_settle or math.inf) > len(gains)


def test_equal_arms_are_called_more_than_noise_in_5_percent_of_cases() -> None:
    runs = np.random.default_rng(5).normal(40, 0.25, (2, 4000, 4))
    pairs = zip(*runs, strict=True)
    found = [judge_gain(dict(enumerate(before)), dict(enumerate(after))) for before, after in pairs]
    share = np.mean([g is not None and g.word == MORE_THAN_NOISE for g in found])
    assert share == pytest.approx(0.05, abs=2.5 * math.sqrt(0.05 * 0.95 / 4000))
