"""The state of every run of a study: our records first, then Slurm's queue, then its accounting.

What cannot be known is ``unknown``, and never taken for dead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from roadmap.record import RunFolder, find_runs
from roadmap.study import read_study
from slurm import client
from slurm.history import latest_end
from slurm.ownership import whose
from slurm.places import (
    Place,
    Told,
    ask,
    hidden_submissions,
    history_of,
    is_superseded,
    job_of,
    latest_places,
)
from slurm.progress import Progress, progress
from slurm.states import state_of, status_in_words
from slurm.submission import Submission, Task, read_submissions
from slurm.usage import gpu_hours


@dataclass(frozen=True)
class RunStatus:
    """A row of the status table.

    state: ``finished``, ``stopped`` (for good, by a search), ``running``, ``pending``, another word of
    Slurm's in lower case, one of ENDED_STATES, ``waiting`` (the cluster took no more jobs), ``planned``
    (never submitted nor started), ``missing`` (submitted, never started, and no longer in the queue),
    ``unreadable`` (its result can't be used; ``last_end`` says why), ``unknown``, or ``unknown (WORD)`` for a
    word of Slurm's that we do not know. attempts: starts on record.
    last_end: how the last attempt ended. job: id of its latest job. submission: the one it came from.
    gpu_hours: used so far, by all attempts; None when Slurm never started it. expected_start: of a pending
    one, ISO 8601; empty when Slurm does not plan it yet.
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
    gpu_hours: float | None = None
    expected_start: str = ""

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
            "gpu_hours": self.gpu_hours,
            "expected_start": self.expected_start or None,
            "submission": self.submission.id if self.submission else None,
        }


@dataclass(frozen=True)
class Overview:
    """A study's runs. report_jobs: ids still in the queue. report_failure: how the latest report job failed,
    empty unless it did. notes: what was not known.
    """

    study: str
    runs: tuple[RunStatus, ...]
    report_jobs: tuple[str, ...]
    notes: tuple[str, ...]
    report_failure: str = ""


def studies(runs: Path) -> tuple[str, ...]:
    """Studies that have run records or submissions."""
    found = {folder.study for folder in find_runs(runs)} | {s.study for s in read_submissions(runs)}
    return tuple(sorted(found))


def overview(study: str, runs: Path) -> Overview:
    """Every run of a study: of all submissions, and those run without Slurm."""
    submissions = read_submissions(runs, study)
    queued, accounted, notes = ask(submissions, runs / study)
    hidden = hidden_submissions(submissions, queued)
    where = latest_places(submissions)
    for folder in find_runs(runs, study):
        where.setdefault(folder.name, None)
    slurm = Told(queued, accounted, hidden)
    rows = [_row(runs / study / name, place, slurm, notes) for name, place in where.items()]
    rows = [row for row in rows if not (row.state == "missing" and is_superseded(row.task, submissions))]
    rows = _with_usage(_with_starts(_in_order(rows, runs / study), submissions, notes), submissions)
    names = {s.report_name for s in submissions}
    reports = tuple(job.id for job in queued or () if job.name in names and not job.ended)
    return Overview(study, tuple(rows), reports, tuple(notes), _report_failure(submissions, slurm))


def _row(path: Path, place: Place | None, slurm: Told, notes: list[str]) -> RunStatus:
    """A run's line; a record that cannot be read makes its own state unknown and nobody else's."""
    task = place.task if place else None
    job = job_of(place, slurm)
    try:
        history = history_of(place)
        folder = RunFolder(path)
        identity = folder.identity() or {}
        state, last_end = state_of(folder, place, job, history, slurm)
        how_far = progress(folder)
        starts = sum(event["event"] == "start" for event in folder.attempts())
    except (OSError, ValueError) as error:
        notes.append(f"{path.name}: {error}{whose(path) if isinstance(error, OSError) else ''}")
        history, identity, how_far, starts = [], {}, Progress(0, None, None, None), 0
        state = job.state.lower() if job and job.known and not job.ended else "unknown"
        last_end = "its record cannot be read"
    return RunStatus(
        run=path.name,
        arm=task.arm if task else identity.get("arm", ""),
        seed=task.seed if task else identity.get("seed", 0),
        state=state,
        progress=how_far,
        job=job.id if job else (history[-1].job if history else ""),
        node=(job.node if job else "") or next((e.node for e in reversed(history) if e.node), ""),
        attempts=starts,
        last_end=last_end,
        submission=place.submission if place else None,
        task=task,
        active_job=job.id if job and not job.ended else "",
    )


def _in_order(rows: Sequence[RunStatus], folder: Path) -> list[RunStatus]:
    """Arm by arm as the study has them, then by seed; without its data as they were submitted."""
    try:
        study = read_study(folder)
    except ValueError:  # a report says so; the queue is shown all the same
        study = None
    if study is None:
        return list(rows)
    last = len(study.arms) + 1
    return sorted(rows, key=lambda row: (study.place(row.arm) or last, row.seed))


def _with_starts(
    rows: list[RunStatus], submissions: Sequence[Submission], notes: list[str]
) -> list[RunStatus]:
    """Pending rows with the time at which Slurm expects to start them."""
    if not any(row.state == "pending" for row in rows):
        return rows
    try:
        starts = client.expected_starts([submission.job_name for submission in submissions])
    except client.SlurmError as error:
        notes.append(f"Slurm did not tell when runs may start: {error}")
        return rows
    return [replace(row, expected_start=starts.get(row.active_job, "")) for row in rows]


def _with_usage(rows: list[RunStatus], submissions: Sequence[Submission]) -> list[RunStatus]:
    moment = datetime.now(UTC)

    def used(row: RunStatus) -> float | None:
        try:
            return gpu_hours(row.run, submissions, row.state in ("running", "completing"), moment)
        except OSError:  # a colleague's, closed
            return None

    return [replace(row, gpu_hours=used(row)) for row in rows]


def _report_failure(submissions: Sequence[Submission], slurm: Told) -> str:
    """How the latest report job failed, by its own notes before Slurm's word; empty unless it did."""
    for submission in reversed(submissions):
        jobs = [
            j for j in (*(slurm.queued or ()), *(slurm.accounted or ())) if j.name == submission.report_name
        ]
        end = latest_end(submission.report_history())
        if any(not job.ended for job in jobs):
            return ""
        if end is not None:
            how = "" if end.status == 0 else status_in_words(end.status)
        elif jobs:
            how = "" if jobs[0].state in ("COMPLETED", "CANCELLED") else jobs[0].state.lower()
        else:
            continue  # never ran, as far as anybody knows; an earlier one may have
        log = next(iter(submission.folder.glob("logs/report_*.log")), None)
        return how and f"{how}; {f'its log: {log}' if log else 'it left no log'}"
    return ""
