"""The state of every run of a study: our records first, then Slurm's queue, then its accounting.

What cannot be known is ``unknown``, and never taken for dead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from roadmap.record import RunFolder, find_runs
from roadmap.study import read_study
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
from slurm.ownership import whose
from slurm.progress import Progress, progress
from slurm.rescue import holder_of
from slurm.submission import Submission, Task, read_submissions
from slurm.usage import gpu_hours

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


@dataclass(frozen=True)
class RunStatus:
    """A row of the status table.

    state: ``finished``, ``running``, ``pending``, another word of Slurm's queue in lower case, one of
    ENDED_STATES, ``waiting`` (the cluster took no more jobs),
    ``planned`` (never submitted nor started), ``missing`` (submitted, never started, and no
    longer in the queue), ``unreadable`` (its result can't be used; ``last_end`` says why), ``unknown``, or
    ``unknown (WORD)`` for a word of Slurm's that we do not know. attempts: starts on record.
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
    queued, accounted, notes = _ask(submissions, runs / study)
    hidden = hidden_submissions(submissions, queued)
    where = latest_places(submissions)
    for folder in find_runs(runs, study):
        where.setdefault(folder.name, None)
    slurm = _Slurm(queued, accounted, hidden)
    rows = [_row(runs / study / name, place, slurm, notes) for name, place in where.items()]
    rows = [row for row in rows if not (row.state == "missing" and is_superseded(row, submissions))]
    rows = _with_usage(_with_starts(_in_order(rows, runs / study), submissions, notes), submissions)
    names = {s.report_name for s in submissions}
    reports = tuple(job.id for job in queued or () if job.name in names and not job.ended)
    return Overview(study, tuple(rows), reports, tuple(notes), _report_failure(submissions, slurm))


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


@dataclass(frozen=True)
class Place:
    """Where a run is in a submission. index: in its array; None while it waits to be submitted."""

    submission: Submission
    index: int | None
    task: Task


@dataclass(frozen=True)
class _Slurm:
    """What Slurm told: jobs in the queue (None: no answer), in accounting (None: there is none), and the
    names of job arrays that it keeps from us.
    """

    queued: Sequence[client.Job] | None
    accounted: Sequence[client.Job] | None
    hidden: frozenset[str]


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
        if place and place.submission.job_name in names and not is_over(_history(place))
    }


def _report_failure(submissions: Sequence[Submission], slurm: _Slurm) -> str:
    """How the latest report job failed, by its own notes before Slurm's word; empty unless it did."""
    for submission in reversed(submissions):
        jobs = [
            j for j in (*(slurm.queued or ()), *(slurm.accounted or ())) if j.name == submission.report_name
        ]
        end = latest_end(submission.report_history())
        if any(not job.ended for job in jobs):
            return ""
        if end is not None:
            how = "" if end.status == 0 else _status_in_words(end.status)
        elif jobs:
            how = "" if jobs[0].state in ("COMPLETED", "CANCELLED") else jobs[0].state.lower()
        else:
            continue  # never ran, as far as anybody knows; an earlier one may have
        log = next(iter(submission.folder.glob("logs/report_*.log")), None)
        return how and f"{how}; {f'its log: {log}' if log else 'it left no log'}"
    return ""


def never_started(runs: Path, study: str) -> tuple[str, ...]:
    """Runs that were submitted and have no attempt on record, in order of submission."""
    submissions = read_submissions(runs, study)
    latest = {task.arguments: task.run for s in submissions for task in (*s.tasks, *s.waiting)}
    return tuple(
        run
        for run, place in latest_places(submissions).items()
        if place and latest[place.task.arguments] == run and not RunFolder(runs / study / run).attempts()
    )


def _history(place: Place | None) -> list[Event]:
    return place.submission.history(place.index) if place and place.index is not None else []


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


def latest_places(submissions: Sequence[Submission]) -> dict[str, Place | None]:
    """Run name -> its place in the latest submission that has it, in order of first submission."""
    places: dict[str, Place | None] = {}
    for submission in submissions:
        for index, task in enumerate(submission.tasks):
            places[task.run] = Place(submission, index, task)
        for task in submission.waiting:
            places[task.run] = Place(submission, None, task)
    return places


def is_superseded(row: RunStatus, submissions: Sequence[Submission]) -> bool:
    """Whether the same command line was submitted later for another run: the recipe has changed since.

    Of submissions made before jobs carried a run's folder; these never change what they run.
    """
    if row.task is None:
        return False
    latest = {task.arguments: task.run for s in submissions for task in (*s.tasks, *s.waiting)}
    return latest[row.task.arguments] != row.run


def _row(path: Path, place: Place | None, slurm: _Slurm, notes: list[str]) -> RunStatus:
    """A run's line; a record that cannot be read makes its own state unknown and nobody else's."""
    task = place.task if place else None
    job = _job_of(place, slurm)
    try:
        history = _history(place)
        folder = RunFolder(path)
        identity = folder.identity() or {}
        state, last_end = _state(folder, place, job, history, slurm)
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


def _job_of(place: Place | None, slurm: _Slurm) -> client.Job | None:
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


def _state(
    folder: RunFolder, place: Place | None, job: client.Job | None, history: list[Event], slurm: _Slurm
) -> tuple[str, str]:
    """Our word for the state, and how the last attempt ended. Notes a cancellation that Slurm tells of."""
    last_end = _last_end(folder, job, history)
    recorded = folder.state()
    if recorded == "finished":
        return "finished", last_end
    if recorded == "unreadable":
        return "unreadable", folder.problem()
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
        return f"did not start: {_status_in_words(end.status)}; see its log"
    attempts = folder.attempts()
    if attempts and attempts[-1]["event"] == "end":
        return str(attempts[-1]["reason"])
    if end is not None:
        return _status_in_words(end.status)
    if job is not None and job.ended and job.state != "COMPLETED":
        told = "" if job.exit_status in (None, 0) else f", {_status_in_words(job.exit_status or 0)}"
        return f"{job.state.lower()}{f' ({job.reason})' if job.reason else ''}{told}"
    return ""


def _status_in_words(status: int) -> str:
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
