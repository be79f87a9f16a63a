"""Where the runs of a study are: in which submission, and what Slurm tells of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from roadmap.record import RunFolder
from slurm import client
from slurm.history import Event, is_over
from slurm.submission import Submission, Task, read_submissions


@dataclass(frozen=True)
class Place:
    """Where a run is in a submission. index: in its array; None while it waits to be submitted."""

    submission: Submission
    index: int | None
    task: Task


@dataclass(frozen=True)
class Told:
    """What Slurm told: jobs in the queue (None: no answer), in accounting (None: there is none), and the
    names of job arrays that it keeps from us.
    """

    queued: Sequence[client.Job] | None
    accounted: Sequence[client.Job] | None
    hidden: frozenset[str]


def latest_places(submissions: Sequence[Submission]) -> dict[str, Place | None]:
    """Run name -> its place in the latest submission that has it, in order of first submission."""
    places: dict[str, Place | None] = {}
    for submission in submissions:
        for index, task in enumerate(submission.tasks):
            places[task.run] = Place(submission, index, task)
        for task in submission.waiting:
            places[task.run] = Place(submission, None, task)
    return places


def is_superseded(task: Task | None, submissions: Sequence[Submission]) -> bool:
    """Whether the same command line was submitted later for another run: the recipe has changed since.

    Of submissions made before jobs carried a run's folder; these never change what they run.
    """
    if task is None:
        return False
    latest = {each.arguments: each.run for s in submissions for each in (*s.tasks, *s.waiting)}
    return latest[task.arguments] != task.run


def never_started(runs: Path, study: str) -> tuple[str, ...]:
    """Runs that were submitted and have no attempt on record, in order of submission."""
    submissions = read_submissions(runs, study)
    latest = {task.arguments: task.run for s in submissions for task in (*s.tasks, *s.waiting)}
    return tuple(
        run
        for run, place in latest_places(submissions).items()
        if place and latest[place.task.arguments] == run and not RunFolder(runs / study / run).attempts()
    )


def history_of(place: Place | None) -> list[Event]:
    return place.submission.history(place.index) if place and place.index is not None else []


def job_of(place: Place | None, slurm: Told) -> client.Job | None:
    """The run's job: an active one first, else the latest; the queue knows better than accounting."""
    if place is None:
        return None
    mine = [
        [job for job in jobs or () if job.name == place.submission.job_name and job.index == place.index]
        for jobs in (slurm.queued, slurm.accounted)
    ]
    for jobs in mine:
        if jobs:
            return max(jobs, key=lambda job: (not job.ended, job.job))
    return None


def ask(
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
            (submission.job_name, index) not in told and not (folder / task.run / "result.json").exists()
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


def hidden_submissions(
    submissions: Sequence[Submission], queued: Sequence[client.Job] | None
) -> frozenset[str]:
    """Names of other accounts' arrays of which the queue shows nothing, on a cluster that hides jobs."""
    shown = {job.name for job in queued or ()}
    silent = frozenset(s.job_name for s in submissions if not s.is_ours and s.job_name not in shown)
    return silent if silent and client.hides_jobs() else frozenset()


def hidden_runs(
    submissions: Sequence[Submission], queued: Sequence[client.Job] | None
) -> dict[str, Submission]:
    """Runs that may be in the queue though it does not show them -> the submission that has them."""
    names = hidden_submissions(submissions, queued)
    return {
        run: place.submission
        for run, place in latest_places(submissions).items()
        if place and place.submission.job_name in names and not is_over(history_of(place))
    }
