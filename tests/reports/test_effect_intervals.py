"""How certain effects are: by hand first, then coverage and power by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reports.judging.effect_intervals import (
    Noise,
    detectable,
    effect_interval,
    effect_word,
    half_width,
    image_intervals,
    run_noise,
)
from reports.judging.effects import Arms, interaction_weights, leave_one_out_weights, shapley_weights
from reports.judging.gains import MORE_THAN_NOISE, TOO_FEW_SEEDS, WITHIN_NOISE
from reports.judging.statistics import Interval, t_quantile
from roadmap.designs import factorial

FOUR = Arms(tuple("abcd"), factorial(tuple("abcd")))
GAIN = np.array([-1.0, 1.0])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_noise_of_two_arms_and_two_seeds_by_hand() -> None:
    # gains 3 and 5: what both arms share by seed is gone, left is ±0.5 in 4 cells, 1 degree of freedom
    noise = run_noise(np.array([[10.0, 12.0], [13.0, 17.0]]))
    assert noise == Noise(1.0, 1)
    # standard error of the gain: sqrt(1² + 1²) / sqrt(2 seeds) = 1, as the two gains' own sd 1.414 / sqrt(2)
    interval = effect_interval(GAIN, np.array([[10.0, 12.0], [13.0, 17.0]]), rng())
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((4 - t_quantile(0.95, 2), 4 + t_quantile(0.95, 2)))


def test_without_seeds_or_variation_there_is_no_interval() -> None:
    for values in (np.ones((4, 1)), np.array([[10.0, 10.0], [12.0, 12.0]])):
        assert run_noise(values) is None
        assert effect_interval(GAIN[: len(values)], values[:2], rng()) is None
    assert effect_word(None) == TOO_FEW_SEEDS
    assert effect_word(Interval(-1, 2, 0.95, "t")) == WITHIN_NOISE
    assert effect_word(Interval(1, 2, 0.95, "t")) == MORE_THAN_NOISE


def test_intervals_that_hold_at_once_are_wider() -> None:
    noise = Noise(1.0, math.inf)
    assert half_width(GAIN, 2, noise) == pytest.approx(1.959964, abs=1e-6)
    assert half_width(GAIN, 2, noise, of=32) == pytest.approx(
        3.163, abs=1e-3
    )  # normal quantile of 1 - 0.05/64


def test_detectable_by_hand() -> None:
    # (1.960 + 0.842) standard errors of a gain of two runs: 2.802 · sqrt(2)
    assert detectable(GAIN, 1, Noise(1.0, math.inf)) == pytest.approx(2.80159 * math.sqrt(2), abs=1e-4)
    assert detectable(GAIN, 4, Noise(1.0, math.inf)) == pytest.approx(2.80159 / math.sqrt(2), abs=1e-4)


def test_four_seeds_are_bootstrapped_as_pairs() -> None:
    """What a seed adds to all arms alike, however much, changes nothing."""
    gains = np.array([1.0, 2.0, 4.0, 3.0, 2.5])
    shared = np.array([0.0, 9.0, -5.0, 3.0, 30.0])
    plain = effect_interval(GAIN, np.stack([np.zeros(5), gains]), rng())
    shifted = effect_interval(GAIN, np.stack([shared, gains + shared]), rng())
    assert plain is not None
    assert shifted is not None
    assert plain.method == "studentised bootstrap"
    assert (shifted.low, shifted.high) == pytest.approx((plain.low, plain.high))


def test_images_move_an_effect_as_much_as_its_arms_differ_between_them() -> None:
    resamples = np.linspace(0, 40, 1001)
    (found,) = image_intervals(GAIN[None], np.stack([resamples, resamples * 1.5 + 1]))
    assert (found.low, found.high) == pytest.approx((1 + 0.5, 1 + 19.5))  # 2.5 and 97.5 % of 1 + 0…20


@pytest.mark.parametrize(
    ("seeds", "draws", "low", "high"), [(2, 700, 0.93, 0.97), (3, 700, 0.93, 0.97), (6, 150, 0.9, 0.98)]
)
def test_coverage(seeds: int, draws: int, low: float, high: float) -> None:
    """Of 16 arms with noise and a seed effect, 95 % intervals hold the truth about 95 times in 100."""
    truth = np.array([len(one) * 2.0 + 3.0 * ({"a", "b"} <= one) for one in FOUR.combinations])
    weights = [
        shapley_weights(FOUR)[0],
        interaction_weights(FOUR)[frozenset("ab")],
        leave_one_out_weights(FOUR)["c"],
    ]
    random = rng(4)
    held = np.zeros(3)
    for _ in range(draws):
        values = truth[:, None] + random.normal(0, 1, seeds) * 2 + random.normal(0, 0.7, (16, seeds))
        for place, weight in enumerate(weights):
            interval = effect_interval(weight, values, random)
            assert interval is not None
            held[place] += interval.contains(float(weight @ truth))
    assert low <= held.mean() / draws <= high
    assert (held / draws > low - 0.04).all()


def test_power_is_what_was_promised() -> None:
    weights = shapley_weights(FOUR)[0]
    size = detectable(weights, 2, Noise(0.7, 15))
    truth = size * weights / (weights @ weights)
    assert weights @ truth == pytest.approx(size)
    random, found, draws = rng(6), 0, 1000
    for _ in range(draws):
        interval = effect_interval(weights, truth[:, None] + random.normal(0, 0.7, (16, 2)), random)
        found += interval is not None and not interval.contains(0.0)
    assert found / draws == pytest.approx(0.8, abs=0.04)
