"""The one-to-one assigner: hand-worked choices and conflicts, then its guarantees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from tests.yolox_core.scenes import (
    ANCHORS,
    POINTS,
    Object,
    Scene,
    blank_prediction,
    overlap,
    points,
    positives,
    prior_at,
    scenes,
    targets,
)
from yolox_core.assigners.one_to_one import OneToOneAssigner
from yolox_core.structures import Prediction, Priors

PRIORS = points((8, 8, 8))


def predict(
    boxes: dict[int, tuple[float, ...]], classes: dict[tuple[int, int], float] | None = None
) -> Prediction:
    """Blank but for some priors' boxes and some (prior, class) logits."""
    blank = blank_prediction(PRIORS)
    place, logits = blank.boxes_cxcywh.clone(), blank.classes.clone()
    for prior, box in boxes.items():
        place[0, prior] = torch.tensor(box)
    for (prior, label), logit in (classes or {}).items():
        logits[0, prior, label] = logit
    return replace(blank, boxes_cxcywh=place, classes=logits)


def assign(prediction: Prediction, *objects: Object, **options: float) -> dict[int, int]:
    return positives(OneToOneAssigner(**options)(PRIORS, prediction, targets(list(objects))))  # type: ignore[arg-type]


def at(x: float, y: float) -> int:
    return prior_at(PRIORS, x, y, 8)


THING = (24.0, 24.0, 16.0, 16.0, 0)  # the points (20, 20), (28, 20), (20, 28), (28, 28) are inside


def test_the_best_iou_wins_among_equal_scores() -> None:
    prediction = predict({at(20, 20): (24, 24, 16, 8), at(28, 20): (24, 24, 16, 12)})
    assert assign(prediction, THING) == {at(28, 20): 0}


def test_a_much_better_score_outweighs_a_slightly_better_iou() -> None:
    # IoU 0.5 and 0.75: quality 0.5^0.8 = 0.57 and 0.75^0.8 = 0.79, times score^0.2
    boxes = {at(20, 20): (24.0, 24.0, 16.0, 8.0), at(28, 20): (24.0, 24.0, 16.0, 12.0)}
    prediction = predict(boxes, {(at(20, 20), 0): 6, (at(28, 20), 0): -6})
    assert assign(prediction, THING) == {at(20, 20): 0}


def test_the_score_is_that_of_the_objects_own_class() -> None:
    boxes = {at(20, 20): THING[:4], at(28, 20): THING[:4]}
    prediction = predict(boxes, {(at(20, 20), 1): 9, (at(28, 20), 0): 1})
    assert assign(prediction, THING) == {at(28, 20): 0}


def test_a_prior_inside_the_box_comes_before_a_better_one_outside() -> None:
    # (36, 20) is 12 px from the centre: within 2.5 strides, not inside the box
    prediction = predict({at(36, 20): THING[:4], at(20, 20): (24, 24, 16, 2)})
    assert assign(prediction, THING) == {at(20, 20): 0}


def test_a_prior_far_from_the_centre_is_no_candidate() -> None:
    big = (32.0, 32.0, 60.0, 60.0, 0)
    prediction = predict({at(4, 4): big[:4], at(28, 28): (32, 32, 60, 30)})
    assert assign(prediction, big) == {at(28, 28): 0}


def test_a_prior_wanted_twice_goes_to_the_higher_quality_and_the_other_takes_its_next() -> None:
    left, right = (20.0, 24.0, 16.0, 16.0, 0), (28.0, 24.0, 16.0, 16.0, 0)
    # (20, 20) fits the left object best, (28, 20) too but less; the right one likes (20, 20) a little
    # less than the left does, and has (28, 28) next
    prediction = predict(
        {
            at(20, 20): (22, 24, 16, 16),  # IoU 14/18 with left, 10/22 with right
            at(28, 28): (34, 24, 16, 16),  # IoU 10/22 - with right; 2/30 with left
        }
    )
    assert assign(prediction, left, right) == {at(20, 20): 0, at(28, 28): 1}
    assert assign(prediction, right, left) == {at(20, 20): 1, at(28, 28): 0}


def test_a_chain_of_refusals_is_followed_to_its_end() -> None:
    """a, b, c want the same prior; then b and c want the same second one."""
    a, b, c = ((24.0, 24.0, 16.0, side, 0) for side in (16.0, 15.0, 14.0))
    prediction = predict(
        {
            at(20, 20): (24, 24, 16, 16),  # IoU with a 1, b 15/16, c 14/16
            at(28, 20): (24, 24, 16, 12),  # a 12/16, b 12/15, c 12/14
            at(20, 28): (24, 24, 16, 8),  # a 8/16, b 8/15, c 8/14
        }
    )
    # b and c both go to (28, 20); c's quality is higher there, so b is left with (20, 28)
    assert assign(prediction, a, b, c) == {at(20, 20): 0, at(28, 20): 2, at(20, 28): 1}


def test_identical_objects_get_different_priors() -> None:
    prediction = predict({at(20, 20): THING[:4], at(28, 20): (24, 24, 16, 12)})
    assert assign(prediction, THING, THING) == {at(20, 20): 0, at(28, 20): 1}


def test_more_objects_than_priors() -> None:
    one = points((1, 1, 8))
    crowd = targets([(4, 4, 8, 8, 0)] * 5)
    assert positives(OneToOneAssigner()(one, blank_prediction(one), crowd)) == {0: 0}


@pytest.mark.parametrize("priors", [POINTS, ANCHORS], ids=["points", "anchors"])
def test_every_object_near_a_free_prior_gets_one(priors: Priors) -> None:
    objects: list[Object] = [(8.0 + 12 * i, 8.0 + 12 * j, 10, 10, 0) for i in range(4) for j in range(4)]
    assignment = OneToOneAssigner()(priors, blank_prediction(priors), targets(objects))
    assert sorted(positives(assignment).values()) == list(range(16))


@pytest.mark.parametrize("priors", [POINTS, ANCHORS], ids=["points", "anchors"])
@given(scene=scenes(POINTS))
@settings(max_examples=15)
def test_distinct_priors_and_at_most_one_per_object(priors: Priors, scene: Scene) -> None:
    prediction = scene.prediction if priors is POINTS else blank_prediction(ANCHORS, 3)
    assignment = OneToOneAssigner()(priors, prediction, scene.targets)
    for image in range(len(scene.objects)):
        owners = list(positives(assignment, image).values())
        assert len(owners) == len(set(owners))


@given(scenes(POINTS, images=1))
@settings(max_examples=30)
def test_the_matching_is_stable(scene: Scene) -> None:
    """No object and prior both prefer each other to what they have: what deferred acceptance promises."""
    objects = scene.objects[0]
    everything = OneToOneAssigner(candidates=len(POINTS.strides))
    matches = positives(everything(POINTS, scene.prediction, scene.targets))
    worth = [[quality(scene.prediction, prior, thing) for prior in range(84)] for thing in objects]
    mine = {g: prior for prior, g in matches.items()}
    for g, values in enumerate(worth):
        have = values[mine[g]] if g in mine else -1.0
        for prior, value in enumerate(values):
            if value > have + 1e-4:
                assert prior in matches, f"object {g} would rather have the free prior {prior}"
                assert worth[matches[prior]][prior] >= value - 1e-4


def quality(prediction: Prediction, prior: int, thing: Object) -> float:
    """The documented quality in plain Python; -1 where the prior is no candidate."""
    x, y = POINTS.boxes_cxcywh[prior, :2].tolist()
    stride = POINTS.strides[prior].item()
    dx, dy = (abs(np.float32(place) - np.float32(centre)) for place, centre in ((x, thing[0]), (y, thing[1])))
    if max(dx, dy) >= 2.5 * stride:
        return -1.0
    score = torch.sigmoid(prediction.classes[0, prior, thing[4]]) * torch.sigmoid(
        prediction.objectness[0, prior]
    )
    iou = overlap(tuple(prediction.boxes_cxcywh[0, prior].tolist()), thing)
    inside = dx < thing[2] / 2 and dy < thing[3] / 2
    return float(score**0.2 * iou**0.8) + inside
