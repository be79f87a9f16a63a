"""How busy other processes keep the cores of this one while something is measured."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Clock:
    """Seconds at one moment: passed, spent by this process, and spent by anyone on the cores it may use."""

    passed: float
    own: float
    all: float


def read_clock() -> Clock:
    """The seconds so far, since whenever: only differences mean anything."""
    own = psutil.Process().cpu_times()
    cores = psutil.cpu_times(percpu=True)
    busy = sum(_busy(cores[core]._asdict()) for core in os.sched_getaffinity(0) if core < len(cores))
    return Clock(time.monotonic(), own.user + own.system, busy)


def others_load(before: Clock, after: Clock) -> float:
    """How many cores others kept busy between two moments, on average. Never below 0: the two counts of the
    kernel are not taken at the same instant.
    """
    passed = after.passed - before.passed
    others = (after.all - before.all) - (after.own - before.own)
    return max(0.0, others / passed) if passed > 0 else 0.0


def _busy(seconds: dict[str, float]) -> float:
    """A core's seconds without those in which nobody could use it, and without guests', counted already."""
    idle = ("idle", "iowait", "guest", "guest_nice")
    return sum(value for name, value in seconds.items() if name not in idle)
