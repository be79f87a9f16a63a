"""The benchmarks' own promises: what they need, and that what they time is what they say."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import throughput, transport
from benchmarks.in_turn import Measured


@pytest.mark.parametrize("name", ["augmentation", "loading", "mosaic_extras", "throughput"])
def test_without_photographs_a_benchmark_says_what_it_needs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"benchmarks.{name}").main()
    assert end.value.code == 77
    message = capsys.readouterr().err
    assert "photographs" in message
    assert "--data" in message


@pytest.mark.parametrize(
    ("statuses", "status", "said"),
    [
        ({"augmentation": 77}, 0, "skipped: augmentation\n"),
        ({"augmentation": 77, "loss": 1}, 1, "skipped: augmentation\n\ncould not run: loss\n"),
        ({}, 0, ""),
    ],
)
def test_all_of_them(
    statuses: dict[str, int],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(command: list[str], check: bool) -> SimpleNamespace:
        return SimpleNamespace(returncode=statuses.get(command[-1].removeprefix("benchmarks."), 0))

    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    monkeypatch.setattr(subprocess, "run", run)
    assert benchmarks.main() == status
    assert capsys.readouterr().err.strip() == said.strip()


def test_throughput_does_not_count_batches_that_lay_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four processes with five batches each; the later ones take a second, a step a tenth of one."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)

    def batches() -> Iterator[int]:
        for number in range(1000):
            clock.now += 1.0 if number >= 20 else 0.0
            yield number

    def step(_batch: int) -> None:
        clock.now += 0.1

    options = argparse.Namespace(workers=4, iterations=10, batch=16, device="cpu")
    found = throughput.measure(batches(), step, options)
    assert found["images_per_second"] == pytest.approx(16 / 1.1)
    assert found["waiting"] == pytest.approx(1 / 1.1)


def test_ota_and_simota_are_compared_round_by_round(capsys: pytest.CaptureFixture[str]) -> None:
    """A burst of other work that both saw is no difference between them."""
    transport.print_extra("step", {"SimOTA": Measured([1.0, 10.0, 2.0]), "OTA": Measured([1.5, 15.0, 2.0])})
    assert "OTA / SimOTA: time 1.500, +50.0 %" in capsys.readouterr().out
