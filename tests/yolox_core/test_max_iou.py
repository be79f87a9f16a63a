"""The anchor assigner, worked out by hand: two levels of two anchors each."""

from __future__ import annotations

from dataclasses import replace

import torch

from tests.yolox_core.scenes import Object, anchors, blank_prediction, positives, prior_at, targets
from yolox_core.assigners.max_iou import MaxIoUAssigner
from yolox_core.structures import Assignment, Prediction

SHAPES = (((8, 8), (16, 8)), ((32, 32), (48, 24)))
PRIORS = anchors((8, 8, 8), (4, 4, 16), shapes=SHAPES)


def run(radius: int, objects: list[Object], prediction: Prediction | None = None) -> Assignment:
    assigner = MaxIoUAssigner(radius, ignore_iou=0.7)
    return assigner(PRIORS, prediction or blank_prediction(PRIORS), targets(objects))


def assign(radius: int, *objects: Object) -> dict[int, int]:
    return positives(run(radius, list(objects)))


def test_the_best_shape_at_the_centre_cell_is_the_only_positive() -> None:
    # 14 × 8 against 8 × 8, 16 × 8, 32 × 32, 48 × 24: IoU 64/112, 112/128, 112/1024, 112/1152
    assert assign(0, (21, 13, 14, 8, 0)) == {prior_at(PRIORS, 20, 12, 8, shape=1): 0}


def test_the_shape_chooses_the_level() -> None:
    # 30 × 30 is nearest to 32 × 32 on the level of stride 16
    assert assign(0, (21, 13, 30, 30, 0)) == {prior_at(PRIORS, 24, 8, 16, shape=0): 0}
    assert assign(0, (21, 13, 50, 20, 0)) == {prior_at(PRIORS, 24, 8, 16, shape=1): 0}


def test_only_the_shape_counts_not_the_place() -> None:
    """Off the centre of its cell the anchor overlaps less, and is still the best."""
    assert assign(0, (23.5, 15.5, 8, 8, 0)) == {prior_at(PRIORS, 20, 12, 8, shape=0): 0}


def test_centre_3x3_takes_one_anchor_per_cell() -> None:
    expected = {prior_at(PRIORS, x, y, 8, shape=0): 0 for x in (12, 20, 28) for y in (4, 12, 20)}
    assert assign(1, (21, 13, 8, 8, 0)) == expected


def test_of_equal_shapes_the_first_wins() -> None:
    twins = anchors((8, 8, 8), shapes=(((8, 8), (8, 8)),))
    assignment = MaxIoUAssigner()(twins, blank_prediction(twins), targets([(21, 13, 8, 8, 0)]))
    assert positives(assignment) == {prior_at(twins, 20, 12, 8, shape=0): 0}


def test_a_claimed_anchor_goes_to_the_object_that_fits_it_best() -> None:
    loose, tight = (20, 12, 6, 6, 0), (22, 14, 8, 8, 1)
    assert assign(0, loose, tight) == {prior_at(PRIORS, 20, 12, 8, shape=0): 1}
    assert assign(0, tight, loose) == {prior_at(PRIORS, 20, 12, 8, shape=0): 0}


def test_different_shapes_share_a_cell() -> None:
    assert assign(0, (20, 12, 8, 8, 0), (20, 12, 16, 8, 0)) == {
        prior_at(PRIORS, 20, 12, 8, shape=0): 0,
        prior_at(PRIORS, 20, 12, 8, shape=1): 1,
    }


def test_a_centre_outside_counts_to_the_border_and_an_invisible_object_to_nothing() -> None:
    assert assign(0, (-1, 30, 8, 8, 0)) == {prior_at(PRIORS, 4, 28, 8, shape=0): 0}
    assert assign(0, (-5, 30, 8, 8, 0)) == {}


def test_tiny_object_takes_the_smallest_anchor() -> None:
    assert assign(0, (21, 13, 1, 1, 0)) == {prior_at(PRIORS, 20, 12, 8, shape=0): 0}


def test_good_predictions_that_are_no_positives_are_ignored() -> None:
    blank = blank_prediction(PRIORS)
    boxes = blank.boxes_cxcywh.clone()
    positive = prior_at(PRIORS, 20, 12, 8, shape=0)
    above, below, second = (prior_at(PRIORS, x, 60, 8) for x in (4, 12, 20))
    boxes[0, positive] = torch.tensor((20.0, 12.0, 8.0, 8.0))
    boxes[0, above] = torch.tensor((20.0, 12.0, 8.0, 6.0))  # IoU 0.75
    boxes[0, below] = torch.tensor((20.0, 12.0, 8.0, 5.0))  # IoU 0.625
    boxes[0, second] = torch.tensor((44.0, 44.0, 8.0, 8.0))  # the second object exactly
    prediction = replace(blank, boxes_cxcywh=boxes)
    assignment = run(0, [(20, 12, 8, 8, 0), (44, 44, 8, 8, 1)], prediction)
    assert assignment.ignored[0].nonzero().flatten().tolist() == sorted([above, second])
    assert assignment.positive[0, positive]
    assert assignment.iou[0, positive] == 1


def test_padding_ignores_nobody() -> None:
    """A padded place holds a box of zeros; a prediction there is an ordinary negative."""
    blank = blank_prediction(PRIORS)
    prediction = replace(blank, boxes_cxcywh=torch.zeros_like(blank.boxes_cxcywh))
    assignment = MaxIoUAssigner()(PRIORS, prediction, targets([(20, 12, 8, 8, 0)], padding=3))
    assert not assignment.ignored.any()
