"""The run record survives kills, torn writes and a second process."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadmap.recipe import Run, to_json
from roadmap.record import (
    RunFolder,
    RunLockedError,
    append_line,
    find_runs,
    now,
    read_json,
    read_lines,
    result_from_json,
    write_atomic,
    write_json,
)
from tests.roadmap.recipes import recipe
from tests.roadmap.records import finish, identity_of, result_of


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "roadmap" / "simota-s0-1a2b3c4d")
    folder.path.mkdir(parents=True)
    return folder


def finished(runs: Path) -> tuple[RunFolder, Run]:
    """A finished run's folder."""
    planned = Run("roadmap", "simota", 0, recipe())
    folder = RunFolder(runs / planned.study / planned.name)
    folder.path.mkdir(parents=True)
    write_json(folder.path / "recipe.json", identity_of(planned))
    finish(folder, planned)
    return folder, planned


@contextmanager
def holder(folder: RunFolder) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the run until it is told to end."""
    program = (
        "import sys; from pathlib import Path; from roadmap.record import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).lock():\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "held"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_a_file_is_written_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"AP": 1.5})
    write_json(path, {"AP": 2.5})
    assert read_json(path) == {"AP": 2.5}
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"AP": 1.5})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"half of a new fi")
    assert read_json(path) == {"AP": 1.5}
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_killed_writer_never_leaves_a_torn_file(tmp_path: Path) -> None:
    """Kill a process that rewrites a file without end, again and again: every read finds a whole one."""
    path = tmp_path / "state.json"
    write_json(path, {"n": 0, "text": ""})
    program = (
        "import sys; from pathlib import Path; from roadmap.record import write_json\n"
        "print('go', flush=True)\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1; write_json(Path(sys.argv[1]), {'n': n, 'text': str(n % 10) * 300_000})\n"
    )
    for attempt in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(20):
            value = read_json(path)
            assert len(value["text"]) in (0, 300_000)
            time.sleep(0.002 + 0.001 * attempt)
        process.kill()
        process.wait()
        process.stdout.close()
        assert len(read_json(path)["text"]) in (0, 300_000)


def test_non_finite_numbers_are_refused(tmp_path: Path) -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "x.json", {"loss": value})
        with pytest.raises(ValueError, match="not JSON compliant"):
            append_line(tmp_path / "x.jsonl", {"loss": value})
    assert not (tmp_path / "x.json").exists()


def test_missing_and_broken_json(tmp_path: Path) -> None:
    assert read_json(tmp_path / "nothing.json") is None
    broken = tmp_path / "broken.json"
    broken.write_text('{"AP": 1')
    with pytest.raises(ValueError, match=r"broken\.json is not valid JSON .*; move it away or repair it"):
        read_json(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"broken\.json is not valid JSON"):
        read_json(broken)


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_lines(path) == []
    for epoch in (1, 2, 3):
        append_line(path, {"epoch": epoch})
    assert [row["epoch"] for row in read_lines(path)] == [1, 2, 3]


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = [json.dumps({"epoch": epoch, "loss": 1.25}) for epoch in (1, 2)]
    for cut in range(1, len(whole[1])):
        path.write_text(whole[0] + "\n" + whole[1][:cut])
        assert [row["epoch"] for row in read_lines(path)] == [1]
    path.write_text("\n".join(whole))  # whole but for its newline
    assert [row["epoch"] for row in read_lines(path)] == [1, 2]


def test_a_torn_multibyte_character_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "attempts.jsonl"
    path.write_bytes(b'{"event": "start"}\n{"message": "\xe2\x80')
    assert read_lines(path) == [{"event": "start"}]


def test_a_line_appended_after_a_torn_one_is_not_lost(tmp_path: Path) -> None:
    """A run killed in mid-write resumes and appends; its next line must not fuse with the torn one."""
    path = tmp_path / "metrics.jsonl"
    append_line(path, {"epoch": 1})
    with path.open("a") as file:
        file.write('{"epoch": 2, "lo')
    append_line(path, {"epoch": 2})
    append_line(path, {"epoch": 3})
    assert [row["epoch"] for row in read_lines(path)] == [1, 2, 3]


def test_a_broken_line_in_the_middle_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 1}\nrubbish\n{"epoch": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2 is not valid JSON"):
        read_lines(path)


def test_time_is_utc_to_the_second() -> None:
    assert now().endswith("+00:00")
    assert "." not in now()


def test_parts_of_the_folder(run: RunFolder) -> None:
    assert (run.study, run.name) == ("roadmap", "simota-s0-1a2b3c4d")
    assert run.checkpoints == run.path / "checkpoints"
    assert run.identity() is run.environment() is run.result() is run.failure() is None
    assert run.metrics() == run.attempts() == []
    write_json(run.path / "recipe.json", {"seed": 0})
    append_line(run.path / "metrics.jsonl", {"epoch": 1})
    assert run.identity() == {"seed": 0}
    assert run.metrics() == [{"epoch": 1}]


def test_states(run: RunFolder) -> None:
    assert run.state() == "new"
    append_line(run.path / "attempts.jsonl", {"event": "start", "attempt": 1})
    assert run.state() == "interrupted"
    with run.lock():
        assert run.state() == "running"
    assert run.state() == "interrupted"
    write_json(run.path / "failure.json", {"kind": "error"})
    assert run.state() == "failed"
    with run.lock():
        assert run.state() == "running", "another attempt after a failure"
    write_json(run.path / "result.json", {"best": {}})
    assert run.state() == "unreadable"
    assert "run is missing" in run.problem()


def test_a_run_is_finished_when_its_result_can_be_used(tmp_path: Path) -> None:
    folder, run = finished(tmp_path)
    assert (folder.state(), folder.problem()) == ("finished", "")
    result = folder.result()
    assert result == result_of(run)
    assert result_from_json(to_json(result)) == result


def schema(content: dict[str, Any]) -> None:
    content["schema"] = 9


def impossible_figure(content: dict[str, Any]) -> None:
    content["best"]["AP"] = 9999


def another_seed(content: dict[str, Any]) -> None:
    content["seed"] = 7


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (schema, "result.json has schema 9, newer than 2: update the project"),
        (impossible_figure, "result.json: best.AP must be at most 100, not 9999"),
        (another_seed, "result.json says seed 7, recipe.json says 0"),
    ],
)
def test_a_result_that_cannot_be_is_refused_with_the_reason(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    folder, _ = finished(tmp_path)
    content = read_json(folder.path / "result.json")
    change(content)
    write_json(folder.path / "result.json", content)
    assert folder.state() == "unreadable"
    assert folder.problem() == reason
    with pytest.raises(ValueError, match=re.escape(reason)):
        folder.result()


def test_a_torn_result_is_unreadable(tmp_path: Path) -> None:
    folder, _ = finished(tmp_path)
    (folder.path / "result.json").write_text('{"schema": 1,')
    assert folder.state() == "unreadable"
    assert "is not valid JSON" in folder.problem()


def test_a_recipe_that_is_not_the_folders_is_refused(tmp_path: Path) -> None:
    """A recipe edited by hand, and a run moved into the folder of another one."""
    folder, run = finished(tmp_path)
    identity = read_json(folder.path / "recipe.json")
    identity["recipe"]["training"]["epochs"] += 1
    write_json(folder.path / "recipe.json", identity)
    reason = rf"the recipe in recipe\.json has the hash \w+, recipe\.json says {run.recipe.hash}"
    assert re.match(reason, folder.problem())
    other = folder.path.rename(folder.path.with_name("simota-s0-00000000"))
    write_json(other / "recipe.json", identity_of(run))
    moved = RunFolder(other)
    assert f"has the hash {run.recipe.hash}, the folder's name says 00000000" in moved.problem()
    assert RunFolder(other.rename(other.with_name("my copy"))).problem() == ""


def test_a_colleagues_lock_is_read_where_nothing_may_be_written(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so the refusal of another account's folder is played."""
    original = Path.open

    def read_only(self: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if set(mode) & set("wax+"):
            raise PermissionError(13, "Permission denied", str(self))
        return original(self, mode, *rest, **options)

    with holder(run):
        monkeypatch.setattr(Path, "open", read_only)
        assert run.is_locked()
        assert run.state() == "running"
    assert not run.is_locked()


def test_a_second_process_is_told_who_holds_the_run(run: RunFolder) -> None:
    with holder(run) as process:
        assert run.is_locked()
        assert run.state() == "running"
        with (
            pytest.raises(
                RunLockedError, match=rf"process {process.pid} on .*; wait for it, or stop it first"
            ),
            run.lock(),
        ):
            pytest.fail("held twice")
    assert not run.is_locked()


def test_a_killed_holder_leaves_no_lock(run: RunFolder) -> None:
    with holder(run) as process:
        process.kill()
        process.wait()
        assert not run.is_locked()
        with run.lock():
            assert run.is_locked()


def test_the_lock_names_the_slurm_job(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    with run.lock():
        assert (run.path / "lock").read_text().endswith(", job 42")


def test_the_lock_is_free_again_after_an_error(run: RunFolder) -> None:
    with pytest.raises(KeyError), run.lock():
        raise KeyError
    assert not run.is_locked()
    with run.lock():
        pass


def test_watching_a_run_does_not_keep_it_from_starting(run: RunFolder) -> None:
    """A status command looks at the lock over and over while the run takes and frees it."""
    program = (
        "import sys; from pathlib import Path; from roadmap.record import RunFolder\n"
        "print('go', flush=True)\n"
        "while True: RunFolder(Path(sys.argv[1])).is_locked()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(run.path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        for _ in range(50):
            with run.lock():
                pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_only_folders_with_a_recipe_are_runs(tmp_path: Path) -> None:
    assert find_runs(tmp_path) == []
    for study, name in (("roadmap", "b-s0-1"), ("roadmap", "a-s0-1"), ("head", "c-s0-1")):
        write_folder = tmp_path / study / name
        write_folder.mkdir(parents=True)
        write_json(write_folder / "recipe.json", {})
    (tmp_path / "roadmap" / "empty").mkdir()
    (tmp_path / "roadmap" / "slurm.log").write_text("")
    assert [run.name for run in find_runs(tmp_path)] == ["c-s0-1", "a-s0-1", "b-s0-1"]
    assert [run.name for run in find_runs(tmp_path, "roadmap")] == ["a-s0-1", "b-s0-1"]


def test_records_of_before_studies_had_arms_are_read(tmp_path: Path) -> None:
    """They called an arm ``stage``."""
    folder, run = finished(tmp_path)
    for name in ("recipe.json", "result.json"):
        content = read_json(folder.path / name)
        arm = content.pop("arm")
        write_json(folder.path / name, {**content, "stage": arm, "schema": 1})
    identity, result = folder.identity(), folder.result()
    assert identity is not None
    assert identity["arm"] == "simota"
    assert result == replace(result_of(run), schema=1)
