"""A cache gives the pixels that decoding would give, whatever happened to it before."""

from __future__ import annotations

import dataclasses
import errno
import os
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.yolox_core.data_folders import gradient, make_dataset
from yolox_core.augmentation.letterbox import fit
from yolox_core.augmentation.pipelines import strong_pipeline, weak_pipeline
from yolox_core.augmentation.sample import Image
from yolox_core.config import TrainConfig
from yolox_core.data import image_cache
from yolox_core.data.coco import CocoDataset, ImageError
from yolox_core.data.image_cache import describe_size, open_image_cache
from yolox_core.data.loader import TrainStream, sample_generator

SIDE = 32


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDataset:
    return make_dataset(tmp_path / "data")


class Counting:
    """Counts which images a dataset decodes."""

    def __init__(self, dataset: CocoDataset, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decoded: list[int] = []
        self._load = dataset.load_image
        monkeypatch.setattr(dataset, "load_image", self.load)

    def load(self, index: int, reduction: int = 1) -> Image:
        self.decoded.append(index)
        return self._load(index, reduction)


def test_holds_every_image_as_the_weak_pipeline_fits_it(dataset: CocoDataset, tmp_path: Path) -> None:
    cache = open_image_cache(tmp_path / "cache", dataset, SIDE, "f")
    assert len(cache) == len(dataset)
    assert cache.nbytes == len(dataset) * 24 * 32 * 3
    for index in range(len(dataset)):
        cached = cache.get(index)
        assert cached is not None
        assert (cached == fit(dataset.load_image(index, 2), SIDE)).all()
        assert not cached.flags.writeable


def test_says_its_size_before_it_is_made(dataset: CocoDataset) -> None:
    assert describe_size(dataset, SIDE) == "8 images at 32 px, 1.84e-05 GB"


def test_weak_samples_are_the_same_and_strong_ones_nearly(dataset: CocoDataset, tmp_path: Path) -> None:
    config = TrainConfig(image_size=SIDE, multiscale=(SIDE, SIDE))
    cache = open_image_cache(tmp_path / "cache", dataset, SIDE, "f")
    for pipeline, tolerance in ((weak_pipeline(config), 0.0), (strong_pipeline(config), 3.0)):
        for position in range(20):
            dataset.use_cache(None)
            index = position % len(dataset)
            image, targets = pipeline(dataset, index, sample_generator(0, 0, position))
            dataset.use_cache(cache)
            cached, same = pipeline(dataset, index, sample_generator(0, 0, position))
            assert (targets.boxes_xyxy == same.boxes_xyxy).all()
            assert np.abs(image.astype(int) - cached).mean() <= tolerance


def test_batches_do_not_depend_on_the_number_of_workers(dataset: CocoDataset, tmp_path: Path) -> None:
    config = TrainConfig(
        image_size=SIDE, multiscale=(SIDE, SIDE), epochs=2, warmup_epochs=0, closing_epochs=1, batch_size=4
    )
    dataset.use_cache(open_image_cache(tmp_path / "cache", dataset, SIDE, "f"))
    pipelines = strong_pipeline(config), weak_pipeline(config)
    streams = [TrainStream(dataset, *pipelines, config, seed=1, workers=workers) for workers in (0, 2)]
    for one, other in zip(*streams, strict=True):
        assert (one.images == other.images).all()


def test_a_finished_cache_is_opened_without_decoding(
    dataset: CocoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_image_cache(tmp_path / "cache", dataset, SIDE, "f")
    counting = Counting(dataset, monkeypatch)
    again = open_image_cache(tmp_path / "cache", dataset, SIDE, "f")
    assert counting.decoded == []
    copy = pickle.loads(pickle.dumps(again)).get(3)  # as a data worker gets it
    assert (copy == again.get(3)).all()


def test_a_killed_making_goes_on_where_it_was(
    dataset: CocoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_cache, "_CHUNK", 3)
    plain = dataset.load_image

    def killed(index: int, reduction: int = 1) -> Image:
        if index == 5:
            raise KeyboardInterrupt
        return plain(index, reduction)

    with monkeypatch.context() as context:
        context.setattr(dataset, "load_image", killed)
        with pytest.raises(KeyboardInterrupt):
            open_image_cache(tmp_path / "cache", dataset, SIDE, "f", workers=1)
    counting = Counting(dataset, monkeypatch)
    cache = open_image_cache(tmp_path / "cache", dataset, SIDE, "f", workers=1)
    assert counting.decoded == [3, 4, 5, 6, 7]
    for index in range(len(dataset)):
        cached = cache.get(index)
        assert cached is not None
        assert (cached == fit(plain(index, 2), SIDE)).all()


def test_an_image_that_changed_is_made_again_and_no_other(
    dataset: CocoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_image_cache(tmp_path / "cache", dataset, SIDE, "f")
    cv2.imwrite(str(dataset.folder / dataset.name(2)), gradient(48, 64, blue=250))
    counting = Counting(dataset, monkeypatch)
    cache = open_image_cache(tmp_path / "cache", dataset, SIDE, "f")
    assert counting.decoded == [2]
    changed = cache.get(2)
    assert changed is not None
    assert changed[..., 0].min() > 200


@pytest.mark.parametrize("name", ["pixels.bin", "state.bin", "index.npy"])
def test_a_torn_file_is_made_again(
    dataset: CocoDataset, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = open_image_cache(tmp_path / "cache", dataset, SIDE, "f").folder
    os.truncate(folder / name, 5)
    counting = Counting(dataset, monkeypatch)
    cache = open_image_cache(tmp_path / "cache", dataset, SIDE, "f")
    assert sorted(counting.decoded) == list(range(len(dataset)))
    first = cache.get(0)
    assert first is not None
    assert (first == fit(dataset.load_image(0, 2), SIDE)).all()


def test_other_annotations_and_sides_have_caches_of_their_own(dataset: CocoDataset, tmp_path: Path) -> None:
    folders = {
        open_image_cache(tmp_path / "cache", dataset, side, fingerprint).folder
        for side, fingerprint in ((32, "a"), (64, "a"), (32, "b"))
    }
    assert len(folders) == 3


def test_a_damaged_image_is_left_to_the_reader_that_names_it(dataset: CocoDataset, tmp_path: Path) -> None:
    path = dataset.folder / dataset.name(4)
    content = path.read_bytes()
    path.write_bytes(content[:2] + bytes(len(content) - 4) + content[-2:])
    dataset.use_cache(open_image_cache(tmp_path / "cache", dataset, SIDE, "f"))
    with pytest.raises(ImageError, match=r"4\.jpg"):
        dataset.load_image(4)
    assert dataset.load_image(3).shape == (24, 32, 3)


def test_a_disk_without_room_is_refused_before_anything_is_written(
    dataset: CocoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ValueError, match=r"needs 1\.84e-05 GB, .* has 1e-06 GB free"):
        open_image_cache(tmp_path / "cache", dataset, SIDE, "f")
    assert not list((tmp_path / "cache").glob("*/pixels.bin"))


def test_a_disk_that_fills_up_leaves_no_wrong_pixels(
    dataset: CocoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        context.setattr(os, "pwrite", full)
        with pytest.raises(ValueError, match="No space left on device; give --cache another folder"):
            open_image_cache(tmp_path / "cache", dataset, SIDE, "f")
    cache = open_image_cache(tmp_path / "cache", dataset, SIDE, "f")
    last = cache.get(7)
    assert last is not None
    assert (last == fit(dataset.load_image(7, 2), SIDE)).all()


@pytest.mark.parametrize("side", [32, 41, 96])
def test_an_image_that_misses_the_square_by_a_pixel_is_not_resized_again(tmp_path: Path, side: int) -> None:
    """Fitting rounds down: 53 × 97 at 41 px is 22 × 41 or 22 × 40, as the arithmetic of floats falls."""
    dataset = make_dataset(tmp_path / "data", count=3, shape=(53, 97))
    config = TrainConfig(image_size=side - side % 32 or 32, multiscale=(32, 32))
    pipeline = dataclasses.replace(weak_pipeline(config), size=side)
    cache = open_image_cache(tmp_path / "cache", dataset, side, "f")
    plain, _ = pipeline(dataset, 1, sample_generator(0, 0, 0))
    dataset.use_cache(cache)
    cached, _ = pipeline(dataset, 1, sample_generator(0, 0, 0))
    assert (plain == cached).all()
