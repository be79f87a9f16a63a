"""A signal that comes while the last run ends does not make it an interrupted one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from studies.attempt import runner
from studies.attempt.stopping import FAILED, FINISHED, INTERRUPTED
from studies.command.cli import main
from studies.roadmap import STUDY


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([FINISHED], FINISHED),
        ([FAILED], FAILED),
        ([INTERRUPTED], INTERRUPTED),
        ([FINISHED, INTERRUPTED], INTERRUPTED),
        ([INTERRUPTED, FINISHED], INTERRUPTED),
    ],
)
def test_status_after_a_signal(
    statuses: list[int], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(statuses)

    def execute(*_: object) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return left.pop(0)

    monkeypatch.setattr(runner, "execute", execute)
    arguments = ["--protocol", "smoke", "--embedded", "--launcher", "local", "--no-report", "--jobs", "1"]
    for stage in ("baseline", "simota")[: len(statuses)]:
        arguments += ["--stage", stage]
    assert main(STUDY, [*arguments, "--runs", str(tmp_path)]) == expected
    assert len(left) == (1 if statuses[0] == INTERRUPTED and len(statuses) > 1 else 0)
