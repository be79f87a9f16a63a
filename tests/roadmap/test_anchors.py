"""Anchors clustered on the training boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roadmap import anchors
from roadmap.anchors import anchor_finder, cluster, coverage, fitting_anchors
from roadmap.geometry import read_geometry
from roadmap.recipe import DatasetConfig
from yolox_core.config import YOLOV3_ANCHORS

BCCD = Path(__file__).parents[3] / "shared" / "bccd" / "annotations" / "instances_train2017.json"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _file(path: Path, boxes: list[list[float]], **image: Any) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480} | image],
        "annotations": [{"id": i, "image_id": 1, "category_id": 1, "bbox": b} for i, b in enumerate(boxes)],
        "categories": [{"id": 1, "name": "a"}],
    }
    path.write_text(json.dumps(content))
    return path


def _nine(scale: float = 1.0) -> list[list[float]]:
    """Nine kinds of boxes, ten of each."""
    kinds = [(8, 9), (12, 30), (40, 14), (50, 52), (90, 40), (45, 110), (150, 160), (220, 120), (180, 300)]
    return [[5, 5, w * scale, h * scale] for w, h in kinds for _ in range(10)]


def test_nine_kinds_of_boxes_are_their_own_anchors(tmp_path: Path) -> None:
    assert fitting_anchors(_file(tmp_path / "a.json", _nine()), 640) == (
        ((8, 9), (12, 30), (40, 14)),
        ((50, 52), (90, 40), (45, 110)),
        ((150, 160), (220, 120), (180, 300)),
    )


def test_anchors_are_in_pixels_of_the_training_size(tmp_path: Path) -> None:
    half = fitting_anchors(_file(tmp_path / "a.json", _nine()), 320)
    assert half[2] == ((75, 80), (110, 60), (90, 150))
    assert all(isinstance(side, int) for level in half for shape in level for side in shape)


def test_a_hundred_anchors_of_two_boxes_do_not_fail() -> None:
    shapes = np.array([[10.0, 20.0], [30.0, 5.0]])
    found = cluster(shapes, 9, np.random.default_rng(0))
    assert {tuple(row) for row in found.tolist()} == {(10, 20), (30, 5)}


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.floats(0.3, 600), st.floats(0.3, 600)), min_size=1, max_size=40),
    st.integers(0, 2**32),
)
def test_always_nine_whole_sorted_and_the_same_again(shapes: list[tuple[float, float]], seed: int) -> None:
    table = np.array(shapes)
    first = cluster(table, 9, np.random.default_rng(seed))
    assert first.shape == (9, 2)
    assert (first >= 1).all()
    assert (np.diff(first.prod(axis=1)) >= 0).all()
    assert (cluster(table, 9, np.random.default_rng(seed)) == first).all()


def test_clusters_fit_better_than_yolov3s_and_than_their_start() -> None:
    rng = np.random.default_rng(1)
    shapes = np.exp(rng.normal((4.0, 3.2), 0.5, (4000, 2)))
    found = cluster(shapes, 9, np.random.default_rng(0))
    yolov3 = np.array([shape for level in YOLOV3_ANCHORS for shape in level])
    assert coverage(shapes, found) > coverage(shapes, yolov3) + 0.05
    assert (
        coverage(shapes, found)
        > coverage(shapes, anchors._spread(shapes, 9, np.random.default_rng(0))) + 0.02
    )


def test_coverage_by_hand() -> None:
    # 10 x 10 in 20 x 10: half; 20 x 20 and 20 x 10: half.
    assert coverage(np.array([[10.0, 10.0], [20.0, 20.0]]), np.array([[20, 10]])) == pytest.approx(0.5)


def test_an_unchanged_file_is_clustered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _file(tmp_path / "a.json", _nine())
    first = fitting_anchors(file, 640)
    monkeypatch.setattr(anchors, "read_geometry", lambda path: pytest.fail(f"{path} was read again"))
    assert fitting_anchors(file, 640) == first


def test_whose_anchors(tmp_path: Path) -> None:
    mine = DatasetConfig("mine", "f", 1, 9, 9)
    file = _file(tmp_path / "a.json", _nine())
    finder = anchor_finder("kmeans", mine, file)
    assert finder is not None
    assert finder(320) == fitting_anchors(file, 320)
    assert anchor_finder("yolov3", mine, file) is None
    assert anchor_finder("kmeans", DatasetConfig("coco", "f", 80, 118287, 5000, coco=True), file) is None
    assert anchor_finder("kmeans", mine, None) is None, "the embedded dataset"
    with pytest.raises(ValueError, match="unknown anchors 'best'; choose one of: kmeans, yolov3"):
        anchor_finder("best", mine, file)


def test_without_image_sizes_yolov3s_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = _file(tmp_path / "a.json", _nine(), width=None)
    finder = anchor_finder("kmeans", DatasetConfig("mine", "f", 1, 9, 9), file)
    assert finder is not None
    assert finder(640) == YOLOV3_ANCHORS
    assert "no boxes in images of stated size" in caplog.text


@pytest.mark.skipif(not BCCD.is_file(), reason="no blood cells beside the checkout")
def test_on_real_boxes() -> None:
    shapes = read_geometry(BCCD).shapes * 640
    found = np.array([shape for level in fitting_anchors(BCCD, 640) for shape in level])
    yolov3 = np.array([shape for level in YOLOV3_ANCHORS for shape in level])
    assert coverage(shapes, found) > 0.85
    assert coverage(shapes, yolov3) < 0.8
