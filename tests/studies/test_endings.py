"""However an attempt ends, it is in the record, and no process of it is left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from roadmap.record import STOP, RunFolder, write_json
from studies.attempt import result, runner
from studies.attempt.runner import Options, execute
from studies.attempt.stopping import FAILED, FINISHED, INTERRUPTED, StopRequest, or_told
from tests.studies.small_runs import make_data, small_run
from yolox_core.data.coco import CocoDataset
from yolox_core.training.distributed import World
from yolox_core.training.loop import Trainer

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("data"))


def attempt(runs: Path, data: Path, workers: int = 0, **options: Any) -> tuple[int, RunFolder]:
    """Carry out the small run here."""
    run, stop = small_run(), StopRequest()
    with stop.listening():
        given = Options(runs, data, data, device="cpu", workers=workers, tracking="off", **options)
        status = execute(run, (), given, World(), stop)
    return status, RunFolder(runs / run.study / run.name)


def at_step(number: int, act: Callable[[Trainer], None]) -> Callable[..., Any]:
    """The trainer's step, but before that number of them (from 1) something happens."""
    step, steps = Trainer.step, iter(range(1, 1000))

    def acting(self: Trainer, *arguments: Any) -> Any:
        if next(steps) == number:
            act(self)
        return step(self, *arguments)

    return acting


def broken(*_: object, **__: object) -> Any:
    raise RuntimeError("it broke here")


def fill_with_nan(trainer: Trainer) -> None:
    with torch.no_grad():
        next(trainer.detector.parameters()).fill_(float("nan"))


#: What is broken, the status, and the reason that the record gives.
ENDINGS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], int, str]] = {
    "finished": (lambda patch: None, FINISHED, "finished"),
    "error in a worker": (lambda patch: patch.setattr(CocoDataset, "objects", broken), FAILED, "error"),
    "error in the loop": (lambda patch: patch.setattr(Trainer, "step", at_step(2, broken)), FAILED, "error"),
    "error in the evaluation": (lambda patch: patch.setattr(result, "coco_metrics", broken), FAILED, "error"),
    "NaN": (
        lambda patch: patch.setattr(Trainer, "step", at_step(2, fill_with_nan)),
        FAILED,
        "non-finite-loss",
    ),
    "signal": (
        lambda patch: patch.setattr(
            Trainer, "step", at_step(2, lambda trainer: os.kill(os.getpid(), signal.SIGTERM))
        ),
        INTERRUPTED,
        "signal",
    ),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_is_recorded_and_ends_every_child(
    ending: str, workers: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrange, expected, reason = ENDINGS[ending]
    before = set(multiprocessing.active_children())
    with monkeypatch.context() as patch:
        patch.setattr(result, "latency_of", lambda *_: None)
        patch.setattr(result, "full_size_profile", lambda *_: None)
        arrange(patch)
        status, folder = attempt(tmp_path, data, workers)
    assert status == expected
    assert set(multiprocessing.active_children()) == before
    assert [event.get("reason") for event in folder.attempts()] == [None, reason]
    assert (folder.failure() is not None) == (status == FAILED)
    assert (folder.result() is not None) == (status == FINISHED)


@pytest.mark.slow
def test_the_command_ends_when_a_worker_fails(data: Path, tmp_path: Path) -> None:
    """An error from a worker, and an interpreter that has to end with workers that ignore its signals."""
    script = f"""
    import sys
    from pathlib import Path
    from studies.attempt.runner import Options, execute
    from studies.attempt.stopping import StopRequest
    from tests.studies.small_runs import small_run
    from tests.studies.test_endings import broken
    from yolox_core.data.coco import CocoDataset
    from yolox_core.training.distributed import World

    CocoDataset.objects = broken
    data = Path({str(data)!r})
    given = Options(Path({str(tmp_path)!r}), data, data, device="cpu", workers=2, tracking="off")
    sys.exit(execute(small_run(), (), given, World(), StopRequest()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == FAILED, done.stderr
    (log,) = tmp_path.glob("*/*/log.txt")
    assert "it broke here" in log.read_text(encoding="utf-8")


def order_to_stop(trainer: Trainer) -> None:
    write_json(trainer.store.folder.parent / STOP, {"kind": "pruned", "message": "below the median"})


def test_a_run_told_to_stop_keeps_what_it_has_and_is_left_alone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result, "latency_of", lambda *_: None)
    monkeypatch.setattr(result, "full_size_profile", lambda *_: None)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", at_step(2, order_to_stop))
        patch.setattr(runner, "or_told", lambda stop, order: or_told(stop, order, period=0.0))
        status, folder = attempt(tmp_path, data)
    assert (status, folder.state()) == (FINISHED, "stopped")
    assert [event.get("reason") for event in folder.attempts()] == [None, "stopped"]
    kept = {path.name for path in folder.checkpoints.iterdir()}
    assert kept
    assert attempt(tmp_path, data)[0] == FINISHED
    assert {path.name for path in folder.checkpoints.iterdir()} == kept
    assert len(folder.attempts()) == 2
    (folder.path / STOP).unlink()
    assert attempt(tmp_path, data)[0] == FINISHED
    assert (folder.state(), folder.attempts()[2]["resumes"]) == ("finished", True)
