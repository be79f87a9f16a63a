"""A search on this machine: a process per run, as many at a time as the search allows."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from roadmap.record import RunFolder
from roadmap.search import SearchRecord
from studies.attempt.share import job_environment
from studies.command.parallel import Job, announce, start_job
from studies.searching.folders import Look, Seen

#: Seconds between two looks at our processes; and at what is recorded, by a pruner and by others.
_POLL, _PRUNER, _OTHERS = 0.2, 5.0, 60.0
#: So often in a row a run ends without a word and without a new epoch before it counts as failed.
STARTS = 3


@dataclass(frozen=True)
class _Running:
    job: Job
    slot: int
    process: subprocess.Popen[bytes]
    epochs: int


class Local:
    """Starts runs as processes of this one.

    arguments: what follows the interpreter to carry out a run's folder. devices: GPUs to share out.
    """

    def __init__(
        self, runs: Path, arguments: Callable[[RunFolder], tuple[str, ...]], devices: Sequence[str] = ()
    ) -> None:
        self._runs, self._arguments, self._devices = runs, arguments, devices
        self._running: dict[str, _Running] = {}
        self._vain: Counter[str] = Counter()

    @property
    def busy(self) -> bool:
        """Whether a process of ours is at work."""
        return bool(self._running)

    def look(self, record: SearchRecord) -> Look:
        """By the folders, and by the processes that we started."""

        def seen(run: str) -> Seen:
            if run in self._running or RunFolder(self._runs / run).is_locked():
                return Seen("running", busy=True)
            if self._vain[run] >= STARTS:
                return Seen("failed", f"ended {STARTS} times without a new epoch; see its console.txt")
            return Seen("waiting")

        return seen

    def start(self, record: SearchRecord, runs: Sequence[str]) -> list[str]:
        """Start as many as there is room for; the others wait for the next step."""
        room = record.space.at_once - len(self._running)
        for run in runs[: max(0, room)]:
            slot = min(set(range(record.space.at_once)) - {one.slot for one in self._running.values()})
            folder = RunFolder(self._runs / run)
            job = Job(folder, self._arguments(folder), 0)
            environment = job_environment(slot, record.space.at_once, self._devices)
            epochs = len(folder.metrics())
            self._running[run] = _Running(job, slot, start_job(job, environment), epochs)
        return []

    def wait(self, should_stop: Callable[[], bool], record: SearchRecord) -> None:
        """Until a process of ours has ended, or it is time to look at what is recorded."""
        end = time.monotonic() + (_OTHERS if record.space.pruner == "none" else _PRUNER)
        while not should_stop() and time.monotonic() < end:
            over = [run for run, one in self._running.items() if one.process.poll() is not None]
            for run in over:
                one = self._running.pop(run)
                announce(one.job, one.process.returncode)
                if len(one.job.folder.metrics()) > one.epochs:
                    del self._vain[run]
                elif one.job.folder.state() in ("interrupted", "planned"):
                    self._vain[run] += 1
            if over:
                return
            time.sleep(_POLL)

    def stop(self) -> None:
        """Ask every process to write a checkpoint and leave, and wait for them."""
        for one in self._running.values():
            one.process.send_signal(signal.SIGTERM)
        for one in self._running.values():
            one.process.wait()
        self._running.clear()
