"""Killed at any moment, the same command ends with the numbers of an uninterrupted run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from roadmap.record import RunFolder

REPOSITORY = Path(__file__).resolve().parents[2]


def start(runs: Path, *arguments: str) -> subprocess.Popen[str]:
    """The roadmap's command on the embedded dataset, in its smallest form."""
    command = [sys.executable, "-m", "studies.roadmap", "--stage", "simota", "--protocol", "smoke"]
    command += ["--embedded", "--launcher", "local", "--tracking", "off", "--runs", str(runs), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(runs: Path, *arguments: str) -> tuple[int, str, str]:
    process = start(runs, *arguments)
    out, error = process.communicate(timeout=240)
    return process.returncode, out, error


def only_run(runs: Path) -> Path:
    (recipe,) = runs.glob("roadmap/*/recipe.json")
    return recipe.parent


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def rows(runs: Path) -> list[dict[str, float]]:
    timed = {"seconds", "images_per_second", "data_wait", "memory_mb"}
    lines = (only_run(runs) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]


def weights(runs: Path) -> dict[str, torch.Tensor]:
    newest = max((only_run(runs) / "checkpoints").glob("iteration-*.pt"))
    state = torch.load(newest, weights_only=True)
    parts = {"model": state["model"], "ema": state["ema"]["model"]}
    return {f"{part}.{name}": value for part, tensors in parts.items() for name, value in tensors.items()}


@pytest.mark.slow
def test_kills_change_nothing(tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    status, out, error = finish(undisturbed, "--json")
    assert status == 0, error
    (outcome,) = json.loads(out)["runs"]
    assert outcome["status"] == "finished"
    assert 0 <= outcome["best"]["AP"] <= 100

    # asked to stop in the middle of an epoch: it writes a checkpoint and says so
    process = start(disturbed)
    wait_for(lambda: list(disturbed.glob("roadmap/*/log.txt")), process)
    wait_for(lambda: "epoch 1/3" in (only_run(disturbed) / "log.txt").read_text(), process)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 75, error
    assert "the same command resumes it" in error

    # killed outright, as soon as it trains again
    process = start(disturbed)
    wait_for(lambda: "epoch 2/3" in (only_run(disturbed) / "log.txt").read_text(), process)
    process.kill()
    process.communicate()

    # meanwhile the record says what happened, and a second process is kept out
    lines = (only_run(disturbed) / "attempts.jsonl").read_text(encoding="utf-8").splitlines()
    attempts = [json.loads(line) for line in lines]
    assert [a["event"] for a in attempts] == ["start", "end", "start"]
    assert attempts[1]["reason"] == "signal"
    with RunFolder(only_run(disturbed)).lock():
        status, _, error = finish(disturbed)
    assert status == 73
    assert f"is being worked on by process {os.getpid()}" in error

    status, _, error = finish(disturbed)
    assert status == 0, error
    assert "resumed at epoch" in error

    assert rows(disturbed) == rows(undisturbed)
    expected = weights(undisturbed)
    for name, value in weights(disturbed).items():
        assert torch.equal(value, expected[name]), name
    results = [json.loads((only_run(r) / "result.json").read_text()) for r in (undisturbed, disturbed)]
    assert results[0]["best"] == results[1]["best"]
    assert results[0]["last"] == results[1]["last"]

    # a finished run is left alone
    before = (only_run(undisturbed) / "result.json").stat().st_mtime_ns
    status, _, error = finish(undisturbed, "--no-report")
    assert status == 0
    assert "is finished" in error
    assert (only_run(undisturbed) / "result.json").stat().st_mtime_ns == before
