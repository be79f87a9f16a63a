"""A signal that comes while the last run ends does not make it an interrupted one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from studies import runner
from studies.cli import main
from studies.roadmap import STUDY
from studies.stopping import FAILED, FINISHED, INTERRUPTED


@pytest.mark.parametrize(
    ("stages", "status", "expected", "executed"),
    [
        (["baseline"], FINISHED, FINISHED, 1),
        (["baseline"], FAILED, FAILED, 1),
        (["baseline"], INTERRUPTED, INTERRUPTED, 1),
        (["baseline", "simota"], FINISHED, INTERRUPTED, 1),
    ],
)
def test_status_after_a_signal(
    stages: list[str],
    status: int,
    expected: int,
    executed: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    carried_out = []

    def execute(run: object, *_: object) -> int:
        carried_out.append(run)
        os.kill(os.getpid(), signal.SIGTERM)
        return status

    monkeypatch.setattr(runner, "execute", execute)
    arguments = ["--protocol", "smoke", "--embedded", "--launcher", "local", "--no-report", "--jobs", "1"]
    for stage in stages:
        arguments += ["--stage", stage]
    assert main(STUDY, [*arguments, "--runs", str(tmp_path)]) == expected
    assert len(carried_out) == executed
