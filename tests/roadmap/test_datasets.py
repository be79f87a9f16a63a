"""Which dataset a command line means, and what identifies it."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadmap import annotations
from roadmap.datasets import EMBEDDED, describe_dataset, find_splits, resolve_dataset

COCO_MINI = Path(__file__).parents[3] / "shared" / "coco-mini"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("COCO_DIR", raising=False)


def _content(images: int, categories: int = 2, start: int = 1) -> dict[str, Any]:
    return {
        "info": {"description": 'a \\"file_name\\": of nothing'},
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 4, "width": 5} for i in range(images)],
        "annotations": [{"id": 1, "image_id": 0, "category_id": start, "bbox": [0, 0, 2, 2]}],
        "categories": [{"id": start + i, "name": f"c{i}"} for i in range(categories)],
    }


def _dataset(root: Path, train: int = 3, val: int = 2) -> Path:
    (root / "annotations").mkdir(parents=True)
    for split, images in (("train2017", train), ("val2017", val)):
        (root / split).mkdir()
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(_content(images)))
    return root


def test_argument_then_environment_then_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_dataset(None) is None
    first, second = _dataset(tmp_path / "one"), _dataset(tmp_path / "two")
    assert resolve_dataset(str(first)) == first
    monkeypatch.setenv("COCO_DIR", str(second))
    assert resolve_dataset(None) == second
    assert resolve_dataset(str(first)) == first
    monkeypatch.setenv("COCO_DIR", "")
    assert resolve_dataset(None) is None


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _dataset(tmp_path / "coco")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_dataset("~/coco") == root


@pytest.mark.parametrize(
    "missing",
    ["annotations/instances_train2017.json", "annotations/instances_val2017.json", "train2017", "val2017"],
)
def test_what_is_missing_is_named_with_the_layout(tmp_path: Path, missing: str) -> None:
    root = _dataset(tmp_path / "coco")
    path = root / missing
    path.unlink() if path.is_file() else path.rmdir()
    with pytest.raises(
        ValueError, match=rf"^--data: .*{re.escape(missing)}/? is missing; expected .*DIR/val2017/"
    ):
        resolve_dataset(str(root))


def test_a_folder_that_does_not_exist_names_its_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COCO_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"^COCO_DIR: .*nowhere is not a folder; expected"):
        resolve_dataset(None)


def test_the_embedded_dataset_is_its_specification() -> None:
    described = describe_dataset(None)
    assert described.name == "embedded-shapes"
    assert described.fingerprint == EMBEDDED.fingerprint
    assert (described.num_classes, described.train_images, described.val_images) == (
        len(EMBEDDED.classes),
        EMBEDDED.train_images,
        EMBEDDED.val_images,
    )
    assert not described.coco


def test_a_given_dataset_by_hand(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "mine")
    described = describe_dataset(root)
    assert (described.name, described.num_classes, described.train_images, described.val_images) == (
        "mine",
        2,
        3,
        2,
    )
    assert not described.coco
    hashes = [
        hashlib.sha256((root / "annotations" / f"instances_{s}.json").read_bytes()).hexdigest()
        for s in ("train2017", "val2017")
    ]
    assert described.fingerprint == hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def test_the_fingerprint_follows_the_contents_not_the_place(tmp_path: Path) -> None:
    one, two = _dataset(tmp_path / "a" / "coco"), _dataset(tmp_path / "b" / "coco")
    assert describe_dataset(one) == describe_dataset(two)
    path = two / "annotations" / "instances_train2017.json"
    path.write_text(path.read_text().replace("[0, 0, 2, 2]", "[0, 0, 2, 3]"))
    assert describe_dataset(one).fingerprint != describe_dataset(two).fingerprint


def test_a_changed_file_is_looked_at_again(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "mine")
    before = describe_dataset(root)
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(_content(7)))
    after = describe_dataset(root)
    assert (before.train_images, after.train_images) == (3, 7)
    assert before.fingerprint != after.fingerprint


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _dataset(tmp_path / "mine")
    before = describe_dataset(root)
    monkeypatch.setattr(annotations, "_parsed", lambda path: pytest.fail(f"{path} was read again"))
    assert describe_dataset(root) == before


def test_damaged_and_unwritable_caches_are_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _dataset(tmp_path / "mine")
    before = describe_dataset(root)
    for file in (tmp_path / "cache").rglob("*.json"):
        file.write_text('{"key": 1')
    assert describe_dataset(root) == before
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert describe_dataset(root) == before


@pytest.mark.parametrize("split", ["train2017", "val2017"])
@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not valid JSON"), ("[]", "COCO's instances layout"), ('{"images": []}', "categories")],
)
def test_broken_files_are_named(tmp_path: Path, split: str, text: str, message: str) -> None:
    root = _dataset(tmp_path / "mine")
    (root / "annotations" / f"instances_{split}.json").write_text(text)
    with pytest.raises(ValueError, match=rf"instances_{split}\.json.*{message}"):
        describe_dataset(root)


def test_a_split_without_annotations_is_refused_before_anything_is_planned(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "mine")
    content = _content(2) | {"annotations": []}
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"instances_val2017\.json lists no annotations"):
        describe_dataset(root)


def test_splits_are_found_under_the_names_that_exports_use(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for split, images in (("train", 3), ("valid", 2), ("test", 1)):
        (root / split).mkdir(parents=True)
        (root / split / "_annotations.coco.json").write_text(json.dumps(_content(images)))
    assert resolve_dataset(str(root)) == root
    assert find_splits(root) == ("train", "valid")
    described = describe_dataset(root)
    assert (described.train_images, described.val_images) == (3, 2)
    assert find_splits(root, val="test") == ("train", "test")
    assert describe_dataset(root, ("train", "test")).fingerprint != described.fingerprint


def test_the_users_split_names_in_cocos_layout(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "mine")
    (root / "annotations" / "instances_val2017.json").rename(root / "annotations" / "instances_night.json")
    (root / "val2017").rename(root / "night")
    assert resolve_dataset(str(root), val_split="night") == root
    assert find_splits(root, val="night") == ("train2017", "night")
    with pytest.raises(ValueError, match=r"instances_val2017\.json is missing"):
        resolve_dataset(str(root))
    with pytest.raises(ValueError, match=r"instances_day\.json is missing"):
        resolve_dataset(str(root), train_split="day", val_split="night")
    with pytest.raises(ValueError, match="both 'night'; give two different ones"):
        resolve_dataset(str(root), train_split="night", val_split="night")


def test_split_names_without_a_dataset_are_refused() -> None:
    with pytest.raises(ValueError, match="give --data DIR too"):
        resolve_dataset(None, val_split="test")


def test_yolos_layout_is_answered_with_the_command_that_converts_it(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: [a]")
    with pytest.raises(ValueError, match=r"YOLO's layout .*python -m studies\.convert --data .* --out"):
        resolve_dataset(str(tmp_path))


def test_splits_with_other_categories_are_refused(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "mine")
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(_content(2, start=5)))
    with pytest.raises(ValueError, match="same categories"):
        describe_dataset(root)


# Large files are skimmed, not parsed.


@pytest.fixture
def _skim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotations, "_PARSE_UP_TO", 0)
    monkeypatch.setattr(annotations, "_CHUNK", 97)


def _order(content: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: content[key] for key in keys}


@pytest.mark.usefixtures("_skim")
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("keys", list(itertools.permutations(("images", "annotations", "categories"))))
def test_skimming_finds_what_parsing_finds(
    tmp_path: Path, indent: int | None, keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(_order(_content(123, categories=30), ("info", *keys)), indent=indent))
    parsed = annotations._parsed(path)
    monkeypatch.setattr(annotations, "_parsed", lambda p: pytest.fail("there was no doubt"))
    assert annotations._skimmed(path) == parsed


@pytest.mark.usefixtures("_skim")
@pytest.mark.parametrize("doubt", ["no sizes", "extra key", "categories twice"])
def test_in_doubt_the_file_is_parsed(tmp_path: Path, doubt: str) -> None:
    root = _dataset(tmp_path / "mine")
    path = root / "annotations" / "instances_train2017.json"
    content = _content(20)
    match doubt:
        case "no sizes":
            for image in content["images"]:
                del image["height"]
        case "extra key":
            content["annotations"][0]["file_name"] = "masks.png"
        case _:
            content["info"]["categories"] = [{"id": 1, "name": "other"}]
    path.write_text(json.dumps(content))
    described = describe_dataset(root)
    assert (described.train_images, described.num_classes) == (20, 2)


@pytest.mark.usefixtures("_skim")
def test_a_large_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "mine")
    path = root / "annotations" / "instances_train2017.json"
    whole = json.dumps(_content(20))
    for length in range(1, len(whole) - 1, 211):
        path.write_text(whole[:length])
        with pytest.raises(ValueError, match=r"train2017\.json is not valid JSON"):
            describe_dataset(root)


@given(st.integers(1, 40), st.integers(30, 300), st.booleans())
def test_images_are_counted_wherever_the_file_is_cut(images: int, chunk: int, dense: bool) -> None:
    text = json.dumps(_content(images), separators=(",", ":") if dense else None)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "instances.json"
        path.write_text(text)
        patch.setattr(annotations, "_CHUNK", chunk)
        # A piece shorter than an image separates its keys: that must raise doubt, never a wrong count.
        assert annotations._skimmed(path) == annotations._parsed(path)


@pytest.mark.skipif(not COCO_MINI.is_dir(), reason="no COCO sample beside the checkout")
def test_real_coco_annotations() -> None:
    described = describe_dataset(COCO_MINI)
    assert (described.num_classes, described.train_images, described.val_images) == (80, 96, 32)
    assert not described.coco
    assert os.environ["XDG_CACHE_HOME"]
