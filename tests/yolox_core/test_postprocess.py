"""Detections from predictions, worked out by hand: NMS by class, and the best k without."""

from __future__ import annotations

import math
from typing import Any
from unittest import mock

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from tests.yolox_core import fake_cuda
from yolox_core import postprocess, suppression
from yolox_core.postprocess import NMS, TopK
from yolox_core.structures import ImageDetections, Prediction
from yolox_core.suppression import suppress_at_once, suppress_one_by_one, suppress_together

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


class Waits(TorchFunctionMode):
    """Counts what makes the host wait for a device: reading numbers, and results of unknown size."""

    NAMES = ("tolist", "item", "nonzero", "nms", "masked_select", "unique", "__bool__", "__int__", "cpu")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", str(func))
        indexed = name == "__getitem__" and any(
            isinstance(leaf, torch.Tensor) and leaf.dtype == torch.bool for leaf in tree_leaves(args[1])
        )
        if name in self.NAMES or indexed:
            self.found.append("mask" if indexed else name)
        return func(*args, **(kwargs or {}))


def crowded(images: int, seed: int) -> Prediction:
    """Many boxes in few places; the second image has nothing that is likely."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.randint(0, 4, (images, 60, 2), generator=generator) * 30.0
    centre += torch.randn(images, 60, 2, generator=generator) * 4
    boxes = torch.cat((centre, torch.rand(images, 60, 2, generator=generator) * 20 + 10), -1)
    objectness = torch.randn(images, 60, generator=generator) * 2
    objectness[1:2] -= 50
    classes = torch.randn(images, 60, 3, generator=generator)
    return Prediction(boxes, boxes, objectness, classes, torch.randn(images, 60, generator=generator))


def suppressed(how: Any, prediction: Prediction, confidence: float) -> list[ImageDetections]:
    best, labels = prediction.classes.sigmoid().max(-1)
    return how(prediction.boxes_cxcywh, prediction.objectness.sigmoid() * best, labels, confidence, 0.5)


def exactly_the_same(some: list[ImageDetections], others: list[ImageDetections]) -> bool:
    pairs = zip(some, others, strict=True)
    return all(a.equal(b) for one, other in pairs for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("together", [1, 100, 1 << 14])
@pytest.mark.parametrize("confidence", [0.0, 0.3, 1.1])
def test_many_images_at_once_give_what_each_gives_alone(together: int, confidence: float) -> None:
    for seed in range(5):
        prediction = crowded(6, seed)
        with mock.patch.object(suppression, "TOGETHER", together):
            found = suppressed(suppress_together, prediction, confidence)
        assert exactly_the_same(found, suppressed(suppress_one_by_one, prediction, confidence))
        assert {image.boxes_xyxy.dtype for image in found} == {torch.float32}


@pytest.mark.parametrize("pairs", [1, 2 * 60 * 60, 1 << 22], ids="{} pairs at a time".format)
@pytest.mark.parametrize("confidence", [0.0, 0.3, 1.1])
def test_a_single_look_gives_what_each_image_gives_alone(pairs: int, confidence: float) -> None:
    for seed in range(5):
        prediction = crowded(6, seed)
        with (
            mock.patch.object(suppression, "_PAIRS", pairs),
            mock.patch.object(suppression, "suppress_together") as again,
        ):
            found = suppressed(suppress_at_once, prediction, confidence)
        again.assert_not_called()
        assert exactly_the_same(found, suppressed(suppress_one_by_one, prediction, confidence))
        assert {image.boxes_xyxy.dtype for image in found} == {torch.float32}


@pytest.mark.parametrize("limit", [{"FEW": 20}, {"ROUNDS": 1}], ids=str)
def test_images_that_need_more_are_done_again(limit: dict[str, int]) -> None:
    """The second image has no candidate and needs no more."""
    prediction = crowded(3, 0)
    with (
        mock.patch.multiple(suppression, **limit),
        mock.patch.object(suppression, "suppress_together", wraps=suppress_together) as again,
    ):
        found = suppressed(suppress_at_once, prediction, 0.01)
    assert [len(call.args[1]) for call in again.call_args_list] == [2]
    assert exactly_the_same(found, suppressed(suppress_one_by_one, prediction, 0.01))


@pytest.mark.parametrize("how", [suppress_at_once, suppress_together])
def test_equal_scores_keep_their_order(how: Any) -> None:
    """In half precision many are equal; of those that overlap, the first prior stays."""
    prediction = crowded(3, 0)
    boxes, labels = prediction.boxes_cxcywh, prediction.classes.argmax(-1)
    scores = prediction.objectness.sigmoid().mul(4).round().div(4)
    expected = suppress_one_by_one(boxes, scores, labels, 0.2, 0.5)
    assert exactly_the_same(how(boxes, scores, labels, 0.2, 0.5), expected)


@pytest.mark.parametrize("how", [suppress_at_once, suppress_together])
def test_a_box_that_is_not_finite_spoils_no_other_image(how: Any) -> None:
    prediction = crowded(3, 0)
    expected = suppressed(how, prediction, 0.3)
    prediction.boxes_cxcywh[0, 0] = math.nan
    assert exactly_the_same(suppressed(how, prediction, 0.3)[2:], expected[2:])


@pytest.mark.parametrize("images", [2, 16])
@pytest.mark.parametrize(
    ("how", "where"),
    [(NMS(), "suppression.py:suppress_at_once"), (TopK(), "postprocess.py:choose")],
    ids=["nms", "top-k"],
)
def test_the_host_waits_once_for_a_batch(how: NMS | TopK, where: str, images: int) -> None:
    with fake_cuda.fake_cuda():
        shapes = ((images, 60, 4), (images, 60, 4), (images, 60), (images, 60, 3), (images, 60))
        prediction = Prediction(*(torch.empty(shape, device=fake_cuda.CUDA) for shape in shapes))
        with fake_cuda.Waits() as waits:
            found = how(prediction, 0.3, 0.65)
        assert {part.device for image in found for part in image} == {fake_cuda.CUDA}
    assert len(found) == images
    assert waits.found == [where]


def test_however_many_there_are_a_batch_is_waited_for_thrice() -> None:
    with Waits() as waits:
        suppressed(suppress_together, crowded(16, 0), 0.3)
    assert waits.found == ["tolist", "nms", "tolist"]


def test_on_a_cpu_images_go_one_by_one() -> None:
    with mock.patch.object(postprocess, "suppress_at_once") as at_once:
        NMS()(crowded(2, 0), 0.3, 0.5)
    at_once.assert_not_called()
