"""The loop: resuming is exact, a bad loss stops it, a full disk does not."""

from __future__ import annotations

import itertools
import logging
import mmap
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
from yolox_core.training import loop
from yolox_core.training.checkpoint import CheckpointStore
from yolox_core.training.distributed import World
from yolox_core.training.loop import (
    Hooks,
    InterruptedTraining,
    NonFiniteLossError,
    Trainer,
    _Step,
    peak_memory_mb,
    reset_peak_memory,
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


@pytest.mark.parametrize(
    ("aps", "kept"),
    [
        ([5.0, 5.0], 3),
        ([None, None], 3),
        ([0.0, None], 2),
        ([None, 0.0], 3),
        ([5.0, 4.9], 2),
    ],
)
def test_ties_and_undefined_ap_go_to_the_later_epoch(
    tmp_path: Path, aps: list[float | None], kept: int
) -> None:
    """Evaluated after the second and the third epoch."""
    _trainer(tmp_path, evaluate=lambda model, epoch: {"AP": aps[epoch - 2]}).run()
    best = CheckpointStore(tmp_path).load_best()
    assert best is not None
    assert best["epoch"] == kept


@pytest.mark.parametrize("norm", [float("nan"), float("inf")])
def test_the_first_bad_iteration_of_a_block_is_named(tmp_path: Path, norm: float) -> None:
    """As on CUDA, where losses are read back every ten iterations."""
    trainer = _trainer(tmp_path)
    losses = [{"total": torch.tensor(1.0), "gradient_norm": torch.tensor(n)} for n in (3.0, norm, norm)]
    steps = [_Step(iteration, loss, 0.0) for iteration, loss in enumerate(losses, start=7)]
    with pytest.raises(NonFiniteLossError, match=r"epoch 1, iteration 9 \(total 1; gradient norm (nan|inf)"):
        trainer._settle(steps)


def test_a_bad_loss_of_a_block_is_named_and_good_ones_pass(tmp_path: Path) -> None:
    seen: list[tuple[int, int, float]] = []
    trainer = _trainer(tmp_path, on_iteration=lambda *row: seen.append(row))

    def block(*totals: float) -> list[_Step]:
        norm = torch.tensor(1.0)
        return [
            _Step(i, {"total": torch.tensor(t), "gradient_norm": norm}, 0.0) for i, t in enumerate(totals)
        ]

    good = block(1.0, 2.0)
    trainer._settle(good)
    assert seen == [(0, 0, 1.0), (0, 1, 2.0)]
    assert not good, "a block is read back once"
    with pytest.raises(NonFiniteLossError, match=r"iteration 2 \(total nan"):
        trainer._settle(block(1.0, float("nan"), 1.0))


def test_an_overflow_in_mixed_precision_is_no_bad_loss_until_every_step_overflows(tmp_path: Path) -> None:
    trainer = _trainer(tmp_path)
    trainer.mixed, trainer.iteration = True, 20

    def overflow() -> list[_Step]:
        return [_Step(0, {"total": torch.tensor(1.0), "gradient_norm": torch.tensor(float("inf"))}, 0.0)]

    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    trainer._settle(overflow())
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=0.5)
    with pytest.raises(NonFiniteLossError, match=r"overflow in half precision .* iteration 20"):
        trainer._settle(overflow())


def test_the_clock_runs_from_settle_to_settle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second between any two looks at the clock: what happens between blocks counts for the next."""
    ticks = itertools.count()
    monkeypatch.setattr(loop.time, "perf_counter", lambda: float(next(ticks)))
    blocks: list[tuple[int, float]] = []
    trainer = _trainer(
        tmp_path, on_settled=lambda positions, seconds: blocks.append((len(positions), seconds))
    )
    trainer.check_every = 10
    history = trainer.run()
    assert [count for count, _ in blocks] == [2, 2, 2]
    assert [row["seconds"] for row in history] == [seconds for _, seconds in blocks]
    assert blocks[0][1] == 5, "twice before and after waiting for a batch, and once at the end"


@pytest.mark.parametrize("mixed_first", [False, True], ids=["CPU to CUDA", "CUDA to CPU"])
def test_a_run_goes_on_on_another_device(tmp_path: Path, mixed_first: bool) -> None:
    """A scaler of the loss where the first device had none, and the other way."""
    trainers = [_trainer(tmp_path), _trainer(tmp_path)]
    for trainer, mixed in zip(trainers, (mixed_first, not mixed_first), strict=True):
        trainer.scaler = torch.amp.GradScaler("cpu", enabled=mixed)
    first, second = trainers
    first.iteration = 1
    first.checkpoint()
    assert second.resume()
    assert second.iteration == 1
    assert second.scaler.is_enabled() != mixed_first


def test_the_peak_of_memory_is_that_of_this_run() -> None:
    device = torch.device("cpu")
    with mmap.mmap(-1, 200 << 20) as block:  # given back at once, unlike what malloc may keep
        block.write(bytes(200 << 20))
        before = peak_memory_mb(device)
    reset_peak_memory(device)
    assert peak_memory_mb(device) < before - 100


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
