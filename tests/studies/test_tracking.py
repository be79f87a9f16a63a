"""The tracker from the training process's side: a mirror that never gets in the way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from roadmap.record import RunFolder, append_line, read_json
from studies.mirror.layout import read_view
from studies.mirror.store import connect, default_uri
from studies.mirror.tracker import start_tracking
from studies.sync import main as sync_main
from tests.studies.tracking_servers import (
    a_port,
    everything,
    mlflow_server,
    new_store,
    points_of,
    runs_of,
)
from tests.studies.tracking_standin import epoch_row, write_result, write_start

#: Seconds that a tracker may take to close: a busy machine must not look like a fault.
PATIENCE = 200.0

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _no_uri_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.1)


def state(folder: RunFolder) -> dict[str, object]:
    return read_json(folder.path / "tracking.json") or {}


def add_epoch(folder: RunFolder, epoch: int) -> dict[str, object]:
    row = epoch_row(epoch)
    append_line(folder.path / "metrics.jsonl", row)
    return row


def standin(runs: Path, *arguments: str) -> subprocess.Popen[str]:
    """Another process that trains; see tests/studies/tracking_standin.py."""
    command = [sys.executable, "-m", "tests.studies.tracking_standin", str(runs), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_run_from_start_to_finish(tmp_path: Path) -> None:
    new_store(tmp_path)
    folder = write_start(tmp_path, "simota", 0)
    tracker = start_tracking(folder)
    for epoch in range(1, 5):
        tracker.epoch(add_epoch(folder, epoch))
    until(lambda: state(folder).get("mirrored_epoch") == 4)
    assert state(folder)["status"] == "RUNNING"
    tracker.finish(write_result(folder, 4))
    assert tracker.close(PATIENCE) is None
    assert tracker.close() is None  # harmless

    client = connect(default_uri(tmp_path), tmp_path)
    (run,) = runs_of(client, "run")
    found = state(folder)
    assert found["run_id"] == run.info.run_id
    assert found["uri"] == default_uri(tmp_path)
    assert (found["mirrored_epoch"], found["status"], found["pending"], found["error"]) == (
        4,
        "FINISHED",
        [],
        None,
    )
    assert run.info.status == "FINISHED"
    expected = {(p.key, p.step, p.value) for p in read_view(folder).points}
    assert points_of(client, run) == dict.fromkeys(expected, 1)
    # What the machine did, once per epoch, on mlflow's own tab.
    steps = sorted(step for key, step, _ in expected if key == "system/cpu_utilization_percentage")
    assert steps == [1, 2, 3, 4]
    assert run.data.metrics["system/training_memory_usage_megabytes"] > 10


def test_nothing_is_left_for_sync(tmp_path: Path) -> None:
    new_store(tmp_path)
    folder = write_start(tmp_path, "simota", 0)
    tracker = start_tracking(folder)
    tracker.epoch(add_epoch(folder, 1))
    tracker.finish(write_result(folder, 1))
    tracker.close(PATIENCE)
    client = connect(default_uri(tmp_path), tmp_path)
    before = everything(client)
    assert sync_main(["--runs", str(tmp_path)]) == 0
    assert everything(client) == before


def test_off(tmp_path: Path) -> None:
    folder = write_start(tmp_path, "simota", 0)
    tracker = start_tracking(folder, "off")
    tracker.epoch(add_epoch(folder, 1))
    tracker.finish(write_result(folder, 1))
    assert tracker.close(PATIENCE) is None
    assert not (folder.path / "tracking.json").exists()


@pytest.mark.parametrize("call", ["fail", "interrupted"])
def test_status_when_a_run_does_not_finish(tmp_path: Path, call: str) -> None:
    new_store(tmp_path)
    folder = write_start(tmp_path, "simota", 0)
    tracker = start_tracking(folder)
    if call == "fail":
        tracker.fail({"message": "no space left"})
    else:
        tracker.interrupted()
    tracker.close(PATIENCE)
    (run,) = runs_of(connect(default_uri(tmp_path), tmp_path), "run")
    assert run.info.status == ("FAILED" if call == "fail" else "KILLED")


def test_a_server_that_was_never_there(tmp_path: Path) -> None:
    folder = write_start(tmp_path, "simota", 0)
    uri = f"http://user:hunter2@127.0.0.1:{a_port()}"
    tracker = start_tracking(folder, uri)
    started = time.perf_counter()
    for epoch in range(1, 101):
        tracker.epoch(add_epoch(folder, epoch))
    assert time.perf_counter() - started < 5.0  # milliseconds on an idle machine
    tracker.finish(write_result(folder, 100))
    message = tracker.close(PATIENCE)
    assert message is not None
    assert "epochs 1 to 100, result" in message
    assert "python -m studies.sync" in message
    found = state(folder)
    assert found["pending"] == ["epochs 1 to 100", "result"]
    assert found["mirrored_epoch"] == 0
    assert found["error"] == "ConnectionRefusedError: [Errno 111] Connection refused"
    assert "hunter2" not in (folder.path / "tracking.json").read_text()


def test_a_server_that_accepts_and_never_answers(tmp_path: Path) -> None:
    folder = write_start(tmp_path, "simota", 0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracker = start_tracking(folder, f"http://127.0.0.1:{silent.getsockname()[1]}")
        connection, _ = silent.accept()
        with connection:  # the follower waits for an answer
            tracker.epoch(add_epoch(folder, 1))
            tracker.finish(write_result(folder, 1))
            started = time.perf_counter()
            message = tracker.close(timeout=1.0)
            assert time.perf_counter() - started < 15.0  # a request alone would wait 20 s
    assert message is not None
    assert "not done 1 s after" in message
    assert state(folder)["pending"] == ["epochs 1 to 1", "result"]


def test_a_store_that_is_refused(tmp_path: Path) -> None:
    """mlflow 3.13 and later refuse the file store."""
    folder = write_start(tmp_path, "simota", 0)
    tracker = start_tracking(folder, str(tmp_path / "mlruns"))
    tracker.finish(write_result(folder, 1))
    message = tracker.close(PATIENCE)
    assert message is not None
    assert "result" in message


def test_a_follower_that_dies_is_reported_and_nothing_raises(tmp_path: Path) -> None:
    new_store(tmp_path)
    folder = write_start(tmp_path, "simota", 0)
    tracker = start_tracking(folder)
    follower = tracker._follower
    assert follower is not None
    follower.kill()
    follower.wait()
    for epoch in range(1, 4):
        tracker.epoch(add_epoch(folder, epoch))
    tracker.finish(write_result(folder, 3))
    message = tracker.close(PATIENCE)
    assert message is not None
    assert "ended with status -9" in message
    assert state(folder)["pending"] == ["epochs 1 to 3", "result"]


def test_a_python_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_start(tmp_path, "simota", 0)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    tracker = start_tracking(folder)
    tracker.epoch(add_epoch(folder, 1))
    message = tracker.close(PATIENCE)
    assert message is not None
    assert "did not start" in message


def test_a_killed_training_is_shown_as_killed(tmp_path: Path) -> None:
    new_store(tmp_path)
    process = standin(tmp_path, "--epochs", "1000", "--seconds", "0.05")
    found: list[RunFolder] = []

    def mirroring() -> bool:
        found[:] = [RunFolder(path.parent) for path in tmp_path.glob("roadmap/*/tracking.json")]
        return bool(found) and int(str(state(found[0]).get("mirrored_epoch", 0))) > 2

    until(mirroring)
    process.kill()
    process.communicate()
    until(lambda: state(found[0])["status"] == "KILLED")
    client = connect(default_uri(tmp_path), tmp_path)
    (run,) = runs_of(client, "run")
    assert run.info.status == "KILLED"
    recorded = {(p.key, p.step, p.value) for p in read_view(found[0]).points}
    assert points_of(client, run) == dict.fromkeys(recorded, 1)

    # The same command again goes on, in the same MLflow run.
    epochs = max(row["epoch"] for row in found[0].metrics()) + 2
    output, _ = standin(tmp_path, "--epochs", str(epochs), "--seconds", "0.05").communicate(timeout=PATIENCE)
    assert json.loads(output)["left_over"] is None
    (resumed,) = runs_of(client, "run")
    assert resumed.info.run_id == run.info.run_id
    assert resumed.info.status == "FINISHED"
    assert set(points_of(client, resumed).values()) == {1}
    assert resumed.data.metrics["train/loss"] == epoch_row(epochs)["loss"]


def test_ctrl_c_and_the_schedulers_signals_do_not_stop_the_mirror(tmp_path: Path) -> None:
    new_store(tmp_path)
    folder = write_start(tmp_path, "simota", 0)
    tracker = start_tracking(folder)
    until(lambda: bool(state(folder)))
    assert tracker._follower is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.kill(tracker._follower.pid, number)
    tracker.epoch(add_epoch(folder, 1))
    tracker.finish(write_result(folder, 1))
    assert tracker.close(PATIENCE) is None
    assert state(folder)["status"] == "FINISHED"


@pytest.mark.slow
def test_a_server_that_is_killed_in_mid_training_and_comes_back(tmp_path: Path) -> None:
    store, port = tmp_path / "server", a_port()
    folder = write_start(tmp_path / "runs", "simota", 0)
    with mlflow_server(store, port) as address:
        tracker = start_tracking(folder, address)
        tracker.epoch(add_epoch(folder, 1))
        until(lambda: state(folder).get("mirrored_epoch") == 1)
    for epoch in range(2, 6):  # it is gone
        tracker.epoch(add_epoch(folder, epoch))
    until(lambda: state(folder).get("error") is not None)
    assert state(folder)["mirrored_epoch"] == 1
    with mlflow_server(store, port):
        tracker.epoch(add_epoch(folder, 6))
        until(lambda: state(folder).get("mirrored_epoch") == 6)  # by itself, after its pause
        tracker.finish(write_result(folder, 6))
        assert tracker.close(PATIENCE) is None
        client = connect(address, tmp_path / "runs")
        (run,) = runs_of(client, "run")
        assert run.info.status == "FINISHED"
        expected = {(p.key, p.step, p.value) for p in read_view(folder).points}
        assert points_of(client, run) == dict.fromkeys(expected, 1)
