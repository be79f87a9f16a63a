"""From a file and single settings on the command line to planned runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studies.command.cli import main as run_study
from studies.roadmap import STUDY
from studies.run import main

LOOK = ["--embedded", "--launcher", "local", "--dry-run", "--json"]


def planned(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out)


def test_a_study_takes_a_file_and_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "brief.toml"
    file.write_text('extends = "smoke"\n[training]\nepochs = 2\nclosing_epochs = 0\n')
    options = ["--stage", "simota", "--protocol", str(file), "--set", "training.batch_size=16", *LOOK]
    assert run_study(STUDY, options) == 0
    plan = planned(capsys)
    assert plan["protocol"] == "brief+batch_size=16"
    assert [(run["epochs"], run["iterations"]) for run in plan["runs"]] == [(2, 2 * 480 // 16)]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--set", "training.epoch=2"], "did you mean training.epochs?"),
        (["--protocol", "absent.toml"], "absent.toml: No such file"),
        (["--protocol", "quick"], "unknown protocol 'quick'; choose one of: paper, demo"),
    ],
)
def test_a_wrong_setting_ends_with_what_fits(
    options: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_study(STUDY, [*options, *LOOK])
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_all_settings_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_study(STUDY, ["--list-settings", "--json"]) == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["training.epochs"] == {
        "key": "training.epochs", "kind": "whole number", "bounds": "at least 1", "default": "300",
    }  # fmt: skip


def test_any_combination_on_any_model(capsys: pytest.CaptureFixture[str]) -> None:
    """Options of the study stand before, between and behind."""
    options = ["--seeds", "2", "--on", "decoupled_head", "--model", "yolox-s", "--on=simota"]
    assert main([*options, "--model", "yolox-nano", "--set", "training.epochs=9", *LOOK]) == 0
    plan = planned(capsys)
    assert plan["study"] == "combinations"
    assert [(run["arm"], run["seed"], run["epochs"]) for run in plan["runs"]] == [
        ("yolox-s-decoupled-head-simota", 0, 9),
        ("yolox-nano-decoupled-head-simota", 0, 9),
        ("yolox-s-decoupled-head-simota", 1, 9),
        ("yolox-nano-decoupled-head-simota", 1, 9),
    ]


def test_an_unknown_ingredient_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--on", "simoto", *LOOK]) == 2
    assert "unknown ingredient 'simoto'; did you mean simota?" in capsys.readouterr().err
