"""The picture of validation images: which images, which boxes, and that it never stops a run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from roadmap.record import RunFolder, read_json, write_json
from studies.mirror.pictures import (
    _PREDICTED,
    _TRUE,
    COLUMNS,
    TILE,
    choose_images,
    draw_validation,
    write_validation_picture,
)
from tests.studies.tracking_standin import write_result, write_start
from yolox_core.data.coco import CocoDataset

MINI = Path(__file__).resolve().parents[3] / "shared" / "coco-mini"


def dataset(root: Path, images: int = 4, objects: bool = True) -> CocoDataset:
    """Black images of 100×50 pixels, each with one box (10, 10) to (40, 30)."""
    folder = root / "val2017"
    folder.mkdir(parents=True)
    (root / "annotations").mkdir()
    for number in range(images):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((50, 100, 3), np.uint8))
    box = {"category_id": 7, "bbox": [10, 10, 30, 20], "area": 600, "iscrowd": 0}
    content: dict[str, Any] = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 100, "height": 50} for n in range(images)],
        "annotations": [{"id": n + 1, "image_id": n, **box} for n in range(images if objects else 0)],
        "categories": [{"id": 7, "name": "disc"}],
    }
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    return CocoDataset(root, "val2017")


def detection(image: int, score: float = 0.9) -> dict[str, Any]:
    return {"image_id": image, "category_id": 7, "bbox": [50.0, 10.0, 40.0, 20.0], "score": score}


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=2).any())


def tile(picture: np.ndarray, number: int) -> np.ndarray:
    top = 34 + 6 + (number // COLUMNS) * (TILE + 6)
    left = 6 + (number % COLUMNS) * (TILE + 6)
    return picture[top : top + TILE, left : left + TILE]


def test_boxes_stand_where_they_belong(tmp_path: Path) -> None:
    picture = draw_validation(dataset(tmp_path), [detection(1)], "title")
    first, second = tile(picture, 0), tile(picture, 1)
    scale = TILE / 100
    # The true box's left edge and the predicted one's top edge, between corners and labels.
    assert tuple(first[round(20 * scale), round(10 * scale)]) == _TRUE
    assert tuple(second[round(10 * scale), round(75 * scale)]) == _PREDICTED
    assert not has(first, _PREDICTED)
    assert has(second, _TRUE)
    assert (first[round(60 * scale) :] == 230).all()  # below the image: not black, not drawn on


def test_weak_predictions_are_left_out(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    assert not has(tile(draw_validation(data, [detection(0, 0.29)], ""), 0), _PREDICTED)
    assert has(tile(draw_validation(data, [detection(0, 0.30)], ""), 0), _PREDICTED)


def test_which_images_depends_on_the_dataset_alone(tmp_path: Path) -> None:
    data = dataset(tmp_path, images=30)
    chosen = choose_images(data)
    assert len(chosen) == 12
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[-1]) == (0, 29)
    first = draw_validation(data, [detection(0)], "t")
    assert (first == draw_validation(data, [detection(0)], "t")).all()


def test_few_images_and_images_without_objects(tmp_path: Path) -> None:
    assert choose_images(dataset(tmp_path / "a", images=3)) == [0, 1, 2]
    empty = dataset(tmp_path / "b", images=2, objects=False)
    assert choose_images(empty) == [0, 1]
    assert not has(tile(draw_validation(empty, [], ""), 0), _TRUE)


def test_a_box_that_touches_the_edge_keeps_its_label_inside(tmp_path: Path) -> None:
    edge = {**detection(0), "bbox": [90.0, -5.0, 30.0, 20.0]}
    picture = tile(draw_validation(dataset(tmp_path), [edge], ""), 0)
    rows, columns = np.nonzero((picture == _PREDICTED).all(axis=2))
    assert rows.min() == 0
    assert (columns < TILE - 35).any()  # the label reaches to the left of the box


def finished_run(runs: Path, data: Path, detections: list[dict[str, Any]]) -> RunFolder:
    folder = write_start(runs, "simota", 0)
    environment = folder.environment()
    assert environment is not None
    write_json(folder.path / "environment.json", {**environment, "dataset": {"path": str(data)}})
    write_json(folder.path / "detections.json", detections)
    write_result(folder, 4)
    return folder


def test_a_finished_run_gets_its_picture_once(tmp_path: Path) -> None:
    dataset(tmp_path / "data")
    folder = finished_run(tmp_path / "runs", tmp_path / "data", [detection(0)])
    path = write_validation_picture(folder)
    assert path == folder.path / "validation.jpg"
    assert cv2.imread(str(path)).shape == (34 + 326 + 6, 4 * 326 + 6, 3)
    stamp = path.stat().st_mtime_ns
    assert write_validation_picture(folder) == path
    assert path.stat().st_mtime_ns == stamp
    os.utime(folder.path / "detections.json", (2e9, 2e9))  # newer detections
    write_validation_picture(folder)
    assert path.stat().st_mtime_ns != stamp


def test_no_picture_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = finished_run(tmp_path / "runs", tmp_path / "moved-away", [detection(0)])
    assert write_validation_picture(folder) is None
    assert "no picture of simota-s0" in caplog.text
    unfinished = write_start(tmp_path / "runs", "baseline", 0)
    assert write_validation_picture(unfinished) is None


@pytest.mark.skipif(not MINI.is_dir(), reason="no COCO photographs beside the repository")
def test_coco_photographs(tmp_path: Path) -> None:
    data = CocoDataset(MINI, "val2017")
    truth = read_json(MINI / "annotations" / "instances_val2017.json")["annotations"]
    picture = draw_validation(data, [{**a, "score": 1.0} for a in truth], "the truth as predictions")
    assert picture.shape == (34 + 3 * 326 + 6, 4 * 326 + 6, 3)
    for number in range(12):
        assert has(tile(picture, number), _PREDICTED)
