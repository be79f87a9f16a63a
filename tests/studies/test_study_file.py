"""A study of the user's own, outside the package: from a file of ten lines to planned runs."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from roadmap.record import find_runs
from roadmap.study import read_study
from studies.command.study_file import load_study, ours
from studies.run import main
from tests.studies.user_study import TEN_LINES, write_user_study


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_user_study(tmp_path / "mine")


def test_it_is_listed_as_ours_are(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(file), "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["arm"], row["against"], row["paper AP"]) for row in rows] == [
        ("baseline", None, 38.5),
        ("decoupled-head", "baseline", 39.6),
        ("pointed", "decoupled-head", None),
    ]


def test_a_dry_run_plans_nothing(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [
        str(file),
        "--dry-run",
        "--json",
        "--embedded",
        "--launcher",
        "local",
        "--runs",
        str(tmp_path / "runs"),
    ]
    assert main([*given, "--only", "pointed", "--only", "baseline", "--seeds", "2"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [(run["arm"], run["seed"]) for run in runs] == [
        ("pointed", 0), ("baseline", 0), ("pointed", 1), ("baseline", 1)
    ]  # fmt: skip
    assert not (tmp_path / "runs").exists()


def test_planning_leaves_the_study_and_every_recipe(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the user's file is needed any more when a job starts."""
    monkeypatch.setattr("studies.command.cli._run_here", lambda plan, options: 0)
    runs = tmp_path / "runs"
    assert (
        main([str(file), "--embedded", "--protocol", "smoke", "--launcher", "local", "--runs", str(runs)])
        == 0
    )
    study = read_study(runs / "heads-and-anchors")
    assert study is not None
    assert (study.names, study.question) == (
        ("baseline", "decoupled-head", "pointed"), "Does the decoupled head need anchors?"
    )  # fmt: skip
    assert [arm.changes for arm in study.arms] == [
        (), ("ingredients.decoupled_head",), ("ingredients.anchor_free",)
    ]  # fmt: skip
    assert study.command == f"python -m studies.run {file}"
    folders = find_runs(runs, "heads-and-anchors")
    assert [folder.state() for folder in folders] == ["planned"] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no STUDY; end it with: STUDY = Study(name, question, arms)"),
        ("STUDY = 3", "STUDY must be a roadmap.study.Study, not int"),
        ("x = 1\ny = 1 / 0", "my_study.py, line 2: ZeroDivisionError: division by zero"),
        ("STUDY = = 3", "my_study.py, line 1: SyntaxError"),
        (
            "from roadmap.stages import stage_arm\nstage_arm('simotta')",
            "line 2: ValueError: unknown stage 'simotta'",
        ),
        (
            TEN_LINES.replace("heads-and-anchors", "roadmap"),
            "a study called 'roadmap' comes with the project",
        ),
        (TEN_LINES.replace("heads-and-anchors", "sync"), "a study called 'sync' comes with the project"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    file: Path, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(content)
    assert main([str(file), "--list"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.py"], "nowhere.py: no such file; name a Python file that holds STUDY, or a run's folder"),
        ([__file__.replace("test_study_file.py", "__init__.py") + "c"], "no such file"),
    ],
)
def test_a_file_that_is_none(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_another_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "study.txt").write_text("")
    with pytest.raises(ValueError, match=r"a study's file ends in \.py"):
        load_study(tmp_path / "study.txt")


def test_ours_are_the_commands_of_the_project() -> None:
    assert {"roadmap", "scaling", "run"} <= set(ours())


def test_a_file_without_options_or_words_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--seeds", "3"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    assert "a file that holds STUDY" in capsys.readouterr().out


@pytest.mark.parametrize("module", ["studies.roadmap", "studies.scaling"])
def test_our_studies_are_data_at_module_level(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [module])
    monkeypatch.delitem(sys.modules, module, raising=False)  # another test may have imported it
    study: Any = runpy.run_module(module)["STUDY"]
    assert study.name == module.rpartition(".")[2]
    lines = Path(sys.modules["studies"].__path__[0], f"{study.name}.py").read_text().splitlines()
    assert len(lines) <= 60
