"""Detections from predictions, worked out by hand: NMS by class, and the best k without."""

from __future__ import annotations

import math

import pytest
import torch

from yolox_core.postprocess import NMS, ImageDetections, TopK
from yolox_core.structures import Prediction

CERTAIN = 50.0  # a logit whose probability is 1 in float32


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def predict(
    *rows: tuple[tuple[float, ...], float, tuple[float, float], float],
) -> Prediction:
    """One image of priors: box cxcywh, objectness, two class probabilities, one-to-one probability."""
    boxes = torch.tensor([[box for box, *_ in rows]])
    objectness = torch.tensor([[logit(o) for _, o, _, _ in rows]])
    classes = torch.tensor([[[logit(c) for c in both] for _, _, both, _ in rows]])
    single = torch.tensor([[logit(s) for *_, s in rows]])
    return Prediction(boxes, boxes, objectness, classes, single)


NEAR = [  # the second overlaps the first by 8/12, the third by 6/14
    ((10.0, 10.0, 10.0, 10.0), 0.9, (0.8, 0.1), 0.9),
    ((12.0, 10.0, 10.0, 10.0), 0.9, (0.6, 0.1), 0.1),
    ((14.0, 10.0, 10.0, 10.0), 0.5, (0.5, 0.1), 0.2),
    ((12.0, 10.0, 10.0, 10.0), 0.4, (0.1, 0.5), 0.5),
]


def test_nms_keeps_the_best_of_what_overlaps_class_by_class() -> None:
    (found,) = NMS()(predict(*NEAR), confidence=0.0, nms_iou=0.65)
    assert found.scores.tolist() == pytest.approx([0.72, 0.25, 0.2])
    assert found.labels.tolist() == [0, 0, 1]
    assert found.boxes_xyxy.tolist() == [[5, 5, 15, 15], [9, 5, 19, 15], [7, 5, 17, 15]]


def test_nms_threshold_decides() -> None:
    (found,) = NMS()(predict(*NEAR), confidence=0.0, nms_iou=0.7)
    assert found.scores.tolist() == pytest.approx([0.72, 0.54, 0.25, 0.2])
    (found,) = NMS()(predict(*NEAR), confidence=0.0, nms_iou=0.4)
    assert found.scores.tolist() == pytest.approx([0.72, 0.2])


def test_nms_confidence_is_inclusive() -> None:
    certain = Prediction(
        torch.tensor([[[10.0, 10.0, 4.0, 4.0]] * 2]),
        torch.zeros(1, 2, 4),
        torch.tensor([[CERTAIN, CERTAIN]]),
        torch.tensor([[[0.0], [-1.0]]]),
    )
    (found,) = NMS()(certain, confidence=0.5, nms_iou=0.65)
    assert found.scores.tolist() == [0.5]


def test_top_k_keeps_overlapping_boxes_and_multiplies_three_probabilities() -> None:
    (found,) = TopK()(predict(*NEAR), confidence=0.05, nms_iou=0.65)
    # 0.9·0.9·0.8, 0.4·0.5·0.5, 0.9·0.9·0.1, 0.9·0.1·0.6, 0.5·0.2·0.5
    assert found.scores.tolist() == pytest.approx([0.648, 0.1, 0.081, 0.054, 0.05], abs=1e-6)
    assert found.labels.tolist() == [0, 1, 1, 0, 0]
    assert found.boxes_xyxy[2].tolist() == [5, 5, 15, 15]


def test_top_k_keeps_at_most_k() -> None:
    (found,) = TopK(limit=2)(predict(*NEAR), confidence=0.0, nms_iou=0.65)
    assert found.scores.tolist() == pytest.approx([0.648, 0.1])
    (everything,) = TopK(limit=100)(predict(*NEAR), confidence=0.0, nms_iou=0.65)
    assert len(everything.scores) == 8, "there are only four priors of two classes"


@pytest.mark.parametrize("postprocess", [NMS(), TopK()])
def test_nothing_above_the_confidence(postprocess: NMS | TopK) -> None:
    (found,) = postprocess(predict(*NEAR), 0.99, 0.65)
    assert isinstance(found, ImageDetections)
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.scores.shape == found.labels.shape == (0,)


@pytest.mark.parametrize("postprocess", [NMS(), TopK()])
def test_images_do_not_touch_each_other(postprocess: NMS | TopK) -> None:
    one, two = predict(*NEAR), predict(*NEAR[::-1])
    both = Prediction(
        *(torch.cat([getattr(one, f), getattr(two, f)]) for f in ("boxes_cxcywh", "offsets")),
        *(torch.cat([getattr(one, f), getattr(two, f)]) for f in ("objectness", "classes", "one_to_one")),
    )
    together = postprocess(both, 0.1, 0.65)
    for alone, part in zip((one, two), together, strict=True):
        (expected,) = postprocess(alone, 0.1, 0.65)
        assert all(a.equal(b) for a, b in zip(expected, part, strict=True))


def test_top_k_needs_its_branch() -> None:
    prediction = Prediction(
        torch.zeros(1, 1, 4), torch.zeros(1, 1, 4), torch.zeros(1, 1), torch.zeros(1, 1, 2)
    )
    with pytest.raises(AssertionError, match="one-to-one"):
        TopK()(prediction, 0.1, 0.65)
