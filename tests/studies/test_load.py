"""How busy others keep the cores of a process, from the kernel's counts."""

from __future__ import annotations

import os

import psutil
import pytest

from studies.attempt.load import Clock, others_load, read_clock


def test_what_is_not_ours_is_others() -> None:
    # in 10 s: 25 s of work on our cores, 8 s of it by ourselves
    assert others_load(Clock(100.0, 5.0, 50.0), Clock(110.0, 13.0, 75.0)) == pytest.approx(1.7)


@pytest.mark.parametrize("after", [Clock(110.0, 13.0, 57.9), Clock(100.0, 6.0, 70.0)])
def test_counts_taken_at_slightly_different_moments_are_no_load(after: Clock) -> None:
    assert others_load(Clock(100.0, 5.0, 50.0), after) == 0.0


def test_idle_time_and_other_peoples_cores_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    times = type(psutil.cpu_times())
    cores = [
        times(**dict.fromkeys(times._fields, 0.0) | {"user": u, "idle": 500.0, "iowait": 9.0})
        for u in (1, 20)
    ]
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: cores)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1})
    assert read_clock().all == 20.0


def test_the_clock_goes_forward() -> None:
    before = read_clock()
    sum(range(100_000))
    after = read_clock()
    assert (after.passed >= before.passed, after.own >= before.own, after.all >= before.all) == (True,) * 3
