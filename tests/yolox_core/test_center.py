"""The centre assigner, worked out by hand on a 64-pixel image with levels of stride 8 and 16."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tests.yolox_core.scenes import (
    POINTS,
    Object,
    Scene,
    blank_prediction,
    points,
    positives,
    prior_at,
    scenes,
    targets,
)
from yolox_core.assigners.center import CenterAssigner

PRIORS = points((8, 8, 8), (4, 4, 16))
RANGES = (10.0,)  # larger half side below 10 px: stride 8; from 10 px on: stride 16


def assign(radius: int, *objects: Object) -> dict[int, int]:
    assigner = CenterAssigner(radius, RANGES)
    return positives(assigner(PRIORS, blank_prediction(PRIORS), targets(list(objects))))


def test_the_centre_cell_is_the_only_positive() -> None:
    # centre (21, 13) lies in column 2, row 1 of stride 8, whose point is (20, 12)
    assert assign(0, (21, 13, 10, 6, 0)) == {prior_at(PRIORS, 20, 12, 8): 0}


@pytest.mark.parametrize(("width", "stride", "point"), [(19.9, 8, (20, 12)), (20.0, 16, (24, 8))])
def test_the_larger_half_side_chooses_the_level(
    width: float, stride: float, point: tuple[float, float]
) -> None:
    assert assign(0, (21, 13, width, 6, 0)) == {prior_at(PRIORS, *point, stride): 0}


def test_a_centre_on_a_cell_border_belongs_to_the_next_cell() -> None:
    assert assign(0, (16, 16, 6, 6, 0)) == {prior_at(PRIORS, 20, 20, 8): 0}


def test_centre_3x3_takes_the_eight_neighbours() -> None:
    expected = {prior_at(PRIORS, x, y, 8): 0 for x in (12, 20, 28) for y in (4, 12, 20)}
    assert assign(1, (21, 13, 10, 6, 0)) == expected


def test_centre_3x3_in_a_corner_has_four_cells() -> None:
    expected = {prior_at(PRIORS, x, y, 8): 0 for x in (52, 60) for y in (4, 12)}
    assert assign(1, (61, 2, 6, 3, 0)) == expected


def test_a_claimed_prior_goes_to_the_smaller_object() -> None:
    big, small = (20, 20, 12, 12, 0), (22, 22, 4, 4, 1)
    assert assign(0, big, small) == {prior_at(PRIORS, 20, 20, 8): 1}
    assert assign(0, small, big) == {prior_at(PRIORS, 20, 20, 8): 0}


def test_centre_3x3_splits_neighbours() -> None:
    """Centres one cell apart: the smaller keeps its nine cells, the bigger its own column."""
    matches = assign(1, (20, 20, 12, 12, 0), (28, 20, 8, 8, 1))
    rows = (12, 20, 28)
    expected = {prior_at(PRIORS, x, y, 8): 1 for x in (20, 28, 36) for y in rows}
    expected |= {prior_at(PRIORS, 12, y, 8): 0 for y in rows}
    assert matches == expected


def test_of_two_identical_objects_the_first_wins() -> None:
    twin = (20, 20, 12, 12, 0)
    assert assign(0, twin, twin) == {prior_at(PRIORS, 20, 20, 8): 0}


def test_objects_of_different_levels_do_not_meet() -> None:
    assert assign(0, (20, 20, 12, 12, 0), (20, 20, 40, 40, 0)) == {
        prior_at(PRIORS, 20, 20, 8): 0,
        prior_at(PRIORS, 24, 24, 16): 1,
    }


def test_a_centre_outside_the_image_counts_to_the_border() -> None:
    assert assign(0, (-2, 30, 12, 6, 0)) == {prior_at(PRIORS, 4, 28, 8): 0}
    assert assign(0, (66, 70, 12, 15, 0)) == {prior_at(PRIORS, 60, 60, 8): 0}


def test_an_object_without_a_visible_part_is_left_out() -> None:
    assert assign(1, (-6, 30, 12, 6, 0)) == {}  # ends at x = 0
    assert assign(1, (30, 80, 12, 6, 0)) == {}
    assert assign(1, (30, 30, 0, 6, 0)) == {}  # no area


@given(scenes(POINTS))
@settings(max_examples=20)
def test_every_visible_object_has_one_or_nine_claims_at_most(scene: Scene) -> None:
    for radius, most in ((0, 1), (1, 9)):
        assignment = CenterAssigner(radius, (8.0, 16.0))(POINTS, scene.prediction, scene.targets)
        for image in range(len(scene.objects)):
            owners = list(positives(assignment, image).values())
            assert all(owners.count(owner) <= most for owner in owners)


@given(scenes(POINTS))
@settings(max_examples=20)
def test_agrees_with_the_rule_in_plain_python(scene: Scene) -> None:
    bounds = (8.0, 16.0)
    assignment = CenterAssigner(1, bounds)(POINTS, scene.prediction, scene.targets)
    for image, objects in enumerate(scene.objects):
        assert positives(assignment, image) == by_rule(objects, bounds)


def by_rule(objects: list[Object], bounds: tuple[float, float]) -> dict[int, int]:
    """The centre 3×3, one object after the other, the biggest first so that smaller ones overwrite it."""
    owners: dict[int, int] = {}
    boxes = [[np.float32(value) for value in box] for *box, _ in objects]
    order = sorted(range(len(objects)), key=lambda g: (-boxes[g][2] * boxes[g][3], -g))
    for g in order:
        x, y, width, height = boxes[g]
        if x + width / 2 <= 0 or y + height / 2 <= 0 or x - width / 2 >= 64 or y - height / 2 >= 64:
            continue
        level = sum(max(width, height) / 2 >= bound for bound in bounds)
        stride, cells = (8, 16, 32)[level], (8, 4, 2)[level]
        column = min(max(int(x // stride), 0), cells - 1)
        row = min(max(int(y // stride), 0), cells - 1)
        start = (0, 64, 80)[level]
        for r in range(max(row - 1, 0), min(row + 2, cells)):
            for c in range(max(column - 1, 0), min(column + 2, cells)):
                owners[start + r * cells + c] = g
    return owners
