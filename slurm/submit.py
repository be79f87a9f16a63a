"""Submitting a study: one job array, a report job that waits for it, and no run started twice."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from roadmap.record import RunFolder, write_atomic
from slurm import budget, client
from slurm.limits import check_request
from slurm.overview import hidden_runs
from slurm.ownership import whose
from slurm.quoting import shell
from slurm.script import Surroundings, array_script, report_script, tasks_file
from slurm.site import Site
from slurm.submission import (
    Submission,
    Task,
    new_submission,
    read_submissions,
    submissions_folder,
)

#: Seconds to wait for another submission of the same study to finish its decision.
_PATIENCE = 120


@dataclass(frozen=True)
class Skipped:
    """A run that is not submitted, and why."""

    run: str
    why: str


@dataclass(frozen=True)
class Outcome:
    """What a submission did, or would do. submission: None when there was nothing to submit.

    scripts: file name -> text, for ``--dry-run``. notes: what the user should know beside.
    """

    submission: Submission | None
    skipped: tuple[Skipped, ...]
    cost: budget.Estimate
    scripts: dict[str, str]
    notes: tuple[str, ...] = ()


def submit(
    study: str,
    tasks: Sequence[Task],
    site: Site,
    runs: Path,
    report: Sequence[str],
    *,
    dry_run: bool = False,
    max_gpu_hours: float | None = None,
) -> Outcome:
    """Submit what is neither finished nor already in the queue, as one array with a dependent report job.

    runs: the folder that holds ``<study>/<run>/``. report: what follows the interpreter in the report job.
    Raises ValueError for a request above the site's limits or the budget, and SlurmError with Slurm's own
    reason when it refuses.
    """
    runs = runs.absolute()
    check_request(site)
    if dry_run:
        return _rehearse(study, tasks, site, runs, report, max_gpu_hours)
    with _deciding(submissions_folder(runs, study)):
        todo, skipped = _decide(study, tasks, runs, busy_runs(study, runs))
        cost = _check_cost(todo, site, runs, max_gpu_hours)
        if not todo:
            return Outcome(None, skipped, cost, {})
        plan = new_submission(study, site, todo, tuple(report), runs)
        files = _files(plan, Surroundings.here())
        sent, notes = _send(plan, files)
        return Outcome(sent, skipped, cost, files, notes)


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
    plan = new_submission(study, site, todo, tuple(report), runs)
    return Outcome(None, skipped, cost, _files(plan, Surroundings.here()) if todo else {}, tuple(notes))


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


def _files(plan: Submission, surroundings: Surroundings) -> dict[str, str]:
    heading = f"Study {plan.study}, submission {plan.id}, site {plan.site.name}"
    runs = plan.folder.parent.parent
    array = array_script(
        plan.job_name,
        f"{heading}: {len(plan.tasks)} runs, one per array task.",
        len(plan.tasks),
        plan.folder,
        runs,
        plan.site,
        surroundings,
    )
    files = {"array.sh": array, "tasks.txt": tasks_file(plan.tasks)}
    if plan.report:
        files["report.sh"] = report_script(
            plan.report_name, f"{heading}: the report.", plan.report, plan.folder, plan.site, surroundings
        )
    return files


def _send(plan: Submission, files: dict[str, str]) -> tuple[Submission, tuple[str, ...]]:
    """Write the submission's folder and hand it to Slurm; the folder goes again when Slurm refuses."""
    for name in ("logs", "history"):
        (plan.folder / name).mkdir(parents=True)
    for name, text in files.items():
        write_atomic(plan.folder / name, text.encode())
    plan.save()  # before sbatch: whatever happens then, the job is found by its name
    try:
        job = client.sbatch(plan.folder / "array.sh")
    except client.SlurmError as error:
        if error.unclear:
            raise client.SlurmError(
                f"{error}; Slurm may have taken the job all the same: python -m slurm status tells", True
            ) from error
        shutil.rmtree(plan.folder)
        raise client.SlurmError(
            f"Slurm refused the job: {error}\nthe cluster offers:\n{client.partitions()}"
        ) from error
    plan = plan.with_jobs(job, None)
    plan.save()
    if "report.sh" not in files:
        return plan, ()
    script = plan.folder / "report.sh"
    try:
        plan = plan.with_jobs(job, client.sbatch(script, f"afterany:{job}"))
    except client.SlurmError as error:
        again = f"sbatch --dependency=afterany:{job} {shell(str(script))}"
        return plan, (f"the runs are submitted, but Slurm refused the report job: {error}; again: {again}",)
    plan.save()
    return plan, ()


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
