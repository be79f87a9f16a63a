"""The logs of runs: their ends, and what is added to them while one looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import sleep
from typing import TextIO

from slurm.overview import RunStatus

#: Seconds between two looks at the logs, and looks at the logs between two looks at the queue.
PAUSE = 1.0
_LOOKS = 30


def log_of(row: RunStatus, runs: Path, study: str) -> Path | None:
    """The latest log of a run: its job's, else its own; None while there is none."""
    index = row.submission.index_of(row.run) if row.submission else None
    paths = row.submission.logs(index) if row.submission and index is not None else []
    path = paths[-1] if paths else runs / study / row.run / "log.txt"
    return path if path.exists() else None


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log."""
    return path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:] if lines else []


def follow(
    look: Callable[[], Sequence[tuple[str, RunStatus]]], runs: Path, lines: int, out: TextIO | None = None
) -> None:
    """Print the ends of logs, then what is added, each line after its run's name where there are several;
    until no run is in the queue or working any more.

    look: study and row of each chosen run, as they are now. out: default stdout.
    """
    out = out or sys.stdout
    read: dict[Path, int] = {}
    while True:
        chosen = look()
        alive = any(is_alive(row) for _, row in chosen)
        for _ in range(_LOOKS if alive else 1):
            for study, row in chosen:
                path = log_of(row, runs, study)
                if path is not None:
                    _print_new(path, read, f"{row.run}: " if len(chosen) > 1 else "", lines, out)
            if not alive:
                return
            sleep(PAUSE)


def is_alive(row: RunStatus) -> bool:
    """Whether more may be added to a run's log without anybody's doing."""
    return bool(row.active_job) or row.state in ("running", "waiting") or row.state.startswith("unknown")


def _print_new(path: Path, read: dict[Path, int], prefix: str, lines: int, out: TextIO) -> None:
    """Whole lines that were added since the last look; at the first one the last ``lines``."""
    size = path.stat().st_size
    if path not in read:
        for line in tail(path, lines):
            print(f"{prefix}{line}", file=out)
        read[path] = size
    elif size > read[path]:
        with path.open("rb") as file:
            file.seek(read[path])
            added = file.read(size - read[path])
        whole = added[: added.rfind(b"\n") + 1]
        read[path] += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            print(f"{prefix}{line}", file=out)
    out.flush()
