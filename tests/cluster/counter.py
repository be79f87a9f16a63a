"""A stand-in for training that starts in a tenth of a second: a chain of hashes with checkpoints.

It keeps the runner's contract (record, lock, signals, exit statuses) and its result depends on every
iteration, so a run that was interrupted anywhere must end with the same figures as one that was not.
Of several processes the first one counts; the others wait for its end or for a signal.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from roadmap.protocols import DEMO
from roadmap.recipe import DatasetConfig, Run
from roadmap.record import RunFolder, RunLockedError, append_line, now, read_json, write_json
from roadmap.stages import stage_recipe
from tests.roadmap.records import finish, identity_of

EPOCHS = 8
ITERATIONS = 10


def counter_run(study: str, seed: int) -> Run:
    """The run of a study with this seed; all have the same stage and recipe."""
    dataset = DatasetConfig("counter", "0", 3, 10, 10)
    recipe = stage_recipe("baseline", DEMO, dataset)
    return Run(study, "baseline", seed, replace(recipe, training=replace(recipe.training, epochs=EPOCHS)))


def counter_arguments(run: Run, runs: Path, pause: float, *more: str) -> tuple[str, ...]:
    """What follows the interpreter. pause: seconds per iteration."""
    options = ("--study", run.study, "--seed", str(run.seed), "--runs", str(runs), "--pause", str(pause))
    return ("-m", "tests.cluster.counter", *options, *more)


class Stopped(Exception):
    """A signal asked to stop."""


class Ordered(Exception):
    """A search left word to stop for good."""


class Counter:
    """One attempt at a run."""

    def __init__(self, run: Run, runs: Path, pause: float, ballast: int, fail: bool) -> None:
        self.run, self.pause, self.ballast, self.fail = run, pause, ballast, fail
        self.folder = RunFolder(runs / run.study / run.name)
        self.stop = False
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        self.stop = True

    def carry_out(self) -> int:
        """FINISHED 0, FAILED 1, LOCKED 73 or INTERRUPTED 75, as the runner."""
        if self.folder.result() is not None or self.folder.state() == "stopped":
            return 0
        if os.environ.get("SLURM_PROCID", "0") != "0":
            return self._attend()
        try:
            with self.folder.lock():
                return self._attempt()
        except RunLockedError as error:
            print(error, file=sys.stderr)
            return 73

    def _attend(self) -> int:
        while not self.stop and self.folder.result() is None:
            time.sleep(0.05)
        return 75 if self.stop else 0

    def _attempt(self) -> int:
        write_json(self.folder.path / "recipe.json", identity_of(self.run))
        number = 1 + sum(event["event"] == "start" for event in self.folder.attempts())
        (self.folder.path / "failure.json").unlink(missing_ok=True)
        job = os.environ.get("SLURM_JOB_ID")
        self._event("start", number, host=socket.gethostname(), pid=os.getpid(), slurm_job=job)
        try:
            self._count(number)
        except Stopped:
            self._event("end", number, reason="signal")
            return 75
        except Ordered:
            self._event("end", number, reason="stopped")
            return 0
        except Exception as error:
            print(f"failed: {error}", file=sys.stderr)
            failure = {"kind": "error", "message": str(error), "attempt": number, "time": now()}
            write_json(self.folder.path / "failure.json", failure)
            self._event("end", number, reason="error")
            return 1
        self._event("end", number, reason="finished")
        return 0

    def _event(self, event: str, attempt: int, **more: Any) -> None:
        line = {"event": event, "attempt": attempt, "time": now(), **more}
        append_line(self.folder.path / "attempts.jsonl", line)

    def _count(self, attempt: int) -> None:
        state = read_json(self._checkpoint) or first(self.run.seed)
        while state["iteration"] < self.run.recipe.training.epochs * ITERATIONS:
            if self.stop:
                self._save(state)
                raise Stopped
            if self.folder.stop_order() is not None:
                self._save(state)
                raise Ordered
            time.sleep(self.pause)
            if self.fail and state["iteration"] == ITERATIONS + 5:
                raise ArithmeticError("a loss that is not finite")
            state = following(state)
            if state["iteration"] % ITERATIONS == 0:
                self._end_epoch(state)
        finish(self.folder, self.run, self.figure(state))

    def _end_epoch(self, state: dict[str, Any]) -> None:
        epoch = state["iteration"] // ITERATIONS
        if not any(row["epoch"] == epoch for row in self.folder.metrics()):
            row = {"epoch": epoch, "AP": self.figure(state), "seconds": self.pause * ITERATIONS}
            append_line(self.folder.path / "metrics.jsonl", row)
        self._save(state)

    def figure(self, state: dict[str, Any]) -> float:
        """The run's AP so far, percent."""
        return figure(state)

    def _save(self, state: dict[str, Any]) -> None:
        self.folder.checkpoints.mkdir(exist_ok=True)
        write_json(self._checkpoint, state | {"ballast": "x" * self.ballast})

    @property
    def _checkpoint(self) -> Path:
        return self.folder.checkpoints / "latest.json"


def first(seed: int) -> dict[str, Any]:
    """The state before the first iteration."""
    return {"iteration": 0, "hash": str(seed)}


def following(state: dict[str, Any]) -> dict[str, Any]:
    """The state an iteration later."""
    digest = hashlib.sha256(state["hash"].encode()).hexdigest()
    return {"iteration": state["iteration"] + 1, "hash": digest}


def expected_ap(seed: int) -> float:
    """What a run that nothing disturbs ends with."""
    state = first(seed)
    for _ in range(EPOCHS * ITERATIONS):
        state = following(state)
    return figure(state)


def figure(state: dict[str, Any]) -> float:
    """An AP that depends on the whole chain so far, percent."""
    return int(state["hash"][:8], 16) / 0xFFFFFFFF * 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--ballast", type=int, default=0, help="bytes that make the checkpoint larger")
    parser.add_argument("--fail", action="store_true", help="fail in the middle, every time")
    options = parser.parse_args()
    run = counter_run(options.study, options.seed)
    return Counter(run, options.runs, options.pause, options.ballast, options.fail).carry_out()


if __name__ == "__main__":
    sys.exit(main())
