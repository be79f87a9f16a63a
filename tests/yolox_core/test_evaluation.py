"""From images to detections in original pixels, by one process or several."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from yolox_core.build import build_detector
from yolox_core.config import Ingredients, ModelConfig
from yolox_core.data.coco import ImageError
from yolox_core.detector import Detector
from yolox_core.evaluation.collect import coco_metrics, collect_detections, merge, shard, to_original
from yolox_core.evaluation.detections import Detections
from yolox_core.structures import ImageDetections

SIZE = 64


class Squares:
    """Images of several sizes, each with one white rectangle on black."""

    category_ids = (3, 1, 90)

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        self.ids = [100 + 7 * i for i in range(count)]
        self.sizes = rng.integers(48, 200, (count, 2)) // 8 * 8
        self.boxes_xyxy = [self._box(rng, *size) for size in self.sizes]
        self.readers: set[str] = set()

    @staticmethod
    def _box(rng: np.random.Generator, height: int, width: int) -> tuple[int, int, int, int]:
        left, top = rng.integers(0, width // 2), rng.integers(0, height // 2)
        return int(left), int(top), int(rng.integers(left + 16, width)), int(rng.integers(top + 16, height))

    def load_image(self, index: int) -> NDArray[np.uint8]:
        self.readers.add(threading.current_thread().name)
        image = np.zeros((*self.sizes[index], 3), np.uint8)
        left, top, right, bottom = self.boxes_xyxy[index]
        image[top:bottom, left:right] = 255
        return image


class FindWhite(Detector):
    """Stands in for a detector: finds the white rectangle, label 1, best score first."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def detect(self, images: Tensor, confidence: float, nms_iou: float) -> list[ImageDetections]:
        assert images.dtype == torch.float32
        assert not self.training
        return [self._find(image) for image in images]

    def _find(self, image: Tensor) -> ImageDetections:
        rows, columns = torch.nonzero(image[0] > 200, as_tuple=True)
        box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
        return ImageDetections(box[None], torch.tensor([0.9]), torch.tensor([1]))


def tiny_detector(nms_free: bool = False) -> Detector:
    torch.manual_seed(0)
    model = replace(ModelConfig(num_classes=3), depth=0.1, width=0.0625)
    return build_detector(model, Ingredients(anchor_free=True, nms_free=nms_free))


def collect(detector: object, dataset: Squares, **options: object) -> Detections:
    settings = {"confidence": 1e-4, "nms_iou": 0.65, "device": "cpu", "batch_size": 4} | options
    return collect_detections(detector, dataset, SIZE, **settings)  # type: ignore[arg-type]


def same(a: Detections, b: Detections, tolerance: float = 0.0) -> None:
    np.testing.assert_array_equal(a.image_ids, b.image_ids)
    np.testing.assert_array_equal(a.category_ids, b.category_ids)
    np.testing.assert_allclose(a.boxes_xywh, b.boxes_xywh, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(a.scores, b.scores, atol=tolerance, rtol=tolerance)


def test_boxes_go_back_through_the_letterbox() -> None:
    # image 17: 320 × 160 shown at 64 × 32, one network pixel is five of the original; image 4: as it is
    found = [
        ImageDetections(torch.tensor([[2.0, 4, 12, 24]]), torch.tensor([0.75]), torch.tensor([2])),
        ImageDetections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long)),
        ImageDetections(torch.tensor([[1.0, 2, 3, 5]]), torch.tensor([0.5]), torch.tensor([0])),
    ]
    result = to_original(found, [0.2, 0.3, 1.0], [17, 90, 4], np.array([3, 1, 90]))
    assert result.to_coco_results() == [
        {"image_id": 17, "category_id": 90, "bbox": [10.0, 20.0, 50.0, 100.0], "score": 0.75},
        {"image_id": 4, "category_id": 3, "bbox": [1.0, 2.0, 2.0, 3.0], "score": 0.5},
    ]


def test_a_box_that_is_not_finite_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, float("nan"), 1], [0, 0, float("inf"), 1]])
    found = ImageDetections(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 0]))
    assert to_original([found], [1.0], [5], np.array([1])).scores.tolist() == [pytest.approx(0.9)]
    assert "2 detections without a finite box left out, on images [5]" in caplog.text


def test_finding_every_object_scores_high(tmp_path: Path) -> None:
    dataset = Squares(9)
    objects = [
        {"id": i + 1, "image_id": image, "category_id": 1, "bbox": [left, top, right - left, bottom - top]}
        for i, (image, (left, top, right, bottom)) in enumerate(
            zip(dataset.ids, dataset.boxes_xyxy, strict=True)
        )
    ]
    file = tmp_path / "a.json"
    file.write_text(
        json.dumps(
            {
                "images": [{"id": i} for i in dataset.ids],
                "categories": [{"id": c} for c in dataset.category_ids],
                "annotations": objects,
            }
        )
    )
    found = collect(FindWhite(), dataset)
    assert len(found) == 9
    metrics = coco_metrics(file, found)
    # borders move by up to half a network pixel when an image is shrunk
    assert metrics["AP50"] == pytest.approx(100.0)
    assert metrics["AP"] is not None
    assert metrics["AP"] > 80


@pytest.mark.parametrize("nms_free", [False, True])
def test_shards_joined_are_the_whole(nms_free: bool) -> None:
    detector = tiny_detector(nms_free)
    dataset = Squares(7)
    whole = collect(detector, dataset, batch_size=1, confidence=0.0)
    assert set(whole.image_ids.tolist()) == set(dataset.ids)
    for world_size in (2, 3, 9):
        parts = [
            collect(detector, dataset, batch_size=1, confidence=0.0, rank=r, world_size=world_size)
            for r in range(world_size)
        ]
        same(merge(parts), whole)


def test_batches_are_the_images_one_by_one() -> None:
    detector, dataset = tiny_detector(), Squares(7)
    one = collect(detector, dataset, batch_size=1, confidence=0.0)
    many = collect(detector, dataset, batch_size=3, confidence=0.0)
    for image in dataset.ids:
        a, b = one.select(one.image_ids == image), many.select(many.image_ids == image)
        same(a.select(np.argsort(a.scores)[-20:]), b.select(np.argsort(b.scores)[-20:]), tolerance=1e-4)


def test_reader_threads_change_nothing_but_who_reads() -> None:
    dataset, detector = Squares(11), FindWhite()
    alone = collect(detector, dataset)
    assert dataset.readers == {threading.current_thread().name}
    dataset.readers.clear()
    same(collect(detector, dataset, workers=3), alone)
    assert dataset.readers
    assert all(name.startswith("read") for name in dataset.readers)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_has_no_detections_and_is_said(
    workers: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = Squares(9)
    whole = collect(FindWhite(), dataset)
    load = Squares.load_image

    def sometimes(self: Squares, index: int) -> NDArray[np.uint8]:
        if index == 4:
            raise ImageError("4.jpg", "is truncated")
        return load(self, index)

    monkeypatch.setattr(Squares, "load_image", sometimes)
    same(collect(FindWhite(), dataset, workers=workers), whole.select(whole.image_ids != dataset.ids[4]))
    assert "left out of the evaluation: 4.jpg" in caplog.text


@pytest.mark.parametrize("workers", [0, 2])
def test_another_error_is_not_hidden(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: Squares, index: int) -> NDArray[np.uint8]:
        raise MemoryError("image 3")

    monkeypatch.setattr(Squares, "load_image", gone)
    with pytest.raises(MemoryError, match="image 3"):
        collect(FindWhite(), Squares(20), workers=workers)


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_is_restored_and_progress_told(training: bool) -> None:
    detector, done = FindWhite().train(training), []
    collect(detector, Squares(10), progress=done.append)
    assert detector.training is training
    assert done == [4, 4, 2]


def test_evaluation_leaves_the_detector_trainable() -> None:
    """Priors are kept between calls: they must not come out of inference mode."""
    detector = tiny_detector()
    collect(detector, Squares(2))
    prediction = detector(torch.zeros(1, 3, SIZE, SIZE))
    prediction.boxes_cxcywh.sum().backward()
    assert detector.backbone.stem.conv.weight.grad is not None


def test_an_empty_shard_gives_nothing() -> None:
    assert len(collect(FindWhite(), Squares(2), rank=2, world_size=3)) == 0


class TestShard:
    @given(st.integers(0, 200), st.integers(1, 20))
    def test_disjoint_complete_and_even(self, count: int, world_size: int) -> None:
        shards = [shard(count, rank, world_size) for rank in range(world_size)]
        assert sorted(i for s in shards for i in s) == list(range(count))
        assert max(map(len, shards)) - min(map(len, shards)) <= 1

    @pytest.mark.parametrize("rank", [-1, 2])
    def test_rank_outside(self, rank: int) -> None:
        with pytest.raises(ValueError, match="0…1"):
            shard(5, rank, 2)


class TestDetections:
    def test_results_and_back(self) -> None:
        rows = [
            {"image_id": 5, "category_id": 90, "bbox": [0.1, 2.0, 3.0, 4.0], "score": 0.25},
            {"image_id": 1, "category_id": 2, "bbox": [1.0, 2.0, 3.5, 4.0], "score": 0.5},
        ]
        assert Detections.from_coco_results(rows).to_coco_results() == rows
        assert json.loads(json.dumps(rows)) == rows
        assert Detections.from_coco_results([]).to_coco_results() == []

    @pytest.mark.parametrize(
        "broken",
        [
            {"image_id": 1, "category_id": 2, "bbox": [1, 2, 3], "score": 0.5},
            {"image_id": 1, "category_id": 2, "score": 0.5},
            {"image_id": "one", "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5},
        ],
    )
    def test_a_broken_result_is_named(self, broken: dict[str, object]) -> None:
        fine = {"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}
        with pytest.raises(ValueError, match="detection 1 is not"):
            Detections.from_coco_results([fine, broken])

    def test_arrays_that_do_not_belong_together(self) -> None:
        ids = np.zeros(2, np.int64)
        with pytest.raises(ValueError, match="shapes"):
            Detections(ids, ids, np.zeros((3, 4)), np.zeros(2))

    def test_nothing_is_counted_twice(self) -> None:
        part = Detections.from_coco_results(
            [{"image_id": 4, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}]
        )
        with pytest.raises(ValueError, match="image 4 was evaluated by two"):
            merge([part, part])

    def test_merging_nothing(self) -> None:
        assert len(merge([])) == 0
