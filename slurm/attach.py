"""A shell beside a run: on its node, inside its job, with its GPUs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from slurm import client
from slurm.overview import RunStatus


def attach_command(rows: Sequence[RunStatus], command: Sequence[str], shell: str) -> list[str]:
    """The srun that opens a shell beside a run, or runs a command there; on its first node.

    It shares the run's processors, memory and GPUs (--overlap), and ends with the job.
    Raises ValueError unless exactly one of the rows is running, SlurmError when Slurm does not answer.
    """
    running = [row for row in rows if row.active_job and row.state == "running"]
    if len(running) != 1:
        names = ", ".join(row.run for row in running) or "none"
        raise ValueError(
            f"attach needs one running run, chosen are: {names}; say which with --only and --seed"
        )
    number = client.raw_id(running[0].active_job)
    where = ["--nodes=1", "--ntasks=1", f"--jobid={number}", "--overlap"]
    return ["srun", *where, *(command or ("--pty", shell, "-i"))]


def attach(rows: Sequence[RunStatus], command: Sequence[str]) -> None:
    """Become that srun; does not return."""
    words = attach_command(rows, command, os.environ.get("SHELL") or "/bin/bash")
    os.execvpe(words[0], words, client.clean_environment())
