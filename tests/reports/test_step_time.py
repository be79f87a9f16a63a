"""The time of a training step, arm by arm, beside what the paper says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reports.build import build_report
from reports.records.collect import collect
from reports.records.groups import group_runs
from reports.tables.step_time import step_grid
from reports.tables.steps import build_table2
from roadmap.record import read_lines
from roadmap.study import Setting, write_study
from studies.assignment import STUDY
from tests.reports.factory import CPU, SHAPES, protocol_of, write_run

PAPER, MEASURED = "Extra time (%): paper", "Extra time (%): measured"


def timed(
    runs: Path, arm: str, speed: float, seed: int = 0, hardware: dict[str, Any] = CPU, study: str = STUDY.name
) -> None:
    """A run in batches of 16 with so many images per second, a fifth of the time waiting for data; one epoch
    took ten times as long.
    """
    recipe = STUDY.find(arm).resolve(Setting(protocol_of("demo"), SHAPES))
    write_study(runs / study, STUDY)
    path = write_run(runs, arm, seed, study=study, recipe=recipe, hardware=hardware)
    rows = read_lines(path / "metrics.jsonl")
    for row in rows:
        row |= {"images_per_second": speed, "data_wait": 0.2}
    rows[0]["images_per_second"] /= 10
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def shown(runs: Path, study: str = STUDY.name) -> dict[str, dict[str, str]] | None:
    grid = step_grid(build_table2(group_runs(study, collect(runs, study).runs)[0]))
    if grid is None:
        return None
    return {r[0].text: {c.heading: x.text for c, x in zip(grid.columns, r, strict=True)} for r in grid.rows}


def test_extra_time_beside_the_papers(runs: Path) -> None:
    timed(runs, "simota", 160.0)
    timed(runs, "ota", 100.0)
    timed(runs, "ota-own-numbers", 200.0)
    rows = shown(runs)
    assert rows is not None
    step = "Training step (ms): measured"
    assert rows["SimOTA"] == {"Arm": "SimOTA", "Against": "–", step: "80.0", MEASURED: "–", PAPER: "–"}
    assert rows["OTA"] == {"Arm": "OTA", "Against": "SimOTA", step: "128.0", MEASURED: "+60", PAPER: "+25"}
    own = rows["OTA, IoU weight 1.5, 20 IoUs"]
    assert (own["Against"], own[MEASURED], own[PAPER]) == ("OTA", "−50", "–")


def test_pairs_of_the_same_seed_and_hardware(runs: Path) -> None:
    timed(runs, "simota", 160.0)
    timed(runs, "simota", 100.0, seed=1)
    timed(runs, "simota", 500.0, seed=2, hardware={**CPU, "threads": 8})
    timed(runs, "ota", 128.0)  # a quarter more
    timed(runs, "ota", 74.0, seed=1)  # 35 % more
    timed(runs, "ota", 100.0, seed=2)
    rows = shown(runs)
    assert rows is not None
    assert rows["OTA"][MEASURED] == "+30 ± 7.2"


def test_only_where_the_paper_says_something_about_a_measured_arm(runs: Path) -> None:
    timed(runs, "simota", 160.0)
    timed(runs, "cost-1", 160.0)
    assert shown(runs) is None


def test_the_report_and_the_terminal_have_it(runs: Path) -> None:
    timed(runs, "simota", 160.0)
    timed(runs, "ota", 100.0)
    report = build_report(runs, STUDY.name, figures=False)
    page = (report.out / "report.md").read_text()
    assert "Training time" in page
    assert "median over the epochs, without waiting for data" in page
    assert "+60" in report.summary
    assert "+60" in (report.out / "report.tex").read_text()
