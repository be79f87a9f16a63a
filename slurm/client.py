"""Slurm's commands, and what they answer.

Jobs are looked up by name. ``squeue`` also tells of jobs that ended in the last minutes (Slurm's
MinJobAge); older ones are known to ``sacct`` where there is accounting, else to our own records only.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

# fmt: off
#: States of a job that will, or may, still run.
ACTIVE = frozenset({
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "REQUEUED", "REQUEUE_HOLD",
    "REQUEUE_FED", "RESIZING", "RESV_DEL_HOLD", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT",
})
#: States of a job that is over.
ENDED = frozenset({
    "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "BOOT_FAIL",
    "DEADLINE", "LAUNCH_FAILED", "RECONFIG_FAIL", "REVOKED",
})
# fmt: on
#: Seconds until a silent Slurm command counts as unanswered; they retry inside for some time.
_PATIENCE = 120


class SlurmError(RuntimeError):
    """Slurm refused or did not answer; the message is Slurm's own reason.

    unclear: the answer was lost, so the request may have been carried out all the same.
    """

    def __init__(self, message: str, unclear: bool = False) -> None:
        super().__init__(message)
        self.unclear = unclear


@dataclass(frozen=True)
class Job:
    """An array task as Slurm tells it.

    job: of the array. index: in the array, None for a plain job. state: Slurm's word. reason: why it waits
    or how it ended. exit_status: None when Slurm did not tell.
    """

    name: str
    job: int
    index: int | None
    state: str
    node: str = ""
    reason: str = ""
    exit_status: int | None = None

    @property
    def id(self) -> str:
        """``<job>_<index>``, as scancel and squeue take it."""
        return str(self.job) if self.index is None else f"{self.job}_{self.index}"

    @property
    def ended(self) -> bool:
        """Whether the job is over for certain; a state that we do not know is not."""
        return self.state in ENDED

    @property
    def known(self) -> bool:
        return self.state in ACTIVE or self.state in ENDED


def sbatch(script: Path, dependency: str = "") -> int:
    """Submit a script and return its job id. Raises SlurmError with Slurm's reason."""
    options = ["--parsable"]
    if dependency:
        options.append(f"--dependency={dependency}")
    answer = _run(["sbatch", *options, str(script)])
    number = answer.strip().splitlines()[-1].split(";")[0] if answer.strip() else ""
    if not number.isdigit():
        raise SlurmError(f"sbatch answered {answer!r} instead of a job id")
    return int(number)


def queue(names: Sequence[str]) -> list[Job]:
    """Jobs of these names in the queue, and those that ended in the last minutes.

    Raises SlurmError when Slurm does not answer: then nothing is known, not even that there are none.
    """
    if not names:
        return []
    fields = "%j|%F|%K|%T|%N|%r"
    answer = _run(["squeue", "--noheader", "--array", "--states=all", f"--format={fields}", *_named(names)])
    return [_queued(line) for line in answer.splitlines() if line.count("|") >= 5]


def accounting(names: Sequence[str], since: str) -> list[Job] | None:
    """Jobs of these names since a time (ISO 8601, UTC), from Slurm's accounting.

    None where there is no accounting.
    """
    if not names or shutil.which("sacct") is None:
        return None
    fields = "JobName,JobID,State,NodeList,ExitCode"
    try:
        options = ["--noheader", "--parsable2", "--allocations", f"--format={fields}"]
        answer = _run(["sacct", *options, f"--starttime={since}", *_named(names)])
    except SlurmError as error:
        if "accounting storage is disabled" in str(error).lower():
            return None
        raise
    found = (_accounted(line) for line in answer.splitlines() if line.count("|") >= 4)
    return [job for job in found if job is not None]


def cancel(ids: Iterable[str]) -> None:
    """Cancel jobs or array tasks. Raises SlurmError with Slurm's reason."""
    wanted = list(ids)
    if wanted:
        _run(["scancel", *wanted])


def partitions() -> str:
    """What the cluster offers, a line per partition and kind of node; empty when Slurm does not answer."""
    try:
        return _run(["sinfo", "--format=%P %D nodes, %c CPUs, %m MB, GRES %G, time limit %l"]).strip()
    except SlurmError as error:
        return f"(sinfo: {error})"


def _named(names: Sequence[str]) -> list[str]:
    return [f"--name={','.join(names)}"]


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_PATIENCE
        )
    except FileNotFoundError as error:
        raise SlurmError(f"{command[0]} is not on PATH; is this a login node of the cluster?") from error
    except subprocess.TimeoutExpired as error:
        message = f"{command[0]} did not answer in {_PATIENCE} s; is slurmctld up?"
        raise SlurmError(message, unclear=True) from error
    if done.returncode:
        reason = " ".join(done.stderr.split()) or " ".join(done.stdout.split())
        message = f"{reason or command[0]} (exit status {done.returncode})"
        raise SlurmError(message, unclear="timed out" in reason.lower())
    return done.stdout


def _queued(line: str) -> Job:
    name, job, index, state, node, reason = line.split("|", 5)
    return Job(name, int(job), int(index) if index.isdigit() else None, state, node, _told(reason))


def _accounted(line: str) -> Job | None:
    name, job_id, state, node, exit_code = line.split("|")[:5]
    job, _, index = job_id.partition("_")
    if not job.isdigit() or (index and not index.isdigit()):
        return None  # pending tasks that sacct shows as one line: 12_[3-9]
    word = state.split()[0] if state.strip() else ""  # CANCELLED by 1000
    status, _, number = exit_code.partition(":")
    told = (
        128 + int(number) if number.isdigit() and int(number) else int(status) if status.isdigit() else None
    )
    return Job(name, int(job), int(index) if index else None, word, _told(node), "", told)


def _told(text: str) -> str:
    return "" if text in ("None", "(null)", "None assigned", "N/A") else text
