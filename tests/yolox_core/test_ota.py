"""OTA: its transport plan against a linear programme and the textbook's iterations, then hand-worked scenes
on one level of 4 × 4 points of stride 8 (a 32-pixel image).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog  # type: ignore[import-untyped]

from benchmarks.crowd import CODING, make_priors, make_raw, make_targets
from tests.yolox_core.scenes import (
    POINTS,
    Object,
    blank_prediction,
    points,
    positives,
    prior_at,
    random_prediction,
    targets,
)
from yolox_core.assigners.by_cost import Candidates
from yolox_core.assigners.ota import OTAAssigner, decode, sinkhorn, supply
from yolox_core.assigners.simota import SimOTAAssigner
from yolox_core.structures import Prediction

#: Three objects and the background (last) supply eight priors.
SUPPLY, RECEIVERS = (2, 1, 2, 3), 8


@pytest.fixture(scope="module")
def problems() -> tuple[torch.Tensor, np.ndarray[Any, Any]]:
    """Costs (16, 4, 8) from 0 to 10 whose best plan is by 0.5 cheaper than any other, and those plans by
    linear programming. (Between nearly equal plans an entropic one lies in the middle.)
    """
    owners = np.stack(np.unravel_index(np.arange(4**RECEIVERS), (4,) * RECEIVERS), -1)
    counts = np.stack([(owners == row).sum(1) for row in range(4)], 1)
    owners = owners[(counts == SUPPLY).all(1)]
    cost = 10 * torch.rand(300, 4, RECEIVERS, generator=torch.Generator().manual_seed(0))
    cost[:, -1] = 0  # the background's
    totals = np.sort(cost.numpy()[:, owners, np.arange(RECEIVERS)].sum(-1), 1)
    clear = cost[np.flatnonzero(totals[:, 1] - totals[:, 0] > 0.5)[:16]]
    assert len(clear) == 16
    return clear, np.stack([linear_programme(one.double().numpy()) for one in clear])


def linear_programme(cost: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    rows, columns = cost.shape
    sums = np.concatenate((np.kron(np.eye(rows), np.ones(columns)), np.kron(np.ones(rows), np.eye(columns))))
    answer = linprog(cost.ravel(), A_eq=sums, b_eq=np.concatenate((SUPPLY, np.ones(columns))))
    assert answer.success
    plan: np.ndarray[Any, Any] = answer.x.reshape(rows, columns)
    return plan


def margins(images: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([SUPPLY] * images).float(), torch.ones(images, RECEIVERS)


def test_the_plan_is_that_of_a_linear_programme(problems: tuple[torch.Tensor, np.ndarray[Any, Any]]) -> None:
    cost, expected = problems
    shipped, received = margins(len(cost))
    plan = sinkhorn(cost, shipped, received, epsilon=0.02, iterations=6000).exp()
    np.testing.assert_allclose(plan.numpy(), expected, atol=1e-3)


def test_supply_and_demand_are_met(problems: tuple[torch.Tensor, np.ndarray[Any, Any]]) -> None:
    """Demand after any number of iterations, supply in the end."""
    cost, _ = problems
    shipped, received = margins(len(cost))
    for iterations, rounding in ((1, 5.0), (50, 0.2), (1000, 3e-3)):
        plan = sinkhorn(cost, shipped, received, 0.1, iterations).exp()
        torch.testing.assert_close(plan.sum(1), received, atol=1e-5, rtol=0)
        assert (plan.sum(-1) - shipped).abs().max() < rounding


def test_fifty_iterations_decide_as_the_linear_programme(
    problems: tuple[torch.Tensor, np.ndarray[Any, Any]],
) -> None:
    cost, expected = problems
    assigner = OTAAssigner()
    plan = sinkhorn(cost, *margins(len(cost)), assigner.epsilon, assigner.iterations)
    owner, take = decode(plan)
    assert (torch.where(take, owner, 3).numpy() == expected.argmax(1)).all()


@pytest.mark.parametrize("iterations", [1, 2, 3, 4, 5, 50])
def test_the_iterations_are_the_textbooks(iterations: int) -> None:
    """Rows and columns of exp(-cost / epsilon) scaled in turn, in double precision and without logarithms."""
    generator = torch.Generator().manual_seed(1)
    cost = 6 * torch.rand(3, 5, 12, generator=generator)
    wanted = torch.tensor([[1.0, 2, 0, 3], [0, 0, 0, 0], [4, 4, 4, 0]])
    demand = torch.ones(3, 12)
    demand[0, 4:7] = 0
    shipped = supply(wanted, demand)
    kernel = np.exp(-cost.double().numpy() / 0.1)
    give, take = shipped.double().numpy(), demand.double().numpy()
    u, v = np.ones_like(give), take.copy()
    for _ in range(iterations):
        u = give / (kernel @ v[..., None])[..., 0]
        v = take / (u[:, None] @ kernel)[:, 0]
    plan = sinkhorn(cost, shipped, demand, 0.1, iterations).exp()
    np.testing.assert_allclose(plan.numpy(), u[..., None] * kernel * v[:, None], atol=2e-4)


def test_costs_of_any_size() -> None:
    """Beside a penalty of 1e6, where a float's smallest exponential is of 104 tenths; also for an object that
    wants more than it may have cheaply.
    """
    cost = torch.tensor([[[0.3, 1e6, 1e6, 900.0], [0.1, 0.2, 1e6, 1e6], [0.0, 0.0, 0.0, 0.0]]])
    plan = sinkhorn(cost, torch.tensor([[1.0, 2, 1]]), torch.ones(1, 4), 0.1, 50).exp()
    assert plan.isfinite().all()
    torch.testing.assert_close(plan.sum(1), torch.ones(1, 4), atol=1e-4, rtol=0)
    greedy = sinkhorn(cost, torch.tensor([[3.0, 1, 0]]), torch.ones(1, 4), 0.1, 500)
    assert not greedy.isnan().any()
    assert greedy.exp()[0, 2].max() == 0


def test_nothing_to_ship_and_nowhere_to() -> None:
    """Padding is a supplier of nothing, a prior that is no candidate demands nothing; an image may have none
    of either.
    """
    cost = torch.zeros(2, 3, 4)
    wanted = torch.tensor([[2, 0], [1, 1]])
    demand = torch.tensor([[1.0, 1, 1, 0], [0, 0, 0, 0]])
    shipped = supply(wanted, demand)
    assert shipped.tolist() == [[2, 0, 1], [0, 0, 0]]
    plan = sinkhorn(cost, shipped, demand, 0.1, 50)
    assert not plan.isnan().any()
    expected = torch.tensor([[2 / 3] * 3 + [0.0], [0.0] * 4, [1 / 3] * 3 + [0.0]])
    torch.testing.assert_close(plan.exp()[0], expected)
    assert plan.exp()[1].sum() == 0
    assert not decode(plan)[1][1].any()


def test_who_wants_more_than_there_is_gets_a_share() -> None:
    assert supply(torch.tensor([[6, 2]]), torch.ones(1, 4)).tolist() == [[3, 1, 0]]


def test_shipments_count_in_shares_of_the_largest() -> None:
    """An object that ships a third to three equally good priors keeps them from a background that ships two
    thirds there and 1 elsewhere; a prior to which it ships a tenth is lost.
    """
    plan = torch.tensor([[[0.3, 0.3, 0.3, 0.1, 0.0], [0.7, 0.7, 0.7, 0.9, 1.0]]]).log()
    owner, take = decode(plan)
    assert take.tolist() == [[True, True, True, False, False]]
    assert owner[0, :3].tolist() == [0, 0, 0]


def test_of_two_objects_with_the_same_share_the_one_that_ships_more() -> None:
    plan = torch.tensor([[[0.2, 0.1], [0.6, 0.0], [0.2, 0.9]]]).log()
    owner, take = decode(plan)
    assert owner[0, 0] == 1
    assert take.tolist() == [[True, False]]
    assert torch.equal(decode(plan[:, [1, 0, 2]])[0][0, :1], torch.tensor([0]))


PRIORS = points((4, 4, 8))  # points at 4, 12, 20, 28


def at(x: float, y: float) -> int:
    return prior_at(PRIORS, x, y, 8)


def predict(boxes: dict[int, tuple[float, ...]], objectness: float = -4.0) -> Prediction:
    blank = blank_prediction(PRIORS)
    place = blank.boxes_cxcywh.clone()
    for prior, box in boxes.items():
        place[0, prior] = torch.tensor(box[:4])
    return replace(blank, boxes_cxcywh=place, objectness=torch.full_like(blank.objectness, objectness))


def assign(prediction: Prediction, *objects: Object, **choices: Any) -> dict[int, int]:
    return positives(OTAAssigner(**choices)(PRIORS, prediction, targets(list(objects))))


BOX = (16.0, 16.0, 16.0, 16.0, 0)
HALF = (16.0, 16.0, 16.0, 8.0, 0)  # IoU 0.5 with BOX


def test_an_object_gets_the_sum_of_its_ious() -> None:
    assert assign(predict({at(12, 12): BOX}), BOX) == {at(12, 12): 0}
    two = predict({at(12, 12): BOX, at(20, 12): BOX, at(12, 20): HALF})  # 2.5
    assert assign(two, BOX) == {at(12, 12): 0, at(20, 12): 0}
    assert assign(predict({at(12, 12): BOX, at(20, 12): HALF}), BOX, dynamic=False) == {at(12, 12): 0}


def test_all_objects_are_served_together() -> None:
    """Left is predicted best by p and little worse by q, right by p alone. SimOTA gives p to left, which is
    cheaper there, and nothing to right; cheapest for both together is q for left.
    """
    p, q = at(12, 12), at(12, 20)
    left, right = (14.0, 16.0, 16.0, 16.0, 0), (18.0, 16.0, 16.0, 16.0, 0)
    prediction = predict({p: (15.0, 16.0, 16.0, 16.0), q: (14.0, 16.0, 16.0, 14.0)})
    single = {"dynamic": False}
    crowd = targets([left, right])
    assert positives(SimOTAAssigner(**single)(PRIORS, prediction, crowd)) == {p: 0}
    assert assign(prediction, left, right, **single) == {q: 0, p: 1}


def test_a_prior_far_from_the_centre_stays_the_backgrounds() -> None:
    """(4, 12) stands outside the box and predicts the object exactly."""
    assert assign(predict({at(4, 12): BOX, at(12, 12): HALF}), BOX) == {at(12, 12): 0}


@pytest.mark.parametrize(
    "choices", [{}, {"geometry": "center", "center_radius": 1.5}], ids=["0.3.0", "later"]
)
def test_one_by_one_is_all_together_at_the_real_size(choices: dict[str, Any]) -> None:
    """640 pixels, 80 classes, objects in some images and none in others: the CPU's way and accelerators'."""
    generator = torch.Generator().manual_seed(0)
    priors = make_priors(640)
    crowd = make_targets(generator, 3, 640, fewest=0, most=12)
    raw, objectness, classes = make_raw(generator, priors, crowd)
    prediction = Prediction(CODING.decode(raw, priors), raw, objectness, classes)
    assigner = OTAAssigner(**choices)
    parts = assigner(priors, prediction, crowd)
    candidates = Candidates(prediction.boxes_cxcywh, prediction.objectness, prediction.classes)
    (claims,) = assigner.claim_together(priors, candidates, crowd)
    whole = claims.assignment(len(priors.strides))
    assert (parts.matched != whole.matched).sum() <= 1  # sums in another order may tip a scale
    assert (parts.matched >= 0).sum() > 50


def test_mixed_precision_changes_nothing() -> None:
    """The assigner is called while half precision is on: all of its own arithmetic stays single."""
    prediction = random_prediction(POINTS, 2, seed=3)
    crowd = targets([(20, 20, 20, 20, 0)], [(20, 20, 9, 9, 1), (44, 44, 10, 6, 2)])
    expected = OTAAssigner()(POINTS, prediction, crowd)
    with torch.autocast("cpu", torch.bfloat16):
        found = OTAAssigner()(POINTS, prediction, crowd)
    assert found.matched.equal(expected.matched)
    assert found.iou.equal(expected.iou)
