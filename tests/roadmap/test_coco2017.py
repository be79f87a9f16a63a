"""COCO is recognised by its bytes or its content, never by its counts."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadmap import coco2017
from roadmap.annotations import read_facts
from roadmap.coco2017 import Official, confirm, content_hash, is_official, official_files
from roadmap.datasets import describe_dataset


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def _content() -> dict[str, Any]:
    return {
        "info": {"year": 2017},
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 4, "width": 5 + i} for i in range(4)],
        "annotations": [
            {
                "segmentation": [[1, 2, 3]],
                "id": i,
                "image_id": i % 4,
                "category_id": 1 + i % 2,
                "bbox": [0.5, 1.0, 2.25, i + 1.0],
                "area": 4.5,
                "iscrowd": int(i == 3),
            }
            for i in range(6)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog", "supercategory": "animal"}],
    }


def _write(path: Path, content: dict[str, Any], **style: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, **style))
    return path


def _official(path: Path, **changes: Any) -> Official:
    facts = read_facts(path)
    known = Official(
        facts.images, facts.annotations, len(facts.categories), path.stat().st_size, [facts.sha256], []
    )
    return replace(known, **changes)


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that plays the official one, of both parts."""
    path = _write(tmp_path / "official" / "instances.json", _content())
    official = _official(path)
    monkeypatch.setattr(coco2017, "official_files", lambda: {"train": official, "val": official})
    return path


def _recognised(path: Path) -> bool:
    return is_official("train", path, read_facts(path))


def test_the_published_facts() -> None:
    train, val = official_files()["train"], official_files()["val"]
    assert (train.images, train.annotations, train.categories, train.bytes) == (118287, 860001, 80, 469785474)
    assert (val.images, val.annotations, val.categories, val.bytes) == (5000, 36781, 80, 19987840)
    for official in (train, val):
        assert all(len(digest) == 64 and int(digest, 16) for digest in official.sha256)


def test_official_bytes_are_recognised(original: Path) -> None:
    assert _recognised(original)


def test_cocos_counts_alone_are_not_coco(tmp_path: Path) -> None:
    for split, official in zip(("train2017", "val2017"), official_files().values(), strict=True):
        content = {
            "images": [
                {"id": i, "file_name": f"{i}.jpg", "height": 9, "width": 9} for i in range(official.images)
            ],
            # The official number of annotations would take a second to write; the image counts once sufficed.
            "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [0, 0, 2, 2]}],
            "categories": [{"id": i, "name": f"c{i}"} for i in range(official.categories)],
        }
        _write(tmp_path / "coco" / "annotations" / f"instances_{split}.json", content)
        (tmp_path / "coco" / split).mkdir()
    described = describe_dataset(tmp_path / "coco")
    assert (described.train_images, described.val_images, described.num_classes) == (118287, 5000, 80)
    assert not described.coco


def test_all_three_counts_and_another_content_are_not_coco(original: Path) -> None:
    content = _content()
    content["annotations"][0]["bbox"][0] = 0.75
    confirm("train", original, read_facts(original))
    assert not _recognised(_write(original.with_name("other.json"), content))


def _shuffled(content: dict[str, Any]) -> dict[str, Any]:
    for part in ("images", "annotations", "categories"):
        random.Random(1).shuffle(content[part])
    return dict(reversed(content.items()))


def _without_masks(content: dict[str, Any]) -> dict[str, Any]:
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    return content


def _short_numbers(content: dict[str, Any]) -> dict[str, Any]:
    for annotation in content["annotations"]:
        annotation["bbox"] = [int(s) if s == int(s) else s for s in annotation["bbox"]]
    return content


def _renumbered(content: dict[str, Any]) -> dict[str, Any]:
    for number, annotation in enumerate(content["annotations"]):
        annotation["id"] = number + 1000
    return content


@pytest.mark.parametrize("rewrite", [dict, _shuffled, _without_masks, _short_numbers, _renumbered])
def test_a_file_written_anew_is_recognised_once_the_official_one_was_seen(
    original: Path, rewrite: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    copy = _write(original.with_name("copy.json"), rewrite(_content()), indent=1)
    assert not _recognised(copy), "nobody has vouched for this content yet"
    assert confirm("train", copy, read_facts(copy)) == content_hash(original)
    assert not _recognised(copy), "a copy cannot vouch for itself"
    confirm("train", original, read_facts(original))
    assert _recognised(copy)
    assert not is_official("val", copy, read_facts(copy)), "train's content says nothing about val's"


def test_a_content_pinned_in_the_repository_needs_no_original(
    original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = _write(original.with_name("copy.json"), _shuffled(_content()))
    pinned = {"train": _official(original, contents=[content_hash(original)])}
    monkeypatch.setattr(coco2017, "official_files", lambda: pinned)
    assert _recognised(copy)


def _more_boxes(content: dict[str, Any]) -> None:
    content["annotations"].append(content["annotations"][0])


def _another_name(content: dict[str, Any]) -> None:
    content["categories"][0]["name"] = "lynx"


def _another_size(content: dict[str, Any]) -> None:
    content["images"][0]["width"] += 1


def _no_crowd(content: dict[str, Any]) -> None:
    content["annotations"][3]["iscrowd"] = 0


def _another_image(content: dict[str, Any]) -> None:
    content["annotations"][0]["image_id"] = 1


def _another_area(content: dict[str, Any]) -> None:
    content["annotations"][0]["area"] = 5


@pytest.mark.parametrize(
    "change", [_another_area, _more_boxes, _another_name, _another_size, _no_crowd, _another_image]
)
def test_the_content_hash_follows_everything_that_training_and_evaluation_read(
    tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    content = _content()
    before = content_hash(_write(tmp_path / "a.json", content))
    change(content)
    assert content_hash(_write(tmp_path / "b.json", content)) != before


def test_the_content_hash_by_hand(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 7, "width": 640, "height": 480, "file_name": "x.jpg"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2.5, 30, 40], "area": 9}],
        "categories": [{"id": 3, "name": "WBC"}],
    }
    lines = "box 7 3 0 1.0 2.5 30.0 40.0 9.0\ncategory 3 WBC\nimage 7 640 480"
    assert content_hash(_write(tmp_path / "a.json", content)) == hashlib.sha256(lines.encode()).hexdigest()


def test_a_damaged_memory_of_confirmed_contents_is_no_error(original: Path) -> None:
    confirm("train", original, read_facts(original))
    coco2017.confirmed_file().write_text("[1")
    copy = _write(original.with_name("copy.json"), _shuffled(_content()))
    assert not _recognised(copy)
    confirm("train", original, read_facts(original))
    assert _recognised(copy)


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.json is not in COCO's instances layout"):
        content_hash(_write(tmp_path / "a.json", _content() | {"annotations": [{"bbox": [1, 2, 3]}]}))
