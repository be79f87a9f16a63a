"""What check_data says about a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from roadmap import coco2017
from roadmap.annotations import read_facts
from roadmap.coco2017 import Official
from studies.check_data import inspect_dataset, main
from tests.yolox_core.data_folders import box, gradient, write_split

SPLITS = ("train2017", "val2017")
BCCD = Path(__file__).parents[3] / "shared" / "bccd"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("COCO_DIR", raising=False)


def _dataset(root: Path, train: list[dict[str, Any]] | None = None, val_blue: int = 200) -> Path:
    """Four training images and two for validation, a cat in each and a dog in some."""
    cats = [box(i, 3, [4, 4, 20, 30]) for i in (1, 2, 3, 4)]
    images: dict[str, Any] = {f"{i}.jpg": gradient(48, 64, blue=20 * i) for i in range(4)}
    write_split(root, images, [*cats, box(1, 7, [30, 4, 30, 40])] if train is None else train)
    images = {f"v{i}.jpg": gradient(48, 64, blue=val_blue + i) for i in range(2)}
    write_split(root, images, [box(1, 3, [4, 4, 20, 30]), box(2, 7, [30, 4, 30, 40])], "val2017")
    return root


def test_boxes_and_images_per_class_and_size(tmp_path: Path) -> None:
    report = inspect_dataset(_dataset(tmp_path), SPLITS)
    train = report["splits"]["train"]
    assert (train["images"], train["objects"], train["boxes_per_image"]) == (4, 5, 1.25)
    assert train["classes"] == [
        {"name": "cat", "images": 4, "boxes": 4, "small": 4, "medium": 0, "large": 0},
        {"name": "dog", "images": 1, "boxes": 1, "small": 0, "medium": 1, "large": 0},
    ]
    assert train["objects_without_mask"] == 5
    assert train["longest_side"] == {"least": 64, "median": 64, "most": 64}
    assert report["problems"] == []


def test_every_drop_has_its_reason_and_too_many_are_a_problem(tmp_path: Path) -> None:
    annotations = [box(1, 3, [4, 4, 20, 30]), box(9, 3, [0, 0, 5, 5]), box(1, 4, [0, 0, 5, 5])]
    report = inspect_dataset(_dataset(tmp_path, [*annotations, box(1, 7, [0, 0, 0, 5])]), SPLITS)
    train = report["splits"]["train"]
    assert {r: n for r, n in train["dropped"].items() if n} == {
        "unknown_image": 1,
        "unknown_category": 1,
        "empty_box": 1,
    }
    assert train["annotations_listed"] == 4
    refused, unseen = report["problems"]
    assert "3 of 4 annotations" in refused
    assert "off by one" in refused
    assert unseen == "no training box of dog, but validation boxes"


def test_unreadable_images_are_named_in_both_splits(tmp_path: Path) -> None:
    root = _dataset(tmp_path)
    for path in (root / "train2017" / "3.jpg", root / "val2017" / "v1.jpg"):
        jpeg = path.read_bytes()
        path.write_bytes(jpeg[: jpeg.index(b"\xff\xda") - 200] + b"\0" * 200 + b"\xff\xd9")
    report = inspect_dataset(root, SPLITS)
    assert report["splits"]["train"]["skipped"] == [{"file": "3.jpg", "reason": "can't be decoded"}]
    assert report["splits"]["val"]["skipped"] == [{"file": "v1.jpg", "reason": "can't be decoded"}]


def test_images_in_both_splits_are_found_whatever_their_names(tmp_path: Path) -> None:
    root = _dataset(tmp_path)
    (root / "val2017" / "v0.jpg").write_bytes((root / "train2017" / "2.jpg").read_bytes())
    report = inspect_dataset(root, SPLITS)
    assert report["duplicates"] == [{"train": "2.jpg", "val": "v0.jpg"}]
    assert "1 validation images are in the training split too" in report["problems"][0]


def test_what_is_suggested(tmp_path: Path) -> None:
    suggested = inspect_dataset(_dataset(tmp_path), SPLITS)["suggested"]
    assert suggested["image_size"] == 160, "the smallest there is, for images of 64 pixels"
    # The long side of 64 becomes 160 pixels.
    assert {shape for level in suggested["anchors"] for shape in level} == {(50, 75), (75, 100)}
    assert suggested["coverage"] == 1
    assert suggested["coverage_of_yolov3s"] < 0.9


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = _dataset(tmp_path)
    assert main(["--data", str(root)]) == 0
    text = capsys.readouterr().out
    assert "train2017: 4 images (0 without boxes), 5 boxes of 5 annotations" in text
    assert "images in both splits: none" in text
    assert "COCO 2017: no" in text
    assert text.rstrip().endswith("Nothing that a run would refuse.")
    assert main(["--data", str(root), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["val"]["images"] == 2


def test_problems_are_an_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(_dataset(tmp_path, [box(1, 3, [0, 0, 9, 9])]))]) == 1
    assert "- no training box of dog" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--data", "/nowhere"]])
def test_what_cannot_be_opened_is_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "check_data: error: --data" in capsys.readouterr().err


def test_broken_values_are_usage_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(_dataset(tmp_path, [box(1, 3, [0, 0, 9])]))]) == 2
    assert "must be four numbers" in capsys.readouterr().err


def test_an_official_file_confirms_the_content_of_its_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = _dataset(tmp_path / "official")
    official = {}
    for part, split in zip(("train", "val"), SPLITS, strict=True):
        file = root / "annotations" / f"instances_{split}.json"
        facts = read_facts(file)
        counts = (facts.images, facts.annotations, len(facts.categories))
        official[part] = Official(*counts, file.stat().st_size, [facts.sha256], [])
    monkeypatch.setattr(coco2017, "official_files", lambda: official)
    copy = _dataset(tmp_path / "copy")
    for file in (copy / "annotations").iterdir():
        file.write_text(json.dumps(json.loads(file.read_text()), indent=2, sort_keys=True))
    assert not any(part["recognised"] for part in inspect_dataset(copy, SPLITS)["coco2017"].values())
    assert main(["--data", str(root)]) == 0
    assert "train: content" in (text := capsys.readouterr().out)
    assert "official bytes; copies written anew are recognised" in text
    seen = inspect_dataset(copy, SPLITS)["coco2017"]
    assert [(p["recognised"], p["official_bytes"]) for p in seen.values()] == [(True, False)] * 2


@pytest.mark.skipif(not BCCD.is_dir(), reason="no blood cells beside the checkout")
def test_on_real_photographs() -> None:
    report = inspect_dataset(BCCD, SPLITS)
    train = report["splits"]["train"]
    assert (train["images"], train["objects"], train["annotations_listed"]) == (292, 3941, 3943)
    assert train["dropped"]["empty_box"] == 2
    assert [c["boxes"] for c in train["classes"]] == [292, 3348, 301]
    assert report["suggested"]["image_size"] == 640
    assert report["suggested"]["coverage"] > report["suggested"]["coverage_of_yolov3s"] + 0.1
    assert not report["problems"]
