"""SimOTA gives the same positives and the same objects as the official assigner, ties included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.peer.official import assignments, official_labels, official_model, random_targets
from yolox_core.assigners.simota import SimOTAAssigner
from yolox_core.boxes import pairwise_iou
from yolox_core.coding import PointCoding
from yolox_core.structures import Prediction, Priors, Targets

STRIDES = (8, 16, 32)
CODING = PointCoding(STRIDES)


@pytest.fixture(scope="module")
def head() -> torch.nn.Module:
    return official_model("yolox-nano").head


def grid_of(height: int, width: int) -> tuple[tuple[int, int], ...]:
    return tuple((height // s, width // s) for s in STRIDES)


def predict(
    priors: Priors, targets: Targets, generator: torch.Generator, *, skill: float, confidence: float
) -> Prediction:
    """Random logits; boxes between the priors' own (skill 0) and those of an object at hand (skill 1)."""
    images, count = len(targets.labels), len(priors.strides)
    noise = torch.randn(images, count, 4, generator=generator) * torch.tensor([0.5, 0.5, 0.7, 0.7])
    boxes = CODING.decode(noise, priors)
    overlap = pairwise_iou(targets.boxes_cxcywh, priors.boxes_cxcywh[None].expand(images, -1, -1))
    nearest = targets.boxes_cxcywh.gather(1, overlap.argmax(1)[..., None].expand(-1, -1, 4))
    hit = (overlap.amax(1) > 0) & (torch.rand(images, count, generator=generator) < skill)
    wobble = 1 + 0.1 * torch.randn(images, count, 4, generator=generator)
    boxes = torch.where(hit[..., None], nearest * wobble, boxes)
    objectness = torch.randn(images, count, generator=generator) * 2 - confidence
    classes = torch.randn(images, count, 80, generator=generator) * 2 - confidence
    return Prediction(boxes, noise, objectness, classes)


def official_match(head: torch.nn.Module, prediction: Prediction, targets: Targets, priors: Priors) -> Tensor:
    outputs = torch.cat(
        (prediction.boxes_cxcywh, prediction.objectness[..., None], prediction.classes), dim=-1
    )
    return assignments(head, outputs, official_labels(targets), priors.grid)


@pytest.mark.parametrize("seed", range(24))
def test_positives_and_matched_objects_are_identical(head: torch.nn.Module, seed: int) -> None:
    """Boxes from tiny to huge, up to 40 per image; predictors from untrained to good."""
    generator = torch.Generator().manual_seed(seed)
    height, width = (320, 320) if seed % 2 else (256, 192)
    priors = CODING.priors(grid_of(height, width), torch.device("cpu"))
    targets = random_targets(generator, 4, height, width, most=40 if seed % 3 else 6)
    skill, confidence = (0.0, 0.7, 0.95)[seed % 3], (4.6, 1.0)[seed % 2]
    prediction = predict(priors, targets, generator, skill=skill, confidence=confidence)
    theirs = official_match(head, prediction, targets, priors)
    ours = SimOTAAssigner()(priors, prediction, targets)
    assert torch.equal(ours.matched, theirs)
    assert (theirs >= 0).sum() >= 3
    assert not ours.ignored.any()


def test_good_predictors_get_more_than_one_positive_per_object(head: torch.nn.Module) -> None:
    """The comparison above is only worth something where k is dynamic."""
    generator = torch.Generator().manual_seed(1)
    priors = CODING.priors(grid_of(416, 416), torch.device("cpu"))
    targets = random_targets(generator, 4, 416, 416, most=6)
    prediction = predict(priors, targets, generator, skill=0.95, confidence=1.0)
    theirs = official_match(head, prediction, targets, priors)
    per_object = torch.bincount(theirs[theirs >= 0] + 6 * (theirs >= 0).nonzero()[:, 0])
    assert per_object.amax() >= 5


def test_ties_go_to_the_first_prior_in_both(head: torch.nn.Module) -> None:
    """An object that contains no prior, every prior predicting the same: all costs are equal."""
    priors = CODING.priors(grid_of(64, 64), torch.device("cpu"))
    count = len(priors.strides)
    boxes = torch.tensor([500.0, 500.0, 4.0, 4.0]).expand(1, count, 4).contiguous()
    prediction = Prediction(boxes, boxes, torch.zeros(1, count), torch.zeros(1, count, 80))
    targets = Targets(torch.tensor([[[24.0, 24.0, 4.0, 4.0]]]), torch.tensor([[7]]))
    theirs = official_match(head, prediction, targets, priors)
    assert (theirs >= 0).sum() == 1
    assert torch.equal(SimOTAAssigner()(priors, prediction, targets).matched, theirs)


def test_object_outside_the_image_has_no_positive_where_the_official_code_stops(
    head: torch.nn.Module,
) -> None:
    """Deliberately different: docs/decisions/0071-objects-without-candidates.md."""
    priors = CODING.priors(grid_of(64, 64), torch.device("cpu"))
    count = len(priors.strides)
    boxes = torch.tensor([30.0, 30.0, 8.0, 8.0]).expand(1, count, 4).contiguous()
    prediction = Prediction(boxes, boxes, torch.zeros(1, count), torch.zeros(1, count, 80))
    targets = Targets(torch.tensor([[[500.0, 500.0, 4.0, 4.0]]]), torch.tensor([[7]]))
    with pytest.raises(RuntimeError, match="out of range"):
        official_match(head, prediction, targets, priors)
    assert not SimOTAAssigner()(priors, prediction, targets).positive.any()
