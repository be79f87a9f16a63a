"""What a process of the check job says about its machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from studies.attempt import preflight
from studies.attempt.node_checks import Finding, check_gpus, check_own_gpu, check_shared_memory
from yolox_core.training.distributed import join_world


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Healthy) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()
        thread.join()


def test_a_tracker_that_answers(server: str) -> None:
    assert preflight._check_tracker(server).ok


def test_a_tracker_that_does_not(server: str) -> None:
    refused = preflight._check_tracker("http://127.0.0.1:9")
    assert not refused.ok
    assert "does not answer" in refused.detail
    assert "studies.sync" in refused.fix
    assert not preflight._check_tracker(f"{server}elsewhere").ok


def test_local_trackers(tmp_path: Path) -> None:
    assert preflight._check_tracker("").ok
    assert preflight._check_tracker(f"sqlite:///{tmp_path}/mlflow.db").ok
    assert not preflight._check_tracker(f"sqlite:///{tmp_path}/nowhere/mlflow.db").ok


def test_a_runs_folder(tmp_path: Path) -> None:
    found = preflight._check_runs(tmp_path / "runs", 0)
    assert "writable" in found.detail
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_runs_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = preflight._guarded("runs folder", lambda: preflight._check_runs(tmp_path / "file", 0))
    assert (found.check, found.ok) == ("runs folder", False)
    assert "file" in found.detail


def test_a_dataset_that_is_missing_is_told_the_layout(tmp_path: Path) -> None:
    found = preflight._guarded("dataset", lambda: preflight._check_dataset(str(tmp_path)))
    assert not found.ok
    assert "instances_train2017.json" in found.detail


def test_gpus_granted_and_gpus_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "GPU")
    assert [f.ok for f in check_gpus(2, {"CUDA_VISIBLE_DEVICES": "0,1"})] == [True, True]
    assert [f.ok for f in check_gpus(2, {"CUDA_VISIBLE_DEVICES": "0"})] == [False, True]
    assert check_gpus(0, {}) == []


def test_a_process_that_is_bound_to_its_gpu_has_what_it_was_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "GPU")
    bound = {"CUDA_VISIBLE_DEVICES": "3", "SLURM_GPUS_ON_NODE": "8"}
    found = check_gpus(8, bound)
    assert [f.ok for f in found] == [True, True]
    assert "bound to 1 of them" in found[0].detail
    assert not check_gpus(8, bound | {"SLURM_GPUS_ON_NODE": "4"})[0].ok
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert [f.ok for f in check_gpus(8, bound)] == [True, False]


@pytest.mark.parametrize(("other", "ok"), [("uuid-1", True), ("uuid-0", False)])
def test_two_processes_on_one_gpu_are_found(other: str, ok: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="uuid-0"))
    world = SimpleNamespace(
        device=torch.device("cuda", 0), gather=lambda mine: [mine, ("node1", other), ("node2", "uuid-0")]
    )
    (found,) = check_own_gpu(world, "node1")
    assert found.ok == ok
    assert check_own_gpu(SimpleNamespace(device=torch.device("cpu")), "node1") == []


def test_shared_memory_that_is_too_small_for_the_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What docker gives unless told otherwise; eight data processes want 750 MiB.
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=64 << 20))
    found = check_shared_memory(1, 8, tmp_path)
    assert not found.ok
    assert "64 MiB free" in found.detail
    assert "1 × 8 data processes want up to 750 MiB" in found.detail
    assert "--shm-size" in found.fix
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1 << 30))
    assert check_shared_memory(1, 8, tmp_path).ok
    assert not check_shared_memory(8, 8, tmp_path).ok


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_PACKAGES", ("json", "no_such_package"))
    found = preflight._check_packages()
    assert not found.ok
    assert "no_such_package" in found.detail
    assert "site profile" in found.fix


def test_missing_slurm_commands_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert preflight._check_slurm().ok
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = preflight._check_slurm()
    assert not found.ok
    assert "squeue, scontrol, srun" in found.detail
    assert "resubmit" in found.fix


def held_elsewhere(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the folder's lock until its stdin is closed."""
    code = (
        "import sys; from pathlib import Path; from roadmap.record import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).lock(): print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    return other


def test_a_lock_counts_only_when_another_side_holds_it(tmp_path: Path) -> None:
    """A process alone that sees its own lock has learned nothing about the file system."""
    with join_world("cpu") as world:
        alone = preflight._check_locks(world, tmp_path, None)
        assert alone.detail.startswith("not looked at: one process alone cannot tell")
        (tmp_path / "free").mkdir()
        assert not preflight._check_locks(world, tmp_path, tmp_path / "free").ok
        other = held_elsewhere(tmp_path / "held")
        found = preflight._check_locks(world, tmp_path, tmp_path / "held")
        other.communicate("")
        assert (found.ok, found.detail) == (True, "a lock held where the job was submitted is seen here")
        assert not preflight._check_locks(world, tmp_path, tmp_path / "held").ok


def test_everything_together_leaves_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("SLURM_PROCID", "SLURM_JOB_ID", "COCO_DIR", "MLFLOW_TRACKING_URI", "YOLOX_DISTRIBUTED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(preflight, "_ROOM_BYTES", 1)
    arguments = ["--runs", str(tmp_path / "runs"), "--output", str(tmp_path)]
    assert preflight.main(arguments) == 0
    told = json.loads((tmp_path / "process-0.json").read_text())
    checks = [Finding(**finding).check for finding in told["findings"]]
    assert checks == [
        *[
            "packages",
            "rendezvous",
            "shared memory",
            "locks",
            "dataset",
            "runs folder",
            "tracker",
            "Slurm's commands",
        ]
    ]
    assert "process 0 on" in capsys.readouterr().out
    assert preflight.main([*arguments, "--nodes", "2"]) == 1  # one process is not two nodes
