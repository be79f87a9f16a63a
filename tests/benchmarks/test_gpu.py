"""The GPU session on a machine without one: it says what it would do, and every step is a real command."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.gpu import Outcome, Step, carry_out, describe, steps, write


def _step(code: str, seconds: int = 60, needs: tuple[str, ...] = ()) -> Step:
    return Step("a step", ("-c", "raise SystemExit('not rehearsed')"), ("-c", code), seconds, needs)


def test_without_a_gpu_nothing_runs_and_the_plan_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    monkeypatch.setattr(gpu, "describe_gpu", lambda: None)
    monkeypatch.setattr(gpu, "carry_out", lambda *_: pytest.fail("a step ran"))
    assert gpu.main() == 0
    printed = capsys.readouterr().out
    assert "nothing was run" in printed
    assert all(step.title in printed for step in steps("r", "d"))


def test_every_step_names_a_module_that_exists_and_asks_for_cuda() -> None:
    planned = steps("runs", "data")
    for step in planned:
        assert step.arguments[0] == step.rehearsal[0] == "-m"
        assert importlib.util.find_spec(step.arguments[1]) is not None
        assert step.arguments[1] == step.rehearsal[1]
        assert isinstance(step.needs, tuple)
    assert sum("cuda" in step.arguments for step in planned) == len(planned) - 1  # all but the data path
    assert sum(step.seconds for step in planned) <= gpu.LIMIT * 1.2
    assert "python -m studies.roadmap" in describe(planned)


def test_what_a_machine_lacks_leaves_a_step_out() -> None:
    outcome = carry_out(_step("print(1)", needs=("photographs",)), True, ("photographs",), 60)
    assert outcome.status is None
    assert outcome.note == "left out: no photographs here"
    assert carry_out(_step("print(1)"), True, (), 0).note == "left out: the 1500 s were over"


def test_a_step_keeps_what_it_printed_and_how_it_ended() -> None:
    good = carry_out(_step("print('12 images/s')"), True, (), 60)
    assert (good.status, good.output, good.note) == (0, "12 images/s", "")
    bad = carry_out(_step("print('half'); raise SystemExit(3)"), True, (), 60)
    assert (bad.status, bad.output, bad.note) == (3, "half", "failed with status 3")
    slow = carry_out(
        _step("import time; print('begun', flush=True); time.sleep(60)", seconds=2), True, (), 60
    )
    assert slow.status is None
    assert slow.note == "stopped after 2 s"
    assert slow.output == "begun"


def test_the_page_holds_conditions_commands_and_output(tmp_path: Path) -> None:
    outcome = Outcome("Latency", "python -m x", 0, 3.4, "1.5 ms")
    write(tmp_path, {"device": "a GPU", "torch": "2.11"}, [outcome])
    page = (tmp_path / "README.md").read_text()
    for text in ("| device | a GPU |", "## Latency", "`python -m x`: done, 3 s", "1.5 ms"):
        assert text in page
    assert json.loads((tmp_path / "gpu.json").read_text())["steps"][0]["output"] == "1.5 ms"
