"""What attempts leave of themselves: their starts, their environments, and whether they ran one code."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from roadmap.code import Code, code_of, code_state
from roadmap.protocols import Deviation
from roadmap.record import RunFolder, append_line, now, read_json, write_json

#: Field of the deviation of a run that more than one version of the code has trained.
CODE = "code"


def note_start(folder: RunFolder) -> int:
    """Record that an attempt starts; its number, from 1."""
    number = 1 + sum(event["event"] == "start" for event in folder.attempts())
    append_line(
        folder.path / "attempts.jsonl",
        {
            "event": "start",
            "attempt": number,
            "time": now(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "slurm_job": os.environ.get("SLURM_JOB_ID"),
            "slurm_restart": os.environ.get("SLURM_RESTART_COUNT"),
            "resumes": any(folder.checkpoints.glob("iteration-*.pt")),
            **asdict(code_state()),
        },
    )
    return number


def write_environment(folder: RunFolder, attempt: int, environment: dict[str, Any]) -> None:
    """Write environment.json; that of the attempt before stays as ``environment-<attempt>.json``."""
    path = folder.path / "environment.json"
    earlier = read_json(path)
    if isinstance(earlier, dict):
        number = earlier.get("attempt", attempt - 1)
        if number != attempt:
            write_json(folder.path / f"environment-{number}.json", earlier)
    write_json(path, {"attempt": attempt, **environment})


def mixed_code(events: Sequence[dict[str, Any]]) -> Deviation | None:
    """The deviation of a run whose attempts ran different commits, or different local changes; None for one
    code. Only attempts that the result goes back to count: none before one that began anew.

    events: of attempts.jsonl. Attempts of before this was recorded count as unknown code.
    """
    starts = [event for event in events if event["event"] == "start"]
    fresh = [place for place, event in enumerate(starts) if event.get("resumes") is False]
    codes = dict.fromkeys(code_of(event) for event in starts[fresh[-1] if fresh else 0 :])
    if len(codes) < 2:
        return None
    return Deviation(CODE, "one commit", "; ".join(map(_in_words, codes)))


def _in_words(code: Code) -> str:
    return str(code) if code.commit is None else f"commit {code}"
