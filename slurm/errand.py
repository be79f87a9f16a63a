"""Short jobs that we wait for: the preflight check and the probe.

runs/<errand>/<id>/   job.sh, job.log, and what the job leaves
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep

from roadmap.record import write_atomic
from slurm import client
from slurm.limits import check_request
from slurm.ownership import whose
from slurm.script import Surroundings, errand_script
from slurm.site import Site

#: Seconds between two looks at the job: the first, and the longest, when nothing changes.
_PAUSES = (1.0, 30.0)
#: The errands' own time limit.
_TIME_LIMIT = "15:00"


@dataclass(frozen=True)
class Errand:
    """A job that ended. state: Slurm's word; empty when Slurm had already forgotten it."""

    folder: Path
    job: int
    state: str
    reason: str

    def log(self, lines: int = 20) -> str:
        """The end of what it printed; empty when it could not even write a log."""
        path = self.folder / "job.log"
        if not path.exists():
            return ""
        return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def errand_folder(name: str, runs: Path) -> Path:
    """A new folder for an errand. Raises ValueError when the runs folder cannot be written from here."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = runs.absolute() / name / f"{stamp}-{secrets.token_hex(2)}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ValueError(
            f"cannot write to the runs folder from here: {error}{whose(folder)}; choose another --runs"
        ) from error
    return folder


def run_errand(name: str, arguments: Sequence[str], site: Site, folder: Path, patience: float) -> Errand:
    """Submit a short job and wait until it has ended. arguments: what follows the interpreter.

    Raises SlurmError with Slurm's reason when it refuses, or when the job has not ended after ``patience``
    seconds; the job is cancelled then.
    """
    site = replace(site, time_limit=_TIME_LIMIT, signal_lead=min(site.signal_lead, 60))
    check_request(site)
    job_name = f"{name}.{folder.name}"
    script = errand_script(
        job_name, f"{name} on site {site.name}", arguments, folder, site, Surroundings.here()
    )
    write_atomic(folder / "job.sh", script.encode())
    try:
        number = client.sbatch(folder / "job.sh")
    except client.SlurmError as error:
        raise client.SlurmError(f"{error}\nthe cluster offers:\n{client.partitions()}") from error
    print(f"job {number} is submitted; its log: {folder / 'job.log'}", file=sys.stderr)
    try:
        return _wait(number, folder, patience)
    except KeyboardInterrupt:
        client.cancel([str(number)])
        print(f"job {number} is cancelled", file=sys.stderr)
        raise


def _wait(number: int, folder: Path, patience: float) -> Errand:
    """Look at the job, less and less often while it stays as it is."""
    end = monotonic() + patience
    told = ""
    pause = _PAUSES[0]
    while True:
        found = client.job_state(number)
        if found is None or found.ended:
            state, reason = (found.state, found.reason) if found else ("", "")
            return Errand(folder, number, state, reason)
        now = f"{found.state.lower()} {found.reason}".strip()
        if now != told:
            print(f"job {number}: {now}", file=sys.stderr)
            told, pause = now, _PAUSES[0]
        if monotonic() > end:
            client.cancel([str(number)])
            raise client.SlurmError(
                f"job {number} was still {now} after {patience:.0f} s and is cancelled; "
                "wait longer with --wait, or ask for less"
            )
        sleep(pause)
        pause = min(1.5 * pause, _PAUSES[1])
