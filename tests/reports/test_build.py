"""The report as a whole: which files it holds, and that it rebuilds to the same bytes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reports.build import Report, build_report
from reports.records.collect import NoFinishedRunsError
from tests.reports.factory import COCO, write_run

FIGURES = ("roadmap", "speed_accuracy", "size_accuracy", "training_curves", "head_curves")


def test_it_writes_tables_figures_and_a_page(demo_report: Report) -> None:
    names = {p.relative_to(demo_report.out).as_posix() for p in demo_report.files}
    folder = "embedded-shapes-demo-5ba9e5"
    expected = {f"{folder}/{name}.{kind}" for name in FIGURES for kind in ("png", "svg", "pdf")}
    tables = ("table2", "table2_as_printed")
    expected |= {f"{folder}/{name}.{kind}" for name in tables for kind in ("md", "tex", "csv")}
    assert expected | {"report.md", "report.tex", "report.json"} <= names
    assert all(path.stat().st_size > 0 for path in demo_report.files)
    on_disk = {p.relative_to(demo_report.out).as_posix() for p in demo_report.out.rglob("*") if p.is_file()}
    assert on_disk == names


def test_it_lies_beside_the_runs_and_is_not_taken_for_one(demo_report: Report) -> None:
    assert demo_report.out.name == "report"
    assert demo_report.out.parent.name == "roadmap"
    assert len(demo_report.data["groups"]) == 1


def test_every_link_of_the_page_leads_somewhere(demo_report: Report) -> None:
    text = (demo_report.out / "report.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) >= 3 * len(FIGURES)
    for link in links:
        here = f'<a id="{link[1:]}"></a>' in text if link.startswith("#") else False
        assert here or (demo_report.out / link).is_file(), link


def test_the_page_shows_every_figure_and_both_kinds_of_missing_runs(demo_report: Report) -> None:
    text = (demo_report.out / "report.md").read_text()
    for name in FIGURES:
        assert f"/{name}.png)" in text
    assert "14 finished runs, 1 unfinished, 1 left out" in text
    assert "simota-s7-" in text
    assert "simota-s8-" in text
    assert "not valid JSON" in text


def test_the_summary_names_what_is_missing_and_fits_a_terminal(demo_report: Report) -> None:
    assert "unfinished: simota-s7-" in demo_report.summary
    assert "left out: simota-s8-" in demo_report.summary
    tables = [
        line for line in demo_report.summary.splitlines() if line.startswith(("Stage", "+", "YOLOv3", "--"))
    ]
    assert len(tables) == 28, "two halves of ten lines, and six gains below their heading"
    assert max(map(len, tables)) <= 120


def test_the_same_records_give_the_same_bytes(demo_report: Report, tmp_path: Path) -> None:
    again = build_report(demo_report.out.parent.parent, out=tmp_path / "again")
    assert [p.relative_to(again.out) for p in again.files] == [
        p.relative_to(demo_report.out) for p in demo_report.files
    ]
    for first, second in zip(demo_report.files, again.files, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name


def test_no_demo_figure_can_pass_for_a_coco_figure(demo_report: Report) -> None:
    folder = demo_report.out / "embedded-shapes-demo-5ba9e5"
    for name in ("table2.md", "table2.tex", "table2_as_printed.md", "table2_as_printed.tex"):
        text = (folder / name).read_text()
        assert "DEMO, NOT COCO" in text
        assert "demo, not COCO" in text
    assert "demo, not COCO" in demo_report.summary
    assert ",demo,False," in (folder / "table2.csv").read_text()
    assert demo_report.data["groups"][0]["comparable_with_paper"] is False


def test_groups_have_folders_of_their_own_and_the_papers_conditions_come_first(paper_report: Report) -> None:
    folders = [group["folder"] for group in paper_report.data["groups"]]
    assert len(folders) == 2
    assert folders[0].startswith("coco-2017-paper")
    marks = [group["mark"] for group in paper_report.data["groups"]]
    assert marks == ["", "demo, not COCO"]
    text = (paper_report.out / folders[0] / "table2.md").read_text()
    assert "NOT COCO" not in text


def test_rebuilding_removes_its_own_stale_files_and_no_others(runs: Path) -> None:
    write_run(runs, "baseline")
    other = write_run(runs, "simota", protocol="paper", dataset=COCO)
    first = build_report(runs, figures=False)
    mine = first.out / "notes.txt"
    mine.write_text("keep me")
    old = first.out / "coco-2017-paper-c0c020"
    assert (old / "table2.md").exists()
    (other / "result.json").unlink()
    second = build_report(runs, figures=False)
    assert mine.read_text() == "keep me"
    assert not old.exists()
    assert set(second.files) < set(first.files)
    assert all(path.exists() for path in second.files)


def test_a_study_name_cannot_leave_the_runs_folder(runs: Path) -> None:
    with pytest.raises(ValueError, match="folder name"):
        build_report(runs, "../elsewhere")


def test_a_manifest_cannot_remove_files_elsewhere(runs: Path, tmp_path: Path) -> None:
    write_run(runs, "simota")
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    out = runs / "roadmap" / "report"
    out.mkdir()
    (out / "report.json").write_text(json.dumps({"files": ["../../../outside.txt", str(outside)]}))
    build_report(runs, figures=False)
    assert outside.exists()


def test_nothing_finished_writes_nothing(runs: Path) -> None:
    write_run(runs, "simota", state="interrupted")
    with pytest.raises(NoFinishedRunsError):
        build_report(runs)
    assert not (runs / "roadmap" / "report").exists()
