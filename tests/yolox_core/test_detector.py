"""The detector as a whole: all 64 combinations train a step and predict."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn

from tests.yolox_core.scenes import targets
from yolox_core.build import build_detector
from yolox_core.config import INGREDIENTS, Ingredients, ModelConfig
from yolox_core.detector import Detector
from yolox_core.structures import Prediction, Targets

CLASSES = 4
TINY = ModelConfig(depth=0.1, width=0.0625, num_classes=CLASSES, head_width=128)
COMBINATIONS = [Ingredients(*on) for on in product((False, True), repeat=6)]


def name(ingredients: Ingredients) -> str:
    return "+".join(ingredients.enabled()) or "baseline"


def build(ingredients: Ingredients, seed: int = 0) -> Detector:
    torch.manual_seed(seed)
    return build_detector(TINY, ingredients)


def images(side: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 255


def scene() -> Targets:
    """Two objects of different size on the first image, none on the second."""
    return targets([(20.0, 24.0, 12.0, 10.0, 1), (40.0, 36.0, 44.0, 50.0, 3)], [])


@pytest.mark.parametrize("ingredients", COMBINATIONS, ids=name)
def test_every_combination_trains_and_predicts(ingredients: Ingredients) -> None:
    model = build(ingredients)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = model(images(), scene(), with_l1=True)
    terms = {"box", "objectness", "classification", "l1", "total", "positives"}
    assert set(losses) == terms | ({"one_to_one"} if ingredients.nms_free else set())
    assert all(torch.isfinite(value) for value in losses.values())
    parts = [value for key, value in losses.items() if key not in ("total", "positives")]
    torch.testing.assert_close(losses["total"], torch.stack(parts).sum())
    assert losses["positives"] > 0

    losses["total"].backward()
    missing = [key for key, p in model.named_parameters() if p.grad is None]
    assert not missing, "parameters without gradient"
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    for part in (model.backbone, model.neck, model.head, model.one_to_one_head):
        if part is not None:
            assert sum(p.grad.abs().sum() for p in part.parameters() if p.grad is not None) > 0
    before = [p.detach().clone() for p in model.parameters()]
    optimiser.step()
    assert any(not a.equal(b) for a, b in zip(before, model.parameters(), strict=True))

    model.eval()
    for detections in model.detect(images(), confidence=0.0, nms_iou=0.65):
        count = len(detections.scores)
        assert count > 0
        assert detections.boxes_xyxy.shape == (count, 4)
        assert torch.isfinite(detections.boxes_xyxy).all()
        assert (detections.scores[:-1] >= detections.scores[1:]).all(), "best first"
        assert detections.labels.min() >= 0
        assert detections.labels.max() < CLASSES
        if ingredients.nms_free:
            assert count == 100


FULL = Ingredients(*[True] * 6)


def test_there_are_64_different_combinations() -> None:
    assert len(set(COMBINATIONS)) == 2 ** len(INGREDIENTS) == 64


@pytest.mark.parametrize("ingredients", [Ingredients(), FULL], ids=name)
def test_a_batch_without_objects(ingredients: Ingredients) -> None:
    model = build(ingredients)
    for nothing in (targets([], []), targets([], [], padding=3)):
        losses = model(images(), nothing, with_l1=True)
        assert losses["box"] == losses["classification"] == losses["l1"] == losses["positives"] == 0
        assert losses["objectness"] > 0
        losses["total"].backward()
        assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("ingredients", [Ingredients(), FULL], ids=name)
def test_training_on_one_batch_finds_its_objects(ingredients: Ingredients) -> None:
    """The parts work together: on two images the losses fall and the boxes find their objects."""
    torch.manual_seed(1)
    model = build_detector(ModelConfig(depth=0.1, width=0.125, num_classes=CLASSES), ingredients)
    optimiser = torch.optim.Adam(model.parameters())
    total, box = [], []
    for step in range(80):
        optimiser.param_groups[0]["lr"] = 1e-3 * min(1, (step + 1) / 20)  # without warm-up, sizes explode
        losses = model(images(), scene())
        optimiser.zero_grad()
        losses["total"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        total.append(losses["total"].item())
        box.append(losses["box"].item())
    assert sum(total[-10:]) / 10 < 0.5 * total[0]
    assert sum(box[-10:]) / 10 < 0.6 * box[0]


def test_priors_are_kept_for_every_size() -> None:
    model = build(FULL)
    grids = []
    for side in (64, 96, 64):
        _, priors = model.predict(images(side))
        grids.append(priors)
    assert grids[0] is grids[2]
    assert grids[0].grid == ((8, 8), (4, 4), (2, 2))
    assert grids[1].grid == ((12, 12), (6, 6), (3, 3))


def test_images_need_not_be_square() -> None:
    model = build(FULL).eval()
    prediction, priors = model.predict(images()[:, :, :32])
    assert priors.grid == ((4, 8), (2, 4), (1, 2))
    assert prediction.boxes_cxcywh.shape == (2, 42, 4)


def test_forward_without_targets_predicts() -> None:
    model = build(Ingredients()).eval()
    prediction = model(images())
    assert isinstance(prediction, Prediction)
    assert prediction.boxes_cxcywh.shape == (2, 84 * 3, 4)
    assert prediction.one_to_one is None


def test_the_one_to_one_branch_leaves_the_rest_of_the_gradients_alone() -> None:
    """Paper §2.1: the extra branch works on detached features."""
    one_to_many = Ingredients(*[True] * 5, False)
    gradients = []
    for ingredients in (one_to_many, FULL):
        torch.manual_seed(0)
        model = build(ingredients)
        losses = model(images(), scene())
        losses["total"].backward()
        gradients.append(
            [p.grad for part in (model.backbone, model.neck, model.head) for p in part.parameters()]
        )
    for a, b in zip(*gradients, strict=True):
        assert a is not None
        torch.testing.assert_close(a, b)


def test_positives_per_object() -> None:
    """One each for two objects of different cells; nine each with the centre 3×3."""
    assert build(Ingredients(anchor_free=True))(images(), scene())["positives"] == 1
    many = build(Ingredients(anchor_free=True, multi_positives=True))(images(), scene())["positives"]
    assert many == 9
