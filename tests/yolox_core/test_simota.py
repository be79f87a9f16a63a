"""SimOTA: hand-worked cases on one level of 4 × 4 points of stride 8 (a 32-pixel image), then an
independent, slow reading of the rule in plain Python.
"""

from __future__ import annotations

import math
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.crowd import CODING, make_priors, make_raw, make_targets
from tests.yolox_core.scenes import (
    ANCHORS,
    CLASSES,
    POINTS,
    Object,
    Scene,
    blank_prediction,
    overlap,
    points,
    positives,
    prior_at,
    random_prediction,
    scenes,
    targets,
)
from yolox_core.assigners import common
from yolox_core.assigners.by_cost import Candidates, classification_cost
from yolox_core.assigners.simota import SimOTAAssigner
from yolox_core.structures import Prediction, Priors

PRIORS = points((4, 4, 8))  # points at 4, 12, 20, 28
BOX = (16.0, 16.0, 16.0, 16.0)  # from 8 to 24: the points at 12 and 20 are inside, all within 2.5 strides
THING = (*BOX, 0)


def at(x: float, y: float) -> int:
    return prior_at(PRIORS, x, y, 8)


def predict(
    boxes: dict[int, tuple[float, ...]],
    classes: dict[tuple[int, int], float] | None = None,
    priors: Priors = PRIORS,
) -> Prediction:
    """Blank but for some priors' boxes and some (prior, class) logits."""
    blank = blank_prediction(priors)
    place, logits = blank.boxes_cxcywh.clone(), blank.classes.clone()
    for prior, box in boxes.items():
        place[0, prior] = torch.tensor(box)
    for (prior, label), logit in (classes or {}).items():
        logits[0, prior, label] = logit
    return replace(blank, boxes_cxcywh=place, classes=logits)


def assign(
    prediction: Prediction, *objects: Object, assigner: SimOTAAssigner | None = None, priors: Priors = PRIORS
) -> dict[int, int]:
    return positives((assigner or SimOTAAssigner())(priors, prediction, targets(list(objects))))


def candidates(prediction: Prediction) -> Candidates:
    return Candidates(prediction.boxes_cxcywh, prediction.objectness, prediction.classes)


HALF = (16.0, 16.0, 16.0, 8.0)  # IoU 0.5 with BOX


def test_k_is_the_sum_of_ious_rounded_down() -> None:
    assert len(assign(predict({at(12, 12): BOX, at(20, 12): HALF}), THING)) == 1  # 1.5
    two = predict({at(12, 12): BOX, at(20, 12): HALF, at(12, 20): HALF})  # 2.0
    assert len(assign(two, THING)) == 2


def test_the_cheapest_are_taken() -> None:
    """Equal scores: the cost orders by IoU. Equal IoU: by the object's class."""
    boxes = {at(12, 12): BOX, at(20, 12): HALF, at(12, 20): HALF}
    assert assign(predict(boxes, {(at(20, 12), 0): 2}), THING) == {at(12, 12): 0, at(20, 12): 0}
    assert assign(predict(boxes, {(at(12, 20), 0): 2}), THING) == {at(12, 12): 0, at(12, 20): 0}


def test_another_class_makes_a_prior_dearer() -> None:
    boxes = {at(12, 12): BOX, at(20, 12): HALF, at(12, 20): HALF}
    assert assign(predict(boxes, {(at(20, 12), 1): 2}), THING) == {at(12, 12): 0, at(12, 20): 0}


def test_k_is_at_least_one() -> None:
    """No overlap anywhere: one prior all the same, of those in both regions."""
    (prior,) = assign(predict({}), THING)
    assert prior in {at(x, y) for x in (12, 20) for y in (12, 20)}


def test_only_the_ten_best_ious_count() -> None:
    assert len(assign(predict(dict.fromkeys(range(16), BOX)), THING)) == 10
    assert len(assign(predict(dict.fromkeys(range(12), HALF)), THING)) == 5


def test_without_multi_positives_only_the_cheapest() -> None:
    single = SimOTAAssigner(dynamic=False)
    boxes = {at(12, 12): HALF, at(20, 12): BOX, at(12, 20): BOX}
    assert assign(predict(boxes, {(at(12, 20), 0): 1}), THING, assigner=single) == {at(12, 20): 0}


def test_a_prior_in_one_region_only_loses_to_any_in_both() -> None:
    """(4, 12) stands near the centre but outside the box, and predicts the object exactly."""
    assert assign(predict({at(4, 12): BOX, at(12, 12): HALF}), THING) == {at(12, 12): 0}


def test_a_prior_in_one_region_is_taken_when_there_are_not_enough_in_both() -> None:
    small = (12.0, 12.0, 6.0, 6.0, 0)  # only (12, 12) is inside
    boxes = {at(12, 12): small[:4], at(20, 12): small[:4]}
    assert assign(predict(boxes), small) == {at(12, 12): 0, at(20, 12): 0}


def test_candidates_of_other_objects_can_be_taken() -> None:
    """As in the official code every candidate of the image is open to every object. An object outside
    the image has none of its own and takes the cheapest there is.
    """
    outside = (60.0, 16.0, 4.0, 4.0, 1)
    wide = (16.0, 16.0, 16.0, 16.0, 0)
    prediction = predict({at(12, 12): BOX, at(20, 20): outside[:4]})
    assert assign(prediction, wide, outside) == {at(12, 12): 0, at(20, 20): 1}
    assert assign(prediction, outside) == {}


def test_a_prior_taken_twice_goes_to_the_cheaper_object() -> None:
    left, right = (14.0, 16.0, 16.0, 16.0, 0), (18.0, 16.0, 16.0, 16.0, 1)
    toward_left = predict({at(12, 12): (15.0, 16.0, 16.0, 16.0)})
    assert assign(toward_left, left, right)[at(12, 12)] == 0
    toward_right = predict({at(12, 12): (17.0, 16.0, 16.0, 16.0)})
    assert assign(toward_right, left, right)[at(12, 12)] == 1


def test_a_prior_taken_twice_may_go_to_a_third_object() -> None:
    """The official code's argmin runs over all objects of the image, also those that did not take it.

    The IoU of p's box with a, b and c is 12/15, 10/15 and 15/16, of q's 12/16, 10/16 and 1. So a and b
    take p and c takes q (the sums stay below 2), but p costs c least.
    """
    p, q = at(12, 12), at(20, 20)
    a, b, c = (14.0, 16.0, 12.0, 16.0, 0), (13.0, 16.0, 10.0, 16.0, 0), (16.0, 16.0, 16.0, 16.0, 0)
    prediction = predict({p: (15.5, 16.0, 15.0, 16.0), q: c[:4]})
    assert assign(prediction, a, b, c) == {p: 2, q: 2}
    assert assign(prediction, a, c) == {p: 0, q: 1}


def test_identical_objects() -> None:
    """Equal costs: the prior goes to one of them, the other is left without."""
    matches = assign(predict({at(12, 12): BOX}), THING, THING)
    assert list(matches) == [at(12, 12)]


def test_later_geometry_uses_the_centre_square_alone() -> None:
    """Radius 1.5: from 4 to 28, so only the four middle points; being inside the box plays no part."""
    later = SimOTAAssigner(geometry="center", center_radius=1.5)
    boxes = {at(4, 4): BOX, at(12, 12): HALF}
    big = (16.0, 16.0, 30.0, 30.0, 0)
    assert assign(predict(boxes), big, assigner=later) == {at(12, 12): 0}
    small = (12.0, 12.0, 2.0, 2.0, 0)  # (20, 12) is outside the box, 8 px from its centre
    matches = assign(predict({at(20, 12): (12, 12, 2, 2)}), small, assigner=later)
    assert matches == {at(20, 12): 0}
    old = SimOTAAssigner(center_radius=1.5)
    assert assign(predict({at(20, 12): (12, 12, 2, 2)}), small, assigner=old) == {at(12, 12): 0}


def test_classification_cost_by_hand() -> None:
    """Two classes, probabilities 1/2 and objectness 1/2: the score is 1/2 for both, two terms of ln 2."""
    prediction = blank_prediction(PRIORS, classes=2)
    cost, background = classification_cost(candidates(prediction), torch.tensor([[0]]))
    torch.testing.assert_close(cost, torch.full((1, 1, 16), 2 * math.log(2)))
    torch.testing.assert_close(background, torch.full((1, 16), 2 * math.log(2)))


def test_classification_cost_is_binary_cross_entropy_against_one_hot() -> None:
    generator = torch.Generator().manual_seed(0)
    blank = blank_prediction(PRIORS, classes=5)
    prediction = replace(
        blank,
        classes=torch.randn(1, 16, 5, generator=generator) * 20,  # far into saturation
        objectness=torch.randn(1, 16, generator=generator) * 3,
    )
    labels = [0, 3, 4]
    cost, background = classification_cost(candidates(prediction), torch.tensor([labels]))
    score = (prediction.classes.sigmoid() * prediction.objectness.sigmoid()[..., None]).sqrt()
    for row, label in enumerate(labels):
        one_hot = torch.nn.functional.one_hot(torch.full((16,), label), 5).float()
        expected = torch.nn.functional.binary_cross_entropy(score[0], one_hot, reduction="none").sum(-1)
        torch.testing.assert_close(cost[0, row], expected, rtol=1e-4, atol=1e-4)
    none = torch.nn.functional.binary_cross_entropy(score, torch.zeros_like(score), reduction="none")
    torch.testing.assert_close(background, none.sum(-1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("priors", [POINTS, ANCHORS], ids=["points", "anchors"])
@pytest.mark.parametrize(
    "assigner",
    [
        SimOTAAssigner(),
        SimOTAAssigner(geometry="center", center_radius=1.5),
        SimOTAAssigner(dynamic=False),
        SimOTAAssigner(candidates=4, iou_cost=1.0),
    ],
    ids=["default", "later geometry", "k = 1", "other numbers"],
)
@given(data=st.data())
@settings(max_examples=20)
def test_agrees_with_the_rule_in_plain_python(
    priors: Priors, assigner: SimOTAAssigner, data: st.DataObject
) -> None:
    scene: Scene = data.draw(scenes(priors, images=1))
    expected = by_rule(assigner, priors, scene.prediction, scene.objects[0])
    assume(expected is not None)
    assert positives(assigner(priors, scene.prediction, scene.targets)) == expected


@pytest.mark.parametrize("seed", range(4))
def test_one_by_one_is_all_together_at_the_real_size(seed: int) -> None:
    """640 pixels, 80 classes, up to 40 objects and none: the CPU's way and the accelerators'."""
    generator = torch.Generator().manual_seed(seed)
    priors = make_priors(640)
    crowd = make_targets(generator, 3, 640, fewest=0)
    raw, objectness, classes = make_raw(generator, priors, crowd)
    prediction = Prediction(CODING.decode(raw, priors), raw, objectness, classes)
    parts = SimOTAAssigner()(priors, prediction, crowd)
    (claims,) = SimOTAAssigner().claim_together(priors, candidates(prediction), crowd)
    whole = claims.assignment(len(priors.strides))
    assert parts.matched.equal(whole.matched)
    assert parts.iou.equal(whole.iou)
    assert (parts.matched >= 0).sum() > 50


@pytest.mark.parametrize(("entries", "tables"), [(1, 5), (84 * 4, 5), (84 * 4 * 2, 3), (84 * 4 * 5, 1)])
def test_a_batch_in_several_tables(entries: int, tables: int) -> None:
    """As accelerators do it where memory is short: one, two or all of five images at once."""
    prediction = random_prediction(POINTS, 5, seed=1)
    crowd = targets([THING], [], [THING, (30, 30, 40, 20, 2)], [THING] * 4, [(50, 9, 9, 9, 1)])
    expected = SimOTAAssigner()(POINTS, prediction, crowd)
    with mock.patch.object(common, "TABLE_ENTRIES", entries):
        claims = SimOTAAssigner().claim_together(POINTS, candidates(prediction), crowd)
    parts = [some.assignment(84) for some in claims]
    assert len(parts) == tables
    assert torch.cat([part.matched for part in parts]).equal(expected.matched)
    assert torch.cat([part.iou for part in parts]).equal(expected.iou)


def test_equal_costs() -> None:
    """No overlap, no prior inside the box, the penalty's rounding: 48 priors cost the same. Any of them is
    right on a CPU, where top-k decides as in the official code; accelerators take the first.
    """
    priors = make_priors(640)
    prediction = blank_prediction(priors, classes=80)
    tiny = targets([(96.0, 96.0, 2.0, 2.0, 0)])
    near = (priors.boxes_cxcywh[:, :2] - 96).abs().amax(-1) < 2.5 * priors.strides
    places = near.nonzero().flatten().tolist()
    assert len(places) == 48
    (prior,) = positives(SimOTAAssigner()(priors, prediction, tiny))
    assert prior in places
    (claims,) = SimOTAAssigner().claim_together(priors, candidates(prediction), tiny)
    assert list(positives(claims.assignment(len(priors.strides)))) == places[:1]


def by_rule(
    assigner: SimOTAAssigner, priors: Priors, prediction: Prediction, objects: list[Object]
) -> dict[int, int] | None:
    """SimOTA object by object; None where rounding decides (costs or IoU sums too close to call)."""
    tie, penalty = 1e-3, 1e5 if assigner.geometry == "box-or-center" else 1e6
    inside, near = [], []
    reach = np.float32(assigner.center_radius)
    centres = list(zip(priors.boxes_cxcywh[:, :2].tolist(), priors.strides.tolist(), strict=True))
    for *box, _ in objects:
        x, y, width, height = (np.float32(value) for value in box)
        inside.append([between(px, x, width / 2) and between(py, y, height / 2) for (px, py), _ in centres])
        near.append([between(px, x, reach * s) and between(py, y, reach * s) for (px, py), s in centres])
    if assigner.geometry == "box-or-center":
        region = [[i or n for i, n in zip(*rows, strict=True)] for rows in zip(inside, near, strict=True)]
        both = [[i and n for i, n in zip(*rows, strict=True)] for rows in zip(inside, near, strict=True)]
    else:
        region = both = near
    candidates = [p for p in range(len(centres)) if any(row[p] for row in region)]
    if not candidates:
        return {}

    boxes = [tuple(box) for box in prediction.boxes_cxcywh[0].tolist()]
    probability = 1 / (1 + np.exp(-prediction.classes[0].double().numpy()))
    objectness = 1 / (1 + np.exp(-prediction.objectness[0].double().numpy()))
    score = np.sqrt(probability * objectness[:, None])

    def cost(g: int, p: int) -> float:
        entropy = sum(
            -math.log(score[p, c] if c == objects[g][4] else 1 - score[p, c]) for c in range(CLASSES)
        )
        iou = overlap(boxes[p], objects[g])
        return entropy - assigner.iou_cost * math.log(iou + 1e-8) + (0.0 if both[g][p] else penalty)

    costs = [{p: cost(g, p) for p in candidates} for g in range(len(objects))]
    takers: dict[int, list[int]] = {}
    for g, thing in enumerate(objects):
        ious = sorted((overlap(boxes[p], thing) for p in candidates), reverse=True)
        total = sum(ious[: assigner.candidates])
        if abs(total - round(total)) < tie:
            return None
        k = max(1, int(total)) if assigner.dynamic else 1
        order = sorted(candidates, key=costs[g].__getitem__)
        if k < len(order) and costs[g][order[k]] - costs[g][order[k - 1]] < grain(costs[g][order[k]]):
            return None
        for p in order[:k]:
            takers.setdefault(p, []).append(g)
    matches = {}
    for p, takes in takers.items():
        ranked = sorted(range(len(objects)), key=lambda g: costs[g][p])
        best, second = costs[ranked[0]][p], costs[ranked[min(1, len(ranked) - 1)]][p]
        if len(takes) > 1 and second - best < grain(second):
            return None
        matches[p] = ranked[0] if len(takes) > 1 else takes[0]
    return matches


def between(x: float, centre: np.float32, reach: np.float32) -> bool:
    """In float32, where the official code rounds: a centre of 1e-7 px plus a reach of 12 px is 12 px."""
    return bool(centre - reach < np.float32(x) < centre + reach)


def grain(cost: float) -> float:
    """Differences below this may vanish in float32, where the penalty leaves few digits."""
    return 0.2 if cost > 5e5 else 0.03 if cost > 5e4 else 1e-3
