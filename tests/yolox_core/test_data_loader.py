"""The stream of batches: what is in it, in which order, and that nothing but the seed decides."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.yolox_core.data_folders import ArraySource, gradient, make_dataset, objects
from yolox_core.augmentation.pipelines import Pipeline, strong_pipeline, weak_pipeline
from yolox_core.augmentation.sample import Image, ImageSource, ImageTargets, empty_targets
from yolox_core.config import AugmentationConfig, TrainConfig
from yolox_core.data import loader
from yolox_core.data.batch import Batch, pad_targets
from yolox_core.data.coco import CocoDataset
from yolox_core.data.loader import TrainStream, epoch_order, sample_generator, training_side

CONFIG = TrainConfig(
    epochs=3,
    warmup_epochs=0,
    closing_epochs=1,
    batch_size=4,
    image_size=64,
    multiscale=(32, 96),
    max_objects=5,
)
COUNT = 10


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    return make_dataset(tmp_path_factory.mktemp("coco"), count=COUNT)


def _stream(data: CocoDataset, seed: int = 0, config: TrainConfig = CONFIG, **more: int) -> TrainStream:
    return TrainStream(data, strong_pipeline(config), weak_pipeline(config), config, seed, **more)


def _assert_same(ours: Iterable[Batch], theirs: Iterable[Batch]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert (a.epoch, a.iteration) == (b.epoch, b.iteration)
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.targets.boxes_cxcywh, b.targets.boxes_cxcywh)
        assert torch.equal(a.targets.labels, b.targets.labels)


class Stamp:
    """A pipeline that writes the index and a random number into the image."""

    def __init__(self, mark: int) -> None:
        self.mark = mark

    def __call__(
        self, source: ImageSource, index: int, rng: np.random.Generator
    ) -> tuple[Image, ImageTargets]:
        image = np.zeros((64, 64, 3), np.uint8)
        image[0, 0] = index, rng.integers(256), self.mark
        return image, empty_targets()


def _stamps(data: CocoDataset, config: TrainConfig = CONFIG, **more: int) -> list[tuple[int, int, list[int]]]:
    stream = TrainStream(data, Stamp(1), Stamp(2), config, 0, **more)
    return [(b.epoch, b.iteration, b.images[:, :, 0, 0].tolist()) for b in stream]


def test_a_batch_is_what_it_says(data: CocoDataset) -> None:
    batches = list(_stream(data))
    assert [(b.epoch, b.iteration) for b in batches] == [(e, i) for e in range(3) for i in range(2)]
    for batch in batches:
        assert batch.images.shape == (4, 3, 64, 64)
        assert batch.images.dtype == torch.uint8
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        boxes, labels = batch.targets.boxes_cxcywh, batch.targets.labels
        assert boxes.shape == (4, labels.shape[1], 4)
        assert boxes.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert 1 <= labels.shape[1] <= CONFIG.max_objects
        valid = batch.targets.valid
        assert (boxes[valid][:, 2:] > 1).all()
        corners = boxes[valid][:, :2] - boxes[valid][:, 2:] / 2, boxes[valid][:, :2] + boxes[valid][:, 2:] / 2
        assert corners[0].min() >= -1e-3
        assert corners[1].max() <= 64 + 1e-3
        assert (boxes[~valid] == 0).all()


def test_every_epoch_is_a_permutation_and_another_one(data: CocoDataset) -> None:
    orders = [epoch_order(0, epoch, COUNT).tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(COUNT)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert epoch_order(1, 0, COUNT).tolist() != orders[0]
    seen = _stamps(data)
    for epoch in range(3):
        drawn = [stamp[0] for e, _, stamps in seen if e == epoch for stamp in stamps]
        assert drawn == orders[epoch][:8]


def test_the_closing_epochs_use_the_closing_pipeline(data: CocoDataset) -> None:
    marks = {epoch: {stamp[2] for stamp in stamps} for epoch, _, stamps in _stamps(data)}
    assert [marks[e] for e in range(3)] == [{1}, {1}, {2}]
    none_closing = replace(CONFIG, closing_epochs=0)
    assert {s[2] for *_, stamps in _stamps(data, none_closing) for s in stamps} == {1}


def test_the_same_seed_gives_the_same_batches_and_another_seed_others(data: CocoDataset) -> None:
    _assert_same(_stream(data, 3), _stream(data, 3))
    ours, theirs = next(_stream(data, 3)), next(_stream(data, 4))
    assert not torch.equal(ours.images, theirs.images)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_batches(data: CocoDataset, workers: int) -> None:
    _assert_same(_stream(data, 5), _stream(data, 5, workers=workers))


def test_workers_paste_the_same_objects(tmp_path: Path) -> None:
    """Masks reach them with the dataset."""
    make_dataset(tmp_path)
    file = tmp_path / "annotations" / "instances_train2017.json"
    content = json.loads(file.read_text())
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + width, y, x, y + height]]
    file.write_text(json.dumps(content))
    masked = CocoDataset(tmp_path, "train2017", masks=True)
    pasting = replace(
        CONFIG, epochs=1, closing_epochs=0, augmentation=AugmentationConfig(copy_paste=1.0, mixup=0.0)
    )
    one = list(_stream(masked, 5, pasting))
    _assert_same(one, _stream(masked, 5, pasting, workers=1))
    plain = list(_stream(masked, 5, replace(pasting, augmentation=AugmentationConfig(mixup=0.0))))
    assert any(not torch.equal(a.images, b.images) for a, b in zip(one, plain, strict=True))


@pytest.mark.parametrize(("epoch", "iteration"), [(0, 1), (1, 0), (1, 1), (2, 1), (1, 2), (3, 0)])
def test_any_start_continues_the_same_stream(data: CocoDataset, epoch: int, iteration: int) -> None:
    rest = list(_stream(data, 5))[epoch * 2 + iteration :]
    _assert_same(rest, _stream(data, 5, start_epoch=epoch, start_iteration=iteration))


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_same_global_batch(data: CocoDataset, world_size: int) -> None:
    whole = _stamps(data)
    parts = [_stamps(data, rank=rank, world_size=world_size) for rank in range(world_size)]
    for i, (epoch, iteration, stamps) in enumerate(whole):
        dealt: list[list[int]] = [[]] * len(stamps)
        for rank, part in enumerate(parts):
            assert part[i][:2] == (epoch, iteration)
            dealt[rank::world_size] = part[i][2]
        assert dealt == stamps


def test_a_small_dataset_wraps_around_with_new_draws(tmp_path: Path) -> None:
    small = make_dataset(tmp_path, count=3)
    seen = _stamps(small)
    assert [(e, i) for e, i, _ in seen] == [(0, 0), (1, 0), (2, 0)]
    for _, _, stamps in seen:
        assert sorted(s[0] for s in stamps[:3]) == [0, 1, 2]
        assert stamps[3][0] == stamps[0][0]
        assert stamps[3][1] != stamps[0][1]


def test_torchs_generator_is_untouched(data: CocoDataset) -> None:
    before = torch.get_rng_state()
    for workers in (0, 1):
        list(_stream(data, workers=workers))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"world_size": 3}, "batch_size 4 can't be dealt to 3 processes"),
        ({"rank": 2, "world_size": 2}, "rank must be from 0 to 1"),
        ({"start_epoch": 4}, "can't start at epoch 4"),
        ({"start_iteration": 3}, "iteration 3"),
        ({"start_epoch": -1}, "can't start"),
    ],
)
def test_impossible_requests(data: CocoDataset, more: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _stream(data, **more)


def _break(folder: Path, name: str) -> None:
    path = folder / "train2017" / name
    jpeg = path.read_bytes()
    path.write_bytes(jpeg[:100] + b"\0" * 600 + b"\xff\xd9")


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_cannot_be_decoded_is_replaced_and_counted(
    tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    data = make_dataset(tmp_path, count=COUNT)
    _break(tmp_path, "3.jpg")
    stream = _stream(data, workers=workers)
    batches = list(stream)
    assert len(batches) == 6
    assert set(stream.damaged) == {"3.jpg"}
    assert stream.damaged["3.jpg"]
    assert {s.name for b in batches for s in b.damaged} == {"3.jpg"}
    assert [r.getMessage().startswith("3.jpg can't be used (") for r in caplog.records] == [True]
    _assert_same(batches, _stream(data))


def test_too_many_damaged_images_end_the_run_with_their_names(tmp_path: Path) -> None:
    data = make_dataset(tmp_path, count=COUNT)
    for i in range(5):
        _break(tmp_path, f"{i}.jpg")
    with pytest.raises(ValueError, match=r"images could not be decoded.*\d\.jpg: can't be decoded"):
        list(_stream(data))


class Failing:
    def __call__(
        self, source: ImageSource, index: int, rng: np.random.Generator
    ) -> tuple[Image, ImageTargets]:
        raise KeyError("a bug")


@pytest.mark.parametrize("workers", [0, 1])
def test_any_other_exception_names_the_image(data: CocoDataset, workers: int) -> None:
    pipeline: Pipeline = Failing()
    first = data.name(int(epoch_order(0, 0, COUNT)[0]))
    with pytest.raises(KeyError) as info:
        next(TrainStream(data, pipeline, pipeline, CONFIG, 0, workers=workers))
    notes = "".join(getattr(info.value, "__notes__", [])) + str(info.value)
    assert f"while making a training sample of {first}" in notes


def _children() -> set[int]:
    pids: set[int] = set()
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has just ended
            pids.update(int(pid) for pid in (task / "children").read_text().split())
    return pids


def _gone(pids: set[int]) -> bool:
    deadline = time.monotonic() + 10
    while pids & _children() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not pids & _children()


@pytest.mark.skipif(not Path(f"/proc/{os.getpid()}/task").exists(), reason="needs /proc")
def test_workers_outlive_the_trainers_signals_and_end_with_the_stream(data: CocoDataset) -> None:
    before = _children()
    with _stream(data, workers=2) as stream:
        first = next(stream)
        workers = _children() - before
        assert len(workers) == 2
        for pid in workers:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
                os.kill(pid, number)
        rest = list(stream)
    _assert_same([first, *rest], _stream(data))
    assert _gone(workers)


@pytest.mark.skipif(not Path(f"/proc/{os.getpid()}/task").exists(), reason="needs /proc")
def test_closing_early_stops_the_workers(data: CocoDataset) -> None:
    before = _children()
    stream = _stream(data, workers=2)
    next(stream)
    workers = _children() - before
    stream.close()
    assert _gone(workers)
    with pytest.raises(StopIteration):
        next(stream)
    stream.close()


def test_padding_of_targets_by_hand() -> None:
    parts = [empty_targets(), objects((1, 0, 0, 10, 20)), objects((0, 2, 2, 4, 4), (1, 10, 0, 30, 8))]
    targets = pad_targets(parts, 5)
    assert targets.boxes_cxcywh.tolist() == [
        [[0, 0, 0, 0], [0, 0, 0, 0]],
        [[5, 10, 10, 20], [0, 0, 0, 0]],
        [[3, 3, 2, 2], [20, 4, 20, 8]],
    ]
    assert targets.labels.tolist() == [[-1, -1], [1, -1], [0, 1]]
    assert pad_targets(parts, 1).labels.tolist() == [[-1], [1], [0]]
    assert pad_targets([empty_targets()], 5).labels.tolist() == [[-1]]


def test_training_side_covers_the_range_and_holds_for_an_interval() -> None:
    config = replace(CONFIG, multiscale=(448, 832), multiscale_interval=10)
    sides = [training_side(config, 0, epoch, i, 55) for epoch in range(100) for i in range(55)]
    assert set(sides) == set(range(448, 833, 32))
    blocks = [set(sides[k : k + 10]) for k in range(0, len(sides), 10)]
    assert all(len(block) == 1 for block in blocks), "a block may span two epochs"
    counts = np.bincount([(min(b) - 448) // 32 for b in blocks])
    assert counts.min() > 20, "550 draws of 13 sides: 42 each on average"
    assert training_side(config, 1, 0, 0, 55) in range(448, 833, 32)
    assert [training_side(config, 1, e, 0, 55) for e in range(20)] != [sides[e * 55] for e in range(20)]


def test_one_side_only() -> None:
    config = replace(CONFIG, multiscale=(96, 96))
    assert {training_side(config, 0, e, 0, 7) for e in range(9)} == {96}


def test_iterations_per_epoch() -> None:
    config = replace(CONFIG, batch_size=4)
    assert [config.iterations_per_epoch(n) for n in (1, 4, 7, 8)] == [1, 1, 1, 2]


class Stuck:
    """A read that does not come back; the signals meant for the trainer, workers ignore in any case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *_: object) -> tuple[Image, ImageTargets]:
        (self.folder / str(os.getpid())).touch()
        time.sleep(3600)
        raise AssertionError


def test_a_worker_that_heeds_nothing_is_killed(
    data: CocoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loader, "_PATIENCE", 0.5)
    before, pipeline = set(multiprocessing.active_children()), Stuck(tmp_path)
    with TrainStream(data, pipeline, pipeline, CONFIG, 0, workers=2) as stream:
        stream.start()
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.02)
    assert set(multiprocessing.active_children()) == before
    assert caplog.text.count("did not end by itself; killed") == 2


#: Labels, boxes (to a pixel) and mean grey of the first samples of seed 0.
PINNED: list[tuple[list[int], list[list[int]], int]] = [
    (
        [0, 1, 1, 1, 1],
        [[50, 8, 56, 14], [39, 7, 45, 13], [49, 16, 55, 22], [38, 16, 44, 21], [31, 5, 57, 31]],
        105,
    ),
    ([1, 1, 1], [[40, 9, 64, 45], [0, 12, 4, 48], [0, 0, 36, 36]], 103),
    ([0, 0], [[0, 25, 31, 61], [2, 0, 40, 30]], 105),
]


def test_the_stream_of_a_seed_is_pinned() -> None:
    """Images, sides and every draw of an augmentation, for good: a change makes every seed another run."""
    assert epoch_order(0, 0, 10).tolist() == [8, 4, 7, 0, 1, 2, 5, 9, 6, 3]
    assert epoch_order(3, 1, 10).tolist() == [9, 8, 5, 3, 2, 7, 0, 6, 4, 1]
    draws = [sample_generator(0, 1, 2, attempt).random(2).round(6).tolist() for attempt in (0, 1)]
    assert draws == [[0.590871, 0.335658], [0.668463, 0.001589]]
    config = replace(CONFIG, multiscale_interval=2)
    assert [training_side(config, 0, 0, i, 4) for i in range(4)] == [96, 96, 32, 32]
    assert [training_side(config, 1, 0, i, 4) for i in range(4)] == [96, 96, 64, 64]
    source = ArraySource(
        [gradient(48, 64, blue=20 * k) for k in range(8)], [objects((k % 2, 8, 6, 38, 36)) for k in range(8)]
    )
    shown = []
    for position in range(3):
        image, targets = strong_pipeline(CONFIG)(source, position, sample_generator(0, 0, position))
        boxes = targets.boxes_xyxy.round().astype(int).tolist()
        shown.append((targets.labels.tolist(), boxes, round(float(image.mean()))))
    assert shown == PINNED
