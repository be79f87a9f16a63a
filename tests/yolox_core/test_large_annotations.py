"""Annotation files too large to be parsed as a whole: read piece by piece, kept packed, the same objects."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolox_core.data import annotations, packed_annotations
from yolox_core.data.annotations import Annotations, read_annotations
from yolox_core.data.json_pieces import PieceReader, UnusualFileError
from yolox_core.data.masks import PackedMasks
from yolox_core.data.packed_annotations import open_annotations

ARRAYS = ("ids", "sizes", "names", "category_ids", "offsets", "boxes_xyxy", "labels")

# Everything a reader could trip over at the end of a piece: braces in texts, objects in objects.
MASKS = (
    [[1, 2, 30, 4, 5, 26]],
    {"counts": [1, 2], "size": [3, 4]},
    {"counts": [50, 500, 1450], "size": [40, 50]},
    [{"a": {"b": 1}}, {"c": 2}],
)
TEXTS = ('},{"id": 1', "}]", '"', "\\", "ü}", "],")


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    images = [
        {"id": i, "file_name": f"{i}{draw(st.sampled_from(TEXTS))}.jpg", "height": 40, "width": 50, "x": {}}
        for i in range(1, draw(st.integers(1, 6)) + 1)
    ]
    numbers = st.one_of(st.integers(-10, 60), st.floats(-10, 60, width=32))
    objects = [
        {
            "id": i,
            "image_id": draw(st.integers(0, 6)),
            "category_id": draw(st.integers(1, 4)),
            "bbox": draw(st.lists(numbers, min_size=4, max_size=4)),
            "segmentation": draw(st.sampled_from(MASKS)),
            "iscrowd": draw(st.sampled_from((0, 1, True))),
            "note": draw(st.sampled_from(TEXTS)),
        }
        for i in range(draw(st.integers(0, 12)))
    ]
    parts = {
        "info": {"annotations": "none", "images": [{"id": 9}]},
        "images": images,
        "annotations": objects,
        "categories": [{"id": 3, "name": "cat"}, {"id": 1, "name": "images"}],
        "licenses": [{"id": 1}, {"id": 2}],
    }
    return {name: parts[name] for name in draw(st.permutations(sorted(parts)))}


def same(one: Annotations, other: Annotations) -> bool:
    return (
        all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAYS)
        and one.dropped == other.dropped
        and one.class_names == other.class_names
        and (one.masks is None) == (other.masks is None)
        and (one.masks is None or other.masks is None or codes(one.masks) == codes(other.masks))
    )


def codes(masks: PackedMasks) -> list[bytes]:
    return [masks.codes[s : s + n].tobytes() for s, n in zip(masks.starts, masks.lengths, strict=True)]


@given(documents(), st.integers(40, 900), st.sampled_from([None, 1]), st.booleans())
def test_piece_by_piece_or_as_a_whole_the_same_objects(
    tmp_path_factory: pytest.TempPathFactory,
    document: dict[str, Any],
    piece: int,
    indent: int | None,
    masks: bool,
) -> None:
    path = tmp_path_factory.mktemp("a") / "instances.json"
    path.write_text(json.dumps(document, indent=indent))
    whole = read_annotations(path, masks)
    assert (whole.masks is not None) == masks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotations, "LARGE", 0)
        patch.setattr(annotations, "PieceReader", lambda path: PieceReader(path, piece))
        assert same(read_annotations(path, masks), whole)


def plain(objects: int = 50) -> dict[str, Any]:
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": 40, "width": 50} for i in range(1, 6)],
        "annotations": [
            {"id": i, "image_id": 1 + i % 5, "category_id": 1 + i % 2, "bbox": [i % 30, 3, 5, 6]}
            for i in range(objects)
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def test_an_ordinary_file_is_taken_apart(tmp_path: Path) -> None:
    """The equality above must not hold because every file falls back to being read as a whole."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps(plain()))
    reader = PieceReader(path, 400)
    assert sum(len(piece) for piece in reader.images()) == 5
    pieces = list(reader.objects())
    assert sum(map(len, pieces)) == 50
    assert len(pieces) > 5
    assert reader.rest() == {"images": [], "annotations": [], "categories": plain()["categories"]}


@pytest.mark.parametrize(
    "text",
    [
        '{"images": [{"id": 1, "file_name": "a", "height": 1, "width": 1}], "annotations": [{"image_id": 1',
        '{"images": [{"id": "x", "file_name": "a"}], "annotations": [], "categories": []}',
        '{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "bbox": [1, 2]}]}',
        '{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 1, "bbox": [NaN, 2, 3, 4]}]}',
        '{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 9223372036854775808, '
        '"category_id": 1, "bbox": [1, 2, 3, 4]}], "categories": []}',
        '{"images": [{"id": -9223372036854775809, "file_name": "a"}], "annotations": [], "categories": []}',
        '{"a": {"images": [{"id": 1, "file_name": "a"}], "annotations": []}}',
        '{"images": [{"id": 1, "file_name": "a"}]}',
        "[]",
        "",
    ],
)
def test_what_is_unusual_is_left_to_the_careful_reader(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)

    def read() -> None:
        reader = PieceReader(path, 200)
        for _ in reader.images():
            pass
        for _ in reader.objects():
            pass
        reader.rest()

    with pytest.raises(UnusualFileError):
        read()


def test_the_careful_reader_says_what_is_wrong_with_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotations, "LARGE", 0)
    document = plain()
    document["annotations"][3]["bbox"] = [1, "2", 3, 4]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"annotation 3 of image 4: bbox must be four numbers"):
        read_annotations(path)
    document = plain()
    document["images"][0]["file_name"] = "../../etc/passwd"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="leaves the image folder"):
        read_annotations(path)


def test_an_id_beyond_64_bits_is_named_in_a_large_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotations, "LARGE", 0)
    document = plain()
    document["annotations"][3]["image_id"] = 2**63
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"a\.json: image_id 9223372036854775808 is no whole number"):
        read_annotations(path)


@pytest.mark.parametrize("piece", [400, 1 << 20])
def test_images_are_sorted_once_however_many_pieces_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    """Once per piece, the time would grow with the images times the annotations."""
    sort, sorted_images = np.argsort, []

    def counted(values: Any, **options: Any) -> Any:
        sorted_images.extend([len(values)] if len(values) == 5 else [])
        return sort(values, **options)

    monkeypatch.setattr(annotations, "LARGE", 0)
    monkeypatch.setattr(annotations, "PieceReader", lambda path: PieceReader(path, piece))
    monkeypatch.setattr(np, "argsort", counted)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(plain()))
    assert len(read_annotations(path).labels) == 50
    assert len(sorted_images) == 1


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module in (annotations, packed_annotations):
        monkeypatch.setattr(module, "LARGE", 0)
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(plain()))
    return path


def test_a_large_file_is_parsed_once_and_mapped_after(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_annotations(large)
    assert same(first, read_annotations(large))
    with monkeypatch.context() as patch:
        patch.setattr(packed_annotations, "read_annotations", lambda path: pytest.fail("parsed again"))
        again = open_annotations(large)
    assert same(again, first)
    assert isinstance(again.boxes_xyxy, np.memmap)


@pytest.mark.parametrize("mask", [None, [[1, 2, 30, 4, 5, 26]]])
def test_masks_are_kept_apart_and_mapped_too(large: Path, mask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    document = plain()
    for annotation in document["annotations"]:
        annotation["segmentation"] = mask
    large.write_text(json.dumps(document))
    first = open_annotations(large, masks=True)
    assert open_annotations(large).masks is None
    monkeypatch.setattr(packed_annotations, "read_annotations", lambda *_: pytest.fail("parsed again"))
    again = open_annotations(large, masks=True)
    assert same(again, first)
    assert again.masks is not None
    assert isinstance(again.masks.codes, np.memmap)
    assert again.masks.missing == (50 if mask is None else 0)


def test_a_file_that_changed_is_parsed_again(large: Path) -> None:
    open_annotations(large)
    large.write_text(json.dumps(plain(objects=7)))
    os.utime(large, ns=(1, 1))
    assert len(open_annotations(large).labels) == 7


def test_a_damaged_or_unwritable_cache_is_no_error(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_annotations(large)
    expected = read_annotations(large)
    (boxes,) = (tmp_path / "cache").rglob("boxes_xyxy.npy")
    os.truncate(boxes, 20)
    assert same(open_annotations(large), expected)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert same(open_annotations(large), expected)
