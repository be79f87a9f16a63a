"""Processes that train together: one meeting for all runs; who fails ends the job and leaves the reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from studies.attempt import training
from studies.attempt.stopping import FAILED, FINISHED
from tests.studies.small_runs import make_data, small_run
from tests.yolox_core.test_training_distributed import run_processes
from yolox_core.build import build_detector
from yolox_core.config import Ingredients, ModelConfig
from yolox_core.training import loop
from yolox_core.training.distributed import World, join_world

TINY = ModelConfig(depth=0.1, width=0.0625, num_classes=2)

SCRIPT = """
import sys
from pathlib import Path
from studies.attempt import result
from studies.attempt.runner import Options, execute
from studies.attempt.stopping import StopRequest
from tests.studies.small_runs import small_run
from yolox_core.training.distributed import join_world
from yolox_core.training.loop import Trainer

result.latency_of = result.full_size_profile = lambda *_: None
step, data = Trainer.step, Path("data").absolute()

def breaking(self, batch, epoch, iteration):
    if self.world.rank == 1 and run.seed == 2 and iteration == 2:
        raise RuntimeError("the second process broke")
    return step(self, batch, epoch, iteration)

Trainer.step = breaking
given = Options(Path("runs").absolute(), data, data, device="cpu", workers=0, tracking="off")
statuses = []
with join_world("cpu") as world:
    for seed in (0, 1, 2, 3):
        run = small_run(seed)
        statuses.append(execute(run, (), given, world, StopRequest()))
        if world.is_lost:
            break
print("statuses", statuses)
sys.exit(statuses[-1])
"""


@pytest.mark.slow
def test_runs_one_after_the_other_until_one_process_fails(tmp_path: Path) -> None:
    make_data(tmp_path / "data")
    outcomes = run_processes(SCRIPT, tmp_path, count=2, seconds=200)
    for status, output in outcomes:
        assert status == FAILED, output
        assert f"statuses {[FINISHED, FINISHED, FAILED]}" in output, "and the fourth was not begun"
    (failure,) = tmp_path.glob("runs/tiny/*/failure.json")
    reason = json.loads(failure.read_text())
    assert reason["message"] == "RuntimeError: the second process broke", "not what it did to the first"
    assert (reason["process"], reason["attempt"]) == (1, 1)
    events = [json.loads(line) for line in (failure.parent / "attempts.jsonl").read_text().splitlines()]
    assert [event.get("reason") for event in events] == [None, "error"], "one end, whoever failed first"


def test_under_nccl_a_failed_process_aborts_and_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Destroying the group would wait for the others, who wait for this process."""
    called: list[str] = []
    monkeypatch.setattr(dist, "is_initialized", lambda: not called)
    monkeypatch.setattr(dist, "get_backend", lambda: "nccl")
    monkeypatch.setattr(dist, "destroy_process_group", lambda: called.append("destroy"))
    monkeypatch.setattr(dist.distributed_c10d, "_abort_process_group", lambda: called.append("abort"))
    world = World(rank=1, size=2)
    assert not world.is_lost
    world.abandon()
    world.abandon()
    assert called == ["abort"]
    assert world.is_lost
    assert not World().is_lost


def test_on_gpus_the_group_is_bound_to_its_device_and_gradients_are_not_copied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unbound, NCCL guesses the device at the first barrier; copied, gradients take their memory twice."""
    given: dict[str, Any] = {}

    class Wrapped(DistributedDataParallel):
        def __init__(self, module: nn.Module, **settings: Any) -> None:
            nn.Module.__init__(self)
            given.update(settings)

    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **settings: given.update(settings))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    monkeypatch.setattr(loop, "DistributedDataParallel", Wrapped)
    with join_world("cuda") as world:
        assert given["device_id"] == torch.device("cuda", 1)
        loop.averaged_over_processes(build_detector(TINY, Ingredients()), world)
    assert given["gradient_as_bucket_view"] is True
    assert given["device_ids"] == [torch.device("cuda", 1)]


def test_folded_norms_are_restated_on_the_device_that_trains_each_process_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[object] = []

    def unfold(detector: nn.Module, batches: Iterator[torch.Tensor], total: Callable[[Any], Any]) -> None:
        seen.extend(batch.device.type for batch in batches)
        seen.extend({p.device.type for p in detector.parameters()})
        seen.append(total(torch.ones(2)).tolist())

    def photographs(split: object, count: int, side: int, rank: int, world_size: int) -> torch.Tensor:
        seen.append((count, rank, world_size))
        return torch.zeros(9, 3, side, side)

    monkeypatch.setattr(training, "load_official", lambda detector, weights: SimpleNamespace(folded=True))
    monkeypatch.setattr(training, "unfold_norms", unfold)
    monkeypatch.setattr(training, "photographs", photographs)
    monkeypatch.setattr(World, "gather", lambda world, own: [own * (1 + rank) for rank in range(world.size)])
    run = small_run(0, pretrained="weights:0")
    world = World(rank=1, size=3, device=torch.device("meta"))
    data: Any = SimpleNamespace(train=None)
    training.build_for_training(run, Path("weights.pth"), data, world)
    assert seen == [(training.NORM_IMAGES, 1, 3), "meta", "meta", "meta", [6.0, 6.0]]
