"""Here or on the cluster."""

from __future__ import annotations

import os
import shutil

LAUNCHERS = ("local", "slurm")


def choose_launcher(argument: str | None = None) -> str:
    """``slurm`` where sbatch exists and we are not inside a job already, else ``local``.

    An explicit argument wins. Raises ValueError with the valid choices.
    """
    if argument is not None:
        if argument not in LAUNCHERS:
            raise ValueError(f"unknown launcher {argument!r}; choose one of: {', '.join(LAUNCHERS)}")
        return argument
    inside = "SLURM_JOB_ID" in os.environ
    return "slurm" if shutil.which("sbatch") and not inside else "local"
