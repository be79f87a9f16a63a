"""Tables of the paper in its own layout: as printed without runs, measured beside published with some."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from reports.grid import Grid
from reports.pages.section import shown_tables
from reports.records.collect import collect
from reports.records.groups import group_runs
from reports.tables.printed import printed_csv, printed_grid, printed_table
from reports.tables.steps import Table2, build_table2
from roadmap.heads import head_arms, head_table
from roadmap.models import model_arms, model_recipe, model_tables
from roadmap.protocols import PAPER
from roadmap.reproduction import paper_studies
from roadmap.stages import roadmap_arms, roadmap_table
from roadmap.study import Setting, Study, StudyRecord, Table, record_of, write_study
from tests.reports.factory import COCO, DEMO_HERE, SHAPES, write_run

HEADS = Study("heads", "?", head_arms(), (head_table(),))
SCALING = Study("scaling", "?", model_arms(), model_tables(), noun="model")


def printed(study: StudyRecord, source: str) -> Table:
    return next(t for t in study.tables if t.layout and t.layout.source == source)


def texts(grid: Grid) -> list[list[str]]:
    return [[cell.text for cell in row] for row in grid.rows]


def table_of(runs: Path, study: str) -> Table2:
    return build_table2(group_runs(study, collect(runs, study).runs)[0])


@pytest.mark.parametrize(
    ("source", "titles", "first", "last"),
    [
        (
            "Table 1",
            ["Models", "Coupled Head, AP (%)", "Decoupled Head, AP (%)"],
            ["Vanilla YOLO", "38.5", "39.6"],
            ["End-to-end YOLO", "34.3 (−4.2)", "38.8 (−0.8)"],
        ),
        (
            "Table 2",
            ["Methods", "AP (%)", "Parameters (M)", "GFLOPs", "Latency (ms)", "FPS"],
            ["YOLOv3-ultralytics", "44.3", "63.00", "157.3", "10.5", "95.2"],
            ["+NMS free (optional)", "46.5 (−0.8)", "67.27", "205.1", "13.5", "74.1"],
        ),
        (
            "Table 3",
            ["Models", "AP (%)", "Parameters (M)", "GFLOPs", "Latency (ms)"],
            ["YOLOv5-S", "36.7", "7.30", "17.1", "8.7"],
            ["YOLOX-X", "51.2 (+0.8)", "99.10", "281.9", "17.3"],
        ),
        (
            "Table 4",
            ["Models", "AP (%)", "Parameters (M)", "GFLOPs"],
            ["YOLOv4-Tiny", "21.7", "6.06", "6.96"],
            ["YOLOX-Nano", "25.3 (+1.8)", "0.91", "1.08"],
        ),
    ],
)
def test_without_runs_it_is_the_papers_table(
    source: str, titles: list[str], first: list[str], last: list[str]
) -> None:
    plan, table = next(
        (record_of(study), t)
        for study in paper_studies()
        for t in study.tables
        if t.layout and t.layout.source == source
    )
    grid = printed_grid(plan, table)
    assert [column.title for column in grid.columns] == titles
    assert (texts(grid)[0], texts(grid)[-1]) == (first, last)
    assert grid.notes == ()


@pytest.fixture
def heads(tmp_path: Path) -> Table2:
    """Three of the four detectors, two seeds each."""
    write_study(tmp_path / "heads", HEADS)
    setting = Setting(DEMO_HERE, SHAPES)
    for arm, ap in (("vanilla-coupled", 20.0), ("vanilla-decoupled", 24.0), ("end-to-end-decoupled", 21.0)):
        recipe = HEADS.find(arm).resolve(setting)
        for seed in (0, 1):
            write_run(tmp_path, arm, seed, study="heads", ap=ap + seed, recipe=recipe)
    return table_of(tmp_path, "heads")


def test_measured_figures_stand_beside_the_papers_in_its_cells(heads: Table2) -> None:
    grid = printed_grid(heads.group.plan, heads.group.plan.tables[0], heads)
    assert [(c.group, c.title) for c in grid.columns] == [
        ("", "Models"),
        ("Coupled Head, AP (%)", "demo, not COCO"),
        ("Coupled Head, AP (%)", "paper, COCO"),
        ("Decoupled Head, AP (%)", "demo, not COCO"),
        ("Decoupled Head, AP (%)", "paper, COCO"),
    ]
    assert texts(grid) == [
        ["Vanilla YOLO", "20.5 ± 0.7", "38.5", "24.5 ± 0.7", "39.6"],
        ["End-to-end YOLO", "–", "34.3 (−4.2)", "21.5 ± 0.7 (−3.0)", "38.8 (−0.8)"],
    ]
    assert {cell.note for row in grid.rows for cell in row} == {"", "a", "b", "c"}
    assert len(grid.notes) == 3


def test_its_csv_is_unrounded_with_gains_apart(heads: Table2) -> None:
    table = heads.group.plan.tables[0]
    rows = list(csv.DictReader(io.StringIO(printed_csv(heads.group.plan, table, heads))))
    assert float(rows[0]["Coupled Head, AP (%): demo, not COCO"]) == 20.5
    assert float(rows[0]["Coupled Head, AP (%): demo, not COCO, standard deviation"]) == pytest.approx(
        0.5**0.5
    )
    assert float(rows[1]["Decoupled Head, AP (%): demo, not COCO, gain"]) == -3.0
    assert float(rows[1]["Decoupled Head, AP (%): paper, COCO, gain"]) == -0.8
    assert rows[1]["Coupled Head, AP (%): demo, not COCO"] == ""


@pytest.mark.parametrize(("paper", "shown"), [(True, "40.0 (+3.3)"), (False, "40.0")])
def test_a_distance_to_a_published_row_is_measured_on_coco_alone(
    tmp_path: Path, paper: bool, shown: str
) -> None:
    write_study(tmp_path / "scaling", SCALING)
    recipe = model_recipe("yolox-s", PAPER if paper else DEMO_HERE, COCO if paper else SHAPES)
    options = {"protocol": "paper", "dataset": COCO} if paper else {}
    write_run(tmp_path, "yolox-s", study="scaling", ap=40.0, recipe=recipe, **options)
    measured = table_of(tmp_path, "scaling")
    plan = measured.group.plan
    grid = printed_grid(plan, printed(plan, "Table 3"), measured)
    assert texts(grid)[1][:3] == ["YOLOX-S", shown, "39.6 (+2.9)"]
    assert {cell.text for cell in grid.rows[0] if cell.kind == "measured"} == {"–"}, "nobody trains YOLOv5"


def test_shrunk_models_have_their_full_size_between(tmp_path: Path) -> None:
    write_study(tmp_path / "roadmap", Study("roadmap", "?", roadmap_arms(), (roadmap_table(),)))
    write_run(tmp_path, "simota")
    measured = table_of(tmp_path, "roadmap")
    plan = measured.group.plan
    grid = printed_grid(plan, plan.tables[0], measured)
    size = grid.only(("Parameters (M)",))
    assert [column.title for column in size.columns] == ["trained", "full size", "paper"]
    assert texts(size)[-2] == ["1.64", "63.72", "63.72"]


def test_it_can_be_referred_to(heads: Table2) -> None:
    plan = heads.group.plan
    assert printed_table(plan, plan.tables[0]).label == "tab:table1-printed"
    assert printed_table(plan, plan.tables[0], heads).label == f"tab:{heads.group.slug}-table1-printed"


def test_every_table_of_a_study_is_a_table_of_its_report(tmp_path: Path) -> None:
    """With rows and files of its own; what stands in no table of the paper comes last, and has no layout."""
    write_study(tmp_path / "scaling", SCALING)
    for arm in ("yolox-nano", "yolox-s", "yolox-darknet53", "my-idea"):
        write_run(tmp_path, arm, study="scaling")
    shown = shown_tables(table_of(tmp_path, "scaling"), tmp_path)
    assert [(each.part.name, len(each.part.table.rows)) for each in shown] == [
        ("table4", 5), ("table3", 8), ("table2", 2), ("table", 1)
    ]  # fmt: skip
    assert [row[0].text for row in shown[2].main.grid.rows] == ["YOLOv3-ultralytics", "YOLOX-DarkNet53"]
    assert [each.printed is not None for each in shown] == [True, True, False, False]
    files = [path.name for each in shown for path in each.contents()]
    assert len(files) == len(set(files)) == 3 * 6
    assert "table3_as_printed.csv" in files
    ids = [block.anchor for each in shown for block in (each.main, each.printed) if block is not None]
    assert len(ids) == len(set(ids)), "links to run ids stay within their table"


def test_a_table_in_the_papers_layout_says_what_its_columns_need(heads: Table2, tmp_path: Path) -> None:
    (shown,) = shown_tables(heads, tmp_path)
    assert shown.printed is not None
    assert shown.printed.caption is not None
    said = " ".join(shown.printed.caption.sentences)
    assert "In brackets: the gain over the row" in said
    assert "last epoch" not in said
    assert "GFLOPs" not in said
    assert shown.printed.caption.mark.startswith("DEMO, NOT COCO")


def test_each_table_has_the_latencies_that_its_own_arms_share(tmp_path: Path) -> None:
    """Table 4's models are tested at 416 px, Table 3's at 640: neither is left out for the other."""
    write_study(tmp_path / "scaling", SCALING)
    for arm in ("yolox-nano", "yolox-s", "yolox-m"):
        recipe = model_recipe(arm, PAPER, COCO)
        write_run(tmp_path, arm, study="scaling", ap=30.0, recipe=recipe, protocol="paper", dataset=COCO)
    small, standard = (each.part.table for each in shown_tables(table_of(tmp_path, "scaling"), tmp_path))
    sizes = [t.latency_conditions.image_size if t.latency_conditions else 0 for t in (small, standard)]
    assert sizes == [416, 640]
    assert [row.arm for t in (small, standard) for row in t.rows if row.latency] == [
        "yolox-nano", "yolox-s", "yolox-m"
    ]  # fmt: skip
    assert (small.notes, standard.notes) == ((), ())
