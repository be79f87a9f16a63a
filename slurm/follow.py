"""The next step of a study that is not planned to its end: a job behind whatever of it is under way.

It takes the report job's place: the same script, name and history, so that status and cancel know it. It
starts when any one of the runs is over, or after a while, and may leave another one behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from roadmap.record import write_atomic
from slurm import client
from slurm.script import Surroundings, report_script
from slurm.submission import read_submissions

#: A run may end, and Slurm forget it, between our look and our submission.
_TRIES = 3


def follow(
    study: str, runs: Path, command: Sequence[str], surroundings: Surroundings, after: float = 0
) -> int | None:
    """Submit the next step unless one waits already; its job, None when nothing is under way to follow.

    command: what follows the interpreter. after: seconds from now to start at; 0 for as soon as any run of
    the study is over. Raises SlurmError with Slurm's reason.
    """
    submissions = read_submissions(runs, study)
    if not submissions:
        return None
    last, steps = submissions[-1], {each.report_name for each in submissions}
    for left in reversed(range(_TRIES)):
        jobs = client.queue([name for each in submissions for name in (each.job_name, each.report_name)])
        if waiting := [job.job for job in jobs if job.name in steps and job.state == "PENDING"]:
            return waiting[0]
        active = [job.id for job in jobs if job.name not in steps and not job.ended]
        if not active:
            return None
        script = last.folder / "report.sh"
        text = report_script(
            last.report_name,
            f"Study {study}: the next step, and the report at the end.",
            command,
            last.folder,
            last.site,
            surroundings.running(last.code),
            begin=after,
        )
        write_atomic(script, text.encode())
        try:
            job = client.sbatch(script, "" if after else "?".join(f"afterany:{each}" for each in active))
        except client.SlurmError:
            if not left:
                raise
            continue
        replace(last, report=tuple(command), report_job=job).save()
        return job
    return None
