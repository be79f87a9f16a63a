"""The word for a run's state, and how its last attempt ended: our records before what Slurm says.

What cannot be known is ``unknown``, and never taken for dead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roadmap.record import RunFolder
from slurm import client
from slurm.history import (
    LAUNCH,
    Event,
    cancellation,
    is_over,
    latest_end,
    remember_cancellation,
    surrender,
)
from slurm.places import Place, Told
from slurm.rescue import holder_of

#: States in which a run is over without a result, by our word for Slurm's.
_ENDINGS = {
    "CANCELLED": "cancelled",
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "NODE_FAIL": "node-fail",
    "BOOT_FAIL": "node-fail",
    "OUT_OF_MEMORY": "out-of-memory",
    "PREEMPTED": "preempted",
    "REVOKED": "cancelled",
    "LAUNCH_FAILED": "node-fail",
    "RECONFIG_FAIL": "node-fail",
}
#: Exit statuses of a run that left nothing wrong behind: ended, locked by another process, checkpointed.
_NO_FAILURE = (73, 75)
#: What is said of a job that ended well and left no result of its run: not finished, whatever Slurm says.
_NO_RESULT = "ended without the run's result.json"
#: States that ``retry`` takes up again, and that ``resubmit`` does, which leaves alone what failed by itself.
ENDED_STATES = frozenset({*_ENDINGS.values(), "failed", "launch-failed", "killed", "interrupted"})
#: How a run ended that only a person brings back: its own failure, or somebody's wish.
LEFT_ALONE = frozenset({"failed", "cancelled"})
MISSING_STATES = (ENDED_STATES - LEFT_ALONE) | {"missing", "waiting"}


def state_of(
    folder: RunFolder, place: Place | None, job: client.Job | None, history: list[Event], slurm: Told
) -> tuple[str, str]:
    """Our word for the state, and how the last attempt ended. Notes a cancellation that Slurm tells of."""
    last_end = _last_end(folder, job, history)
    recorded = folder.state()
    if recorded == "finished":
        return "finished", last_end
    if recorded == "unreadable":
        return "unreadable", folder.problem()
    if recorded == "stopped":
        return "stopped", str((folder.stop_order() or {}).get("message", ""))
    if job is not None and not job.known:
        return f"unknown ({job.state})", last_end
    if job is not None and not job.ended:
        waits = f"waits: {job.reason}" if job.state == "PENDING" and job.reason else ""
        return job.state.lower(), "; ".join(part for part in (last_end, waits) if part)
    if folder.is_locked():
        holder = holder_of(folder)
        return "running", last_end or f"locked by {holder or 'another process'}"
    if place is not None and place.index is None:
        return "waiting", "the cluster took no more jobs of this account"
    if place is not None and not is_over(history):
        if slurm.queued is None:
            return "unknown", last_end
        if place.submission.job_name in slurm.hidden:
            return "unknown", last_end or f"Slurm hides the jobs of {place.submission.user}"
    if (
        place
        and place.index is not None
        and job is not None
        and job.state == "CANCELLED"
        and cancellation(history) is None
    ):
        remember_cancellation(place.submission.history_file(place.index), job.id, "")
    return _ending(folder, job, history, place is not None), last_end


def _ending(folder: RunFolder, job: client.Job | None, history: Sequence[Event], submitted: bool) -> str:
    """The word for a run that nobody works on: our records before Slurm's plain FAILED."""
    if _failed(folder):
        return "failed"
    if cancellation(history) is not None:
        return "cancelled"
    if job is not None and job.ended and job.state not in ("FAILED", "COMPLETED"):
        return _ENDINGS[job.state]
    end = latest_end(history)
    if end is not None and end.status not in _NO_FAILURE:
        if end.why == LAUNCH:
            return "launch-failed"
        return "killed" if end.status > 128 else "failed"
    if job is not None and job.state == "FAILED" and not history:
        return "failed" if folder.attempts() else "launch-failed"
    if folder.attempts() or history:
        return "interrupted"
    return "missing" if submitted else "planned"


def _failed(folder: RunFolder) -> bool:
    """Whether the latest attempt stopped on its own."""
    failure = folder.failure()
    starts = [event["attempt"] for event in folder.attempts() if event["event"] == "start"]
    return failure is not None and (not starts or failure.get("attempt") == starts[-1])


def _last_end(folder: RunFolder, job: client.Job | None, history: Sequence[Event]) -> str:
    """Why the latest attempt that ended did so, and why nothing brings it back."""
    cancelled = cancellation(history)
    if cancelled is not None and cancelled.why:
        return f"cancelled by {cancelled.why}"
    gave_up = surrender(history)
    parts = (
        _latest_word(folder, job, history),
        f"not requeued: {gave_up.why}" if gave_up and gave_up.why else "",
    )
    return "; ".join(part for part in parts if part)


def _latest_word(folder: RunFolder, job: client.Job | None, history: Sequence[Event]) -> str:
    """How the latest attempt ended: our record, then array.sh's notes, then Slurm."""
    failure = folder.failure()
    if failure is not None and _failed(folder):
        return f"{failure.get('kind')}: {failure.get('message')}"
    end = latest_end(history)
    if end is not None and end.why == LAUNCH:
        return f"did not start: {status_in_words(end.status)}; see its log"
    attempts = folder.attempts()
    if attempts and attempts[-1]["event"] == "end":
        return str(attempts[-1]["reason"])
    if end is not None:
        return status_in_words(end.status)
    if job is not None and job.ended and job.state != "COMPLETED":
        told = "" if job.exit_status in (None, 0) else f", {status_in_words(job.exit_status or 0)}"
        return f"{job.state.lower()}{f' ({job.reason})' if job.reason else ''}{told}"
    return ""


def status_in_words(status: int) -> str:
    if status > 128:
        return f"killed by signal {status - 128}"
    known: Mapping[int, str] = {
        66: "no such working directory",
        67: "module load failed",
        0: _NO_RESULT,
        70: _NO_RESULT,
        73: "locked by another process",
        75: "signal",
    }
    return known.get(status, f"exit status {status}")
