"""What COCO's evaluation server takes, and what it would refuse."""

from __future__ import annotations

import json
import zipfile
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from yolox_core.evaluation.detections import Detections
from yolox_core.evaluation.submission import (
    COCO_CATEGORY_IDS,
    best_per_image,
    check_results,
    check_submission,
    results_name,
    write_submission,
)

SPLIT = "test-dev2017"
NAME = f"detections_{SPLIT}_ours_results.json"
IMAGES = [5, 1, 9]
#: Two detections on image 5, one on image 1, none on image 9.
FOUND = Detections(
    np.array([5, 1, 5]),
    np.array([90, 1, 18]),
    np.array([[10.123456, 20.0, 30.5, 40.999], [-3.0, 0.0, 700.0, 5.0], [1.0, 2.0, 3.0, 4.0]]),
    np.array([0.123456789, 0.9, 0.75]),
)


def test_coco_has_eighty_categories() -> None:
    assert len(COCO_CATEGORY_IDS) == 80
    assert (COCO_CATEGORY_IDS[0], COCO_CATEGORY_IDS[-1]) == (1, 90)


def test_the_archive_holds_one_json_file_that_pycocotools_loads(tmp_path: Path) -> None:
    written = write_submission(tmp_path / "a.zip", NAME, SPLIT, FOUND, IMAGES)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == [NAME]
        results = json.loads(archive.read(NAME))
    assert results == [  # by image, the best first; hundredths of a pixel
        {"image_id": 1, "category_id": 1, "bbox": [-3.0, 0.0, 700.0, 5.0], "score": 0.9},
        {"image_id": 5, "category_id": 18, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.75},
        {"image_id": 5, "category_id": 90, "bbox": [10.12, 20.0, 30.5, 41.0], "score": 0.12346},
    ]
    info = {"images": [{"id": i} for i in IMAGES], "categories": [{"id": i} for i in COCO_CATEGORY_IDS]}
    (tmp_path / "image_info.json").write_text(json.dumps(info))
    (tmp_path / NAME).write_text(json.dumps(results))
    with redirect_stdout(StringIO()):
        loaded = COCO(str(tmp_path / "image_info.json")).loadRes(str(tmp_path / NAME))
    assert sorted(a["score"] for a in loaded.loadAnns(loaded.getAnnIds())) == [0.12346, 0.75, 0.9]
    assert (written.images, written.detections, written.left_out, written.without_detections) == (3, 3, 0, 1)


def test_the_same_detections_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write_submission(tmp_path / name, NAME, SPLIT, FOUND, IMAGES)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_images_without_detections_and_a_short_list_are_told(tmp_path: Path) -> None:
    remarks = write_submission(tmp_path / "a.zip", NAME, SPLIT, FOUND, IMAGES).remarks
    assert remarks[0] == "no detection on 1 of 3 images: 9"
    assert "has 20288 images, this one 3" in remarks[1]
    other = write_submission(tmp_path / "a.zip", NAME.replace(SPLIT, "mine"), "mine", FOUND, [1, 5])
    assert other.remarks == ()


def test_of_each_image_the_best_hundred_are_kept(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).permutation(np.linspace(0.01, 1, 250))
    many = Detections(np.repeat([1, 5], 125), np.ones(250, int), np.ones((250, 4)), scores)
    best = best_per_image(many)
    for image, part in ((1, scores[:125]), (5, scores[125:])):
        assert best.scores[best.image_ids == image].tolist() == sorted(part, reverse=True)[:100]
    assert write_submission(tmp_path / "a.zip", NAME, SPLIT, many, IMAGES).left_out == 50
    with pytest.raises(ValueError, match="more than 100 detections on images 1, 5"):
        check_results(many, IMAGES)


def changed(**arrays: Any) -> Detections:
    return replace(FOUND, **{name: np.array(values) for name, values in arrays.items()})


@pytest.mark.parametrize(
    ("found", "images", "message"),
    [
        (changed(image_ids=[5, 1, 6]), IMAGES, "images that the split does not have: 6"),
        (FOUND, [5, 1, 5], "images listed twice: 5"),
        (changed(category_ids=[1, 12, 90]), IMAGES, "category ids that COCO does not have: 12"),
        (changed(category_ids=[0, 1, 2]), IMAGES, "category ids that COCO does not have: 0"),
        (changed(scores=[0.5, np.nan, 0.5]), IMAGES, "not finite, on images 1"),
        (changed(boxes_xywh=[[0, 0, 1, 1], [0, 0, 1, 1], [0, np.inf, 1, 1]]), IMAGES, "finite, on images 5"),
        (changed(boxes_xywh=[[9, 9, -4, 4], [0, 0, 1, 1], [0, 0, 1, 1]]), IMAGES, "negative .* images 5"),
        (Detections.empty(), IMAGES, "no detection at all"),
    ],
    ids=["image", "twice", "gap", "label", "nan", "infinite", "corners", "empty"],
)
def test_what_the_server_would_refuse_is_not_written(
    tmp_path: Path, found: Detections, images: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_submission(tmp_path / "a.zip", NAME, SPLIT, found, images)
    assert list(tmp_path.iterdir()) == []


ENTRY = {"image_id": 5, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {f"results/{NAME}": [ENTRY]},
            r"holds results/detections_test-dev2017_ours_results\.json.*no folder",
        ),
        ({"bbox.json": [ENTRY]}, r"holds bbox\.json; .* wants detections_test-dev2017_NAME_results\.json"),
        ({"detections_test-dev2019_ours_results.json": [ENTRY]}, "wants detections_test-dev2017_"),
        ({NAME: [ENTRY], "read.me": []}, "one JSON file and nothing else"),
        ({NAME: {"annotations": [ENTRY]}}, "not in COCO's result format: Expected `array`"),
        ({NAME: [ENTRY | {"bbox": [0, 0, 1]}]}, r"`array` of length 4.*\$\[0\]\.bbox"),
        ({NAME: [ENTRY, ENTRY | {"image_id": "5"}]}, r"Expected `int`, got `str`.*\$\[1\]\.image_id"),
        ({NAME: [ENTRY | {"score": float("nan")}]}, "not in COCO's result format"),
        ({NAME: [{k: v for k, v in ENTRY.items() if k != "score"}]}, "missing required field `score`"),
        ({NAME: [ENTRY | {"image_id": 4}]}, "images that the split does not have: 4"),
    ],
)
def test_archives_that_the_server_would_refuse_are_named(
    tmp_path: Path, files: dict[str, Any], message: str
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, json.dumps(content))
    with pytest.raises(ValueError, match=message):
        check_submission(tmp_path / "a.zip", SPLIT, IMAGES)


def test_a_cut_archive_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_submission(path, NAME, SPLIT, FOUND, IMAGES)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"a\.zip is no whole zip archive"):
        check_submission(path, SPLIT, IMAGES)


def test_the_json_file_is_named_as_the_server_wants_it(tmp_path: Path) -> None:
    for archive, name in {
        f"detections_{SPLIT}_big-one_results.zip": f"detections_{SPLIT}_big-one_results.json",
        "mine.zip": f"detections_{SPLIT}_simota-s0-1a2b_results.json",
    }.items():
        assert results_name(tmp_path / archive, SPLIT, "simota_s0/1a2b".replace("_", "-")) == name


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        ("results.json", r"results\.json must end in \.zip"),
        ("gone/a.zip", "the folder .*gone is missing"),
        (
            "detections_val2017_x_results.zip",
            "results on test-dev2017: call it detections_test-dev2017_nano_results",
        ),
        ("detections_test-dev2017_x.zip", r"call it detections_test-dev2017_nano_results\.zip"),
    ],
)
def test_archives_that_could_not_be_used_are_refused_before_anything_runs(
    tmp_path: Path, archive: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        results_name(tmp_path / archive, SPLIT, "nano")
