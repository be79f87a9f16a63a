"""Instance masks: three ways to write one, packed beside their boxes, and never taken from what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from tests.yolox_core.data_folders import box, gradient, make_dataset, write_split
from yolox_core.augmentation.sample import Mask
from yolox_core.data.coco import CocoDataset
from yolox_core.data.masks import encode_mask, join_masks, pack_masks

# Columns 2 to 4 and rows 1 to 3 of an image of 6 × 5 pixels; codes run down the columns.
RECTANGLE = [[2, 1, 5, 1, 5, 4, 2, 4]]
RUNS = {"size": [5, 6], "counts": [11, 3, 2, 3, 2, 3, 6]}
COMPRESSED = {"size": [5, 6], "counts": coco_mask.frPyObjects(RUNS, 5, 6)["counts"].decode()}


def decoded(code: bytes, height: int, width: int) -> Mask | None:
    return pack_masks([code]).decode(0, height, width)


@pytest.mark.parametrize("segmentation", [RECTANGLE, RUNS, COMPRESSED], ids=["polygon", "runs", "compressed"])
def test_three_ways_to_write_a_rectangle(segmentation: Any) -> None:
    mask = decoded(encode_mask(segmentation, 5, 6), 5, 6)
    assert mask is not None
    assert (mask.left, mask.top) == (2, 1)
    assert mask.pixels.tolist() == [[1, 1, 1]] * 3


def test_several_polygons_are_one_mask() -> None:
    mask = decoded(encode_mask([[0, 0, 2, 0, 2, 2, 0, 2], [4, 3, 6, 3, 6, 5, 4, 5]], 5, 6), 5, 6)
    assert mask is not None
    expected = np.zeros((5, 6), np.uint8)
    expected[:2, :2] = expected[3:, 4:] = 1
    assert (mask.pixels == expected).all()


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1)))
def test_any_mask_comes_back(pixels: np.ndarray) -> None:
    height, width = pixels.shape
    code = coco_mask.encode(np.asfortranarray(pixels))
    runs = np.diff(np.flatnonzero(np.diff(pixels.T.ravel(), prepend=0, append=2)), prepend=0).tolist()
    listed = encode_mask({"size": [height, width], "counts": runs}, height, width)
    assert encode_mask({"size": [height, width], "counts": code["counts"].decode()}, height, width) == listed
    mask = decoded(listed, height, width)
    assert (mask is not None) == pixels.any()
    if mask is not None:
        whole = np.zeros_like(pixels)
        whole[mask.top :, mask.left :][: mask.pixels.shape[0], : mask.pixels.shape[1]] = mask.pixels
        assert (whole == pixels).all()
        assert mask.pixels[[0, -1]].any(axis=1).all()
        assert mask.pixels[:, [0, -1]].any(axis=0).all()


BROKEN: list[Any] = [
    None, [], {}, [[]], "text", 7, [[1, 2, 3, 4]], [[1, 2, "a", 4, 5, 6]], [[1e9, 0, 1, 0, 1, 1]], [{"a": 1}],
    [[float("nan"), 0, 1, 0, 1, 1]], [[float("inf"), 0, 1, 0, 1, 1]], [1, 2, 3, 4, 5, 6],
    {"size": [6, 5], "counts": RUNS["counts"]}, {"size": [5, 6]}, {"counts": [30]},
    {"size": 5, "counts": [30]},
    {"size": [5, 6], "counts": [11, 3]}, {"size": [5, 6], "counts": [11, 300]},
    {"size": [5, 6], "counts": [11, -3, 22]}, {"size": [5, 6], "counts": [30]},
    {"size": [5, 6], "counts": "34"},
    {"size": [5, 6], "counts": COMPRESSED["counts"][:-1]}, {"size": [5, 6], "counts": ""},
    {"size": [5, 6], "counts": "\x00\xff"}, {"size": [5, 6], "counts": "oooooooooooo"},
    {"size": [5, 6], "counts": "PPPPPPPPPPPP0"}, {"size": [5, 6], "counts": {"a": 1}},
]  # fmt: skip


@pytest.mark.parametrize("segmentation", BROKEN, ids=repr)
def test_what_is_no_mask_of_its_image_is_none(segmentation: Any) -> None:
    """pycocotools would read beyond a code that ends too soon, and take four numbers for a box."""
    assert encode_mask(segmentation, 5, 6) == b""
    assert decoded(b"", 5, 6) is None


def test_of_an_image_of_unknown_size_nothing_is_a_mask() -> None:
    assert encode_mask(RECTANGLE, 0, 0) == b""


@given(st.text(alphabet=[chr(c) for c in range(48, 112)], max_size=12))
def test_any_text_is_a_code_of_its_image_or_none(text: str) -> None:
    """What is accepted is read as pycocotools reads it."""
    code = encode_mask({"size": [5, 6], "counts": text}, 5, 6)
    mask = decoded(code, 5, 6)
    assert (mask is None) == (code == b"")
    if mask is not None:
        assert mask.pixels.sum() == coco_mask.area({"size": [5, 6], "counts": code})
        whole = np.zeros((5, 6), np.uint8, order="F")
        whole[mask.top :, mask.left :][: mask.pixels.shape[0], : mask.pixels.shape[1]] = mask.pixels
        assert coco_mask.iou([coco_mask.encode(whole)], [{"size": [5, 6], "counts": code}], [0]) == 1


def test_joined_and_selected_masks_keep_their_codes() -> None:
    parts = [pack_masks([b"a", b"", b"bcd"]), pack_masks([]), pack_masks([b"ef"])]
    joined = join_masks(parts)

    def codes(masks: Any) -> list[bytes]:
        return [masks.codes[s : s + n].tobytes() for s, n in zip(masks.starts, masks.lengths, strict=True)]

    assert codes(joined) == [b"a", b"", b"bcd", b"ef"]
    assert joined.missing == 1
    assert codes(joined.select(np.array([3, 0, 2]))) == [b"ef", b"a", b"bcd"]
    assert codes(joined.select(np.array([False, True, True, False]))) == [b"", b"bcd"]


# In a dataset


def _square(left: int, top: int, side: int = 4) -> dict[str, Any]:
    """Box and mask of a square."""
    right, bottom = left + side, top + side
    return {
        "bbox": [left, top, side, side],
        "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
    }


def test_masks_stay_with_their_objects_whatever_is_left_out(tmp_path: Path) -> None:
    """Annotations in no order; a crowd, a box without area, unknown ids, and an image that is missing."""
    names = {f"{i}.jpg": gradient(48, 64) for i in range(1, 25)}
    annotations = [
        box(3, 7, []) | _square(30, 10),
        box(1, 3, []) | _square(2, 4) | {"iscrowd": 1},
        box(1, 3, []) | _square(5, 6),
        box(99, 3, []) | _square(7, 7),
        box(3, 8, []) | _square(9, 9),
        box(2, 3, []) | _square(11, 3),
        box(3, 3, [1, 1, 0, 4]) | {"segmentation": _square(1, 1)["segmentation"]},
        box(1, 7, []) | _square(40, 20, 8),
        box(3, 3, [20, 20, 6, 6]),
    ]
    images: dict[str, Any] = dict(names) | {"2.jpg": None}
    data = CocoDataset(write_split(tmp_path, images, annotations), "train2017", masks=True)
    assert [skipped.name for skipped in data.skipped] == ["2.jpg"]
    shown = [
        (label, tuple(edges), mask and (mask.left, mask.top, *mask.pixels.shape))
        for index in range(len(data))
        for number, (edges, label) in enumerate(
            zip(*map(np.ndarray.tolist, data.objects(index)), strict=True)
        )
        for mask in [data.mask(index, number)]
    ]
    assert shown == [
        (0, (5, 6, 9, 10), (5, 6, 4, 4)),
        (1, (40, 20, 48, 28), (40, 20, 8, 8)),
        (1, (30, 10, 34, 14), (30, 10, 4, 4)),
        (0, (20, 20, 26, 26), None),
    ]
    assert data.summary()["objects_without_mask"] == 1


def test_a_dataset_without_masks_is_refused_with_what_to_do(tmp_path: Path) -> None:
    data = make_dataset(tmp_path)
    assert "objects_without_mask" not in data.summary()
    with pytest.raises(ValueError, match="was opened without masks"):
        data.mask(1, 0)
    opened = CocoDataset(tmp_path, "train2017", masks=True)
    assert opened.mask(1, 0) is None
    with pytest.raises(
        ValueError, match=r"7 of 7 objects in .*json have no mask.* segmentation .*check_data"
    ):
        opened.check_masks()
    path = opened.annotation_file
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        annotation["segmentation"] = RUNS | {"size": [48, 64], "counts": [0, 48 * 64]}
    path.write_text(json.dumps(content))
    CocoDataset(tmp_path, "train2017", masks=True).check_masks()
