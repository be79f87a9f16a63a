"""Losses worked out by hand: three points in a row, stride 8."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tests.yolox_core.scenes import points, targets
from yolox_core.coding import PointCoding
from yolox_core.config import LossConfig
from yolox_core.losses import LossSums, detection_loss, divide, one_to_one_loss
from yolox_core.structures import Assignment, Prediction

PRIORS = points((1, 3, 8))
CODING = PointCoding((8,))
TARGETS = targets([(4, 4, 8, 8, 0), (12, 4, 8, 8, 1)])
LN2 = math.log(2)
PLAIN = LossConfig(box=1.0, iou_aware=False)


def prediction(boxes: list[tuple[float, ...]] | None = None) -> Prediction:
    """Boxes in pixels; all logits 0, so that every probability is one half."""
    place = torch.tensor([boxes or [(4, 4, 8, 8), (12, 4, 8, 8), (20, 4, 8, 8)]], dtype=torch.float32)
    offsets = torch.stack([CODING.encode(b, PRIORS, torch.arange(3)) for b in place])
    return Prediction(place, offsets, torch.zeros(1, 3), torch.zeros(1, 3, 2), torch.zeros(1, 3))


def assignment(matched: list[int], iou: list[float], ignored: list[bool] | None = None) -> Assignment:
    return Assignment(
        torch.tensor([matched]),
        torch.tensor([iou], dtype=torch.float32),
        torch.tensor([ignored or [False] * len(matched)]),
    )


def loss(
    predicted: Prediction, assigned: Assignment, config: LossConfig = PLAIN, with_l1: bool = False
) -> LossSums:
    return detection_loss(predicted, PRIORS, assigned, TARGETS, CODING, config, with_l1)


def values(sums: LossSums) -> dict[str, float]:
    return {name: value.item() for name, value in sums.terms.items()}


def test_perfect_boxes_undecided_scores() -> None:
    """Three objectness terms and two priors × two classes of ln 2; no box loss."""
    sums = loss(prediction(), assignment([0, 1, -1], [1, 1, 0]))
    expected = {"box": 0.0, "objectness": 3 * LN2, "classification": 4 * LN2}
    assert values(sums) == pytest.approx(expected, abs=1e-6)
    assert sums.positives == 2


def test_box_loss_is_one_minus_iou_squared() -> None:
    half = prediction([(4, 4, 8, 4), (12, 4, 8, 8), (20, 4, 8, 8)])  # IoU 0.5
    assert values(loss(half, assignment([0, 1, -1], [0.5, 1, 0])))["box"] == pytest.approx(0.75)


def test_every_positive_is_compared_with_its_own_object() -> None:
    swapped = loss(prediction(), assignment([1, 0, -1], [0, 0, 0]))
    assert values(swapped)["box"] == pytest.approx(2.0)


def test_weights_multiply_their_terms() -> None:
    half = prediction([(4, 4, 8, 4), (12, 4, 8, 8), (20, 4, 8, 8)])
    assigned = assignment([0, 1, -1], [0.5, 1, 0])
    weighted = LossConfig(box=5.0, objectness=2.0, classification=3.0, l1=4.0, iou_aware=False)
    one, many = (
        values(loss(half, assigned, with_l1=True)),
        values(loss(half, assigned, weighted, with_l1=True)),
    )
    factors = {"box": 5.0, "objectness": 2.0, "classification": 3.0, "l1": 4.0}
    assert many == pytest.approx({name: factors[name] * one[name] for name in one})


def test_class_targets_are_the_matched_iou() -> None:
    """At logit 0 cross-entropy is ln 2 whatever the target; at logit x it falls by x times the target."""
    logits = torch.zeros(1, 3, 2)
    logits[0, 0, 0] = 2.0
    predicted = replace(prediction(), classes=logits)
    aware = replace(PLAIN, iou_aware=True)
    assigned = assignment([0, -1, -1], [0.25, 0, 0])
    softplus = math.log(1 + math.exp(2.0))
    assert values(loss(predicted, assigned, aware))["classification"] == pytest.approx(softplus - 0.5 + LN2)
    assert values(loss(predicted, assigned))["classification"] == pytest.approx(softplus - 2.0 + LN2)


def test_ignored_priors_have_no_objectness_term() -> None:
    assigned = assignment([0, -1, -1], [1, 0, 0], [False, True, False])
    assert values(loss(prediction(), assigned))["objectness"] == pytest.approx(2 * LN2)


def test_l1_compares_offsets() -> None:
    """2 px right of the centre is 0.25 strides; twice as wide is ln 2."""
    shifted = prediction([(6, 4, 16, 8), (12, 4, 8, 8), (20, 4, 8, 8)])
    assigned = assignment([0, -1, -1], [0.5, 0, 0])
    assert "l1" not in values(loss(shifted, assigned))
    assert values(loss(shifted, assigned, with_l1=True))["l1"] == pytest.approx(0.25 + LN2, abs=1e-5)


def test_no_positives_leave_the_objectness_alone() -> None:
    predicted = prediction()
    live = replace(
        predicted,
        boxes_cxcywh=predicted.boxes_cxcywh.clone().requires_grad_(),
        objectness=predicted.objectness.clone().requires_grad_(),
    )
    sums = loss(live, assignment([-1, -1, -1], [0, 0, 0]), with_l1=True)
    assert values(sums) == pytest.approx({"box": 0, "objectness": 3 * LN2, "classification": 0, "l1": 0})
    torch.stack(list(divide(sums).values())).sum().backward()
    assert live.objectness.grad is not None
    torch.testing.assert_close(live.objectness.grad, torch.full((1, 3), 0.5))
    assert live.boxes_cxcywh.grad is not None
    assert live.boxes_cxcywh.grad.abs().sum() == 0


def test_division_by_positives_but_never_by_less_than_one() -> None:
    sums = LossSums({"box": torch.tensor(6.0)}, torch.tensor(3.0))
    assert divide(sums)["box"] == 2
    assert divide(sums, torch.tensor(1.5))["box"] == 4
    assert divide(sums, torch.tensor(0.5))["box"] == 12, "one positive on two processes"
    assert divide(LossSums(sums.terms, torch.tensor(0.0)))["box"] == 6


def test_one_to_one_loss_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0, -2.0]])
    sums = one_to_one_loss(logits, assignment([0, -1, -1], [0, 0, 0]), LossConfig(one_to_one=3.0))
    small = math.log(1 + math.exp(-2.0))
    assert sums.terms["one_to_one"].item() == pytest.approx(3 * (small + LN2 + small))
    assert sums.positives == 1


def test_gradients_push_the_right_way() -> None:
    predicted = prediction([(5, 4, 8, 8), (12, 4, 8, 8), (20, 4, 8, 8)])
    boxes = predicted.boxes_cxcywh.clone().requires_grad_()
    objectness = torch.zeros(1, 3, requires_grad=True)
    live = replace(predicted, boxes_cxcywh=boxes, objectness=objectness)
    sums = loss(live, assignment([0, -1, -1], [0.8, 0, 0]))
    torch.stack(list(sums.terms.values())).sum().backward()
    assert boxes.grad is not None
    assert objectness.grad is not None
    assert boxes.grad[0, 0, 0] > 0, "the centre should go left"
    assert boxes.grad[0, 1:].abs().sum() == 0, "negatives have no box"
    assert objectness.grad[0].tolist() == [-0.5, 0.5, 0.5]
