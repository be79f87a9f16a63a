"""Both pipelines: what they promise, and that only the generator decides."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from tests.yolox_core.data_folders import ArraySource, gradient, objects
from yolox_core.augmentation.letterbox import letterbox
from yolox_core.augmentation.pipelines import Pipeline, strong_pipeline, weak_pipeline
from yolox_core.augmentation.sample import empty_targets
from yolox_core.config import AugmentationConfig, TrainConfig

CONFIG = TrainConfig(image_size=96)
STILL = replace(CONFIG, augmentation=AugmentationConfig(flip=0.0, hsv=(0.0, 0.0, 0.0)))
PIPELINES = [weak_pipeline(CONFIG), strong_pipeline(CONFIG)]


def _source() -> ArraySource:
    shapes = [(48, 64), (64, 48), (200, 90), (96, 96), (30, 200)]
    images = [gradient(*shape, blue=30 * i) for i, shape in enumerate(shapes)]
    rows = [objects((i, 4, 5, 30, 25), (1, 10, 2, 14, 20)) for i in range(4)]
    return ArraySource(images, [*rows, empty_targets()])


@pytest.mark.parametrize("pipeline", PIPELINES, ids=["weak", "strong"])
def test_samples_keep_the_contract(pipeline: Pipeline) -> None:
    source = _source()
    for seed in range(60):
        image, (boxes, labels) = pipeline(source, seed % 5, np.random.default_rng(seed))
        assert image.shape == (96, 96, 3)
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        assert boxes.shape == (len(labels), 4)
        assert boxes.dtype == np.float32
        assert labels.dtype == np.int64
        assert boxes.min(initial=0) >= 0
        assert boxes.max(initial=0) <= 96
        assert ((boxes[:, 2:] - boxes[:, :2]) > 1).all()


@pytest.mark.parametrize("pipeline", PIPELINES, ids=["weak", "strong"])
def test_the_generator_decides_everything(pipeline: Pipeline) -> None:
    source = _source()
    first, targets = pipeline(source, 0, np.random.default_rng(1))
    np.random.default_rng().random()
    again, same = pickle.loads(pickle.dumps(pipeline))(source, 0, np.random.default_rng(1))
    other, _ = pipeline(source, 0, np.random.default_rng(2))
    assert (first == again).all()
    assert (targets.boxes_xyxy == same.boxes_xyxy).all()
    assert not (first == other).all()


@pytest.mark.parametrize("pipeline", PIPELINES, ids=["weak", "strong"])
def test_the_dataset_is_not_changed(pipeline: Pipeline) -> None:
    source = _source()
    images = [image.copy() for image in source.images]
    boxes = [t.boxes_xyxy.copy() for t in source.targets]
    for seed in range(20):
        pipeline(source, seed % 5, np.random.default_rng(seed))
    assert all((a == b).all() for a, b in zip(images, source.images, strict=True))
    assert all((a == t.boxes_xyxy).all() for a, t in zip(boxes, source.targets, strict=True))


def test_weak_without_jitter_is_a_letterbox() -> None:
    source = _source()
    image, targets = weak_pipeline(STILL)(source, 1, np.random.default_rng(0))
    expected, ratio = letterbox(source.images[1], 96)
    assert (image == expected).all()
    assert np.allclose(targets.boxes_xyxy, source.targets[1].boxes_xyxy * ratio)


def test_weak_flips_the_picture_but_not_the_padding() -> None:
    source = _source()
    config = replace(CONFIG, augmentation=AugmentationConfig(flip=1.0, hsv=(0.0, 0.0, 0.0)))
    image, targets = weak_pipeline(config)(source, 1, np.random.default_rng(0))
    expected, _ = letterbox(source.images[1][:, ::-1], 96)
    assert np.abs(image.astype(int) - expected).max() <= 1
    assert (image[:, 72:] == 114).all()
    assert np.allclose(targets.boxes_xyxy[0], [(48 - 30) * 1.5, 7.5, (48 - 4) * 1.5, 37.5])


def test_strong_without_mosaic_is_weak() -> None:
    source = _source()
    config = replace(CONFIG, augmentation=AugmentationConfig(mosaic=0.0))
    for seed in range(5):
        strong, targets = strong_pipeline(config)(source, 0, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        rng.random()
        weak, same = weak_pipeline(config)(source, 0, rng)
        assert (strong == weak).all()
        assert (targets.boxes_xyxy == same.boxes_xyxy).all()


def _opened(config: TrainConfig, source: ArraySource) -> list[int]:
    counts = []
    for seed in range(40):
        source.opened.clear()
        strong_pipeline(config)(source, 0, np.random.default_rng(seed))
        counts.append(len(source.opened))
    return counts


def test_mixup_opens_one_image_more_and_only_one_with_objects() -> None:
    whole = (0.4, 0.4)  # small enough to show all four tiles
    without = replace(CONFIG, augmentation=AugmentationConfig(mixup=0.0, mosaic_scale=whole, degrees=0.0))
    with_it = replace(CONFIG, augmentation=AugmentationConfig(mixup=1.0, mosaic_scale=whole, degrees=0.0))
    source = _source()
    assert set(_opened(without, source)) == {4}
    assert set(_opened(with_it, source)) == {5}
    seconds = set()
    for seed in range(60):
        source.opened.clear()
        strong_pipeline(with_it)(source, 0, np.random.default_rng(seed))
        seconds.add(source.opened[-1][0])
    assert seconds == {0, 1, 2, 3}


def test_a_dataset_without_objects_gets_no_mixup() -> None:
    source = ArraySource([gradient(48, 64)] * 3, [empty_targets()] * 3)
    image, targets = strong_pipeline(CONFIG)(source, 0, np.random.default_rng(0))
    assert image.shape == (96, 96, 3)
    assert targets.boxes_xyxy.shape == (0, 4)
