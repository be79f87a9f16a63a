"""Sizes of images and boxes, from small files and, piece by piece, from large ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from roadmap import geometry
from roadmap.geometry import read_geometry


def _write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content))
    return path


CONTENT = {
    "images": [
        {"id": 1, "file_name": "a", "width": 100, "height": 50},
        {"id": 2, "file_name": "b", "width": 20, "height": 40},
        {"id": 3, "file_name": "c", "width": None, "height": 10},
    ],
    "annotations": [
        {"category_id": 1, "image_id": 1, "bbox": [10, 10, 20, 30]},
        {"category_id": 1, "image_id": 1, "bbox": [-10, 10, 20, 100]},
        {"category_id": 1, "image_id": 2, "bbox": [0, 0, 10, 10]},
        {"category_id": 1, "image_id": 2, "bbox": [0, 0, 10, 10], "iscrowd": 1},
        {"category_id": 1, "image_id": 2, "bbox": [0, 0, 10, 0]},
        {"category_id": 1, "image_id": 3, "bbox": [0, 0, 5, 5]},
        {"category_id": 1, "image_id": 4, "bbox": [0, 0, 5, 5]},
    ],
    "categories": [{"id": 1, "name": "a"}],
}


@pytest.mark.parametrize("large", [1 << 30, 0])
def test_boxes_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int) -> None:
    monkeypatch.setattr(geometry, "_LARGE", large)
    found = read_geometry(_write(tmp_path / f"{large}.json", CONTENT))
    assert found.longest_sides.tolist() == [100, 40]
    assert found.shapes.tolist() == [[0.2, 0.3], [0.1, 0.4], [0.25, 0.25]]


def test_boxes_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    boxes = [[0, 0, float("nan"), 5], [0, 0, 1e300, 5], [float("inf"), 0, 5, 5]]
    annotations = [{"image_id": 1, "bbox": box} for box in boxes]
    found = read_geometry(_write(tmp_path / "a.json", CONTENT | {"annotations": annotations}))
    assert found.shapes.tolist() == [[1, 0.05]]


def test_of_many_boxes_an_even_sample_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "_KEPT", 50)
    annotations = [{"category_id": 1, "image_id": 1, "bbox": [0, 0, 1 + n % 100, 10]} for n in range(1000)]
    found = read_geometry(_write(tmp_path / "a.json", CONTENT | {"annotations": annotations}))
    assert 50 <= len(found.shapes) <= 1000
    assert 0.45 < found.shapes[:, 0].mean() < 0.55


@pytest.mark.parametrize("large", [1 << 30, 0])
@pytest.mark.parametrize("box", [[1, 2, 3], ["a", 1, 2, 3], None])
def test_a_broken_box_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int, box: Any
) -> None:
    monkeypatch.setattr(geometry, "_LARGE", large)
    annotations = [{"category_id": 1, "image_id": 1, "bbox": box}]
    with pytest.raises(ValueError, match=r"broken\.json is not in COCO's instances layout"):
        read_geometry(_write(tmp_path / "broken.json", CONTENT | {"annotations": annotations}))
