"""How verdicts are shown, and what ``--check`` makes of them."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reports.build import build_report
from reports.grid import Grid
from reports.judging.statistics import Interval
from reports.records.collect import collect
from reports.tables.verdicts import Judged, counts, interval_text, judge_all, verdict_grid, verdict_records
from roadmap.paper import roadmap_row
from roadmap.stages import find_stage
from tests.reports.factory import COCO, write_run, write_study

ROOT = Path(__file__).parents[2]
STEP = "+2.3 AP from multi-positives to simota"


def judged(runs: Path, study: str = "roadmap") -> dict[str, Judged]:
    return {item.best.claim.key: item for item in judge_all(collect(runs, study).runs)}


def row_of(grid: Grid, statement: str) -> dict[str, str]:
    row = next(r for r in grid.rows if r[0].text == statement)
    return {c.heading: cell.text for c, cell in zip(grid.columns, row, strict=True)}


def paper_runs(runs: Path, stage: str, aps: tuple[float, ...]) -> None:
    for seed, ap in enumerate(aps):
        write_run(runs, stage, seed, "paper", COCO, ap=ap)


def test_a_reproduced_claim_shows_gain_interval_seeds_and_verdict(runs: Path) -> None:
    paper_runs(runs, "multi-positives", (45.0, 45.1, 44.9, 45.0))
    paper_runs(runs, "simota", (47.2, 47.5, 47.2, 47.4))
    found = judged(runs)
    shown = row_of(verdict_grid([found["table2/simota"]]), STEP)
    # gains 2.2, 2.4, 2.3, 2.4: mean 2.325, deviation 0.0957, half width 3.182 × 0.0957 / 2 = 0.152
    assert shown["Gain (AP): measured"] in ("+2.32", "+2.33")
    assert shown["Gain (AP): 95 % interval"] == "+2.17 … +2.48"
    assert shown["Seeds: run"] == "4"
    assert shown["Verdict: best epoch"] == "reproduced"
    assert shown["Seeds: to settle"] == "–"


def test_one_seed_of_a_demo_is_a_number_without_a_direction(runs: Path) -> None:
    write_study(runs, seeds=1)
    shown = row_of(verdict_grid([judged(runs)["table2/simota"]]), STEP)
    assert shown["Other conditions"] == "embedded-shapes, demo protocol: +6.5, too few seeds (1 seed)"


def test_a_demo_of_three_seeds_says_which_way_it_points(runs: Path) -> None:
    write_study(runs, seeds=3)
    found = judged(runs)
    assert counts(list(found.values())) == f"{len(found)} not measured"
    item = found["table2/simota"]
    assert item.touched
    shown = row_of(verdict_grid([item]), STEP)
    assert shown["Verdict: best epoch"] == "not measured"
    assert shown["Gain (AP): measured"] == "–"
    assert "embedded-shapes, demo protocol: +6." in shown["Other conditions"]
    assert "same direction (3 seeds)" in shown["Other conditions"]
    assert not found["table6/yolox-x"].touched


def test_the_column_of_other_conditions_is_there_only_when_needed(runs: Path) -> None:
    paper_runs(runs, "multi-positives", (45.0, 45.1, 44.9))
    paper_runs(runs, "simota", (47.2, 47.5, 47.2))
    grid = verdict_grid([judged(runs)["table2/simota"]])
    assert "Other conditions" not in [c.title for c in grid.columns]


def test_records_hold_both_epochs_and_unrounded_figures(runs: Path) -> None:
    paper_runs(runs, "multi-positives", (45.0, 45.1, 44.9))
    paper_runs(runs, "simota", (47.2, 47.5, 47.2))
    rows = [r for r in verdict_records(list(judged(runs).values())) if r["claim"] == "table2/simota"]
    assert [r["epoch"] for r in rows] == ["best", "last"]
    assert rows[0]["gain"] == pytest.approx((2.2 + 2.4 + 2.3) / 3)
    assert rows[0]["low"] < rows[0]["gain"] < rows[0]["high"]
    assert rows[0]["runs"].count("simota-s") == 3
    json.dumps(rows, allow_nan=False)


def test_interval_text() -> None:
    assert interval_text(Interval(-0.5, 1.25, 0.95, "t")) == "−0.50 … +1.25"
    assert interval_text(None) == "–"


def test_the_report_holds_the_verdicts_in_every_format(paper_report: object, runs: Path) -> None:
    from reports.build import Report

    assert isinstance(paper_report, Report)
    out = paper_report.out
    rows = list(csv.DictReader(io.StringIO((out / "verdicts.csv").read_text())))
    assert {r["claim"] for r in rows} >= {"table2/simota", "figure3/epoch-50"}
    for name in ("report.md", "report.html", "verdicts.tex"):
        text = " ".join((out / name).read_text().split())
        assert "to simota" in text, name
        assert "reproduced" in text, name
        assert "excludes 0 on the paper's side" in html.unescape(text), name
    assert [v.claim.key for v in paper_report.verdicts][:1] == ["table1/end-to-end-coupled"]
    assert "verdicts on the paper's" in paper_report.summary


def test_verdicts_do_not_depend_on_when_they_are_drawn(runs: Path) -> None:
    paper_runs(runs, "multi-positives", (45.0, 45.1, 44.9, 45.2))
    paper_runs(runs, "simota", (47.2, 47.5, 47.2, 47.9))
    assert build_report(runs, figures=False).data == build_report(runs, figures=False).data


def check(runs: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "reports", "--runs", str(runs), "--no-figures", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_check_passes_when_the_claims_hold(runs: Path) -> None:
    for stage in ("multi-positives", "simota"):
        ap = roadmap_row(find_stage(stage).row)["ap"] or 0.0
        paper_runs(runs, stage, (ap, ap + 0.2, ap - 0.1))
    done = check(runs)
    assert done.returncode == 0, done.stderr
    assert "0 of 2 measured claims failed" in done.stderr  # the step, and simota against ultralytics


def test_check_fails_when_a_claim_is_contradicted_and_names_it(runs: Path) -> None:
    paper_runs(runs, "multi-positives", (45.0, 45.1, 44.9))
    paper_runs(runs, "simota", (43.0, 43.2, 42.8))
    done = check(runs)
    assert done.returncode == 1
    assert f"failed: {STEP} (Table 2)" in done.stderr
    assert "2 of 2 measured claims failed" in done.stderr
    assert "(fails)" in (runs / "roadmap" / "report" / "report.md").read_text()


def test_check_passes_a_demo_and_says_that_nothing_was_measured(runs: Path) -> None:
    write_study(runs, seeds=3, stages=("multi-positives", "simota"), ap=20.0)
    done = check(runs)
    assert done.returncode == 0
    assert "no claim was measured under the paper's protocol" in done.stderr
