"""The paired bootstrap over images: what it returns, and that its intervals keep their word."""

from __future__ import annotations

import math

import numpy as np
import pytest

import reports.images.bootstrap as bootstrap
from reports.images.bootstrap import ap_difference, average_precision, draw_images
from reports.images.matches import CategoryMatches, ImageMatches

#: Of a simulated validation split: percentile intervals cover 93 % at 120 images, 95 % from some 400 on.
IMAGES = 400
TRIALS = 600


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def simulated(
    skills: tuple[float, ...],
    images: int,
    generator: np.random.Generator,
    thresholds: int = 1,
    categories: int = 2,
) -> list[ImageMatches]:
    """Runs on the same made-up images, one per skill.

    An image has its own difficulty, shared by the runs; an object is found with a probability that falls
    with it. Hits score higher than false alarms on the whole. Higher thresholds lose some hits.
    """
    objects = generator.poisson(1.0, (categories, images)).astype(np.int32)
    difficulty = generator.normal(0, 1, images)
    runs = []
    for skill in skills:
        parts = []
        for category in range(categories):
            of_object = np.repeat(np.arange(images), objects[category])
            chance = 1 / (1 + np.exp(difficulty[of_object] - skill))
            hits = of_object[generator.random(len(of_object)) < chance]
            alarms = np.repeat(np.arange(images), generator.poisson(0.7, images))
            scores = np.concatenate([generator.normal(1, 1, len(hits)), generator.normal(0, 1, len(alarms))])
            order = np.argsort(-scores)
            precise = generator.random(len(order)) < 0.9
            level = np.where(order < len(hits), np.where(precise, thresholds, 1), 0)
            hit = level[None, :] > np.arange(thresholds)[:, None]
            image = np.concatenate([hits, alarms])[order].astype(np.int32)
            parts.append(CategoryMatches(category, objects[category], image, hit, np.zeros_like(hit)))
        names = tuple(0.5 + 0.05 * t for t in range(thresholds))
        runs.append(ImageMatches(tuple(range(images)), names, tuple(parts)))
    return runs


def test_unresampled_figures_and_their_difference() -> None:
    before, after = simulated((0.0, 1.0), 40, rng(), thresholds=10)
    result = ap_difference([before], [after], rng(1), resamples=50)
    assert result.before == average_precision(before).mean()
    assert result.after == average_precision(after).mean()
    assert result.difference == result.after - result.before
    assert result.interval.low < result.difference < result.interval.high
    assert (result.images, result.resamples, result.figure) == (40, 50, "AP")


def test_figures_are_thresholds() -> None:
    before, after = simulated((0.0, 1.0), 40, rng(), thresholds=10)
    by_threshold = average_precision(after)[0] - average_precision(before)[0]
    for figure, expected in (
        ("AP50", by_threshold[0]),
        ("AP75", by_threshold[5]),
        ("AP", by_threshold.mean()),
    ):
        result = ap_difference([before], [after], rng(), figure, resamples=5)
        assert result.difference == pytest.approx(expected, abs=1e-12)


def test_runs_of_a_side_are_averaged_over_the_same_images() -> None:
    a, b, c = simulated((0.0, 0.5, 1.0), 40, rng())
    weights = np.concatenate([np.ones((1, 40), np.int32), draw_images(40, 99, rng(4))])
    figures = [average_precision(run, weights)[:, 0] for run in (a, b, c)]
    result = ap_difference([a, b], [c], rng(4), resamples=99)
    difference = figures[2] - (figures[0] + figures[1]) / 2
    assert result.difference == pytest.approx(difference[0])
    low, high = np.quantile(difference[1:], [0.025, 0.975])
    assert (result.interval.low, result.interval.high) == pytest.approx((low, high))


def test_a_run_against_itself_differs_nowhere() -> None:
    (run,) = simulated((0.5,), 40, rng())
    interval = ap_difference([run], [run], rng(), resamples=20).interval
    assert (interval.low, interval.high) == (0.0, 0.0)


def test_pairing_narrows_the_interval() -> None:
    """The difference varies less than two runs on separate draws would: hard images are hard for both."""
    before, after = simulated((0.0, 0.3), 300, rng(2))
    paired = ap_difference([before], [after], rng(3), resamples=400).interval
    apart = [
        average_precision(run, draw_images(300, 400, rng(s)))[:, 0] for s, run in ((4, before), (5, after))
    ]
    assert 2 * paired.half_width < 0.95 * np.ptp(np.quantile(apart[1] - apart[0], [0.025, 0.975]))


def test_blocks_do_not_change_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = simulated((0.5,), 60, rng(), thresholds=3)
    weights = draw_images(60, 37, rng())
    whole = average_precision(run, weights)
    monkeypatch.setattr(bootstrap, "BLOCK", 1)
    np.testing.assert_array_equal(average_precision(run, weights), whole)


def test_draws_are_as_many_as_the_images() -> None:
    weights = draw_images(50, 400, rng())
    assert (weights.sum(axis=1) == 50).all()
    assert weights.mean(axis=0) == pytest.approx(1.0, abs=0.25)
    np.testing.assert_array_equal(weights, draw_images(50, 400, rng()))


def test_categories_may_drop_out_of_a_resample() -> None:
    """A category whose only image is not drawn is left out; with no category left the AP is undefined."""
    (run,) = simulated((0.5,), 3, rng(1), categories=1)
    run = ImageMatches(run.image_ids, run.thresholds, (_only_first_image(run.categories[0]),))
    ap = average_precision(run, np.array([[3, 0, 0], [0, 2, 1]], np.int32))
    assert np.isfinite(ap[0, 0])
    assert np.isnan(ap[1, 0])


def test_unusable_questions_are_refused() -> None:
    (run,) = simulated((0.5,), 10, rng())
    (other,) = simulated((0.5,), 11, rng())
    with pytest.raises(ValueError, match="one of AP, AP50, AP75"):
        ap_difference([run], [run], rng(), "APs")
    with pytest.raises(ValueError, match="at least one run"):
        ap_difference([], [run], rng())
    with pytest.raises(ValueError, match="different images"):
        ap_difference([run], [other], rng())


# --- simulations ---------------------------------------------------------------------------------------


def test_intervals_cover_95_percent() -> None:
    """Runs of different skill; the truth is their difference on very many images."""
    skills = (0.0, 0.6)
    population = [average_precision(run)[0, 0] for run in simulated(skills, 400_000, rng(10), categories=1)]
    truth = population[1] - population[0]
    assert truth > 5
    assert _share_outside(skills, truth, TRIALS, seed=11) == pytest.approx(0.05, abs=0.02)


def test_identical_recipes_are_called_different_in_5_percent_of_cases() -> None:
    """Two runs of one skill: allowed two standard errors above 5 %."""
    outside = _share_outside((0.5, 0.5), 0.0, TRIALS, seed=12)
    assert outside <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / TRIALS)


def _share_outside(skills: tuple[float, ...], truth: float, trials: int, seed: int) -> float:
    generator, outside = rng(seed), 0
    for _ in range(trials):
        before, after = simulated(skills, IMAGES, generator, categories=1)
        outside += not ap_difference([before], [after], generator, resamples=299).interval.contains(truth)
    return outside / trials


def _only_first_image(category: CategoryMatches) -> CategoryMatches:
    keep = category.images == 0
    objects = np.array([max(1, int(category.objects[0])), 0, 0], np.int32)
    return CategoryMatches(
        0, objects, category.images[keep], category.hit[:, keep], category.ignored[:, keep]
    )
