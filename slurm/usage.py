"""GPU-hours that runs have used, from the notes of their scripts: every attempt, successful or not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from slurm.history import Event
from slurm.submission import Submission


def gpu_hours(run: str, submissions: Sequence[Submission], active: bool, now: datetime) -> float | None:
    """GPU-hours of a run over all its submissions, None when it was never started by Slurm.

    active: whether its latest attempt is still going on.
    """
    total = None
    latest = max((s.id for s in submissions if s.index_of(run) is not None), default="")
    for submission in submissions:
        index = submission.index_of(run)
        if index is None:
            continue
        history = submission.history(index)
        until = now if active and submission.id == latest else _last_sign(submission, index)
        hours = sum(_hours(history, until))
        if history:
            total = (total or 0.0) + hours * submission.request.gpus
    return total


def _hours(history: Sequence[Event], until: datetime | None) -> list[float]:
    """Hours of each attempt: from its start to its end; one without an end (its node died) lasts to the next
    event, or to ``until``.
    """
    hours = []
    started: datetime | None = None
    for event in history:
        moment = _moment(event)
        if started is not None and event.event in ("start", "end", "cancel"):
            hours.append((moment - started).total_seconds() / 3600)
            started = None
        if event.event == "start":
            started = moment
    if started is not None and until is not None:
        hours.append(max(0.0, (until - started).total_seconds() / 3600))
    return hours


def _last_sign(submission: Submission, index: int) -> datetime | None:
    """When the task's log was last written to."""
    logs: list[Path] = submission.logs(index)
    return datetime.fromtimestamp(logs[-1].stat().st_mtime).astimezone() if logs else None


def _moment(event: Event) -> datetime:
    return datetime.fromisoformat(event.time)
