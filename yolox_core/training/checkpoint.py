"""Checkpoints: written atomically, with a checksum inside; the last two kept, a broken one moved aside."""

from __future__ import annotations

import errno
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from yolox_core.files import replacing
from yolox_core.seal import BrokenCheckpointError, seal, verify

log = logging.getLogger(__name__)

KEPT = 2
#: Bytes: with less free space than this, a failed write is put down to a full disk.
_NO_SPACE = 1 << 20


@dataclass(frozen=True)
class CheckpointStore:
    """A folder of ``iteration-<n>.pt`` files, n counted from the start of the run, and ``best.pt``.

    Loading is to the CPU, weights and plain types only.
    """

    folder: Path

    def save(self, state: dict[str, Any], iteration: int) -> Path:
        """Write a checkpoint and drop those before it but the last. Later ones are left alone: they are
        another attempt's, and worth more. Raises OSError when the disk is full; what was there stays.
        """
        path = self._write(state, f"iteration-{iteration:09d}.pt")
        for old in [other for other in self._paths() if other.name <= path.name][:-KEPT]:
            old.unlink(missing_ok=True)
        return path

    def save_best(self, state: dict[str, Any]) -> Path:
        """Write the weights of the best evaluated epoch."""
        return self._write(state, "best.pt")

    def newest(self) -> str | None:
        """Name of the newest checkpoint that is whole, None when there is none. Those that are broken are
        moved aside and named in the log.
        """
        paths = self._paths()
        for path in reversed(paths):
            try:
                verify(path)
                return path.name
            except BrokenCheckpointError as error:
                log.error("%s; %s", error, _set_aside(path))
        if paths:
            log.error("no checkpoint in %s is whole: training starts again from its beginning", self.folder)
        return None

    def load(self, name: str) -> dict[str, Any]:
        """A checkpoint by its name."""
        return _load(self.folder / name)

    def load_latest(self) -> dict[str, Any] | None:
        """The newest checkpoint that is whole, None when there is none."""
        name = self.newest()
        return None if name is None else self.load(name)

    def load_best(self) -> dict[str, Any] | None:
        """The weights of the best evaluated epoch, None when there are none. Raises BrokenCheckpointError."""
        if not self.has_best():
            return None
        path = self.folder / "best.pt"
        verify(path)
        return _load(path)

    def has_best(self) -> bool:
        return (self.folder / "best.pt").exists()

    def set_best_aside(self) -> str:
        """Move a broken ``best.pt`` away; what was done, in words."""
        return _set_aside(self.folder / "best.pt")

    def clear(self) -> None:
        """Remove every checkpoint."""
        for path in (*self._paths(), self.folder / "best.pt", *self.folder.glob("*.broken")):
            path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("iteration-*.pt"))

    def _write(self, state: dict[str, Any], name: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        try:
            with replacing(path) as file:
                torch.save(state, file)
                seal(file)
        except (RuntimeError, OSError) as error:
            # torch's archive writer reports a full disk as a RuntimeError, in words of its own
            raise OSError(f"cannot write {path}: {_why_not(error, self.folder)}") from error
        return path


def _why_not(error: Exception, folder: Path) -> str:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or shutil.disk_usage(folder).free < _NO_SPACE:
        return "no space is left on the disk; make room and run the same command again, it resumes"
    return str(error)


def _set_aside(path: Path) -> str:
    aside = path.with_name(f"{path.name}.broken")
    try:
        path.replace(aside)
    except OSError as error:
        return f"it could not be moved aside ({error.strerror})"
    return f"moved aside to {aside.name}"


def _load(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)
