"""The study of label assignment: its arms, and SimOTA and OTA from the command line to the report."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from roadmap.study import PAPER_SETTING, record_of
from studies.assignment import STUDY
from studies.command.cli import main
from tests.studies.small_runs import make_data


def test_list_names_every_arm_and_what_the_paper_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(STUDY, ["--list", "--json"]) == 0
    rows = {row["arm"]: row for row in json.loads(capsys.readouterr().out)}
    assert {arm: row["paper AP"] for arm, row in rows.items() if row["paper AP"] is not None} == {
        "simota": 47.3
    }
    assert {a: r["paper extra time (%)"] for a, r in rows.items() if r["paper extra time (%)"]} == {"ota": 25}
    assert all(row["against"] for arm, row in rows.items() if arm != "simota")


def test_every_choice_is_an_arm_and_each_differs_in_it_alone() -> None:
    changed = {arm.name: set(arm.changes) for arm in record_of(STUDY).arms}
    assert changed.pop("simota") == set()
    assert changed.pop("ota-own-numbers") == {"model.assigner.iou_cost", "model.assigner.candidates"}
    assert {len(fields) for fields in changed.values()} == {1}
    assigners = [arm.resolve(PAPER_SETTING).model.assigner for arm in STUDY.arms]
    tried = {f.name: {getattr(each, f.name) for each in assigners} for f in fields(assigners[0])}
    assert tried["solver"] == {"simota", "ota"}
    assert tried["center_radius"] == {1.5, 2.5}
    assert tried["candidates"] == {5, 10, 20}
    assert tried["iou_cost"] == {1.0, 1.5, 3.0, 5.0}
    assert tried["simota_geometry"] == {"box-or-center", "center"}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path, dict[str, Any]]:
    """SimOTA and OTA, as short as a training can be: status, the report's folder and its data."""
    folder = tmp_path_factory.mktemp("assignment")
    settings = (
        "training.epochs=1", "training.warmup_epochs=0", "training.closing_epochs=0",
        "training.multiscale=[64,64]", "training.batch_size=2",
    )  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    words += ["--only", "simota", "--only", "ota", "--data", str(make_data(folder / "data"))]
    words += ["--protocol", "smoke", "--launcher", "local", "--tracking", "off", "--device", "cpu"]
    status = main(STUDY, [*words, "--workers", "0", "--runs", str(folder / "runs")])
    out = folder / "runs" / STUDY.name / "report"
    return status, out, json.loads((out / "report.json").read_text(encoding="utf-8"))


def test_it_ends_with_a_report(ended: tuple[int, Path, dict[str, Any]]) -> None:
    status, out, data = ended
    assert status == 0
    (group,) = data["groups"]
    assert not group["warnings"], "the arms differ in their solver, and in nothing else"
    rows = {row["arm"]: row for row in group["rows"]}
    assert rows["ota"]["against"] == "simota"
    assert rows["ota"]["runs"]
    page = (out / "report.md").read_text(encoding="utf-8")
    assert "### Training time" in page
    (line,) = (line for line in page.splitlines() if line.startswith("| OTA | SimOTA |") and "+25" in line)
    assert line.count("–") == 0, "both times were measured"
