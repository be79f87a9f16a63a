"""Pascal VOC's layout, converted once."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from roadmap.datasets import find_splits
from studies.convert import main
from tests.yolox_core.data_folders import gradient
from yolox_core.data.coco import open_splits
from yolox_core.data.converting import convert
from yolox_core.data.voc import read_voc


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def box(name: str, corners: str, more: str = "") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), corners.split(), strict=True)
    inside = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return f"<object><name>{name}</name>{more}<bndbox>{inside}</bndbox></object>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images a to c of 64 x 48: a and b for training, c for the test."""
    root = tmp_path / "voc"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    objects = {
        "a": box("dog", "10 12 30 40") + box("cat", "1 1 64 48", "<difficult>1</difficult>"),
        "b": "",
        "c": box("cat", "0 0 20.5 10", "<difficult> 0 </difficult>"),
    }
    for name, text in objects.items():
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{text}</annotation>")
        cv2.imwrite(str(root / "JPEGImages" / f"{name}.jpg"), gradient(48, 64))
    for name, text in (("trainval", "a\nb\n"), ("train", "a\n"), ("val", "b\n"), ("test", "c\n\n")):
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    return root


def test_boxes_and_difficult_ones_by_hand(root: Path, tmp_path: Path) -> None:
    counts = convert(read_voc(root), tmp_path / "out")
    assert counts == {
        "train": {"images": 2, "boxes": 2, "difficult": 1, "upright": 0},
        "val": {"images": 1, "boxes": 1, "difficult": 0, "upright": 0},
    }
    content = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    assert [(row["bbox"], row["category_id"], row["iscrowd"]) for row in content["annotations"]] == [
        ([10, 12, 20, 28], 2, 0), ([1, 1, 63, 47], 1, 1),
    ]  # fmt: skip
    train, val = open_splits(tmp_path / "out", find_splits(tmp_path / "out"))
    assert train.class_names == val.class_names == ("cat", "dog")
    assert train.objects(0).boxes_xyxy.tolist() == [[10, 12, 30, 40]], "what is difficult is not learnt"
    assert val.objects(0).boxes_xyxy.tolist() == [[0, 0, 20.5, 10]]


def test_the_lists_that_are_there_or_asked_for(root: Path) -> None:
    def stems(*lists: str) -> list[list[str]]:
        return [[image.stem for image in images] for images in read_voc(root, *lists).images.values()]

    assert stems("train", "test") == [["a"], ["c"]]
    (root / "ImageSets" / "Main" / "test.txt").unlink()
    (root / "ImageSets" / "Main" / "val.txt").write_text("b  1\n")  # as the lists of one class have
    assert stems() == [["a"], ["b"]]
    with pytest.raises(ValueError, match=r"test\.txt is missing; there are train, trainval, val"):
        stems("train", "test")
    with pytest.raises(ValueError, match="trainval and val share 1 images, as b"):
        stems("trainval", "val")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "a.xml is no readable XML"),
        (f"<annotation>{box('', '1 1 2 2')}</annotation>", "a.xml: an object has no name"),
        (f"<annotation>{box('cat', '1 x 2 2')}</annotation>", "a.xml: bndbox/ymin is no number: x"),
        (f"<annotation>{box('cat', '1 1 nan 2')}</annotation>", "is not inside 64 x 48 pixels"),
        (f"<annotation>{box('cat', '9 1 2 2')}</annotation>", "is not inside 64 x 48 pixels"),
        (f"<annotation>{box('cat', '1 1 2 2').replace('bndbox', 'box')}</annotation>", "no bndbox/xmin"),
    ],
)
def test_a_broken_annotation_is_named(root: Path, tmp_path: Path, text: str, message: str) -> None:
    (root / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(ValueError, match=message):
        convert(read_voc(root), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(root), "--out", str(tmp_path / "out")]) == 0
    assert "train: 2 images, 2 boxes, 1 of them difficult" in capsys.readouterr().out
    with pytest.raises(ValueError, match="is in Pascal VOC's layout"):
        find_splits(root)
    (root / "JPEGImages" / "c.jpg").unlink()
    assert main(["--data", str(root), "--out", str(tmp_path / "new")]) == 2
    assert "c.jpg is missing" in capsys.readouterr().err
    (root / "data.yaml").touch()
    yolo = ["--data", str(root / "data.yaml"), "--out", str(tmp_path / "new"), "--val-split", "test"]
    assert main(yolo) == 2
    assert "names its splits itself" in capsys.readouterr().err
