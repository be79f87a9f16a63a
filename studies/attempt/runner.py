"""One run: claim its folder, attempt it, and record how the attempt ended. Knows no study.

Started again, it goes on from the last checkpoint; a finished run is left alone.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from roadmap.protocols import Deviation
from roadmap.recipe import Run, to_json
from roadmap.record import SCHEMA, RunFolder, RunLockedError, append_line, now, write_json
from roadmap.redaction import PublicFormatter
from studies.attempt.session import Options, Session
from studies.attempt.stopping import FAILED, FINISHED, INTERRUPTED, LOCKED, StopRequest
from yolox_core.training.checkpoint import CheckpointStore
from yolox_core.training.distributed import World, join_world
from yolox_core.training.loop import InterruptedTraining, NonFiniteLossError

log = logging.getLogger(__name__)


def execute(run: Run, deviations: tuple[Deviation, ...], options: Options, stop: StopRequest) -> int:
    """Bring a run to its end and say how it went: FINISHED, FAILED, LOCKED or INTERRUPTED."""
    folder = RunFolder(options.runs / run.study / run.name)
    with join_world(options.device) as world, ExitStack() as stack:
        status = None
        if world.is_main:
            status = _claim(folder, options, stack)
        status = world.broadcast(status)
        if status is not None:
            return status
        if world.is_main:
            stack.enter_context(_log_to(folder.log))
        attempt, session, reason = 0, None, "error"
        try:
            attempt = _start_attempt(run, folder, deviations, world)
            session = Session(run, folder, deviations, options, world, stop, attempt)
            session.carry_out()
            reason = "finished"
            _end_attempt(folder, attempt, world, reason)
            return FINISHED
        except InterruptedTraining as interruption:
            reason = "signal"
            _end_attempt(folder, attempt, world, reason)
            log.info("%s; the same command resumes it", interruption)
            return INTERRUPTED
        except Exception as error:
            _fail(folder, attempt, world, error)
            return FAILED
        finally:
            if session is not None:
                session.end_tracking(reason)


def _claim(folder: RunFolder, options: Options, stack: ExitStack) -> int | None:
    """Take the run for this process; a status when there is nothing to do."""
    if folder.state() == "finished" and not options.again:
        log.info("%s is finished; --again runs it from scratch", folder.name)
        return FINISHED
    try:
        stack.enter_context(folder.lock())
    except RunLockedError as error:
        log.error("%s", error)
        return LOCKED
    except OSError as error:
        log.error("cannot write in %s: %s; make room or choose another --runs", folder.path, error)
        return FAILED
    if options.again:
        _wipe(folder)
    return None


def _wipe(folder: RunFolder) -> None:
    CheckpointStore(folder.checkpoints).clear()
    for path in folder.path.iterdir():
        if path.is_file() and path.name not in ("lock", "log.txt", "console.txt"):
            path.unlink()


def _start_attempt(run: Run, folder: RunFolder, deviations: tuple[Deviation, ...], world: World) -> int:
    number = 0
    if world.is_main:
        write_json(
            folder.path / "recipe.json",
            {
                "schema": SCHEMA,
                "study": run.study,
                "arm": run.arm,
                "seed": run.seed,
                "protocol": run.recipe.protocol,
                "recipe_hash": run.recipe.hash,
                "recipe": to_json(run.recipe),
                "deviations": [asdict(d) for d in deviations],
            },
        )
        number = 1 + sum(event["event"] == "start" for event in folder.attempts())
        (folder.path / "failure.json").unlink(missing_ok=True)
        append_line(
            folder.path / "attempts.jsonl",
            {
                "event": "start",
                "attempt": number,
                "time": now(),
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "slurm_job": os.environ.get("SLURM_JOB_ID"),
                "slurm_restart": os.environ.get("SLURM_RESTART_COUNT"),
            },
        )
    return world.broadcast(number)


def _end_attempt(folder: RunFolder, attempt: int, world: World, reason: str) -> None:
    """Record that an attempt ended; a full disk must not turn a finished run into a failed one."""
    if not world.is_main:
        return
    rows = folder.metrics()
    event = {
        "event": "end",
        "attempt": attempt,
        "time": now(),
        "reason": reason,
        "epoch": rows[-1]["epoch"] if rows else 0,
    }
    try:
        append_line(folder.path / "attempts.jsonl", event)
    except OSError as error:
        log.warning("the attempt's end could not be recorded: %s", error)


def _fail(folder: RunFolder, attempt: int, world: World, error: Exception) -> None:
    """Record why a run stopped on its own."""
    kind = "non-finite-loss" if isinstance(error, NonFiniteLossError) else "error"
    known = isinstance(error, NonFiniteLossError | ValueError | OSError)
    log.error("%s failed: %s", folder.name, error, exc_info=None if known else error)
    if not world.is_main:
        return
    rows = folder.metrics()
    try:
        write_json(
            folder.path / "failure.json",
            {
                "kind": kind,
                "message": f"{type(error).__name__}: {error}",
                "epoch": (rows[-1]["epoch"] if rows else 0) + 1,
                "iteration": rows[-1]["iteration"] if rows else 0,
                "attempt": attempt,
                "time": now(),
            },
        )
    except OSError as second:
        log.error("and it could not be recorded: %s", second)
    _end_attempt(folder, attempt, world, kind)


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send the log to the run's log.txt too."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(PublicFormatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
