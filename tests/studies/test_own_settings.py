"""From a file and single settings on the command line to planned runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from studies.attempt.training import build_for_training
from studies.command.cli import main as run_study
from studies.command.cli import study_parser
from studies.command.plan import file_identity, make_plan
from studies.roadmap import STUDY
from studies.run import main
from tests.yolox_core.imagenet_references import Mmdetection, Timm
from yolox_core.training.distributed import World

LAST: dict[type, str] = {
    Timm: "stages.4.blocks.0.conv2.conv.weight",
    Mmdetection: "conv_res_block5.res0.conv2.conv.weight",
}
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


@pytest.mark.parametrize("network", [Timm, Mmdetection])
def test_imagenet_weights_go_to_the_arms_that_start_from_them(
    network: type[Timm | Mmdetection], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Those of timm bring their backbone along, as a deviation; and other weights are another run."""
    torch.save(network().state_dict(), tmp_path / "darknet53.pth")
    size = ["--protocol", "smoke", "--set", "model.depth=0.2", "--set", "model.width=0.125"]
    given = ["--stage", "baseline", "--stage", "simota", *size, "--embedded", "--runs", str(tmp_path)]
    given += ["--imagenet-weights", str(tmp_path / "darknet53.pth")]
    options = study_parser(STUDY, "roadmap").parse_args(given)
    caplog.set_level("INFO")
    baseline, simota = make_plan(STUDY, options).planned
    identity = file_identity(tmp_path / "darknet53.pth")
    assert baseline.run.recipe.training.pretrained == f"imagenet:{identity}"
    assert simota.run.recipe.training.pretrained == ""
    assert simota.run.recipe.model.backbone == "darknet53"
    changed = {deviation.field: deviation.here for deviation in baseline.deviations}
    assert changed.get("model.backbone") == ("darknet53-timm" if network is Timm else None)
    assert ("model.backbone becomes darknet53-timm" in caplog.text) == (network is Timm)
    assert "training.pretrained" not in changed
    data: Any = None  # asked for folded norms only
    detector = build_for_training(baseline.run, tmp_path / "darknet53.pth", data, World())
    assert "backbone.stages.0.1.expand from " in caplog.text
    kernel = torch.load(tmp_path / "darknet53.pth")[LAST[network]]
    assert torch.equal(detector.state_dict()["backbone.stages.4.1.expand.conv.weight"], kernel)


def test_full_size_imagenet_weights_do_not_fit_the_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "darknet53.conv.74"
    with file.open("wb") as content:
        content.write(bytes([0, 0, 0, 0, 2, 0, 0, 0]))
        content.truncate(162_482_580)
    with pytest.raises(SystemExit) as ended:
        run_study(STUDY, ["--stage", "baseline", "--imagenet-weights", str(file), *LOOK])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "52 convolutions, the first of 32 channels; the model's has 24, the first of 8" in error
    assert "--set model.depth=1 --set model.width=1" in error
