"""A lock that outlives its holder: some file servers keep the lock of a node that has died.

The operating system frees a lock when its holder dies; a file server that has lost touch with the holder's
node may not. Slurm knows better whether the job is over. A lock is set aside only then, by renaming its file:
whoever should still hold it keeps the old file, and everybody else takes a new one.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from roadmap.record import RunFolder
from slurm import client

_HOLDER = re.compile(r"process (?P<process>\d+) on (?P<host>[^\s,]+)(?:, job (?P<job>\d+))?")


@dataclass(frozen=True)
class Holder:
    """Who wrote a lock. job: Slurm's number, None for a process that no job started."""

    process: int
    host: str
    job: int | None

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job is not None else ""
        return f"process {self.process} on {self.host}{job}"


def holder_of(folder: RunFolder) -> Holder | None:
    """Who holds the run's lock, None when nobody does or the lock does not say."""
    if not folder.is_locked():
        return None
    found = _HOLDER.match((folder.path / "lock").read_text(encoding="utf-8", errors="replace"))
    if found is None:
        return None
    return Holder(int(found["process"]), found["host"], int(found["job"]) if found["job"] else None)


def why_not(holder: Holder) -> str:
    """Why a lock must be left alone; empty when Slurm says for certain that its holder's job is over, or that
    the job goes on elsewhere or waits to.

    Raises SlurmError when Slurm does not answer.
    """
    if holder.job is None:
        return f"{holder} belongs to no job: end it there"
    here = _short(socket.gethostname())
    if _short(holder.host) == here and Path(f"/proc/{holder.process}").exists():
        return f"{holder} is alive, on this machine"
    job = client.job_state(holder.job)
    if job is None or job.ended or job.state == "PENDING":
        return ""
    nodes = client.host_names(job.node) if job.state == "RUNNING" else []
    if nodes and _short(holder.host) not in [_short(node) for node in nodes]:
        return ""  # Slurm gave that node up and requeued the job
    return f"Slurm calls job {holder.job} {job.state}"


def set_aside(folder: RunFolder) -> Path:
    """Rename the lock's file; the name it has now."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    kept = folder.path / f"lock.{stamp}-{os.getpid()}"
    (folder.path / "lock").rename(kept)
    return kept


def _short(host: str) -> str:
    return host.split(".")[0]
