"""The run record: a folder per run, the truth that everything else is a view of.

    runs/<study>/<arm>-s<seed>-<hash>/
        recipe.json        the whole resolved recipe, the run's identity, deviations from the paper
        environment.json   packages, commit, hardware, dataset, of the latest attempt
        attempts.jsonl     one line when an attempt starts, one when it ends
        metrics.jsonl      one line per epoch
        result.json        written last, atomically: its presence means the run is finished
        failure.json       why the run stopped on its own (error, non-finite loss)
        detections.json    detections of the best evaluated epoch, COCO result format
        log.txt            what was printed
        checkpoints/       the last two, and the best weights

Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from roadmap.redaction import public

SCHEMA = 1


class RunLockedError(RuntimeError):
    """Another process works on the same run."""


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader (or a crash) sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, *, exact: bool = False) -> None:
    """Write JSON atomically. Non-finite numbers are refused: they are not JSON.

    exact: keep the credentials of addresses, which are left out otherwise (:mod:`roadmap.redaction`).
    """
    value = value if exact else public(value)
    write_atomic(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def write_json_once(path: Path, value: Any) -> bool:
    """Write JSON atomically where there is no such file yet; whether this call wrote it."""
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.once")
    try:
        write_json(temporary, value)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            if path.exists():
                return False
            temporary.replace(path)
        return True
    finally:
        temporary.unlink(missing_ok=True)


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
    line = (json.dumps(public(value), allow_nan=False) + "\n").encode()
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


def now() -> str:
    """UTC time to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class RunFolder:
    """A run's folder and its files."""

    path: Path

    @property
    def study(self) -> str:
        return self.path.parent.name

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    def identity(self) -> dict[str, Any] | None:
        """recipe.json: study, arm, seed, protocol, recipe_hash, recipe, deviations."""
        return _with_arm(read_json(self.path / "recipe.json"))

    def environment(self) -> dict[str, Any] | None:
        return read_json(self.path / "environment.json")

    def result(self) -> dict[str, Any] | None:
        """result.json, None until the run is finished."""
        return _with_arm(read_json(self.path / "result.json"))

    def failure(self) -> dict[str, Any] | None:
        """failure.json: kind, message, epoch, attempt; None unless the run stopped on its own."""
        return read_json(self.path / "failure.json")

    def metrics(self) -> list[dict[str, Any]]:
        """One row per finished epoch, in order."""
        return read_lines(self.path / "metrics.jsonl")

    def attempts(self) -> list[dict[str, Any]]:
        """Start and end events of every attempt, in order."""
        return read_lines(self.path / "attempts.jsonl")

    def state(self) -> str:
        """``finished``, ``failed``, ``running``, ``interrupted`` or ``new``, from the folder alone."""
        if (self.path / "result.json").exists():
            return "finished"
        if self.is_locked():
            return "running"
        if (self.path / "failure.json").exists():
            return "failed"
        return "interrupted" if (self.path / "attempts.jsonl").exists() else "new"

    def is_locked(self) -> bool:
        """Whether a process on this machine (or on a shared file system with locks) works on the run."""
        try:
            file = (self.path / "lock").open("r")  # enough for a shared lock, of another account's run too
        except FileNotFoundError:
            return False
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process.

        Raises RunLockedError naming the holder when another process has it. The operating system frees
        the lock when the holder dies, so no stale lock is left behind.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a+") as file:
            if not _try_lock(file):
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise RunLockedError(
                    f"{self.path} is being worked on by {holder}; wait for it, or stop it first"
                )
            file.truncate(0)
            job = os.environ.get("SLURM_JOB_ID")
            file.write(f"process {os.getpid()} on {socket.gethostname()}" + (f", job {job}" if job else ""))
            file.flush()
            yield


def _try_lock(file: IO[str], patience: float = 1.0) -> bool:
    """Take the lock; with some patience, because :meth:`RunFolder.is_locked` holds it for an instant.

    patience: seconds.
    """
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        else:
            return True


def _with_arm(record: Any) -> Any:
    """Records written before every study had arms call theirs ``stage``."""
    if isinstance(record, dict) and "stage" in record and "arm" not in record:
        return {"arm" if key == "stage" else key: value for key, value in record.items()}
    return record


def find_runs(root: Path, study: str | None = None) -> list[RunFolder]:
    """All run folders below ``root`` (``runs/``), sorted by name; only a study's when it is given."""
    pattern = f"{study or '*'}/*/recipe.json"
    return [RunFolder(path.parent) for path in sorted(root.glob(pattern))]
