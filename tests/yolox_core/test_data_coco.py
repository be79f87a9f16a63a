"""The COCO reader against what real datasets contain."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.yolox_core.data_folders import box, gradient, make_dataset, write_split
from yolox_core.data.annotations import DROP_REASONS
from yolox_core.data.coco import CocoDataset, ImageError, open_splits
from yolox_core.data.scan import decode

COCO_MINI = Path(__file__).parents[3] / "shared" / "coco-mini"


def test_boxes_labels_and_ids_of_a_hand_written_file(tmp_path: Path) -> None:
    annotations = [box(2, 7, [10, 5, 20, 30]), box(1, 3, [0, 0, 8, 9]), box(2, 3, [1.5, 2.5, 3, 4])]
    write_split(tmp_path, {"a.jpg": gradient(48, 64), "b.jpg": gradient(40, 50)}, annotations)
    data = CocoDataset(tmp_path, "train2017")
    assert len(data) == 2
    assert data.ids.tolist() == [1, 2]
    assert data.ids.dtype == np.int64
    assert data.class_names == ("cat", "dog")
    assert data.category_ids.tolist() == [3, 7]
    assert data.size(1) == (40, 50)
    boxes, labels = data.objects(1)
    assert boxes.tolist() == [[10, 5, 30, 35], [1.5, 2.5, 4.5, 6.5]]
    assert boxes.dtype == np.float32
    assert labels.tolist() == [1, 0]
    assert labels.dtype == np.int64
    assert data.annotation_file == tmp_path / "annotations" / "instances_train2017.json"


def test_category_order_is_by_id_whatever_the_file_says(tmp_path: Path) -> None:
    categories = [{"id": 90, "name": "z"}, {"id": 1, "name": "a"}, {"id": 13, "name": "m"}]
    write_split(tmp_path, {"a.jpg": gradient(48, 64)}, [box(1, 90, [0, 0, 8, 9])], categories=categories)
    data = CocoDataset(tmp_path, "train2017")
    assert data.class_names == ("a", "m", "z")
    assert data.objects(0).labels.tolist() == [2]


def test_unusable_annotations_are_dropped_counted_and_boxes_clipped(tmp_path: Path) -> None:
    annotations = [
        box(1, 3, [5, 5, 10, 10], iscrowd=1),
        box(1, 3, [5, 5, 0, 10]),
        box(1, 3, [5, 5, 10, -3]),
        box(1, 3, [float("nan"), 5, 10, 3]),
        box(1, 3, [64, 5, 10, 10]),
        box(1, 3, [-20, 5, 10, 10]),
        box(1, 3, [-5, -5, 15, 400]),
        box(99, 3, [1, 1, 5, 5]),
        box(1, 4, [1, 1, 5, 5]),
    ]
    write_split(tmp_path, {"a.jpg": gradient(48, 64), "empty.jpg": gradient(30, 30)}, annotations)
    data = CocoDataset(tmp_path, "train2017")
    assert data.objects(0).boxes_xyxy.tolist() == [[0, 0, 10, 48]]
    assert data.objects(1).boxes_xyxy.shape == (0, 4)
    assert data.nonempty.tolist() == [0]
    summary = data.summary()
    assert summary["dropped"] == {
        "crowd": 1,
        "empty_box": 2,
        "not_finite": 1,
        "outside": 2,
        "unknown_image": 1,
        "unknown_category": 1,
    }
    assert (summary["images"], summary["images_without_objects"], summary["objects"]) == (2, 1, 1)


def test_a_box_of_an_image_without_stated_size_is_clipped_to_the_file(tmp_path: Path) -> None:
    annotations = [box(1, 3, [50, 5, 100, 100]), box(1, 3, [70, 5, 10, 10])]
    write_split(tmp_path, {"a.jpg": gradient(48, 64)}, annotations, height=None, width=None)
    data = CocoDataset(tmp_path, "train2017")
    assert data.size(0) == (48, 64)
    assert data.objects(0).boxes_xyxy.tolist() == [[50, 5, 64, 48]]
    assert data.summary()["dropped"]["outside"] == 1


def test_no_annotations_at_all(tmp_path: Path) -> None:
    data = CocoDataset(write_split(tmp_path, {"a.jpg": gradient(48, 64)}, []), "train2017")
    assert len(data) == 1
    assert not len(data.nonempty)


def test_a_split_without_usable_annotations_is_refused(tmp_path: Path) -> None:
    data = CocoDataset(write_split(tmp_path, {"a.jpg": gradient(48, 64)}, []), "train2017")
    with pytest.raises(ValueError, match=r"no image of train2017 has a usable annotation: .* lists none"):
        data.check_annotations()
    write_split(tmp_path, {"a.jpg": gradient(48, 64)}, [box(9, 3, [0, 0, 8, 9])])
    with pytest.raises(ValueError, match=r"usable annotation: 1 of 1 .* of an unknown image id 1"):
        CocoDataset(tmp_path, "train2017").check_annotations()


def test_ids_off_by_one_are_refused_by_the_share_they_lose(tmp_path: Path) -> None:
    images: dict[str, Any] = {f"{i}.jpg": gradient(48, 64) for i in range(3)}
    off_by_one = [box(i, 3, [0, 0, 8, 9]) for i in range(3)]
    write_split(tmp_path, images, off_by_one)
    with pytest.raises(
        ValueError, match=r"1 of 3 annotations .* of an unknown image id 1; more than 5%.*off by"
    ):
        CocoDataset(tmp_path, "train2017").check_annotations()
    write_split(tmp_path, images, [box(i, 3, [0, 0, 8, 9]) for i in (1, 2, 3)] * 7 + off_by_one[:1])
    data = CocoDataset(tmp_path, "train2017")
    data.check_annotations()
    assert "1 of 22 annotations" in data.dropped_annotations()


def test_crowds_are_no_defect(tmp_path: Path) -> None:
    annotations = [box(1, 3, [0, 0, 8, 9]), *[box(1, 3, [0, 0, 8, 9], iscrowd=1)] * 5]
    data = CocoDataset(write_split(tmp_path, {"a.jpg": gradient(48, 64)}, annotations), "train2017")
    data.check_annotations()
    assert data.dropped_annotations().endswith("are not used: crowds 5")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": {"bbox": ["12", 1, 2, 3]}}, "annotation 5 of image 1: bbox must be four numbers"),
        ({"annotations": {"bbox": [1, 2, 3]}}, r"four numbers .*not \[1, 2, 3\]"),
        ({"annotations": {"bbox": None}}, "four numbers .*not None"),
        ({"annotations": {"image_id": 2**70}}, "image_id 1180591620717411303424 is no whole number"),
        ({"annotations": {"category_id": 3.5}}, "category_id 3.5 is no whole number"),
        ({"images": {"id": 2**70}}, "image id 1180591620717411303424 .* 64 bits; number them"),
        ({"images": {"id": "a"}}, "image id 'a' is no whole number"),
        ({"images": {"width": 10**12}}, "image 1 has width 1000000000000; no image has more than 1048576"),
        ({"images": {"height": 1e300}}, "height 1e.300 is no whole number"),
        ({"images": {"height": "48"}}, "height '48' is no whole number.*whole pixels"),
    ],
)
def test_values_that_no_reader_could_use_are_found_when_the_file_is_opened(
    tmp_path: Path, change: dict[str, dict[str, Any]], message: str
) -> None:
    # Two other annotations, so that a box of three numbers can't be taken for part of another.
    annotations = [box(1, 3, [0, 0, 8, 9], id=number) for number in (5, 6, 7, 8)]
    write_split(tmp_path, {"a.jpg": gradient(48, 64)}, annotations)
    path = tmp_path / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    for section, fields in change.items():
        content[section][0] |= fields
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"instances_train2017\.json: .*{message}"):
        CocoDataset(tmp_path, "train2017")


def test_every_box_of_three_numbers_is_refused_too(tmp_path: Path) -> None:
    write_split(tmp_path, {"a.jpg": gradient(48, 64)}, [box(1, 3, [0, 0, 8])] * 4)
    with pytest.raises(ValueError, match="four numbers"):
        CocoDataset(tmp_path, "train2017")


def test_whole_floats_are_ids_and_far_boxes_are_clipped(tmp_path: Path) -> None:
    annotations = [box(1.0, 3.0, [0, 0, 1e300, 9]), box(1, 3, [1, 1, 2, 2])]  # type: ignore[arg-type]
    data = CocoDataset(write_split(tmp_path, {"a.jpg": gradient(48, 64)}, annotations), "train2017")
    assert data.objects(0).boxes_xyxy.tolist() == [[0, 0, 64, 9], [1, 1, 3, 3]]


def test_validation_images_that_cannot_be_decoded_are_left_out_before_training(tmp_path: Path) -> None:
    for split in ("train2017", "val2017"):
        images: dict[str, Any] = {f"{i}.jpg": gradient(48, 64) for i in range(12)}
        write_split(tmp_path, images, [box(i + 1, 3, [0, 0, 8, 9]) for i in range(12)], split)
        path = tmp_path / split / "1.jpg"
        jpeg = path.read_bytes()
        path.write_bytes(jpeg[: jpeg.index(b"\xff\xda") - 200] + b"\0" * 200 + b"\xff\xd9")
        (tmp_path / split / "0.jpg").write_text("text that calls itself a photograph")
    train, val = open_splits(tmp_path, max_skipped=0.5)
    unreadable = ["0.jpg: can't be decoded", "1.jpg: can't be decoded"]
    assert [f"{s.name}: {s.reason}" for s in val.skipped] == unreadable
    assert [f"{s.name}: {s.reason}" for s in train.skipped] == unreadable[:1], (
        "others take its place in training"
    )
    for index in range(len(val)):
        val.load_image(index)


def test_roboflows_export_and_split_names_of_the_user(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("valid", 2)):
        images: dict[str, Any] = {f"{i}.jpg": gradient(48, 64) for i in range(count)}
        write_split(tmp_path, images, [box(1, 3, [0, 0, 8, 9])], split)
        (tmp_path / "annotations" / f"instances_{split}.json").rename(
            tmp_path / split / "_annotations.coco.json"
        )
    train, val = open_splits(tmp_path, ("train", "valid"))
    assert (len(train), len(val)) == (3, 2)
    assert val.summary()["annotations"] == str(tmp_path / "valid" / "_annotations.coco.json")
    assert val.load_image(0).shape == (48, 64, 3)


def test_objects_are_copies(tmp_path: Path) -> None:
    data = make_dataset(tmp_path)
    data.objects(1).boxes_xyxy[:] = -1
    assert (data.objects(1).boxes_xyxy >= 0).all()


def test_bgr_order_and_values(tmp_path: Path) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[:] = (200, 100, 50)
    data = CocoDataset(write_split(tmp_path, {"a.jpg": image}, []), "train2017")
    loaded = data.load_image(0)
    assert loaded.dtype == np.uint8
    assert loaded.shape == (16, 16, 3)
    assert abs(loaded.reshape(-1, 3).mean(0) - (200, 100, 50)).max() < 2


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_reduced_decoding_rounds_up_and_keeps_the_picture(tmp_path: Path, reduction: int) -> None:
    data = CocoDataset(write_split(tmp_path, {"a.jpg": gradient(101, 203)}, []), "train2017")
    small = data.load_image(0, reduction)
    assert small.shape == (-(-101 // reduction), -(-203 // reduction), 3)
    # The centre of reduced pixel i lies at (i + 0.5)·reduction of the file.
    column = np.interp((np.arange(10) + 0.5) * reduction - 0.5, np.arange(203), np.linspace(20, 230, 203))
    assert abs(small[3, :10, 1] - column).max() < 4


def test_png_comes_whole_whatever_the_reduction(tmp_path: Path) -> None:
    write_split(tmp_path, {"a.png": gradient(40, 60)}, [])
    assert CocoDataset(tmp_path, "train2017").load_image(0, 4).shape == (40, 60, 3)


def test_grayscale_jpeg_becomes_three_channels(tmp_path: Path) -> None:
    write_split(tmp_path, {"a.jpg": gradient(40, 60)}, [])
    cv2.imwrite(str(tmp_path / "train2017" / "a.jpg"), gradient(40, 60)[..., 1])
    image = CocoDataset(tmp_path, "train2017").load_image(0)
    assert image.shape == (40, 60, 3)
    assert (image[..., 0] == image[..., 2]).all()


def test_cmyk_jpeg_becomes_bgr(tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image")
    write_split(tmp_path, {"a.jpg": gradient(40, 60)}, [])
    pil.new("CMYK", (60, 40), (0, 255, 255, 0)).save(tmp_path / "train2017" / "a.jpg", quality=98)
    image = CocoDataset(tmp_path, "train2017").load_image(0)
    assert image.shape == (40, 60, 3)
    blue, green, red = image.reshape(-1, 3).mean(0)
    assert red > 150 > 100 > max(blue, green)  # full magenta and yellow make red


def test_exif_orientation_is_ignored(tmp_path: Path) -> None:
    write_split(tmp_path, {"a.jpg": gradient(40, 60)}, [])
    path = tmp_path / "train2017" / "a.jpg"
    plain = CocoDataset(tmp_path, "train2017").load_image(0)
    path.write_bytes(_with_orientation(path.read_bytes(), 6))
    assert decode_with_orientation(path).shape == (60, 40, 3), "the file must really ask for a rotation"
    assert (CocoDataset(tmp_path, "train2017").load_image(0) == plain).all()


def _with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Insert an EXIF segment with one tag after a JPEG's start marker."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def decode_with_orientation(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_COLOR)


def _damage(path: Path, kind: str) -> None:
    data = path.read_bytes()
    match kind:
        case "missing":
            path.unlink()
        case "truncated":
            path.write_bytes(data[: len(data) // 2])
        case "empty":
            path.write_bytes(b"")
        case "other size":
            cv2.imwrite(str(path), gradient(64, 48))
        case _:
            path.write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 40 + b"\xff\xd9")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "missing"),
        ("truncated", "truncated"),
        ("empty", "empty file"),
        ("other size", "48×64"),
        ("no header", "damaged header"),
    ],
)
def test_unusable_files_are_skipped_and_named(tmp_path: Path, kind: str, reason: str) -> None:
    make_dataset(tmp_path, count=20)
    _damage(tmp_path / "train2017" / "4.jpg", kind)
    data = CocoDataset(tmp_path, "train2017")
    assert len(data) == 19
    assert 5 not in data.ids
    ((name, why),) = data.skipped
    assert name == "4.jpg"
    assert reason in why
    assert data.summary()["skipped"] == [{"file": "4.jpg", "reason": why}]
    # The objects of the following images are still theirs.
    index = data.ids.tolist().index(6)
    assert data.name(index) == "5.jpg"
    assert data.objects(index).boxes_xyxy.tolist() == [[4, 6, 20, 31], [24, 6, 40, 31]]


def test_too_many_unusable_files_are_an_error(tmp_path: Path) -> None:
    make_dataset(tmp_path, count=20)
    for i in range(3):
        _damage(tmp_path / "train2017" / f"{i}.jpg", "missing")
    with pytest.raises(ValueError, match=r"3 of 20 images.*0\.jpg missing.*repair"):
        CocoDataset(tmp_path, "train2017")
    assert len(CocoDataset(tmp_path, "train2017", max_skipped=0.2)) == 17


def test_no_tolerance_means_none(tmp_path: Path) -> None:
    make_dataset(tmp_path, count=20)
    _damage(tmp_path / "train2017" / "0.jpg", "missing")
    with pytest.raises(ValueError, match="1 of 20"):
        CocoDataset(tmp_path, "train2017", max_skipped=0.0)


def test_damage_that_only_decoding_shows_names_the_file(tmp_path: Path) -> None:
    data = make_dataset(tmp_path)
    path = tmp_path / "train2017" / "2.jpg"
    jpeg = path.read_bytes()
    scan = jpeg.index(b"\xff\xda")
    path.write_bytes(jpeg[: scan - 200] + b"\0" * 200 + b"\xff\xd9")
    with pytest.raises(ImageError, match=r"^2\.jpg: ") as info:
        data.load_image(2)
    assert pickle.loads(pickle.dumps(info.value)).name == "2.jpg"
    path.unlink()
    with pytest.raises(ImageError, match=r"2\.jpg: No such file"):
        data.load_image(2)


def test_a_file_replaced_by_another_size_is_refused_at_load(tmp_path: Path) -> None:
    data = make_dataset(tmp_path)
    cv2.imwrite(str(tmp_path / "train2017" / "2.jpg"), gradient(64, 48))
    with pytest.raises(ImageError, match="decodes to 48×64, annotated 64×48"):
        data.load_image(2)


@pytest.mark.parametrize(
    "name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg", "..\\x.jpg", "C:\\x.jpg", "", "a\0b"]
)
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    write_split(tmp_path, {"a.jpg": gradient(8, 8)}, [])
    path = tmp_path / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="file name"):
        CocoDataset(tmp_path, "train2017")


def test_sub_folders_are_fine(tmp_path: Path) -> None:
    (tmp_path / "train2017" / "part").mkdir(parents=True)
    write_split(tmp_path, {"part/a..b.jpg": gradient(8, 8)}, [])
    assert CocoDataset(tmp_path, "train2017").load_image(0).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "not in COCO's instances layout"),
        ('{"images": []}', "not in COCO's instances layout.*categories"),
        ('{"images": [], "annotations": [], "categories": []}', "no categories"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "no images"),
        ('{"images": [{"id": 1}], "categories": [{"id": 1, "name": "a"}]}', "file_name"),
    ],
)
def test_broken_annotation_files_are_named(tmp_path: Path, content: str, message: str) -> None:
    write_split(tmp_path, {"a.jpg": gradient(8, 8)}, [])
    (tmp_path / "annotations" / "instances_train2017.json").write_text(content)
    with pytest.raises(ValueError, match=rf"instances_train2017\.json.*{message}"):
        CocoDataset(tmp_path, "train2017")


def test_missing_folder_or_annotations(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="val2017 is missing"):
        CocoDataset(tmp_path, "val2017")
    (tmp_path / "val2017").mkdir()
    with pytest.raises(ValueError, match=r"instances_val2017\.json is missing"):
        CocoDataset(tmp_path, "val2017")


def test_splits_must_have_the_same_categories(tmp_path: Path) -> None:
    write_split(tmp_path, {"a.jpg": gradient(8, 8)}, [])
    write_split(tmp_path, {"a.jpg": gradient(8, 8)}, [], "val2017", categories=[{"id": 3, "name": "cat"}])
    with pytest.raises(ValueError, match="same categories"):
        open_splits(tmp_path)


def test_a_pickled_dataset_reads_the_same(tmp_path: Path) -> None:
    data = make_dataset(tmp_path)
    copy = pickle.loads(pickle.dumps(data))
    for i in range(len(data)):
        assert (copy.load_image(i) == data.load_image(i)).all()
        assert (copy.objects(i).boxes_xyxy == data.objects(i).boxes_xyxy).all()


def test_memory_is_flat_arrays(tmp_path: Path) -> None:
    """A worker that touches every object must not copy pages because of reference counts."""
    data = make_dataset(tmp_path)
    held = [v for v in vars(data).values() if isinstance(v, (list, tuple, dict))]
    assert all(len(v) <= len(DROP_REASONS) for v in held), (
        "only class names, drop counts and skipped files may be containers"
    )
    assert not any(v.dtype == object for v in vars(data).values() if isinstance(v, np.ndarray))


def test_decode_of_nothing_and_of_noise() -> None:
    assert decode(np.zeros(0, np.uint8)) is None
    assert decode(np.arange(100, dtype=np.uint8)) is None


@pytest.mark.skipif(not COCO_MINI.is_dir(), reason="no COCO sample beside the checkout")
def test_real_coco_photographs() -> None:
    train, val = open_splits(COCO_MINI)
    assert (len(train), len(val), train.num_classes) == (96, 32, 80)
    assert train.category_ids[-1] == 90
    assert train.skipped == []
    for i in range(0, len(val), 5):
        assert val.load_image(i).shape[:2] == val.size(i)
        boxes, _ = val.objects(i)
        height, width = val.size(i)
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (boxes <= [width, height, width, height]).all()
