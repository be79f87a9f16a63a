"""What a dry run says of what the runs can tell."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from reports.judging.statistics import t_quantile
from studies.attribution import STUDY
from studies.command.cli import main, study_parser
from studies.command.plan import Plan, make_plan
from studies.command.power import _smallest, noise_so_far, power_of, power_text


def plan_of(runs: Path, *words: str) -> Plan:
    arguments = ["--embedded", "--launcher", "local", "--runs", str(runs), *words]
    return make_plan(STUDY, study_parser(STUDY, "attribution").parse_args(arguments))


def finished(runs: Path, plan: Plan, seed: int, ap: float) -> None:
    run = plan.planned[0].run
    folder = runs / "roadmap" / f"baseline-s{seed}-{run.recipe.hash}"
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text("{}")
    result = {
        "protocol": run.recipe.protocol, "dataset": {"fingerprint": run.recipe.dataset.fingerprint},
        "recipe_hash": run.recipe.hash, "seed": seed, "best": {"AP": ap},
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result))


def test_the_noise_is_that_of_finished_runs_of_the_same_protocol_and_data(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "--only", "all", "--seeds", "3")
    recipe = plan.planned[0].run.recipe
    assert noise_so_far(tmp_path, recipe) is None
    assumed = power_of(plan)
    assert (assumed["assumed"], assumed["noise_sd"]) == (True, pytest.approx(0.35 / math.sqrt(2)))
    for seed, ap in enumerate((20.0, 22.0, 21.0)):
        finished(tmp_path, plan, seed, ap)
    found = noise_so_far(tmp_path, recipe)
    assert found is not None
    assert (found.sd, found.freedom) == (pytest.approx(1.0), 2)
    # a gain of two runs each has noise sqrt(2); its t interval with three seeds has 2 degrees of freedom
    both = t_quantile(0.95, 3) + t_quantile(0.6, 3)
    assert power_of(plan)["gain"] == pytest.approx(both * math.sqrt(2 / 3))
    other = plan_of(tmp_path, "--only", "all", "--set", "training.epochs=9")
    assert noise_so_far(tmp_path, other.planned[0].run.recipe) is None


def test_each_design_says_what_it_costs_and_what_it_cannot_tell(tmp_path: Path) -> None:
    found = power_of(plan_of(tmp_path, "--only", "factorial", "--seeds", "2"))
    rows = {row["design"]: row for row in found["rows"]}
    assert list(rows) == ["roadmap", "leave-one-out", "add-one-in", "fraction", "factorial"]
    assert {name: row["runs"] for name, row in rows.items()} == {
        "roadmap": 14, "leave-one-out": 14, "add-one-in": 14, "fraction": 32, "factorial": 128
    }  # fmt: skip
    told = {
        name: {kind for kind in ("mean effect", "interaction", "single gain") if row[kind]}
        for name, row in rows.items()
    }
    assert told == {
        "roadmap": set(), "leave-one-out": {"single gain"}, "add-one-in": {"single gain"},
        "fraction": {"mean effect"}, "factorial": {"mean effect", "interaction", "single gain"},
    }  # fmt: skip
    assert (
        rows["factorial"]["mean effect"] < rows["fraction"]["mean effect"] < rows["factorial"]["single gain"]
    )
    assert rows["factorial"]["training_flops"] > 3.9 * rows["fraction"]["training_flops"]
    assert "no gain between two arms can be judged; three is the least" in power_text(found)


def test_one_seed_tells_nothing_and_arms_of_ones_own_have_a_row(tmp_path: Path) -> None:
    found = power_of(plan_of(tmp_path, "--only", "all", "--only", "plain"))
    assert found["rows"][0]["design"] == "(chosen)"
    assert all(row["mean effect"] is None for row in found["rows"])


def test_a_dry_run_shows_it_here_and_on_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "--only",
        "fraction",
        "--embedded",
        "--launcher",
        "local",
        "--seeds",
        "2",
        "--dry-run",
        "--runs",
        str(tmp_path),
    ]
    assert main(STUDY, words) == 0
    shown = capsys.readouterr().out
    assert "standard deviation 0.25 AP (assumed as on COCO, for want of finished runs)" in shown
    assert "mean effect or Shapley value" in shown
    assert main(STUDY, [*words, "--json"]) == 0
    here = json.loads(capsys.readouterr().out)["power"]
    assert here["seeds"] == 2
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert main(STUDY, [*words, "--launcher", "slurm", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["power"] == here


def test_a_design_without_an_arm_in_this_setting_tells_nothing() -> None:
    assert set(_smallest([], 3, 0.25).values()) == {None}
