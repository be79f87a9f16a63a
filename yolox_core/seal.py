"""A checksum inside a checkpoint, so that not a changed byte goes unnoticed.

A checkpoint is PyTorch's zip archive; the archive's comment is the SHA-256 of everything before it. Any
tool that reads PyTorch's files reads these too.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import BinaryIO

#: A zip archive ends with a record of 22 bytes whose last two are the length of the comment behind it.
_END, _END_MARK = 22, b"PK\x05\x06"
_LABEL = b"sha256:"
_COMMENT = len(_LABEL) + 64


class BrokenCheckpointError(ValueError):
    """A checkpoint's bytes are not those that were written."""


def seal(file: BinaryIO) -> None:
    """Give the archive just written its checksum as comment."""
    file.seek(-2, os.SEEK_END)
    file.write(_COMMENT.to_bytes(2, "little"))
    file.write(_seal_of(file, file.tell()))


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


def is_pytorch_file(path: Path) -> bool:
    """Whether a file begins as PyTorch's do: as a zip archive, or (before PyTorch 1.6) as a pickle."""
    with path.open("rb") as file:
        return file.read(4).startswith((b"PK\x03\x04", b"\x80"))


def check_seal(path: Path) -> None:
    """Raise BrokenCheckpointError when a file has our checksum and does not match it; others pass."""
    with path.open("rb") as file:
        whole = not _has_seal(file) or _is_sealed(file)
    if not whole:
        raise BrokenCheckpointError(f"checkpoint {path} is damaged: its content does not match its checksum")


def _seal_of(file: BinaryIO, size: int) -> bytes:
    """The comment that belongs behind the first ``size`` bytes; the file is left there."""
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(min(1 << 20, size - file.tell())):
        digest.update(block)
    return _LABEL + digest.hexdigest().encode()


def _has_seal(file: BinaryIO) -> bool:
    """Whether the file ends as :func:`seal` leaves it."""
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
