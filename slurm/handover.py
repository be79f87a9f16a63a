"""Handing a study over to Slurm: arrays of one kind of request and of a size that it takes; a report behind.

An array of its own for every arm that asks for other resources, and for what is above MaxArraySize. What the
account may not have in the queue yet (MaxSubmitJobs) waits; the report job submits it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace

from roadmap.record import write_atomic
from roadmap.words import counted
from slurm import client
from slurm.quoting import shell
from slurm.script import Surroundings, array_script, report_script, tasks_file
from slurm.site import Site
from slurm.submission import Submission, Task, new_submission


def arrays(tasks: Sequence[Task], site: Site, largest: int) -> list[tuple[Task, ...]]:
    """Tasks in the arrays that carry them, in order. largest: tasks that an array may have, 0: any number."""
    kinds: list[tuple[Site, list[Task]]] = []
    for task in tasks:
        wanted = site.for_arm(task.arm)
        for kind, members in kinds:
            if kind == wanted:
                members.append(task)
                break
        else:
            kinds.append((wanted, [task]))
    size = largest or len(tasks)
    return [tuple(members[i : i + size]) for _, members in kinds for i in range(0, len(members), size)]


def scripts(plan: Submission, surroundings: Surroundings, share: int) -> dict[str, str]:
    """The files of an array: name -> text. share: how many of its tasks may run at a time, 0 for all."""
    runs = plan.folder.parent.parent
    heading = f"Study {plan.study}, submission {plan.id}, site {plan.site.name}"
    title = f"{heading}: {counted(len(plan.tasks), 'run')}, one per array task."
    array = array_script(
        plan.job_name,
        title,
        len(plan.tasks),
        plan.folder,
        runs,
        plan.request,
        surroundings.running(plan.code),
        share,
        bool(plan.report),
    )
    return {"array.sh": array, "tasks.txt": tasks_file(plan.tasks)}


def report(plan: Submission, surroundings: Surroundings) -> str:
    """The script of the report job behind an array and those before it."""
    heading = f"Study {plan.study}, submission {plan.id}, site {plan.site.name}"
    return report_script(
        plan.report_name,
        f"{heading}: the report.",
        plan.report,
        plan.folder,
        plan.site,
        surroundings.running(plan.code),
        waiting=bool(plan.waiting),
    )


def hand_over(
    plans: Sequence[Submission], shares: Sequence[int], limit: int, surroundings: Surroundings
) -> tuple[tuple[Submission, ...], tuple[str, ...]]:
    """Submit arrays, and a report job behind all of them; what was submitted, and notes for the user.

    shares: of each array in the limit on running tasks; an array beyond the limit waits for an earlier one.
    Raises SlurmError with Slurm's reason when it takes nothing.
    """
    sent: list[Submission] = []
    waiting: list[Task] = []
    notes: list[str] = []
    for plan, share in zip(plans, shares, strict=True):
        rest: Submission | None = plan
        while rest is not None and not waiting:
            after = sent[len(sent) - limit].job if limit and len(sent) >= limit else None
            try:
                taken, left = _offer(rest, share, surroundings, f"afterany:{after}" if after else "")
            except client.SlurmError as error:
                if not sent:
                    raise
                if not error.too_many_jobs:
                    notes.append(
                        f"Slurm refused {counted(len(rest.tasks), 'run')}: {error}; "
                        "the same command tries again"
                    )
                    return _with_report(sent, waiting, notes, surroundings)
                left = rest.tasks
            else:
                sent.append(taken)
            waiting_now = left if len(left) == len(rest.tasks) else ()
            waiting += waiting_now
            rest = replace(_again(rest), tasks=left) if left and not waiting_now else None
        if rest is not None:
            waiting += rest.tasks
    return _with_report(sent, waiting, notes, surroundings)


def _again(plan: Submission) -> Submission:
    """The same submission under another id."""
    new = new_submission(plan.study, plan.site, plan.tasks, plan.report, plan.folder.parents[2])
    return replace(new, code=plan.code)


def _offer(
    plan: Submission, share: int, surroundings: Surroundings, dependency: str
) -> tuple[Submission, tuple[Task, ...]]:
    """Submit as many of an array's tasks as the account may have in the queue: half as many at every refusal.
    Returns the submission and the tasks that are left.

    Raises SlurmError when not even one is taken.
    """
    size = len(plan.tasks)
    while True:
        piece = replace(plan, tasks=plan.tasks[:size])
        try:
            return _submit(piece, scripts(piece, surroundings, share), dependency), plan.tasks[size:]
        except client.SlurmError as error:
            if not error.too_many_jobs or size == 1:
                raise
            size //= 2


def _submit(plan: Submission, files: dict[str, str], dependency: str) -> Submission:
    """Write the submission's folder and hand it to Slurm; the folder goes again when Slurm refuses."""
    for name in ("logs", "history"):
        (plan.folder / name).mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_atomic(plan.folder / name, text.encode())
    plan.save()  # before sbatch: whatever happens then, the job is found by its name
    try:
        job = client.sbatch(plan.folder / "array.sh", dependency)
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
    return plan


def _with_report(
    sent: list[Submission], waiting: list[Task], notes: list[str], surroundings: Surroundings
) -> tuple[tuple[Submission, ...], tuple[str, ...]]:
    """Submit the report job behind all arrays, and keep with it what waits."""
    if not sent[-1].report:
        sent[-1] = _keep(replace(sent[-1], waiting=tuple(waiting)))
        if waiting:
            notes.append(f"{_wait(waiting)}, for Slurm takes no more jobs now: python -m slurm resubmit")
        return tuple(sent), tuple(notes)
    while True:
        last = replace(sent[-1], waiting=tuple(waiting))
        script = last.folder / "report.sh"
        write_atomic(script, report(last, surroundings).encode())
        dependency = f"afterany:{':'.join(str(each.job) for each in sent)}"
        try:
            sent[-1] = _keep(replace(last, report_job=client.sbatch(script, dependency)))
            break
        except client.SlurmError as error:
            if error.too_many_jobs and (len(sent) > 1 or len(last.tasks) > 1):
                waiting.insert(0, _withdraw(sent))  # the last run makes room for the report
                continue
            sent[-1] = _keep(last)
            again = f"sbatch --dependency={dependency} {shell(str(script))}"
            notes.append(f"the runs are submitted, but Slurm refused the report job: {error}; again: {again}")
            break
    if waiting:
        notes.append(
            f"{_wait(waiting)}, for Slurm takes no more jobs of this account now; the report job "
            "submits them, and so does python -m slurm resubmit"
        )
    return tuple(sent), tuple(notes)


def _withdraw(sent: list[Submission]) -> Task:
    """Take the last task out of the queue again, and its array from the list when nothing is left of it."""
    last = sent[-1]
    client.cancel([f"{last.job}_{len(last.tasks) - 1}"])
    if len(last.tasks) > 1:
        sent[-1] = replace(last, tasks=last.tasks[:-1])
    else:
        shutil.rmtree(last.folder)
        sent.pop()
    return last.tasks[-1]


def _keep(submission: Submission) -> Submission:
    submission.save()
    return submission


def _wait(waiting: Sequence[object]) -> str:
    """``1 run waits``, ``2 runs wait``."""
    return f"{counted(len(waiting), 'run')} {'waits' if len(waiting) == 1 else 'wait'}"
