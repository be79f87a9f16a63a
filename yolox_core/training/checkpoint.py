"""Checkpoints: written atomically, with a checksum inside; the last two kept, a broken one moved aside.

A checkpoint is PyTorch's zip archive; the archive's comment is the SHA-256 of everything before it. Any
tool that reads PyTorch's files reads these too.
"""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

log = logging.getLogger(__name__)

KEPT = 2

#: A zip archive ends with a record of 22 bytes whose last two are the length of the comment behind it.
_END, _END_MARK = 22, b"PK\x05\x06"
_LABEL = b"sha256:"
_COMMENT = len(_LABEL) + 64


class BrokenCheckpointError(ValueError):
    """A checkpoint's bytes are not those that were written."""


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
        temporary = self.folder / f".{name}.{os.getpid()}.tmp"
        try:
            with temporary.open("w+b") as file:
                torch.save(state, file)
                _seal(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except RuntimeError as error:
            # torch's archive writer reports a full disk as a RuntimeError
            raise OSError(f"cannot write {path}: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)
        return path


def verify(path: Path) -> None:
    """Raise BrokenCheckpointError when a checkpoint is not what was written.

    One without our checksum (of an older version, or of another program) passes when the parts of its
    archive match the checksums that zip has of each.
    """
    try:
        with path.open("rb") as file:
            whole = _is_sealed(file) if _has_seal(file) else _is_archive(file)
    except FileNotFoundError as error:
        raise BrokenCheckpointError(f"checkpoint {path} is gone") from error
    if not whole:
        raise BrokenCheckpointError(f"checkpoint {path} is damaged: its content does not match its checksum")


def _seal(file: BinaryIO) -> None:
    """Give the archive just written its checksum as comment."""
    file.seek(-2, os.SEEK_END)
    file.write(_COMMENT.to_bytes(2, "little"))
    seal = _seal_of(file, file.tell())
    file.write(seal)


def _seal_of(file: BinaryIO, size: int) -> bytes:
    """The comment that belongs behind the first ``size`` bytes; the file is left there."""
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(min(1 << 20, size - file.tell())):
        digest.update(block)
    return _LABEL + digest.hexdigest().encode()


def _has_seal(file: BinaryIO) -> bool:
    """Whether the file ends as :func:`_seal` leaves it."""
    size = file.seek(0, os.SEEK_END)
    if size < _END + _COMMENT:
        return False
    file.seek(size - _COMMENT - _END)
    tail = file.read(_END + len(_LABEL))
    return tail.startswith(_END_MARK) and tail.endswith(_COMMENT.to_bytes(2, "little") + _LABEL)


def _is_sealed(file: BinaryIO) -> bool:
    size = file.seek(-_COMMENT, os.SEEK_END)
    return _seal_of(file, size) == file.read()


def _is_archive(file: BinaryIO) -> bool:
    """Whether it is a zip archive without comment, every part of which matches its checksum."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END))
    tail = file.read()
    if not (tail.startswith(_END_MARK) and tail.endswith(b"\0\0")):
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except OSError:
        raise
    except Exception:  # zipfile reports damage with half a dozen types
        return False


def _set_aside(path: Path) -> str:
    aside = path.with_name(f"{path.name}.broken")
    try:
        path.replace(aside)
    except OSError as error:
        return f"it could not be moved aside ({error.strerror})"
    return f"moved aside to {aside.name}"


def _load(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)
