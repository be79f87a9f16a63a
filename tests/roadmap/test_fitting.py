"""What the protocol ``small`` makes of a dataset, and how anchors enter a recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadmap.fitting import fitted
from roadmap.protocols import COCO_2017, DEMO, FINE_TUNE, PAPER, SMALL, SMOKE
from roadmap.recipe import DatasetConfig, Recipe
from roadmap.study import Arm, Setting
from yolox_core.config import MODELS, YOLOV3_ANCHORS, Ingredients


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _data(images: int) -> DatasetConfig:
    return DatasetConfig("mine", "f", 3, images, images // 4 + 1)


def _annotations(
    path: Path, sizes: list[tuple[int | None, int | None]], boxes: Sequence[dict[str, Any]] = ()
) -> Path:
    images = [
        {"id": i, "file_name": f"{i}.jpg", "width": w, "height": h} for i, (w, h) in enumerate(sizes, start=1)
    ]
    path.write_text(json.dumps({"images": images, "annotations": list(boxes), "categories": []}))
    return path


def test_three_hundred_photographs_of_640_pixels(tmp_path: Path) -> None:
    protocol = fitted(SMALL, _data(292), _annotations(tmp_path / "a.json", [(640, 480)] * 3))
    training = protocol.training
    assert (training.batch_size, training.epochs, training.learning_rate) == (16, 300, 0.0071)
    assert (training.warmup_epochs, training.closing_epochs, training.evaluate_every) == (5, 15, 10)
    assert (training.image_size, training.multiscale) == (640, (448, 832))
    assert protocol.scale == (0.33, 0.5)
    assert training.augmentation.mixup == 0


def test_more_images_get_larger_batches_fewer_epochs_and_larger_models() -> None:
    three_thousand = fitted(SMALL, _data(3000), None)
    assert (three_thousand.training.batch_size, three_thousand.training.epochs) == (128, 261)
    assert three_thousand.training.learning_rate == PAPER.training.learning_rate
    assert three_thousand.scale == (0.67, 0.75)
    twenty_thousand = fitted(SMALL, _data(20000), None)
    assert (twenty_thousand.training.batch_size, twenty_thousand.training.epochs) == (128, 100)
    assert twenty_thousand.scale is None


def test_the_training_size_is_the_images_own(tmp_path: Path) -> None:
    sizes = [(200, 300), (310, 100), (5000, 4000), (None, None)]
    training = fitted(SMALL, _data(100), _annotations(tmp_path / "a.json", sizes)).training
    assert (training.image_size, training.multiscale) == (320, (224, 416))
    huge = fitted(SMALL, _data(100), _annotations(tmp_path / "b.json", [(4000, 3000)])).training
    assert huge.image_size == 640
    boxes = [{"image_id": 1, "bbox": [0, 0, 40, 40]}] * 8 + [{"image_id": 1, "bbox": [0, 0, 32, 400]}] * 2
    tiny = _annotations(tmp_path / "d.json", [(4000, 3000)], boxes)
    assert fitted(SMALL, _data(100), tiny).training.image_size == 992, "32 of 4000 pixels are 8 of 1000"
    tiny_in_small = _annotations(tmp_path / "e.json", [(900, 300)], [{"image_id": 1, "bbox": [0, 0, 2, 2]}])
    assert fitted(SMALL, _data(100), tiny_in_small).training.image_size == 896, "never enlarged"
    unknown = fitted(SMALL, _data(100), _annotations(tmp_path / "c.json", [(None, None)])).training
    assert unknown.image_size == 640


@given(st.integers(1, 200_000))
def test_every_number_of_images_gives_a_valid_recipe(images: int) -> None:
    training = fitted(SMALL, _data(images), None).training
    assert 8 <= training.batch_size <= 128
    assert training.batch_size & (training.batch_size - 1) == 0
    assert 100 <= training.epochs <= 300
    assert training.closing_epochs >= 5
    assert training.evaluate_every >= 3


@pytest.mark.parametrize("protocol", [PAPER, DEMO, SMOKE, FINE_TUNE])
def test_other_protocols_stay_as_they_are(protocol: object) -> None:
    assert fitted(protocol, _data(300), None) is protocol  # type: ignore[arg-type]


def test_demo_smoke_and_fine_tuning_keep_yolov3s_anchors() -> None:
    assert [p.anchors for p in (DEMO, SMOKE, FINE_TUNE)] == ["yolov3"] * 3
    assert [p.anchors for p in (PAPER, SMALL)] == ["kmeans"] * 2


MINE = (((1, 2), (3, 4), (5, 6)), ((7, 8), (9, 10), (11, 12)), ((13, 14), (15, 16), (17, 18)))


def _recipe(setting: Setting) -> Recipe:
    training = replace(setting.protocol.training, image_size=416)
    return Recipe("small", MODELS["yolox-s"], Ingredients(), training, setting.dataset)


def test_an_arms_recipe_gets_anchors_for_its_own_training_size() -> None:
    asked: list[int] = []
    setting = Setting(SMALL, _data(300), anchors=lambda side: asked.append(side) or MINE)  # type: ignore[func-returns-value]
    assert Arm("a", _recipe).resolve(setting).model.anchors == MINE
    assert asked == [416]
    assert Arm("a", _recipe).resolve(Setting(PAPER, COCO_2017)).model.anchors == YOLOV3_ANCHORS


def test_anchors_that_an_arm_chose_itself_stay() -> None:
    own = (((1, 1),), ((2, 2),), ((3, 3),))

    def recipe(setting: Setting) -> Recipe:
        return replace(_recipe(setting), model=replace(MODELS["yolox-s"], anchors=own))

    assert (
        Arm("a", recipe).resolve(Setting(SMALL, _data(300), anchors=lambda side: MINE)).model.anchors == own
    )
