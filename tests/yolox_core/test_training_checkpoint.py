"""Checkpoints survive crashes, full disks and broken files; not a byte that changes goes unnoticed."""

from __future__ import annotations

import logging
import random
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from yolox_core.seal import BrokenCheckpointError, verify
from yolox_core.training.checkpoint import CheckpointStore


@pytest.mark.parametrize("reason", [OSError(28, "No space left on device"), OSError(122, "quota")])
def test_a_full_disk_is_said_in_words_that_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: OSError
) -> None:
    def full(*_: object) -> None:
        raise reason

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"best\.pt: no space is left on the disk; make room and run the same"):
        CheckpointStore(tmp_path).save_best({"epoch": 1})
    assert not list(tmp_path.iterdir())


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints")
    assert store.load_latest() is None
    for iteration in (1, 20, 300):
        store.save({"value": torch.tensor(iteration)}, iteration)
    assert sorted(p.name for p in store.folder.iterdir()) == [
        "iteration-000000020.pt",
        "iteration-000000300.pt",
    ]
    latest = store.load_latest()
    assert latest is not None
    assert latest["value"] == 300


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 torn", b"not a checkpoint"])
def test_a_broken_checkpoint_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    store = CheckpointStore(tmp_path)
    store.save({"value": 1}, 1)
    store.save({"value": 2}, 2).write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        assert store.load_latest() == {"value": 1}
    assert "iteration-000000002.pt is damaged" in caplog.text


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A checkpoint of some 200 KB."""
    store = CheckpointStore(tmp_path_factory.mktemp("sealed"))
    state = {f"layer{k}": torch.randn(64, 64, generator=torch.Generator().manual_seed(k)) for k in range(12)}
    return store.save({"model": state, "epoch": 3}, 1).read_bytes()


@pytest.mark.parametrize("size", [0, 1, 22, 93, 5000, 8192, 16384, 20000, 32768, 50000, 65536])
def test_every_truncation_is_noticed(sealed: bytes, tmp_path: Path, size: int) -> None:
    path = tmp_path / "iteration-000000002.pt"
    for content in (sealed[:size], sealed[: len(sealed) - size - 1]):
        path.write_bytes(content)
        with pytest.raises(BrokenCheckpointError, match=r"iteration-000000002\.pt is damaged"):
            verify(path)


@pytest.mark.parametrize("with_checksum", [True, False], ids=["ours", "of an older version"])
def test_every_overwritten_block_is_noticed(sealed: bytes, tmp_path: Path, with_checksum: bool) -> None:
    """Without our checksum, zip's own: of the tensors' bytes at least."""
    path, rng = tmp_path / "x.pt", random.Random(0)
    whole = sealed
    if not with_checksum:
        torch.save(torch.load(_written(path, sealed), weights_only=True), path)
        whole = path.read_bytes()
    verify(_written(path, whole))
    with zipfile.ZipFile(path) as archive:
        first = min(i.header_offset for i in archive.infolist() if "/data/" in i.filename)
    start = 0 if with_checksum else first
    for _ in range(150):
        place = rng.randrange(start, len(whole) - 4096 if with_checksum else len(whole) - 8192)
        broken = bytearray(whole)
        broken[place : place + 4096] = rng.randbytes(4096)
        with pytest.raises(BrokenCheckpointError):
            verify(_written(path, bytes(broken)))


def test_one_flipped_bit_anywhere_is_noticed(sealed: bytes, tmp_path: Path) -> None:
    rng = random.Random(1)
    for place in [*range(-100, 0), *(rng.randrange(len(sealed)) for _ in range(100))]:
        broken = bytearray(sealed)
        broken[place] ^= 1 << rng.randrange(8)
        with pytest.raises(BrokenCheckpointError):
            verify(_written(tmp_path / "x.pt", bytes(broken)))


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_other_tools_read_it(sealed: bytes, tmp_path: Path) -> None:
    path = _written(tmp_path / "x.pt", sealed)
    assert torch.load(path, weights_only=True)["epoch"] == 3
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_a_broken_one_is_moved_aside_and_the_one_before_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path)
    store.save({"value": 1}, 1)
    path = store.save({"value": 2}, 2)
    path.write_bytes(path.read_bytes()[:-1])
    assert store.load_latest() == {"value": 1}
    assert "moved aside to iteration-000000002.pt.broken" in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "iteration-000000001.pt",
        "iteration-000000002.pt.broken",
    ]


def test_a_start_from_scratch_is_loud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CheckpointStore(tmp_path)
    store.save({"value": 1}, 1).write_bytes(b"torn")
    assert store.load_latest() is None
    assert caplog.records[-1].levelno == logging.ERROR
    assert "training starts again from its beginning" in caplog.text


def test_what_cannot_be_loaded_is_not_therefore_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that is full, or a device that fails: the checkpoint stays, and the run fails."""

    def full(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory")

    store = CheckpointStore(tmp_path)
    path = store.save({"value": 1}, 1)
    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(RuntimeError, match="out of memory"):
        store.load_latest()
    assert path.exists()


def test_newer_checkpoints_are_never_deleted(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for iteration in (500, 600):
        store.save({"value": iteration}, iteration)
    for iteration in (1, 2, 3):
        store.save({"value": iteration}, iteration)
    assert sorted(int(p.stem.removeprefix("iteration-")) for p in tmp_path.iterdir()) == [2, 3, 500, 600]


def test_checkpoints_are_loaded_to_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a network that fills a GPU there is no room for a second one."""
    seen = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: seen.append(k["map_location"]) or load(*a, **k))
    store = CheckpointStore(tmp_path)
    store.save({"value": 1}, 1)
    store.save_best({"epoch": 1})
    assert (store.load_latest(), store.load_best()) == ({"value": 1}, {"epoch": 1})
    assert seen == ["cpu", "cpu"]


def test_best_is_separate(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save_best({"epoch": 3})
    store.save({"value": 1}, 1)
    assert store.load_best() == {"epoch": 3}
    store.clear()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_an_error_that_spoils_nothing(small_disk: Path) -> None:
    store = CheckpointStore(small_disk)
    store.save({"value": 1}, 1)
    with pytest.raises(OSError, match=r"iteration-000000002\.pt: no space is left on the disk; make room"):
        store.save({"value": torch.zeros(2**20)}, 2)
    assert store.load_latest() == {"value": 1}
    assert [p.name for p in small_disk.iterdir()] == ["iteration-000000001.pt"], "no temporary file is left"
