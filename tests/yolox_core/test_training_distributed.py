"""Several processes give what one process gives; a dead one does not leave the others hanging."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from yolox_core.training.distributed import World, average_batch_norm, place

REPOSITORY = Path(__file__).resolve().parents[2]


def test_place_without_a_launcher() -> None:
    assert place({}) == (0, 1, 0)
    assert place({"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1"}) == (0, 1, 0), (
        "a job that did not ask for distributed training"
    )


def test_place_under_torchrun_and_slurm() -> None:
    meeting = {"MASTER_ADDR": "node1", "MASTER_PORT": "1234"}
    assert place({"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "0", **meeting}) == (2, 4, 0)
    slurm = {"YOLOX_DISTRIBUTED": "slurm", "SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1"}
    assert place({**slurm, **meeting}) == (3, 4, 1)


def test_a_missing_rendezvous_is_named() -> None:
    with pytest.raises(ValueError, match=r"MASTER_ADDR and no MASTER_PORT.*torchrun"):
        place({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"})


def test_one_process_is_its_own_world() -> None:
    world = World()
    norm = nn.BatchNorm2d(2)
    average_batch_norm(norm, world)
    assert world.is_main
    assert world.any(True)
    assert not world.any(False)
    assert world.gather(5) == [5]
    assert world.broadcast("x") == "x"
    assert torch.equal(world.mean(torch.ones(2)), torch.ones(2))


def run_processes(script: str, folder: Path, count: int = 2, seconds: float = 120) -> list[tuple[int, str]]:
    """Exit status and output of each of ``count`` processes that meet each other and run a script."""
    file = folder / "script.py"
    file.write_text(textwrap.dedent(script), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error::FutureWarning", str(file)],
            env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
        )
        for rank in range(count)
    ]
    try:
        outputs = [process.communicate(timeout=seconds)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one(tmp_path: Path) -> None:
    """With batch-norm statistics held still, halving the batch changes nothing."""
    results = run_processes(
        """
        from pathlib import Path
        import torch
        from torch import nn
        from yolox_core.build import build_detector
        from yolox_core.config import Ingredients, ModelConfig
        from yolox_core.structures import Targets
        from yolox_core.training.distributed import average_batch_norm, join_world
        from yolox_core.training.loop import averaged_over_processes

        def detector():
            torch.manual_seed(0)
            built = build_detector(
                ModelConfig(depth=0.1, width=0.0625, num_classes=2),
                Ingredients(anchor_free=True, simota=True, multi_positives=True, nms_free=True),
            )
            return built.eval()

        generator = torch.Generator().manual_seed(1)
        images = torch.rand(4, 3, 64, 64, generator=generator) * 255
        boxes = torch.rand(4, 3, 4, generator=generator) * 20 + 20
        labels = torch.tensor([[0, 1, -1], [1, -1, -1], [0, 0, 1], [-1, -1, -1]])

        def agree(world):
            alone = detector()
            alone(images, Targets(boxes, labels), True)["total"].backward()
            mine = slice(world.rank, None, world.size)
            shared = detector()
            parallel = averaged_over_processes(shared, world)
            parallel(images[mine], Targets(boxes[mine], labels[mine]), True)["total"].backward()
            for a, b in zip(alone.parameters(), shared.parameters(), strict=True):
                torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-5)
            parallel.itself = parallel  # as any reference cycle in a user's code would
            norm = nn.BatchNorm2d(2)
            norm.running_mean.fill_(float(world.rank))
            average_batch_norm(norm, world)
            assert norm.running_mean.tolist() == [0.5, 0.5]
            assert world.gather(world.rank) == [0, 1]
            assert world.any(world.rank == 1)

        with join_world("cpu") as world:
            agree(world)
        # a thread of the group that outlives it may abort the process when the interpreter ends
        names = [file.read_text() for file in Path("/proc/self/task").glob("*/comm")]
        assert not [name for name in names if "gloo" in name], names
        print("agreed")
        """,
        tmp_path,
    )
    for status, output in results:
        assert status == 0, output
        assert "agreed" in output


@pytest.mark.slow
def test_a_dead_process_ends_the_other(tmp_path: Path) -> None:
    started = time.monotonic()
    results = run_processes(
        """
        import os, torch
        from yolox_core.training.distributed import join_world
        with join_world("cpu") as world:
            world.barrier()
            if world.rank == 1:
                os._exit(9)
            world.mean(torch.ones(1))
        """,
        tmp_path,
    )
    assert results[1][0] == 9
    assert results[0][0] not in (0, None)
    assert "Connection" in results[0][1], results[0][1]
    assert time.monotonic() - started < 60
