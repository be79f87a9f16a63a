"""What a search claims against what fresh seeds say: by hand first, then a simulation of whole searches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.judging.gains import MORE_THAN_NOISE, TOO_FEW_SEEDS, WITHIN_NOISE
from reports.judging.tuning import (
    NOT_MORE_THAN_NOISE,
    NOT_YET,
    TUNED_IS_BETTER,
    TUNED_IS_WORSE,
    estimate,
    judge_reruns,
    judge_tuned,
)

SEARCHED = frozenset({0})


# --- by hand -------------------------------------------------------------------------------------------


def test_the_search_said_more_than_its_winner_gives() -> None:
    base, winner = {11: 30.0, 12: 31.0, 13: 30.5}, {11: 30.9, 12: 32.0, 13: 31.6}
    (found,) = judge_reruns([(33.0, winner)], base, SEARCHED)
    assert found.fresh is not None
    assert found.fresh.mean == pytest.approx(31.5)
    assert found.optimism == pytest.approx(1.5)
    assert found.gain is not None
    assert list(found.gain.values.values()) == pytest.approx([0.9, 1.0, 1.1])
    assert (found.gain.word, found.answer) == (MORE_THAN_NOISE, TUNED_IS_BETTER)


@pytest.mark.parametrize(
    ("gains", "word", "answer"),
    [
        ((0.9, 1.0, 1.1), MORE_THAN_NOISE, TUNED_IS_BETTER),
        ((-0.9, -1.0, -1.1), MORE_THAN_NOISE, TUNED_IS_WORSE),
        ((0.0, 1.0, 2.0), WITHIN_NOISE, NOT_MORE_THAN_NOISE),
        ((20.0, 20.1), TOO_FEW_SEEDS, NOT_YET),
    ],
)
def test_the_answer_follows_the_word_that_any_other_gain_gets(
    gains: tuple[float, ...], word: str, answer: str
) -> None:
    base = {seed: 30.0 + seed % 2 for seed in range(10, 10 + len(gains))}
    fresh = {seed: base[seed] + gain for seed, gain in zip(base, gains, strict=True)}
    (found,) = judge_reruns([(99.0, fresh)], base, SEARCHED)
    assert found.gain is not None
    assert (found.gain.word, found.answer) == (word, answer)


def test_where_less_is_better_a_smaller_figure_is_the_better_one() -> None:
    base, winner = {11: 9.0, 12: 9.2, 13: 9.1}, {11: 8.0, 12: 8.1, 13: 8.2}
    (found,) = judge_reruns([(7.6, winner)], base, SEARCHED, upwards=False)
    assert found.optimism == pytest.approx(0.5)
    assert found.answer == TUNED_IS_BETTER
    (found,) = judge_reruns([(7.6, base)], winner, SEARCHED, upwards=False)
    assert found.answer == TUNED_IS_WORSE


def test_without_a_fresh_run_there_is_only_what_the_search_claims() -> None:
    (found,) = judge_reruns([(33.0, {})], {11: 30.0}, SEARCHED)
    assert (found.claimed, found.fresh, found.optimism, found.gain) == (33.0, None, None, None)
    assert found.answer == NOT_YET


def test_a_seed_that_the_search_chose_by_is_refused() -> None:
    with pytest.raises(ValueError, match=r"seed 0 is not fresh: the search chose by it; give seeds"):
        judge_reruns([(33.0, {0: 33.0, 11: 31.0})], {11: 30.0}, SEARCHED)
    with pytest.raises(ValueError, match="seed 0 is not fresh"):
        judge_reruns([(33.0, {11: 31.0})], {0: 30.0}, SEARCHED)


def test_tuned_against_tuned_takes_no_figure_of_a_search() -> None:
    base_a, base_b = {11: 30.0, 12: 30.4, 13: 30.2}, {11: 32.0, 12: 32.4, 13: 32.3}
    (first,) = judge_reruns([(35.0, {11: 31.0, 12: 31.5, 13: 31.4})], base_a, SEARCHED)
    (second,) = judge_reruns([(34.0, {11: 31.4, 12: 31.9, 13: 31.6})], base_b, SEARCHED)
    found = judge_tuned((first, base_a), (second, base_b))
    assert found.claimed == pytest.approx(-1.0)
    assert found.untuned is not None
    assert found.untuned.mean == pytest.approx(2.0333, abs=1e-4)
    assert found.tuned is not None
    assert list(found.tuned.values.values()) == pytest.approx([0.4, 0.4, 0.2])
    assert found.tuned.word == MORE_THAN_NOISE


# --- a simulation --------------------------------------------------------------------------------------

TRIALS, FRESH, SEARCHES = 24, 3, 4000
#: Standard deviation of one run, and of what the tried settings really give (AP, percent).
NOISE, SETTINGS = 0.5, 0.4


def test_fresh_seeds_are_unbiased_where_the_highest_of_the_search_is_not() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(30.0, SETTINGS, (SEARCHES, TRIALS))
    seen = truth + rng.normal(0.0, NOISE, truth.shape)
    base = 30.0 + rng.normal(0.0, NOISE, (SEARCHES, FRESH))
    errors: dict[str, list[float]] = {"search": [], "fresh": [], "gain": []}
    held = {"fresh": 0, "gain": 0}
    for search in range(SEARCHES):
        winner = int(seen[search].argmax())
        true = float(truth[search, winner])
        fresh = dict(enumerate(true + rng.normal(0.0, NOISE, FRESH), start=1))
        runs_of_base = dict(enumerate(base[search], start=1))
        (found,) = judge_reruns([(float(seen[search, winner]), fresh)], runs_of_base, SEARCHED)
        assert found.fresh is not None
        assert found.fresh.interval is not None
        assert found.gain is not None
        assert found.gain.interval is not None
        errors["search"].append(found.claimed - true)
        errors["fresh"].append(found.fresh.mean - true)
        errors["gain"].append(found.gain.mean - (true - 30.0))
        held["fresh"] += found.fresh.interval.contains(true)
        held["gain"] += found.gain.interval.contains(true - 30.0)
    for name, values in errors.items():
        standard_errors = float(np.mean(values)) / (float(np.std(values)) / math.sqrt(SEARCHES))
        if name == "search":
            assert np.mean(values) > 0.5  # as much as the noise of a run, and more than the settings differ
            assert standard_errors > 20
        else:
            assert abs(standard_errors) < 3
    # 95 % of 4000, give or take three standard deviations
    assert all(abs(count / SEARCHES - 0.95) < 0.0104 for count in held.values()), held


def test_the_highest_of_several_re_runs_would_be_optimistic_again() -> None:
    rng = np.random.default_rng(1)
    means = [
        [found.mean for _ in range(3) if (found := estimate(dict(enumerate(rng.normal(30.0, NOISE, FRESH)))))]
        for _ in range(500)
    ]
    first, highest = np.array(means)[:, 0], np.array(means).max(axis=1)
    assert abs(first.mean() - 30.0) < 3 * NOISE / math.sqrt(FRESH * 500)
    assert highest.mean() - 30.0 > 0.2
