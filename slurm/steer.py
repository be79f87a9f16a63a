"""Cancel, retry, resubmit: act on what the overview shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from slurm import client
from slurm.history import remember_cancellation
from slurm.overview import Overview, RunStatus, overview
from slurm.ownership import account
from slurm.places import is_superseded
from slurm.site import Site
from slurm.states import ENDED_STATES, LEFT_ALONE, MISSING_STATES
from slurm.submission import read_submissions
from slurm.submit import Outcome, submit

#: Which states each command takes up again.
AGAIN = {"retry": ENDED_STATES, "resubmit": MISSING_STATES}


def select(found: Overview, arms: Collection[str] = (), seeds: Collection[int] = ()) -> tuple[RunStatus, ...]:
    """Rows of these arms and seeds; all where none is given.

    Raises ValueError naming the study's own when one is unknown.
    """
    for what, wanted, known in (
        ("arm", arms, [row.arm for row in found.runs]),
        ("seed", seeds, [row.seed for row in found.runs]),
    ):
        for value in wanted:
            if value not in known:
                have = ", ".join(str(k) for k in dict.fromkeys(known)) or "none"
                raise ValueError(f"study {found.study!r} has no {what} {value!r}; it has: {have}")
    return tuple(
        row for row in found.runs if (not arms or row.arm in arms) and (not seeds or row.seed in seeds)
    )


def cancel(found: Overview, rows: Sequence[RunStatus]) -> tuple[str, ...]:
    """Cancel the jobs of these runs, and the report jobs when no run of the study is left in the queue.

    Returns the ids that were cancelled. Raises SlurmError with Slurm's reason.
    """
    ids = [row.active_job for row in rows if row.active_job]
    left = {row.active_job for row in found.runs if row.active_job} - set(ids)
    wanted = ids + ([] if left else list(found.report_jobs))
    client.cancel(wanted)
    for row in rows:
        index = row.submission.index_of(row.run) if row.submission and row.active_job else None
        if row.submission is not None and index is not None:
            remember_cancellation(row.submission.history_file(index), row.active_job, account())
    return tuple(wanted)


def again(
    command: str,
    study: str,
    runs: Path,
    arms: Collection[str] = (),
    seeds: Collection[int] = (),
    site: Site | None = None,
    max_gpu_hours: float | None = None,
    dry_run: bool = False,
    only_waiting: bool = False,
) -> tuple[Outcome | None, tuple[RunStatus, ...]]:
    """``retry`` what ended without a result, or ``resubmit`` what is missing, on the latest submission's site
    or another. Returns None when there is nothing to do, and the rows that resubmit leaves alone: they
    failed by themselves, or somebody cancelled them.

    Raises ValueError when the study was never submitted, SlurmError when Slurm does not answer or refuses.
    """
    submissions = read_submissions(runs, study)
    if not submissions:
        raise ValueError(f"study {study!r} was never submitted from {runs}; there is nothing to {command}")
    found = overview(study, runs)
    rows = [row for row in select(found, arms, seeds) if not is_superseded(row.task, submissions)]
    states = {"waiting"} if only_waiting else AGAIN[command]
    chosen = [row for row in rows if row.state in states and row.task is not None]
    left = tuple(row for row in rows if row.state in LEFT_ALONE and command == "resubmit")
    tasks = [row.task for row in chosen if row.task is not None]
    if not tasks:
        return None, left
    latest = submissions[-1]
    outcome = submit(
        study,
        tasks,
        site or latest.site,
        runs,
        latest.report,
        dry_run=dry_run,
        max_gpu_hours=max_gpu_hours,
        code=latest.code if Path(latest.code).is_dir() else "",
    )
    return outcome, left
