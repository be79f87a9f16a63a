"""A result that can't be used is judged the same by every command, and the reason is said by each."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from reports.records.collect import NoFinishedRunsError, collect
from roadmap.record import RunFolder, find_runs
from studies.attempt.runner import Options, _recorded
from studies.attempt.stopping import FAILED, FINISHED
from studies.command.cli import main
from studies.mirror.layout import read_view
from studies.roadmap import STUDY
from tests.studies.tracking_standin import write_result, write_start

REASON = "result.json: best.AP must be at most 100, not 9999"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = write_start(tmp_path, "simota", 0)
    result = write_result(made, 4)
    result["best"] = {**result["best"], "AP": 9999}
    (made.path / "result.json").write_text(json.dumps(result))
    return made


def options(runs: Path, again: bool = False) -> Options:
    return Options(runs=runs, data=None, embedded=runs, again=again)


def test_a_run_is_refused_until_it_is_asked_for_again(
    folder: RunFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert _recorded(folder, options(tmp_path)) == FAILED
    assert f"{folder.path} can't be used: {REASON}; --again runs it from scratch" in caplog.text
    assert _recorded(folder, options(tmp_path, again=True)) is None
    write_result(folder, 4)
    assert _recorded(folder, options(tmp_path)) == FINISHED


def test_reports_the_mirror_and_the_record_say_the_same(folder: RunFolder, tmp_path: Path) -> None:
    assert (folder.state(), folder.problem()) == ("unreadable", REASON)
    with pytest.raises(NoFinishedRunsError, match=REASON):
        collect(tmp_path, "roadmap")
    with pytest.raises(ValueError, match=REASON):
        read_view(folder)


def test_a_plan_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--stage", "simota", "--embedded", "--launcher", "local", "--runs", str(tmp_path), "--json"]
    assert main(STUDY, [*given, "--dry-run"]) == 0
    (planned,) = json.loads(capsys.readouterr().out)["runs"]
    path = Path(planned["folder"])
    path.mkdir(parents=True)
    (path / "result.json").write_text("{")
    assert main(STUDY, [*given, "--dry-run"]) == 0
    (planned,) = json.loads(capsys.readouterr().out)["runs"]
    assert planned["state"] == "unreadable"


def test_records_from_before_are_mirrored() -> None:
    """Written by the code of commit d9e44bb (tests/roadmap/fixtures)."""
    fixtures = Path(__file__).parents[1] / "roadmap" / "fixtures"
    for folder in find_runs(fixtures):
        view = read_view(folder, alive=False)
        assert (view.run, view.status) == (folder.name, "FINISHED")
        assert {"AP", "AP_last", "params_m", "latency_ms"} <= {point.key for point in view.points}
