"""A run's share of a machine: cores under each launcher, GPUs among parallel runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from roadmap.record import RunFolder
from studies.attempt.share import JOBS_AT_ONCE, data_workers, job_environment, own_cores, visible_devices
from studies.attempt.stopping import FAILED
from studies.command.parallel import Job, run_jobs
from yolox_core.training.distributed import World


def cuda_world(size: int) -> World:
    return World(rank=0, size=size, device=torch.device("cuda"))


#: Cores that the process may use, what its launcher says, processes in all, data processes expected.
LAYOUTS = {
    "1 GPU, 1 core": (1, {}, 1, 1),
    "1 GPU, 4 cores": (4, {}, 1, 3),
    "8 GPUs × 12 cores, srun has bound each task": (12, {"YOLOX_DISTRIBUTED": "slurm"}, 8, 8),
    "8 GPUs × 4 cores, srun has bound each task": (4, {"YOLOX_DISTRIBUTED": "slurm"}, 8, 3),
    "8 GPUs × 4 cores, srun without binding": (
        32,
        {"YOLOX_DISTRIBUTED": "slurm", "SLURM_CPUS_PER_TASK": "4"},
        8,
        3,
    ),
    "8 GPUs × 12 cores, torchrun": (96, {"LOCAL_WORLD_SIZE": "8"}, 8, 8),
    "2 nodes × 8 GPUs × 6 cores, torchrun": (48, {"LOCAL_WORLD_SIZE": "8"}, 16, 5),
    "2 nodes × 8 GPUs × 6 cores, srun": (6, {"YOLOX_DISTRIBUTED": "slurm"}, 16, 5),
    "--jobs 4 on 16 cores": (16, {JOBS_AT_ONCE: "4"}, 1, 3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_data_processes(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cores, environment, size, expected = LAYOUTS[layout]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert data_workers(None, cuda_world(size), environment) == expected
    assert data_workers(5, cuda_world(size), environment) == 5, "as asked"
    assert data_workers(None, World(), environment) == 1, "on a CPU training needs the cores"


def test_nobody_is_left_without_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert own_cores({"LOCAL_WORLD_SIZE": "8"}) == 1


def test_parallel_runs_are_dealt_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    dealt = [job_environment(slot, 4, ("2", "GPU-5", "7")) for slot in range(4)]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in dealt] == ["2", "GPU-5", "7", "2"]
    assert {one["OMP_NUM_THREADS"] for one in dealt} == {"4"}
    assert {one[JOBS_AT_ONCE] for one in dealt} == {"4"}
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert job_environment(0, 4, ())["OMP_NUM_THREADS"] == "3", "the user decided"


def test_which_devices_there_are_to_deal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-1a")
    assert visible_devices(None) == ("3", "GPU-1a")
    assert visible_devices("cpu") == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_devices(None) == ()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert visible_devices("cuda") == ("0", "1")


def test_jobs_run_on_devices_of_their_own(tmp_path: Path) -> None:
    """Two at once: each slot keeps its device, whoever comes into it."""
    code = "import os; open('device', 'w').write(os.environ['CUDA_VISIBLE_DEVICES'])"
    jobs = []
    for name in "abc":
        folder = tmp_path / name
        folder.mkdir()
        jobs.append(Job(RunFolder(folder), ("-c", f"import os; os.chdir({str(folder)!r}); {code}"), 1))
    assert run_jobs(jobs, 2, lambda: False, ("4", "5")) == {"a": 0, "b": 0, "c": 0}
    devices = [(tmp_path / name / "device").read_text() for name in "abc"]
    assert devices[:2] == ["4", "5"]
    assert devices[2] in ("4", "5")


def test_a_folder_that_cannot_be_written_fails_its_run_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, fine = (RunFolder(tmp_path / name) for name in ("broken", "fine"))
    (broken.path / "console.txt").mkdir(parents=True)
    jobs = [Job(broken, ("-c", "pass"), 1), Job(fine, ("-c", "pass"), 1)]
    assert run_jobs(jobs, 1, lambda: False) == {"broken": FAILED, "fine": 0}
    assert "broken was not started: " in caplog.text
    assert "epoch" not in capsys.readouterr().err, "no progress bar where there is no terminal"
