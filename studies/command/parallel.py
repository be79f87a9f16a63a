"""Several runs at once on one machine, each in a process of its own.

Small models leave most of a CPU idle when one run uses all cores: two runs of one thread each finish
nearly twice as much as one run of two threads (docs/log.md).
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from roadmap.record import RunFolder
from roadmap.words import counted
from studies.attempt.share import job_environment
from studies.attempt.stopping import FAILED, INTERRUPTED

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Job:
    """A run to start. arguments: what follows the interpreter. epochs: how many it will have."""

    folder: RunFolder
    arguments: tuple[str, ...]
    epochs: int


@dataclass(frozen=True)
class _Running:
    """A job and its process. slot: its place among those at work, from 0."""

    job: Job
    slot: int
    process: subprocess.Popen[bytes]


def run_jobs(
    jobs: Sequence[Job], at_once: int, should_stop: Callable[[], bool], devices: Sequence[str] = ()
) -> dict[str, int]:
    """Carry out all jobs, ``at_once`` at a time; exit status by run name. Each has its share of the cores,
    unless the user decided, and of the GPUs in ``devices`` one to itself while there are enough.

    A progress bar counts finished epochs over all runs. When ``should_stop``, running jobs are asked to
    write a checkpoint and leave, and no further one starts. What a job prints goes to console.txt in its
    folder; its last lines are shown when it fails.
    """
    waiting, statuses = list(jobs), dict[str, int]()
    running: list[_Running] = []
    stopping = False
    bar = tqdm(
        total=sum(job.epochs for job in jobs),
        desc=counted(len(jobs), "run"),
        unit="epoch",
        dynamic_ncols=True,
        disable=None,  # not into a file, where every step of the bar would be a line
    )
    with bar, logging_redirect_tqdm():
        while waiting or running:
            if should_stop() and not stopping:
                stopping, waiting = True, []
                for one in running:
                    one.process.send_signal(signal.SIGTERM)
            while waiting and len(running) < at_once:
                job = waiting.pop(0)
                slot = min(set(range(at_once)) - {one.slot for one in running})
                try:
                    running.append(
                        _Running(job, slot, start_job(job, job_environment(slot, at_once, devices)))
                    )
                except OSError as error:
                    log.error("%s was not started: %s", job.folder.name, error)
                    statuses[job.folder.name] = FAILED
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                statuses[one.job.folder.name] = one.process.returncode
                announce(one.job, one.process.returncode)
            _show(bar, jobs, [one.job for one in running])
            if running:
                time.sleep(_POLL_SECONDS)
    return statuses


def start_job(job: Job, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A run's process, in a group of its own; what it prints goes to console.txt in its folder."""
    job.folder.path.mkdir(parents=True, exist_ok=True)
    with (job.folder.path / "console.txt").open("ab") as console:
        return subprocess.Popen(
            [sys.executable, *job.arguments],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env=environment,
            # Ctrl-C is for us; we pass it on once, as the request to write a checkpoint
            start_new_session=True,
        )


def announce(job: Job, status: int) -> None:
    """Say how a run's process ended."""
    state = job.folder.state()
    result = job.folder.result() if state == "finished" else None
    if status == 0 and result is not None:
        log.info(
            "%s: AP %s at best (epoch %s), %s at last",
            job.folder.name,
            _figure(result.best.AP),
            result.best.epoch,
            _figure(result.last.AP),
        )
    elif status == 0 and state == "stopped":
        log.info("%s: stopped, %s", job.folder.name, (job.folder.stop_order() or {}).get("message"))
    elif status != INTERRUPTED:
        lines = _tail(job.folder.path / "console.txt", 15)
        log.error("%s ended with status %d; its last lines:\n%s", job.folder.name, status, lines)


def _show(bar: tqdm, jobs: Sequence[Job], running: Sequence[Job]) -> None:
    done = 0
    parts = []
    for job in jobs:
        rows = job.folder.metrics()
        done += len(rows)
        if job in running:
            known = [row["AP"] for row in rows if row.get("AP") is not None]
            arm = job.folder.name.rsplit("-s", 1)[0]
            parts.append(f"{arm} {len(rows)}/{job.epochs}" + (f" AP {known[-1]:.1f}" if known else ""))
    bar.set_postfix_str(", ".join(parts), refresh=False)
    bar.update(done - bar.n)


def _tail(path: Path, count: int) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1f}"
