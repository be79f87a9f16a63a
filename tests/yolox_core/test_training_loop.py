"""The loop: resuming is exact, a bad loss stops it, a full disk does not."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from yolox_core.build import build_detector
from yolox_core.config import Ingredients, ModelConfig, TrainConfig
from yolox_core.structures import Targets
from yolox_core.training.checkpoint import CheckpointStore
from yolox_core.training.distributed import World
from yolox_core.training.loop import (
    Hooks,
    InterruptedTraining,
    NonFiniteLossError,
    Trainer,
    _Step,
    to_network_input,
)

MODEL = ModelConfig(depth=0.1, width=0.0625, num_classes=2)
CONFIG = TrainConfig(
    epochs=3,
    warmup_epochs=1,
    closing_epochs=1,
    batch_size=2,
    image_size=64,
    multiscale=(32, 64),
    evaluate_every=2,
    learning_rate=0.01,
)
ITERATIONS = 2


@dataclass
class _Batch:
    images: torch.Tensor
    targets: Targets


def _batch(epoch: int, iteration: int) -> _Batch:
    generator = torch.Generator().manual_seed(100 * epoch + iteration)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=generator)
    boxes = torch.rand(2, 2, 4, generator=generator) * 20 + 20
    return _Batch(images, Targets(boxes, torch.tensor([[0, 1], [1, -1]])))


def _batches(epoch: int, iteration: int) -> Iterator[_Batch]:
    for e in range(epoch, CONFIG.epochs):
        for i in range(iteration if e == epoch else 0, ITERATIONS):
            yield _batch(e, i)


def _trainer(folder: Path, **hooks: object) -> Trainer:
    torch.manual_seed(0)
    detector = build_detector(MODEL, Ingredients(strong_augmentation=True, simota=True, multi_positives=True))
    defaults: dict[str, object] = {
        "batches": _batches,
        "side": lambda epoch, iteration: 32 * (1 + (epoch + iteration) % 2),
        "evaluate": lambda model, epoch: {"AP": float(epoch)},
    }
    return Trainer(
        detector,
        CONFIG,
        images=2 * ITERATIONS,
        world=World(),
        store=CheckpointStore(folder),
        hooks=Hooks(**(defaults | hooks)),  # type: ignore[arg-type]
    )


def _comparable(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Rows without what the clock decides."""
    timed = {"seconds", "images_per_second", "data_wait", "memory_mb"}
    return [{k: v for k, v in row.items() if k not in timed} for row in history]


@pytest.mark.parametrize("stops", [(1,), (2,), (3,), (1, 3, 4)])
def test_resumed_equals_uninterrupted_to_the_bit(tmp_path: Path, stops: tuple[int, ...]) -> None:
    whole = _trainer(tmp_path / "whole")
    expected = whole.run()

    done = 0

    def count(epoch: int, iteration: int, loss: float) -> None:
        nonlocal done
        done += 1

    for stop in stops:
        trainer = _trainer(tmp_path / "parts", on_iteration=count, should_stop=lambda stop=stop: done == stop)
        trainer.resume()
        with pytest.raises(InterruptedTraining):
            trainer.run()
    last = _trainer(tmp_path / "parts")
    assert last.resume()
    assert _comparable(last.run()) == _comparable(expected)
    for mine, theirs in ((last.detector, whole.detector), (last.ema.model, whole.ema.model)):
        for (name, a), b in zip(mine.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(a, b), name


def test_a_finished_run_resumes_to_its_history(tmp_path: Path) -> None:
    expected = _trainer(tmp_path).run()
    again = _trainer(tmp_path, batches=lambda epoch, iteration: pytest.fail("nothing is left to train"))
    assert again.resume()
    assert again.run() == expected


def test_rows_hold_epoch_means_and_evaluations(tmp_path: Path) -> None:
    history = _trainer(tmp_path).run()
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert ["AP" in row for row in history] == [False, True, True], "every second epoch, and the last"
    assert ["loss_l1" in row for row in history] == [False, False, True], "L1 in the closing epochs"
    best = CheckpointStore(tmp_path).load_best()
    assert best is not None
    assert best["epoch"] == 3


def test_a_worse_epoch_does_not_replace_the_best(tmp_path: Path) -> None:
    _trainer(tmp_path, evaluate=lambda model, epoch: {"AP": -float(epoch)}).run()
    best = CheckpointStore(tmp_path).load_best()
    assert best is not None
    assert best["epoch"] == 2


def test_a_bad_loss_stops_with_a_reason_and_leaves_good_checkpoints(tmp_path: Path) -> None:
    def poisoned(epoch: int, iteration: int) -> Iterator[_Batch]:
        for batch in _batches(epoch, iteration):
            yield batch
            with torch.no_grad():
                next(trainer.detector.parameters()).fill_(float("nan"))

    trainer = _trainer(tmp_path, batches=poisoned)
    with pytest.raises(NonFiniteLossError, match=r"epoch 1, iteration 2 .*learning rate"):
        trainer.run()
    state = CheckpointStore(tmp_path).load_latest()
    assert state is None or all(torch.isfinite(v).all() for v in state["model"].values())


def test_a_full_disk_does_not_stop_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = _trainer(tmp_path)
    save = CheckpointStore.save
    calls = itertools.count()

    def sometimes(self: CheckpointStore, state: dict[str, object], iteration: int) -> Path:
        if next(calls) == 0:
            raise OSError(28, "No space left on device")
        return save(self, state, iteration)

    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(CheckpointStore, "save", sometimes)
        assert len(trainer.run()) == CONFIG.epochs
    assert "No space left" in caplog.text


def test_multi_scale_moves_images_and_boxes_together() -> None:
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    images[..., 16:32, 16:32] = 200
    targets = Targets(torch.tensor([[[24.0, 24.0, 16.0, 16.0]]]), torch.tensor([[0]]))
    pixels, scaled = to_network_input(images, targets, 96, torch.device("cpu"))
    assert pixels.shape == (1, 3, 96, 96)
    assert scaled.boxes_cxcywh.tolist() == [[[36.0, 36.0, 24.0, 24.0]]]
    assert pixels[0, 0, 36, 36] == 200
    assert pixels[0, 0, 20, 20] == 0


class _HostReads(TorchDispatchMode):
    """Counts the values that are fetched one by one; on a GPU each fetch waits for its whole queue."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_losses_of_many_iterations_are_read_back_at_once(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.check_every = 10
    pending = [_Step(i, trainer.step(_batch(0, i), 0, i), 0.5) for i in range(2)]
    totals = [float(step.losses["total"]) for step in pending]
    with _HostReads() as reads:
        trainer._settle(pending)
    assert reads.count == 0
    assert trainer.sums.terms["total"] == sum(totals)
    assert trainer.sums.waiting == 1.0


def test_a_step_reads_no_value_back(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.check_every = 10  # as on a GPU; on a CPU each step is checked before it is taken
    with _HostReads() as reads:
        trainer.step(_batch(0, 0), 0, 0)
    assert reads.count == 0
