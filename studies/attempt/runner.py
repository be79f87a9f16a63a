"""One run: claim its folder, attempt it, and record how the attempt ended. Knows no study.

Started again, it goes on from the last checkpoint; a finished run is left alone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from roadmap.planned import PLAN, write_identity
from roadmap.protocols import Deviation
from roadmap.recipe import Run, to_json
from roadmap.record import (
    STOP,
    RunFolder,
    RunLockedError,
    append_line,
    now,
    write_atomic,
    write_json_once,
    write_result,
)
from roadmap.redaction import PublicFormatter
from studies.attempt.data import RunData, cache_images, open_data
from studies.attempt.environment import describe_environment
from studies.attempt.history import mixed_code, note_start, write_environment
from studies.attempt.lock_watch import watched
from studies.attempt.process import prepare_process
from studies.attempt.result import conclude, evaluate, headline
from studies.attempt.stopping import FAILED, FINISHED, INTERRUPTED, LOCKED, StopRequest, or_told
from studies.attempt.training import build_for_training, train
from studies.mirror.tracker import Tracker, start_tracking
from yolox_core.config import needs_masks
from yolox_core.detector import Detector
from yolox_core.training.checkpoint import CheckpointStore
from yolox_core.training.distributed import World
from yolox_core.training.loop import InterruptedTraining, NonFiniteLossError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What may differ between attempts of the same run without changing its outcome.

    data: the dataset's folder, None for the embedded dataset (made below ``embedded``). splits: names of its
    training and validation split, None for those that are usual. device: cpu, cuda
    or None for the best there is. workers: data processes, None to choose. tracking: an MLflow URI,
    ``off``, or None for the default. again: start a finished or failed run from scratch. weights: file that
    the recipe's ``pretrained`` names. cache: folder for decoded training images, None to decode each time.
    """

    runs: Path
    data: Path | None
    embedded: Path
    device: str | None = None
    workers: int | None = None
    tracking: str | None = None
    again: bool = False
    weights: Path | None = None
    cache: Path | None = None
    splits: tuple[str, str] | None = None


def execute(
    run: Run, deviations: tuple[Deviation, ...], options: Options, world: World, stop: StopRequest
) -> int:
    """Bring a run to its end and say how it went: FINISHED, FAILED, LOCKED or INTERRUPTED.

    When it failed on this process alone, the world is lost: the others do not know, and no further run can
    be carried out together.
    """
    folder = RunFolder(options.runs / run.study / run.name)
    with ExitStack() as stack:
        status = None
        if world.is_main:
            status = _claim(folder, options, stack)
        status = world.broadcast(status)
        if status is not None:
            return status
        if world.is_main:
            stack.enter_context(_log_to(folder.log))
        number, attempt, reason = 0, None, "error"
        try:
            number = _start_attempt(run, folder, deviations, world)
            attempt = _Attempt(number, run, folder, deviations, options, world, stop)
            attempt.carry_out()
            reason = "finished"
            _end_attempt(folder, number, world, reason)
            return FINISHED
        except InterruptedTraining as interruption:
            order = world.broadcast(folder.stop_order() if world.is_main else None)
            reason = "signal" if order is None else "stopped"
            _end_attempt(folder, number, world, reason)
            if order is not None:
                log.info("%s; stopped for good: %s", interruption, order.get("message"))
                return FINISHED
            log.info("%s; the same command resumes it", interruption)
            return INTERRUPTED
        except Exception as error:
            _fail(folder, number, world, error)
            if not isinstance(error, NonFiniteLossError):  # that one, all processes meet together
                world.abandon()
            return FAILED
        finally:
            if attempt is not None:
                attempt.end_tracking(reason)


class _Attempt:
    """One attempt from the inside: open the data, train, conclude; its record and its mirror told."""

    def __init__(
        self,
        number: int,
        run: Run,
        folder: RunFolder,
        deviations: tuple[Deviation, ...],
        options: Options,
        world: World,
        stop: StopRequest,
    ) -> None:
        self.number, self.run, self.folder, self.options = number, run, folder, options
        self.world, self.stop = world, stop
        self.deviations = list(deviations)
        self.tracker: Tracker | None = None

    def carry_out(self) -> None:
        """Train, then write the result."""
        run, world, workers = self.run, self.world, self.options.workers
        config = run.recipe.training
        prepare_process(run.seed, world)
        masks = needs_masks(run.recipe.ingredients, config)
        data = open_data(self.options.data, self.options.embedded, world, self.options.splits, masks)
        if self.options.cache is not None:
            cache_images(data, self.options.cache, run.recipe, world)
            self.deviations.append(Deviation("training images", "decoded each time", "from a cache"))
        if world.is_main:
            self._describe(data)
            self.tracker = start_tracking(self.folder, self.options.tracking)

        def figures(model: nn.Module, epoch: int) -> dict[str, float | None]:
            assert isinstance(model, Detector)
            return evaluate(model, epoch, config, data, world, workers).figures

        trainer = train(
            run,
            build_for_training(run, self.options.weights, data, world),
            data,
            world=world,
            checkpoints=self.folder.checkpoints,
            workers=workers,
            evaluate=figures,
            should_stop=or_told(self.stop, self.folder.path / STOP) if world.is_main else self.stop,
            on_epoch=self._on_epoch,
        )
        result = conclude(run, self.folder, trainer, data, self.deviations, self.number, workers)
        if result is not None:
            write_result(self.folder, result)
            log.info("%s: %s", run.name, headline(result))

    def end_tracking(self, reason: str) -> None:
        """Tell the tracker how the attempt ended, once the record says so too, and wait for it a while."""
        if self.tracker is None:
            return
        if reason == "finished":
            self.tracker.finish({})
        elif reason in ("signal", "stopped"):
            self.tracker.interrupted()
        else:
            self.tracker.fail({})
        left_over = self.tracker.close()
        if left_over:
            log.warning("%s", left_over)

    def _describe(self, data: RunData) -> None:
        recipe = self.run.recipe
        environment = describe_environment(self.world, recipe.training.mixed_precision)
        environment["dataset"] = to_json(recipe.dataset) | data.summary()
        write_environment(self.folder, self.number, environment)
        if mixed := mixed_code(self.folder.attempts()):
            self.deviations.append(mixed)
        for split, count in data.skipped().items():
            if count:
                log.warning("%d %s images are skipped; environment.json names them", count, split)
        for dataset in (data.train, data.val):
            if dropped := dataset.dropped_annotations():
                log.warning("%s; environment.json counts them", dropped)
        if environment["precision"] == "fp32" and recipe.training.mixed_precision:
            self.deviations.append(Deviation("precision", "fp16 mixed", "fp32"))
        if self.world.size != 8:
            self.deviations.append(Deviation("processes", 8, self.world.size))

    def _on_epoch(self, history: list[dict[str, Any]]) -> None:
        text = "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in history)
        try:
            write_atomic(self.folder.path / "metrics.jsonl", text.encode())
        except OSError as error:
            log.warning("metrics.jsonl not written: %s; its rows are kept, free some space", error)
        if self.tracker is not None:
            self.tracker.epoch(history[-1])


def _claim(folder: RunFolder, options: Options, stack: ExitStack) -> int | None:
    """Take the run for this process; a status when there is nothing to do."""
    if (status := _recorded(folder, options)) is not None:
        return status
    try:
        stack.enter_context(folder.lock())
    except RunLockedError as error:
        log.error("%s", error)
        return LOCKED
    except OSError as error:
        log.error("cannot write in %s: %s; make room or choose another --runs", folder.path, error)
        return FAILED
    stack.enter_context(watched(folder.path / "lock"))
    if (status := _recorded(folder, options)) is not None:  # while we waited for the lock
        return status
    if options.again:
        _wipe(folder)
    return None


def _recorded(folder: RunFolder, options: Options) -> int | None:
    """How the record says that the run went, None while there is something to do."""
    state = "new" if options.again else folder.state()
    if state == "unreadable":
        log.error("%s can't be used: %s; --again runs it from scratch", folder.path, folder.problem())
        return FAILED
    if state == "finished":
        log.info("%s is finished; --again runs it from scratch", folder.name)
        return FINISHED
    if state == "stopped":
        why = (folder.stop_order() or {}).get("message")
        log.info("%s was stopped for good: %s; without its %s it goes on", folder.name, why, STOP)
        return FINISHED
    return None


def _wipe(folder: RunFolder) -> None:
    CheckpointStore(folder.checkpoints).clear()
    for path in folder.path.iterdir():
        if path.is_file() and path.name not in ("lock", "log.txt", "console.txt", "recipe.json", PLAN):
            path.unlink()


def _start_attempt(run: Run, folder: RunFolder, deviations: tuple[Deviation, ...], world: World) -> int:
    number = 0
    if world.is_main:
        write_identity(folder, run, deviations)
        (folder.path / "failure.json").unlink(missing_ok=True)
        number = note_start(folder)
    return world.broadcast(number)


def _end_attempt(folder: RunFolder, attempt: int, world: World, reason: str) -> None:
    """Record on the main process that an attempt ended."""
    if world.is_main:
        _record_end(folder, attempt, reason)


def _record_end(folder: RunFolder, attempt: int, reason: str) -> None:
    """A full disk must not turn a finished run into a failed one."""
    try:
        rows = folder.metrics()
        event = {
            "event": "end",
            "attempt": attempt,
            "time": now(),
            "reason": reason,
            "epoch": rows[-1]["epoch"] if rows else 0,
        }
        append_line(folder.path / "attempts.jsonl", event)
    except (OSError, ValueError) as error:
        log.warning("the attempt's end could not be recorded: %s", error)


def _fail(folder: RunFolder, attempt: int, world: World, error: Exception) -> None:
    """Record why a run stopped on its own; of several processes, the first to fail does, for it has the
    reason, and the others fail because it did.
    """
    kind = "non-finite-loss" if isinstance(error, NonFiniteLossError) else "error"
    known = isinstance(error, NonFiniteLossError | ValueError | OSError)
    log.error("%s failed: %s", folder.name, error, exc_info=None if known else error)
    if not world.is_main and not attempt:
        return  # before there was an attempt to end
    path = folder.path / "failure.json"
    try:
        rows = folder.metrics()
        content = {
            "kind": kind,
            "message": f"{type(error).__name__}: {error}",
            "epoch": (rows[-1]["epoch"] if rows else 0) + 1,
            "iteration": rows[-1]["iteration"] if rows else 0,
            "attempt": attempt,
            "process": world.rank,
            "time": now(),
        }
        if not write_json_once(path, content):
            return
    except (OSError, ValueError) as second:
        log.error("and it could not be recorded: %s", second)
        if not world.is_main:
            return
    _record_end(folder, attempt, kind)


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
