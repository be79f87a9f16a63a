"""The state of every run of a study: our records first, then Slurm's queue, then its accounting.

What cannot be known is ``unknown``, and never taken for dead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from roadmap.record import RunFolder, find_runs
from slurm import client
from slurm.progress import Progress, progress
from slurm.submission import Event, Submission, Task, read_submissions

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
_NO_FAILURE = (0, 73, 75)
#: States that ``retry`` takes up again, and that ``resubmit`` does, which leaves alone what failed by itself.
ENDED_STATES = frozenset({*_ENDINGS.values(), "failed", "killed", "interrupted"})
MISSING_STATES = (ENDED_STATES - {"failed"}) | {"missing"}


@dataclass(frozen=True)
class RunStatus:
    """A row of the status table.

    state: ``finished``, ``running``, ``pending``, another word of Slurm's queue in lower case, one of
    ENDED_STATES, ``missing`` (submitted, never started, and no longer in the queue), ``unknown``, or
    ``unknown (WORD)`` for a word of Slurm's that we do not know. attempts: starts on record.
    last_end: how the last attempt ended. job: id of its latest job. submission: the one it came from.
    """

    run: str
    arm: str
    seed: int
    state: str
    progress: Progress
    job: str
    node: str
    attempts: int
    last_end: str
    submission: Submission | None
    task: Task | None
    active_job: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: one object per run."""
        return {
            "run": self.run,
            "arm": self.arm,
            "seed": self.seed,
            "state": self.state,
            **asdict(self.progress),
            "job": self.job or None,
            "node": self.node or None,
            "attempts": self.attempts,
            "last_end": self.last_end or None,
            "submission": self.submission.id if self.submission else None,
        }


@dataclass(frozen=True)
class Overview:
    """A study's runs. reports: names of report jobs -> ids still in the queue. notes: what was not known."""

    study: str
    runs: tuple[RunStatus, ...]
    report_jobs: tuple[str, ...]
    notes: tuple[str, ...]


def studies(runs: Path) -> tuple[str, ...]:
    """Studies that have run records or submissions."""
    found = {folder.study for folder in find_runs(runs)} | {s.study for s in read_submissions(runs)}
    return tuple(sorted(found))


def overview(study: str, runs: Path) -> Overview:
    """Every run of a study: of all submissions, and those run without Slurm."""
    submissions = read_submissions(runs, study)
    queued, accounted, notes = _ask(submissions, runs / study)
    where = _latest_places(submissions)
    for folder in find_runs(runs, study):
        where.setdefault(folder.name, None)
    rows = [_row(runs / study / name, place, queued, accounted) for name, place in where.items()]
    rows = [row for row in rows if not (row.state == "missing" and is_superseded(row, submissions))]
    names = {s.report_name for s in submissions}
    reports = tuple(job.id for job in queued or () if job.name in names and not job.ended)
    return Overview(study, tuple(rows), reports, tuple(notes))


@dataclass(frozen=True)
class _Place:
    """Where a run is in a submission."""

    submission: Submission
    index: int


def _ask(
    submissions: Sequence[Submission], folder: Path
) -> tuple[list[client.Job] | None, list[client.Job] | None, list[str]]:
    """Jobs in the queue (None when Slurm does not answer), jobs in accounting (None without), notes.

    Accounting is asked only about submissions with unfinished runs that the queue does not know.
    """
    notes = []
    queued = accounted = None
    try:
        queued = client.queue([name for s in submissions for name in (s.job_name, s.report_name)])
    except client.SlurmError as error:
        notes.append(f"Slurm did not answer, some states are unknown: {error}")
    told = {(job.name, job.index) for job in queued or ()}
    forgotten = [
        submission
        for submission in submissions
        if any(
            (submission.job_name, index) not in told and not RunFolder(folder / task.run).result()
            for index, task in enumerate(submission.tasks)
        )
    ]
    try:
        if forgotten:
            since = _local_time(forgotten[0].created)
            accounted = client.accounting([submission.job_name for submission in forgotten], since)
    except client.SlurmError as error:
        notes.append(f"Slurm's accounting did not answer: {error}")
    return queued, accounted, notes


def _local_time(moment: str) -> str:
    """ISO 8601 with a zone, as sacct wants it: local and without."""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%dT%H:%M:%S")


def _latest_places(submissions: Sequence[Submission]) -> dict[str, _Place | None]:
    """Run name -> its place in the latest submission that has it, in order of first submission."""
    places: dict[str, _Place | None] = {}
    for submission in submissions:
        for index, task in enumerate(submission.tasks):
            places[task.run] = _Place(submission, index)
    return places


def is_superseded(row: RunStatus, submissions: Sequence[Submission]) -> bool:
    """Whether the same command line was submitted later for another run: the recipe has changed since."""
    if row.task is None:
        return False
    latest = next(
        task for s in reversed(submissions) for task in s.tasks if task.arguments == row.task.arguments
    )
    return latest.run != row.run


def _row(
    path: Path,
    place: _Place | None,
    queued: Sequence[client.Job] | None,
    accounted: Sequence[client.Job] | None,
) -> RunStatus:
    folder = RunFolder(path)
    task = place.submission.tasks[place.index] if place else None
    identity = folder.identity() or {}
    job = _job_of(place, queued or (), accounted or ())
    history = place.submission.history(place.index) if place else []
    state, last_end = _state(folder, job, history, slurm_answered=queued is not None, submitted=bool(place))
    starts = sum(event["event"] == "start" for event in folder.attempts())
    return RunStatus(
        run=folder.name,
        arm=task.arm if task else identity.get("arm", ""),
        seed=task.seed if task else identity.get("seed", 0),
        state=state,
        progress=progress(folder),
        job=job.id if job else (history[-1].job if history else ""),
        node=(job.node if job else "") or (history[-1].node if history else ""),
        attempts=starts,
        last_end=last_end,
        submission=place.submission if place else None,
        task=task,
        active_job=job.id if job and not job.ended else "",
    )


def _job_of(
    place: _Place | None, queued: Sequence[client.Job], accounted: Sequence[client.Job]
) -> client.Job | None:
    """The run's job: an active one first, else the latest; the queue knows better than accounting."""
    if place is None:
        return None
    mine = [
        [job for job in jobs if job.name == place.submission.job_name and job.index == place.index]
        for jobs in (queued, accounted)
    ]
    for jobs in mine:
        if jobs:
            return max(jobs, key=lambda job: (not job.ended, job.job))
    return None


def _state(
    folder: RunFolder, job: client.Job | None, history: Sequence[Event], slurm_answered: bool, submitted: bool
) -> tuple[str, str]:
    """Our word for the state, and how the last attempt ended."""
    last_end = _last_end(folder, job, history)
    if folder.state() == "finished":
        return "finished", last_end
    if job is not None and not job.known:
        return f"unknown ({job.state})", last_end
    if job is not None and not job.ended:
        waits = f"waits: {job.reason}" if job.state == "PENDING" and job.reason else ""
        return job.state.lower(), "; ".join(part for part in (last_end, waits) if part)
    if folder.is_locked():
        return "running", last_end
    if submitted and not slurm_answered:
        return "unknown", last_end
    return _ending(folder, job, history), last_end


def _ending(folder: RunFolder, job: client.Job | None, history: Sequence[Event]) -> str:
    """The word for a run that nobody works on: our records before Slurm's plain FAILED."""
    if _failed(folder):
        return "failed"
    if job is not None and job.ended and job.state not in ("FAILED", "COMPLETED"):
        return _ENDINGS[job.state]
    ends = [event for event in history if event.event == "end"]
    if ends and history[-1].event != "start" and ends[-1].status not in _NO_FAILURE:
        return "killed" if ends[-1].status > 128 else "failed"
    if job is not None and job.state == "FAILED" and not history:
        return "failed"
    return "interrupted" if folder.attempts() or history else "missing"


def _failed(folder: RunFolder) -> bool:
    """Whether the latest attempt stopped on its own."""
    failure = folder.failure()
    starts = [event["attempt"] for event in folder.attempts() if event["event"] == "start"]
    return failure is not None and (not starts or failure.get("attempt") == starts[-1])


def _last_end(folder: RunFolder, job: client.Job | None, history: Sequence[Event]) -> str:
    """Why the latest attempt that ended did so: our record, then array.sh's notes, then Slurm."""
    failure = folder.failure()
    if failure is not None and _failed(folder):
        return f"{failure.get('kind')}: {failure.get('message')}"
    attempts = folder.attempts()
    if attempts and attempts[-1]["event"] == "end":
        return str(attempts[-1]["reason"])
    ends = [event for event in history if event.event == "end"]
    if ends and ends[-1].restart == history[-1].restart:
        return _status_in_words(ends[-1].status)
    if job is not None and job.ended and job.state != "COMPLETED":
        told = "" if job.exit_status in (None, 0) else f", {_status_in_words(job.exit_status or 0)}"
        return f"{job.state.lower()}{f' ({job.reason})' if job.reason else ''}{told}"
    return ""


def _status_in_words(status: int) -> str:
    if status > 128:
        return f"killed by signal {status - 128}"
    known: Mapping[int, str] = {73: "locked by another process", 75: "signal"}
    return known.get(status, f"exit status {status}")
