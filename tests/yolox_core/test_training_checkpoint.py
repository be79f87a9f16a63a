"""Checkpoints survive crashes, full disks and broken files."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from yolox_core.training.checkpoint import CheckpointStore


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
    with pytest.raises(OSError):
        store.save({"value": torch.zeros(2**20)}, 2)
    assert store.load_latest() == {"value": 1}
    assert [p.name for p in small_disk.iterdir()] == ["iteration-000000001.pt"], "no temporary file is left"
