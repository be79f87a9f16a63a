"""Files that are old or new and never in between, JSON in them, and where this user's caches are. Light."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import platformdirs


def cache_folder() -> Path:
    """This user's cache of the project; XDG_CACHE_HOME is respected."""
    return Path(platformdirs.user_cache_dir("yolox-roadmap", appauthor=False))


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of ``path`` once it is whole and on the disk.

    A reader (or a crash) sees the old content or the new, never a part; after an error the old one stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file by way of :func:`replacing`."""
    with replacing(path) as file:
        file.write(data)


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write JSON atomically. Non-finite numbers are refused: they are not JSON."""
    write_atomic(path, (json.dumps(value, indent=indent, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file; None when it is missing. Raises ValueError naming the file when it is broken."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); move it away or repair it") from error


def append_line(path: Path, value: Any) -> None:
    """Append one JSON line; a torn last line (a full disk, a kill in mid-write) is cut off first."""
    line = (json.dumps(value, allow_nan=False) + "\n").encode()
    with path.open("a+b") as file:
        file.seek(0)
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
        file.write(line)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a JSONL file; a torn last line (a kill in mid-write) is dropped, an absent file is empty."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for number, line in enumerate(lines):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines) - 1:
                raise ValueError(f"{path}, line {number + 1} is not valid JSON ({error})") from error
    return rows
