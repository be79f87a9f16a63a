"""Slurm's commands, and what they answer.

Jobs are looked up by name. ``squeue`` also tells of jobs that ended in the last minutes (Slurm's
MinJobAge); older ones are known to ``sacct`` where there is accounting, else to our own records only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
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
#: Variables that change what Slurm's commands print or select.
_READING = ("SQUEUE_", "SACCT_", "SINFO_", "SCANCEL_", "SCONTROL_")
#: Where a job goes is the user's choice where its script leaves it open; any other SBATCH_ variable would
#: change what the script decides (the job's name, by which we find it, its array, signal and log).
_WHERE = {
    "SBATCH_ACCOUNT": "--account",
    "SBATCH_CONSTRAINT": "--constraint",
    "SBATCH_PARTITION": "--partition",
    "SBATCH_QOS": "--qos",
    "SBATCH_RESERVATION": "--reservation",
}
#: Seconds until a silent Slurm command counts as unanswered; they retry inside for some time.
_PATIENCE = 120


class SlurmError(RuntimeError):
    """Slurm refused or did not answer; the message is Slurm's own reason.

    unclear: the answer was lost, so the request may have been carried out all the same.
    """

    def __init__(self, message: str, unclear: bool = False) -> None:
        super().__init__(message)
        self.unclear = unclear

    @property
    def too_many_jobs(self) -> bool:
        """Whether the account has as many jobs as it may have (MaxSubmitJobs of an association or a QoS)."""
        return re.search(r"submit ?job\w*limit|job submit limit", str(self), re.IGNORECASE) is not None


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
    answer = _run(["sbatch", *options, str(script)], _open_choices(script))
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
    options = ["--noheader", "--all", "--array", "--states=all", f"--format={fields}"]
    answer = _run(["squeue", *options, *_named(names)])
    return [_queued(line) for line in answer.splitlines() if line.count("|") >= 5]


def accounting(names: Sequence[str], since: str) -> list[Job] | None:
    """Jobs of these names since a time (ISO 8601, UTC), from Slurm's accounting.

    None where there is no accounting.
    """
    if not names or shutil.which("sacct") is None:
        return None
    fields = "JobName,JobID,State,NodeList,ExitCode"
    try:
        options = ["--noheader", "--allusers", "--parsable2", "--allocations", f"--format={fields}"]
        answer = _run(["sacct", *options, f"--starttime={since}", *_named(names)])
    except SlurmError as error:
        if "accounting storage is disabled" in str(error).lower():
            return None
        raise
    found = (_accounted(line) for line in answer.splitlines() if line.count("|") >= 4)
    return [job for job in found if job is not None]


def expected_starts(names: Sequence[str]) -> dict[str, str]:
    """When Slurm expects jobs of these names to start: id -> ISO 8601, without those it does not plan yet.

    Raises SlurmError when Slurm does not answer.
    """
    if not names:
        return {}
    options = ["--noheader", "--all", "--array", "--states=PENDING", "--format=%F|%K|%S"]
    rows = [line.split("|") for line in _run(["squeue", *options, *_named(names)]).splitlines()]
    planned = {
        f"{row[0]}_{row[1]}" if row[1].isdigit() else row[0]: row[2]
        for row in rows
        if len(row) == 3 and _told(row[2])
    }
    return {job: datetime.fromisoformat(start).astimezone().isoformat() for job, start in planned.items()}


def raw_id(task: str) -> int:
    """The number that Slurm gives an array task beside ``<job>_<index>``. Raises SlurmError."""
    answer = _run(["squeue", "--noheader", "--all", "--format=%A", f"--jobs={task}"]).split()
    if len(answer) != 1 or not answer[0].isdigit():
        raise SlurmError(f"squeue answered {answer!r} instead of one job id for {task}")
    return int(answer[0])


def host_names(nodes: str) -> list[str]:
    """Slurm's ``node[1-3]`` as single names. Raises SlurmError."""
    return _run(["scontrol", "show", "hostnames", nodes]).split()


def job_state(number: int) -> Job | None:
    """A plain job, None when Slurm knows it no more; asks for this job only, not for the whole queue.

    Raises SlurmError when Slurm does not answer.
    """
    fields = "%j|%F|%K|%T|%N|%r"
    options = ["--noheader", "--all", "--states=all", f"--format={fields}", f"--jobs={number}"]
    try:
        answer = _run(["squeue", *options])
    except SlurmError as error:
        if "invalid job id" in str(error).lower():
            return None
        raise
    return next((_queued(line) for line in answer.splitlines() if line.count("|") >= 5), None)


def hides_jobs() -> bool:
    """Whether Slurm keeps other accounts' jobs from us (PrivateData); taken for granted when it is silent."""
    if os.geteuid() == 0:
        return False
    try:
        told = _run(["scontrol", "show", "config"])
    except SlurmError:
        return True
    settings = [line.partition("=")[2] for line in told.splitlines() if line.startswith("PrivateData")]
    return any("jobs" in setting or "all" in setting.split(",") for setting in settings)


def largest_array() -> int:
    """How many tasks an array may have (MaxArraySize, the scheduler's max_array_tasks); 0 when not told."""
    try:
        told = _run(["scontrol", "show", "config"])
    except SlurmError:
        return 0
    found = re.findall(r"^MaxArraySize\s*=\s*(\d+)|max_array_tasks=(\d+)", told, re.MULTILINE)
    return min((int(number) for pair in found for number in pair if number), default=0)


def throttle(job: int, tasks: int) -> None:
    """How many tasks of an array may run at the same time; 0: as many as fit. Raises SlurmError."""
    _run(["scontrol", "update", f"JobId={job}", f"ArrayTaskThrottle={tasks}"])


def cancel(ids: Iterable[str]) -> None:
    """Cancel jobs or array tasks, with one request per array. Raises SlurmError with Slurm's reason."""
    wanted = list(ids)
    if wanted:
        _run(["scancel", *as_ranges(wanted)])


def as_ranges(ids: Iterable[str]) -> list[str]:
    """Array tasks as ranges, other jobs as they are: 12_0, 12_1, 12_2, 12_5, 13 is 12_[0-2,5], 13."""
    arrays: dict[str, list[int]] = {}
    for one in ids:
        job, _, index = one.partition("_")
        arrays.setdefault(job, []).extend([int(index)] if index else [])
    return [_range(job, sorted(set(tasks))) for job, tasks in arrays.items()]


def _range(job: str, tasks: Sequence[int]) -> str:
    if len(tasks) < 2:
        return f"{job}_{tasks[0]}" if tasks else job
    runs: list[list[int]] = []
    for task in tasks:
        if runs and task == runs[-1][-1] + 1:
            runs[-1].append(task)
        else:
            runs.append([task])
    words = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return f"{job}_[{','.join(words)}]"


def partitions() -> str:
    """What the cluster offers, a line per partition and kind of node; empty when Slurm does not answer."""
    try:
        return _run(["sinfo", "--format=%P %D nodes, %c CPUs, %m MB, GRES %G, time limit %l"]).strip()
    except SlurmError as error:
        return f"(sinfo: {error})"


def why_silent() -> str:
    """Why Slurm does not answer from here; empty when it does."""
    try:
        _run(["sinfo", "--noheader", "--format=%P"])
    except SlurmError as error:
        return str(error)
    return ""


def _named(names: Sequence[str]) -> list[str]:
    return [f"--name={','.join(names)}"]


def _open_choices(script: Path) -> frozenset[str]:
    """SBATCH_ variables that may speak: what they choose, the script leaves open."""
    text = script.read_text(encoding="utf-8") if script.exists() else ""
    given = {line.split("=")[0].removeprefix("#SBATCH ") for line in text.splitlines()}
    return frozenset(name for name, option in _WHERE.items() if option not in given)


def clean_environment(kept: frozenset[str] = frozenset()) -> dict[str, str]:
    """Ours, without the user's own formats, filters and defaults of Slurm's commands, and without what a job
    that we are in got from Slurm, for a job that it submits would take that over.
    """
    inside = ("SLURM_",) if "SLURM_JOB_ID" in os.environ else ()
    dropped = (*_READING, "SBATCH_", *inside)
    always = kept | {"SLURM_CONF"}
    return {name: v for name, v in os.environ.items() if name in always or not name.startswith(dropped)}


def _run(command: Sequence[str], kept: frozenset[str] = frozenset()) -> str:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
            env=clean_environment(kept),
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
