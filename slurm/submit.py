"""Submitting a study: one job array, a report job that waits for it, and no run started twice."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from roadmap.code import freeze as freeze_code
from roadmap.record import RunFolder
from slurm import budget, client
from slurm.handover import arrays, hand_over, scripts
from slurm.handover import report as report_of
from slurm.limits import check_requests
from slurm.ownership import whose
from slurm.places import hidden_runs
from slurm.script import Surroundings
from slurm.site import Site
from slurm.submission import (
    Submission,
    Task,
    new_submission,
    read_submissions,
    submissions_folder,
)
from slurm.throttle import alive_sizes, balance, forget_limit, limit_of, shares

#: Seconds to wait for another submission of the same study to finish its decision.
_PATIENCE = 120


@dataclass(frozen=True)
class Skipped:
    """A run that is not submitted, and why."""

    run: str
    why: str


@dataclass(frozen=True)
class Outcome:
    """What a submission did, or would do. submissions: one per array, none when there was nothing to submit.

    scripts: file name -> text, for ``--dry-run``. notes: what the user should know beside.
    """

    submissions: tuple[Submission, ...]
    skipped: tuple[Skipped, ...]
    cost: budget.Estimate
    scripts: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def submission(self) -> Submission | None:
        """The last array, behind which the report job waits."""
        return self.submissions[-1] if self.submissions else None


def submit(
    study: str,
    tasks: Sequence[Task],
    site: Site,
    runs: Path,
    report: Sequence[str],
    *,
    dry_run: bool = False,
    max_gpu_hours: float | None = None,
    freeze: bool = False,
    code: str = "",
) -> Outcome:
    """Submit what is neither finished nor already in the queue, as one array with a dependent report job; as
    several where arms ask for different resources or the cluster takes no array of that size.

    runs: the folder that holds ``<study>/<run>/``. report: what follows the interpreter in the report job.
    freeze: copy the code beside the submission, and let all its tasks run that. code: a copy made before.
    Raises ValueError for a request above the site's limits or the budget, and SlurmError with Slurm's own
    reason when it refuses.
    """
    runs = runs.absolute()
    check_requests(site, [task.arm for task in tasks])
    if dry_run:
        return _rehearse(study, tasks, site, runs, report, max_gpu_hours)
    with _deciding(submissions_folder(runs, study)):
        todo, skipped = _decide(study, tasks, runs, busy_runs(study, runs))
        cost = _check_cost(todo, site, runs, max_gpu_hours)
        if not todo:
            return Outcome((), skipped, cost, {})
        others = alive_sizes(read_submissions(runs, study))
        if not others:
            forget_limit(study, runs)
        if freeze:
            code = str(freeze_code(submissions_folder(runs, study)))
        plans = [replace(plan, code=code) for plan in _plans(study, todo, site, runs, report)]
        limit = limit_of(study, runs, site.array_throttle)
        dealt = shares(limit, [*others, *(len(plan.tasks) for plan in plans)])[len(others) :]
        sent, notes = hand_over(plans, dealt, limit, Surroundings.here())
        if limit and (others or len(sent) > len(plans)):
            try:
                balance(study, runs)
            except client.SlurmError as error:  # the runs are submitted all the same
                notes += (f"the limit was not dealt anew: {error}; python -m slurm throttle tries again",)
        return Outcome(sent, skipped, cost, _scripts(sent, dealt), notes)


def _plans(
    study: str, tasks: Sequence[Task], site: Site, runs: Path, report: Sequence[str]
) -> list[Submission]:
    largest = client.largest_array() if len(tasks) > 1 else 0
    return [
        new_submission(study, site, members, tuple(report), runs) for members in arrays(tasks, site, largest)
    ]


def _scripts(plans: Sequence[Submission], dealt: Sequence[int]) -> dict[str, str]:
    """The files of all arrays: name -> text; of several, a number comes first."""
    here = Surroundings.here()
    files: dict[str, str] = {}
    for number, (plan, share) in enumerate(zip(plans, dealt, strict=False), 1):
        prefix = f"{number}/" if len(plans) > 1 else ""
        files |= {prefix + name: text for name, text in scripts(plan, here, share).items()}
    if plans and plans[-1].report:
        files["report.sh"] = report_of(plans[-1], here)
    return files


def busy_runs(study: str, runs: Path) -> dict[str, str]:
    """Runs of a study that Slurm has, or may have where it hides other accounts' jobs -> why we think so;
    states that we do not know count.

    Raises SlurmError when Slurm does not answer.
    """
    submissions = {s.job_name: s for s in read_submissions(runs, study)}
    queued = client.queue(list(submissions))
    found = {
        run: f"perhaps in the queue: Slurm hides the jobs of {submission.user}, who submitted it"
        for run, submission in hidden_runs(list(submissions.values()), queued).items()
    }
    for job in queued:
        tasks = submissions[job.name].tasks
        if not job.ended and job.index is not None and job.index < len(tasks):
            found[tasks[job.index].run] = f"already in the queue as job {job.id} ({job.state})"
    return found


def _rehearse(
    study: str,
    tasks: Sequence[Task],
    site: Site,
    runs: Path,
    report: Sequence[str],
    budget_hours: float | None,
) -> Outcome:
    """What a submission would do; works without Slurm too."""
    notes = []
    try:
        busy = busy_runs(study, runs)
    except client.SlurmError as error:
        busy = {}
        notes.append(f"Slurm did not tell which runs are in the queue: {error}")
    todo, skipped = _decide(study, tasks, runs, busy)
    cost = _check_cost(todo, site, runs, budget_hours)
    plans = _plans(study, todo, site, runs, report) if todo else []
    dealt = shares(site.array_throttle, [len(plan.tasks) for plan in plans])
    return Outcome((), skipped, cost, _scripts(plans, dealt), tuple(notes))


def _decide(
    study: str, tasks: Sequence[Task], runs: Path, busy: dict[str, str]
) -> tuple[tuple[Task, ...], tuple[Skipped, ...]]:
    """Which tasks to submit, and why the others not."""
    todo: dict[str, Task] = {}
    skipped = []
    for task in tasks:
        folder = RunFolder(runs / study / task.run)
        state = folder.state()
        if state == "finished":
            skipped.append(Skipped(task.run, "finished"))
        elif state == "unreadable":
            skipped.append(Skipped(task.run, f"its result can't be used: {folder.problem()}"))
        elif state == "stopped":
            why = (folder.stop_order() or {}).get("message")
            skipped.append(Skipped(task.run, f"stopped for good: {why}; without its stop.json it goes on"))
        elif task.run in busy:
            skipped.append(Skipped(task.run, busy[task.run]))
        elif folder.is_locked():
            skipped.append(Skipped(task.run, "a process works on it"))
        elif task.run not in todo:
            todo[task.run] = task
    return tuple(todo.values()), tuple(skipped)


def _check_cost(
    tasks: Sequence[Task], site: Site, runs: Path, max_gpu_hours: float | None
) -> budget.Estimate:
    cost = budget.estimate(tasks, site, budget.known_throughput(site, runs))
    if tasks:
        budget.check_budget(cost, max_gpu_hours)
    return cost


@contextmanager
def _deciding(folder: Path) -> Iterator[None]:
    """One submission of a study at a time: the decision and the hand-over to Slurm are one step.

    Raises ValueError when another one takes too long.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=_PATIENCE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise ValueError(
            f"another submission holds {folder / '.lock'} (process {os.getpid()} waited {_PATIENCE} s); try "
            "again when it is done"
        ) from error
    except OSError as error:
        raise ValueError(
            f"cannot write to {folder}: {error.strerror}{whose(folder)}; choose another --runs, or share the "
            "folder (a common group, chmod g+ws, umask 002)"
        ) from error
    try:
        yield
    finally:
        lock.release()
