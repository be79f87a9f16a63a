"""YOLO's layout, converted once."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from roadmap.datasets import describe_dataset, find_splits
from studies.convert import main
from tests.yolox_core.data_folders import gradient
from yolox_core.data.coco import CocoDataset, open_splits
from yolox_core.data.converting import convert
from yolox_core.data.yolo import find_yaml, read_labels, read_yaml

BCCD = Path(__file__).parents[3] / "shared" / "bccd"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


YAML = "path: {root}\ntrain: images/train\nval: images/val\nnc: 2\nnames: [cat, dog]\n"


def _dataset(root: Path, yaml: str = YAML) -> Path:
    """Three training images of 64 x 48 (the last without a text file) and one for validation."""
    for split, names in (("train", "abc"), ("val", "d")):
        (root / "images" / split).mkdir(parents=True)
        (root / "labels" / split).mkdir(parents=True)
        for name in names:
            cv2.imwrite(str(root / "images" / split / f"{name}.jpg"), gradient(48, 64))
    (root / "labels" / "train" / "a.txt").write_text("1 0.5 0.5 0.25 0.5\n\n0 0.125 0.25 0.25 0.5\n")
    (root / "labels" / "train" / "b.txt").write_text("0 0.25 0.25 0.75 0.25 0.5 1\n")
    (root / "labels" / "val" / "d.txt").write_text("1 0.5 0.5 1 1\n")
    (root / "data.yaml").write_text(yaml.format(root=root))
    return root


def test_boxes_outlines_and_empty_images_by_hand(tmp_path: Path) -> None:
    out = tmp_path / "out"
    counts = convert(read_yaml(find_yaml(_dataset(tmp_path / "yolo"))), out)
    assert counts["train"] == {"images": 3, "boxes": 3, "difficult": 0, "upright": 0}
    assert find_splits(out) == ("train", "val")
    described = describe_dataset(out)
    assert (described.train_images, described.val_images, described.num_classes) == (3, 1, 2)
    train, val = open_splits(out, find_splits(out))
    assert train.class_names == ("cat", "dog")
    boxes, labels = train.objects(0)
    assert boxes.tolist() == [[24, 12, 40, 36], [0, 0, 16, 24]]
    assert labels.tolist() == [1, 0]
    assert train.objects(1).boxes_xyxy.tolist() == [[16, 12, 48, 48]], "the outline's box"
    assert len(train.objects(2).labels) == 0
    assert abs(val.load_image(0).astype(int) - gradient(48, 64)).max() < 9


@pytest.mark.parametrize(
    "yaml",
    [
        "train: ../images/train\nval: ../images/val\nnames: [cat, dog]\n",
        "path: /on/another/machine\ntrain: images/train\nval: images/val\nnames: {{0: cat, 1: dog}}\n",
        "train: train.txt\nval: [images/val]\nnames: [cat, dog]\n",
    ],
)
def test_the_ways_in_which_people_write_it(tmp_path: Path, yaml: str) -> None:
    root = _dataset(tmp_path / "yolo", yaml)
    (root / "train.txt").write_text("./images/train/a.jpg\nimages/train/b.jpg\n\nimages/train/c.jpg\n")
    counts = convert(read_yaml(find_yaml(root)), tmp_path / "out")
    assert counts["train"] == {"images": 3, "boxes": 3, "difficult": 0, "upright": 0}


def test_images_of_one_name_in_two_folders_stay_apart(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "yolo", "train: [images/train, images/val]\nval: images/val\nnames: [a, b]\n")
    (root / "images" / "val" / "d.jpg").rename(root / "images" / "val" / "a.jpg")
    (root / "labels" / "val" / "d.txt").rename(root / "labels" / "val" / "a.txt")
    convert(read_yaml(find_yaml(root)), tmp_path / "out")
    train = CocoDataset(tmp_path / "out", "train")
    assert [train.name(i) for i in range(4)] == ["a.jpg", "b.jpg", "c.jpg", "4-a.jpg"]
    assert train.objects(3).boxes_xyxy.tolist() == [[0, 0, 64, 48]]


def test_links_or_copies(tmp_path: Path) -> None:
    dataset = read_yaml(find_yaml(_dataset(tmp_path / "yolo")))
    convert(dataset, tmp_path / "linked")
    convert(dataset, tmp_path / "copied", copy=True)
    assert (tmp_path / "linked" / "train" / "a.jpg").is_symlink()
    assert not (tmp_path / "copied" / "train" / "a.jpg").is_symlink()
    original = (tmp_path / "yolo" / "images" / "train" / "a.jpg").read_bytes()
    for folder in ("linked", "copied"):
        assert (tmp_path / folder / "train" / "a.jpg").read_bytes() == original


def test_boxes_of_a_rotated_photograph_refer_to_what_viewers_show(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "yolo")
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:, :16] = 255  # the left of the stored pixels is the top of what viewers show
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(root / "images" / "train" / "a.jpg", exif=exif, quality=98)
    (root / "labels" / "train" / "a.txt").write_text("0 0.5 0.125 1 0.25\n")
    assert convert(read_yaml(find_yaml(root)), tmp_path / "out")["train"]["upright"] == 1
    train = CocoDataset(tmp_path / "out", "train")
    assert train.size(0) == (64, 48)
    x1, y1, x2, y2 = train.objects(0).boxes_xyxy[0].astype(int)
    image = train.load_image(0)
    assert image[y1 : y2 - 1, x1:x2].mean() > 240
    assert image[y2 + 1 :].mean() < 15


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "class 2 is none of the 2 classes"),
        ("-1 0.5 0.5 0.1 0.1", "class -1 is none"),
        ("0.5 0.5 0.5 0.1 0.1", r"class 0\.5 is none"),
        ("0 0.5 0.5 0.1", "3 numbers after the class"),
        ("0 0.5 0.5 0.1 0.1 0.3", "5 numbers after the class"),
        ("0 320 240 50 60", "positions are shares of the image"),
        ("0 nan 0.5 0.1 0.1", "positions are shares"),
        ("cat 0.5 0.5 0.1 0.1", "could not convert string to float: 'cat'"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    root = _dataset(tmp_path / "yolo")
    (root / "labels" / "train" / "a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(ValueError, match=rf"a\.txt, line 2: .*{message}"):
        convert(read_yaml(find_yaml(root)), tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir() if "out" in p.name] == [], "nothing half-made is left"


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("train: images/train\nval: images/val\n", "names must list the classes"),
        ("train: images/train\nval: images/val\nnc: 3\nnames: [a, b]\n", "nc is 3, but names lists 2"),
        ("train: images/train\nval: images/val\nnames: {{1: a}}\n", "numbered from 0"),
        ("train: images/train\nnames: [a, b]\n", "no images for 'val'"),
        ("train: nowhere\nval: images/val\nnames: [a, b]\n", "nowhere is neither a folder"),
        ("- train\n", "must hold keys"),
        ("a: [\n", "not readable YAML"),
    ],
)
def test_a_broken_data_yaml_is_named(tmp_path: Path, yaml: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"data\.yaml.*{message}"):
        read_yaml(find_yaml(_dataset(tmp_path / "yolo", yaml)))


def test_an_unreadable_image_and_a_folder_in_use_are_named(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "yolo")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "precious").touch()
    with pytest.raises(ValueError, match="used exists already"):
        convert(read_yaml(find_yaml(root)), tmp_path / "used")
    (root / "images" / "train" / "b.jpg").write_text("no image")
    with pytest.raises(ValueError, match=r"b\.jpg is no readable image"):
        convert(read_yaml(find_yaml(root)), tmp_path / "out")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = _dataset(tmp_path / "yolo")
    arguments = ["--data", str(root), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"]["train"]["boxes"] == 3
    assert main(arguments) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "new")]) == 2
    assert "has no data.yaml" in capsys.readouterr().err


@pytest.mark.skipif(not BCCD.is_dir(), reason="no blood cells beside the checkout")
def test_real_photographs_there_and_back(tmp_path: Path) -> None:
    original = CocoDataset(BCCD, "val2017")
    root = tmp_path / "yolo"
    for folder in ("images", "labels"):
        (root / "val" / folder).mkdir(parents=True)
    for index in range(len(original)):
        name = original.name(index)
        height, width = original.size(index)
        (root / "val" / "images" / name).symlink_to(BCCD / "val2017" / name)
        boxes, labels = original.objects(index)
        shares = boxes.astype(float) / (width, height, width, height)
        lines = [
            f"{label} {(x1 + x2) / 2} {(y1 + y2) / 2} {x2 - x1} {y2 - y1}"
            for label, (x1, y1, x2, y2) in zip(labels, shares, strict=True)
        ]
        (root / "val" / "labels" / f"{Path(name).stem}.txt").write_text("\n".join(lines))
    names = list(original.class_names)
    (root / "data.yaml").write_text(f"train: ../val/images\nval: ../val/images\nnames: {names}\n")
    convert(read_yaml(find_yaml(root)), tmp_path / "out")
    again = CocoDataset(tmp_path / "out", "val")
    assert (len(again), again.class_names) == (len(original), original.class_names)
    for index in range(len(original)):
        assert again.name(index) == original.name(index)
        assert again.objects(index).labels.tolist() == original.objects(index).labels.tolist()
        assert again.objects(index).boxes_xyxy == pytest.approx(original.objects(index).boxes_xyxy, abs=0.02)


def test_labels_of_a_missing_file_are_none(tmp_path: Path) -> None:
    assert list(read_labels(tmp_path / "none.txt", 10, 10, 1)) == []
