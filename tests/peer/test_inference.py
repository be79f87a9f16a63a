"""Letterbox, post-processing and result format against the official code's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.peer.official import (
    COCOEvaluator,
    data_augment,
    get_exp,
    official_model,
    our_model,
    postprocess,
)
from yolox_core.augmentation.letterbox import letterbox
from yolox_core.build import build_detector
from yolox_core.config import MODELS, YOLOX_INGREDIENTS
from yolox_core.data.coco import CocoDataset
from yolox_core.deploy.weights import load_official
from yolox_core.evaluation.collect import to_original
from yolox_core.postprocess import NMS
from yolox_core.structures import Prediction


@settings(max_examples=40)
@given(
    height=st.integers(4, 700),
    width=st.integers(4, 700),
    size=st.sampled_from((64, 416, 640)),
    seed=st.integers(0, 99),
)
def test_letterbox_gives_identical_pixels(height: int, width: int, size: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    if min(height, width) * size < max(height, width):
        return  # below: narrower than one pixel
    theirs, their_ratio = data_augment.preproc(image, (size, size))
    ours, ratio = letterbox(image, size)
    assert ratio == their_ratio
    assert np.array_equal(ours.transpose(2, 0, 1).astype(np.float32), theirs)


def test_letterbox_keeps_a_pixel_where_the_official_code_fails() -> None:
    """Deliberately different: docs/decisions/0073-slivers.md."""
    image = np.full((2000, 2, 3), 7, np.uint8)
    with pytest.raises(cv2.error):
        data_augment.preproc(image, (416, 416))
    ours, _ = letterbox(image, 416)
    assert (ours[:, 0] == 7).all()
    assert (ours[:, 1:] == 114).all()


def outputs(seed: int, images: int = 3, priors: int = 400, classes: int = 12) -> tuple[Prediction, Tensor]:
    """Overlapping boxes with all kinds of scores, as a prediction and in the official layout."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(images, 12, 4, generator=generator) * torch.tensor([400, 400, 150, 150]) + 8
    pick = torch.randint(0, 12, (images, priors, 1), generator=generator).expand(-1, -1, 4)
    boxes = places.gather(1, pick) * (1 + 0.15 * torch.randn(images, priors, 4, generator=generator))
    objectness = torch.randn(images, priors, generator=generator) * 3 - 2
    logits = torch.randn(images, priors, classes, generator=generator) * 3 - 3
    prediction = Prediction(boxes, boxes, objectness, logits)
    return prediction, torch.cat((boxes, objectness[..., None].sigmoid(), logits.sigmoid()), -1)


@pytest.mark.parametrize("confidence", [0.001, 0.01, 0.3])
@pytest.mark.parametrize("nms_iou", [0.45, 0.65])
def test_detections_are_identical(confidence: float, nms_iou: float) -> None:
    # the second has enough boxes for torchvision to work class by class instead of by offsets
    for seed, priors in ((0, 400), (1, 2500)):
        prediction, official = outputs(seed, priors=priors)
        theirs = postprocess(official, 12, confidence, nms_iou)
        ours = NMS()(prediction, confidence, nms_iou)
        for mine, their in zip(ours, theirs, strict=True):
            assert len(their) > 3
            assert torch.equal(mine.boxes_xyxy, their[:, :4])
            assert torch.equal(mine.scores, their[:, 4] * their[:, 5])
            assert torch.equal(mine.labels, their[:, 6].long())


def test_no_detection_at_all_is_an_empty_list_instead_of_none() -> None:
    prediction, official = outputs(2)
    assert postprocess(official, 12, 1.0, 0.65) == [None] * 3
    assert [len(found.scores) for found in NMS()(prediction, 1.0, 0.65)] == [0, 0, 0]


def test_results_in_coco_format_are_identical() -> None:
    """Boxes back in the original image, to the bit; the same for image sides that do not divide evenly."""
    prediction, official = outputs(3)
    category_ids = np.array([1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 90, 91])
    heights, widths, ids = (480, 333, 97), (640, 500, 431), (7, 139, 285)
    evaluator = COCOEvaluator(
        SimpleNamespace(dataset=SimpleNamespace(class_ids=category_ids.tolist())), (416, 416), 0.01, 0.65, 12
    )
    theirs = evaluator.convert_to_coco_format(postprocess(official, 12, 0.01, 0.65), (heights, widths), ids)
    ratios = [min(416 / height, 416 / width) for height, width in zip(heights, widths, strict=True)]
    ours = to_original(NMS()(prediction, 0.01, 0.65), ratios, ids, category_ids).to_coco_results()
    assert ours == [{k: v for k, v in entry.items() if k != "segmentation"} for entry in theirs]


def test_whole_models_detect_the_same() -> None:
    peer = official_model("yolox-nano", seed=21)
    detector = our_model("yolox-nano", peer)
    images = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(22)) * 255
    with torch.no_grad():
        theirs = postprocess(peer(images), 80, 1e-5, 0.65)
    for mine, their in zip(detector.detect(images, 1e-5, 0.65), theirs, strict=True):
        assert len(their) > 3
        torch.testing.assert_close(mine.boxes_xyxy, their[:, :4], rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(mine.scores, their[:, 4] * their[:, 5], rtol=1e-4, atol=1e-6)
        assert torch.equal(mine.labels, their[:, 6].long())


SHARED = Path(__file__).resolve().parents[3] / "shared"
COCO_MINI, RELEASED = SHARED / "coco-mini", SHARED / "weights" / "yolox_nano.pth"


@pytest.mark.skipif(
    not (COCO_MINI.exists() and RELEASED.exists()), reason="needs ../shared/coco-mini and ../shared/weights"
)
def test_released_weights_find_the_same_on_real_images() -> None:
    """From the file to the result, each side by its own code."""
    dataset = CocoDataset(COCO_MINI, "val2017")
    peer = get_exp(None, "yolox-nano").get_model().eval()
    peer.load_state_dict(torch.load(RELEASED, map_location="cpu", weights_only=True)["model"])
    detector = build_detector(MODELS["yolox-nano"], YOLOX_INGREDIENTS)
    load_official(detector, RELEASED)
    for index in range(4):
        image = dataset.load_image(index)
        pixels, _ = data_augment.preproc(image.copy(), (416, 416))
        with torch.no_grad():
            (theirs,) = postprocess(peer(torch.from_numpy(pixels)[None]), 80, 0.05, 0.65)
        ours, _ = letterbox(image, 416)
        batch = torch.from_numpy(ours).permute(2, 0, 1)[None].float()
        (mine,) = detector.eval().detect(batch, 0.05, 0.65)
        assert torch.equal(mine.labels, theirs[:, 6].long())
        torch.testing.assert_close(mine.boxes_xyxy, theirs[:, :4], rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(mine.scores, theirs[:, 4] * theirs[:, 5], rtol=1e-4, atol=1e-6)
