"""The embedded dataset: deterministic, complete or absent, and worth learning from."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from yolox_core.config import ShapesSpec
from yolox_core.data.coco import CocoDataset, open_splits
from yolox_core.data.shapes import MANIFEST, ensure_shapes_dataset, is_complete
from yolox_core.data.shapes_drawing import draw_scene

SMALL = ShapesSpec(train_images=6, val_images=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_shapes_dataset(tmp_path_factory.mktemp("shapes"), SMALL)


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_it_is_coco_layout_and_the_same_reader_reads_it(folder: Path) -> None:
    train, val = open_splits(folder, max_skipped=0.0)
    assert (len(train), len(val)) == (6, 3)
    assert train.class_names == SMALL.classes
    for data in (train, val):
        for i in range(len(data)):
            height, width = data.load_image(i).shape[:2]
            assert SMALL.sides[0] <= min(height, width) <= max(height, width) <= SMALL.sides[1]
    assert sum(data.summary()["objects"] for data in (train, val)) > 9
    assert not any(train.summary()["dropped"].values())


def test_the_same_specification_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = ensure_shapes_dataset(tmp_path, SMALL)
    assert again.name == folder.name
    assert _contents(again) == _contents(folder)


def test_another_specification_gets_another_folder(folder: Path) -> None:
    other = replace(SMALL, noise=1.0)
    assert other.fingerprint != SMALL.fingerprint
    assert not is_complete(folder, other)


def test_it_is_generated_once(folder: Path) -> None:
    before = (folder / MANIFEST).stat()
    assert ensure_shapes_dataset(folder.parent, SMALL) == folder
    assert (folder / MANIFEST).stat().st_ino == before.st_ino


@pytest.mark.parametrize("damage", ["manifest", "image", "byte", "annotations", "extra"])
def test_an_incomplete_or_damaged_one_is_made_again(tmp_path: Path, folder: Path, damage: str) -> None:
    target = ensure_shapes_dataset(tmp_path, SMALL)
    image = target / "train2017" / "000002.jpg"
    match damage:
        case "manifest":
            (target / MANIFEST).unlink()
        case "image":
            image.unlink()
        case "byte":
            data = bytearray(image.read_bytes())
            data[len(data) // 2] ^= 1
            image.write_bytes(bytes(data))
        case "annotations":
            path = target / "annotations" / "instances_val2017.json"
            path.write_text(path.read_text()[:-5])
        case _:
            (target / "val2017" / "999999.jpg").touch()
    assert not is_complete(target, SMALL)
    assert ensure_shapes_dataset(tmp_path, SMALL) == target
    assert _contents(target) == _contents(folder)
    assert [p for p in tmp_path.iterdir() if p.is_dir()] == [target], "nothing half made stays behind"


def _ensure(root: str, barrier: multiprocessing.synchronize.Barrier) -> None:
    barrier.wait()
    path = ensure_shapes_dataset(Path(root), SMALL)
    os._exit(0 if is_complete(path, SMALL) else 1)


def test_concurrent_callers_all_get_a_complete_one(tmp_path: Path, folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [context.Process(target=_ensure, args=(str(tmp_path), barrier)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [p.exitcode for p in processes] == [0, 0, 0]
    assert _contents(tmp_path / folder.name) == _contents(folder)


def test_boxes_bound_what_is_drawn() -> None:
    """Without background and noise an object's pixels are those that differ; its box fits them."""
    spec = replace(
        SMALL, objects=(1, 1), clutter=(0, 0), noise=0.0, class_hue=1.0, background=0.0, max_covered=0.0
    )
    for seed in range(40):
        image, ((_, (x1, y1, x2, y2), _),) = draw_scene(spec, np.random.default_rng(seed))
        corner = np.array([image[0, 0], image[-1, 0], image[0, -1], image[-1, -1]])
        plain = np.median(corner, axis=0)
        rows, columns = np.nonzero((np.abs(image.astype(int) - plain) > 12).any(axis=-1))
        inside = (columns >= x1 - 1) & (columns <= x2) & (rows >= y1 - 1) & (rows <= y2)
        assert inside.all()
        assert abs(columns.min() - x1) <= 1
        assert abs(columns.max() + 1 - x2) <= 1
        assert abs(rows.min() - y1) <= 1
        assert abs(rows.max() + 1 - y2) <= 1


def test_masks_hold_what_is_seen(folder: Path) -> None:
    """Of two objects on one pixel the later one is seen; the last one, hidden by none, fills its box."""
    data = CocoDataset(folder, "train2017", masks=True)
    data.check_masks(0.0)
    touching = 0
    for index in range(len(data)):
        seen = np.zeros(data.size(index), int)
        for number, (x1, y1, x2, y2) in enumerate(data.objects(index).boxes_xyxy.astype(int).tolist()):
            mask = data.mask(index, number)
            assert mask is not None
            left, top, (height, width) = mask.left, mask.top, mask.pixels.shape
            assert x1 <= left < left + width <= x2
            assert y1 <= top < top + height <= y2
            seen[top : top + height, left : left + width] += mask.pixels
            touching += (left, top, left + width, top + height) != (x1, y1, x2, y2)
        assert seen.max() == 1
        assert (left, top, left + width, top + height) == (x1, y1, x2, y2)
    assert touching < len(data)


def test_the_full_specification_covers_classes_and_sizes() -> None:
    spec = ShapesSpec()
    labels, areas, counts = [], [], []
    for number in range(150):
        image, objects = draw_scene(spec, np.random.default_rng((spec.seed, 0, number)))
        counts.append(len(objects))
        for label, (x1, y1, x2, y2), _ in objects:
            assert 0 <= x1 < x2 <= image.shape[1]
            assert 0 <= y1 < y2 <= image.shape[0]
            labels.append(label)
            areas.append((x2 - x1) * (y2 - y1))
    area = np.array(areas)
    share = np.bincount(labels, minlength=6) / len(labels)
    assert share.min() > 0.08
    assert max(counts) <= spec.objects[1]
    # COCO's small, medium and large all occur, so that APs, APm and APl are defined.
    assert (area < 32**2).mean() > 0.1
    assert ((area >= 32**2) & (area < 96**2)).mean() > 0.2
    assert (area >= 96**2).sum() > 3
