"""What attempts leave of themselves, and whether one code has trained a run."""

from pathlib import Path
from typing import Any

import pytest

from roadmap.code import Code
from roadmap.protocols import Deviation
from roadmap.record import RunFolder, read_json
from studies.attempt import history
from studies.attempt.history import mixed_code, note_start, write_environment

FIRST, SECOND = "1" * 40, "2" * 40


def start(commit: str | None, dirty: bool = False, changes: str = "", resumes: bool = True) -> dict[str, Any]:
    return {"event": "start", "commit": commit, "dirty": dirty, "changes": changes, "resumes": resumes}


END = {"event": "end", "reason": "signal"}


@pytest.mark.parametrize(
    ("events", "here"),
    [
        ([start(FIRST, resumes=False)], None),
        ([start(FIRST, resumes=False), END, start(FIRST)], None),
        (
            [start(FIRST, resumes=False), END, start(SECOND), start(FIRST)],
            "commit 1111111; commit 2222222",
        ),
        (
            [start(FIRST, resumes=False), start(FIRST, True, "0a1b2c3d")],
            "commit 1111111; commit 1111111 with local changes 0a1b2c3d",
        ),
        (
            [start(FIRST, True, "aaaaaaaa", resumes=False), start(FIRST, True, "bbbbbbbb")],
            "commit 1111111 with local changes aaaaaaaa; commit 1111111 with local changes bbbbbbbb",
        ),
        # an attempt that began anew takes nothing from those before it
        ([start(FIRST, resumes=False), END, start(SECOND, resumes=False), start(SECOND)], None),
        # an attempt of before the code was recorded
        ([{"event": "start"}, start(SECOND)], "unknown code; commit 2222222"),
        ([{"event": "start"}, {"event": "start"}], None),
    ],
)
def test_a_run_of_two_codes_says_so(events: list[dict[str, Any]], here: str | None) -> None:
    expected = None if here is None else Deviation("code", "one commit", here)
    assert mixed_code(events) == expected


def test_a_start_says_which_code_it_runs_and_whether_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    monkeypatch.setattr(history, "code_state", lambda: Code(FIRST, True, "0a1b2c3d"))
    assert note_start(folder) == 1
    folder.checkpoints.mkdir()
    (folder.checkpoints / "iteration-000000003.pt").touch()
    assert note_start(folder) == 2
    found = [(e["attempt"], e["commit"], e["dirty"], e["changes"], e["resumes"]) for e in folder.attempts()]
    assert found == [(1, FIRST, True, "0a1b2c3d", False), (2, FIRST, True, "0a1b2c3d", True)]


def test_the_environment_of_every_attempt_is_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for attempt in (1, 2, 3):
        write_environment(folder, attempt, {"commit": str(attempt)})
    assert folder.environment() == {"attempt": 3, "commit": "3"}
    assert read_json(tmp_path / "environment-1.json") == {"attempt": 1, "commit": "1"}
    assert read_json(tmp_path / "environment-2.json") == {"attempt": 2, "commit": "2"}


def test_an_environment_of_before_attempts_were_numbered_is_kept_too(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text('{"commit": "old"}')
    write_environment(RunFolder(tmp_path), 2, {"commit": "new"})
    assert read_json(tmp_path / "environment-1.json") == {"commit": "old"}
