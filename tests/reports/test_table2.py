"""The main table, worked by hand."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.records.collect import collect
from reports.records.groups import group_runs
from reports.tables.columns import ACCURACY, COST, csv_text, flops_text, gain_text, grid
from reports.tables.published import plan_rows
from reports.tables.steps import Table2, build_table2, leading
from roadmap.stages import STAGE_NAMES, stage_arm
from roadmap.study import Study, record_of
from roadmap.study import write_study as plan_study
from studies.roadmap import STUDY
from studies.scaling import STUDY as SCALING
from tests.reports.factory import COCO, CPU, write_run, write_study


def table_of(runs: Path, study: str = "roadmap") -> Table2:
    return build_table2(group_runs(study, collect(runs, study).runs)[0])


def cells(table: Table2, label: str) -> dict[str, tuple[str, str]]:
    shown = grid(table)
    row = next(r for r in shown.rows if r[0].text == label)
    return {c.heading: (cell.text, cell.note) for c, cell in zip(shown.columns, row, strict=True)}


def test_one_seed_worked_by_hand(runs: Path) -> None:
    write_run(runs, "multi-positives", ap=30.0, last=29.0)
    write_run(runs, "simota", ap=36.54, last=36.0, latency=25.0)
    row = cells(table_of(runs), "+SimOTA")
    assert row == {
        "Stage": ("+SimOTA", ""),
        "AP best epoch (%): demo, not COCO": ("36.5", "b"),
        "AP best epoch (%): gain": ("+6.5", "a,b"),
        "AP best epoch (%): paper, COCO": ("47.3", ""),
        "AP best epoch (%): paper gain": ("+2.3", ""),
        "AP last epoch (%): demo, not COCO": ("36.0", "b"),
        "Params (M): trained": ("1.64", "b"),
        "Params (M): full size": ("63.72", "b"),
        "Params (M): paper": ("63.72", ""),
        "GFLOPs: trained": ("0.46", "b"),
        "GFLOPs: full size": ("185.3", "b"),
        "GFLOPs: paper": ("185.3", ""),
        "Latency (ms): trained": ("25.0", "b"),
        "Latency (ms): paper": ("11.1", ""),
        "FPS: trained": ("40.0", "b"),
        "FPS: paper": ("90.1", ""),
    }


def test_three_seeds_give_mean_and_deviation_paired_by_seed(runs: Path) -> None:
    for seed, (before, after) in enumerate(((30.0, 36.0), (31.0, 36.5), (32.0, 39.5))):
        write_run(runs, "multi-positives", seed, ap=before)
        write_run(runs, "simota", seed, ap=after)
    row = cells(table_of(runs), "+SimOTA")
    # mean of 36.0, 36.5, 39.5 is 37.33; deviation sqrt((1.78 + 0.69 + 4.69) / 2) = 1.89
    assert row["AP best epoch (%): demo, not COCO"][0] == "37.3 ± 1.9"
    # gains 6.0, 5.5, 7.5: mean 6.33, deviation 1.04
    assert row["AP best epoch (%): gain"][0] == "+6.3 ± 1.0"
    assert row["Params (M): trained"][0] == "1.64"


def test_gains_use_common_seeds_only(runs: Path) -> None:
    write_run(runs, "multi-positives", 0, ap=30.0)
    write_run(runs, "multi-positives", 5, ap=99.0)
    write_run(runs, "simota", 0, ap=36.0)
    write_run(runs, "simota", 1, ap=10.0)
    table = table_of(runs)
    row = next(r for r in table.rows if r.arm == "simota")
    assert row.gain is not None
    assert row.gain.values == (6.0,)
    note = cells(table, "+SimOTA")["AP best epoch (%): gain"][1]
    listed = dict(grid(table).notes)[note]
    assert "multi-positives-s0" in listed
    assert "simota-s0" in listed
    assert "s5" not in listed
    assert "s1" not in listed


def test_no_gain_without_the_previous_stage_or_a_common_seed(runs: Path) -> None:
    write_run(runs, "anchor-free", 0)
    write_run(runs, "simota", 0)
    write_run(runs, "nms-free", 1)
    table = table_of(runs)
    for label in ("+SimOTA", "+NMS free (optional)", "+anchor-free"):
        assert cells(table, label)["AP best epoch (%): gain"] == ("–", "")


def test_the_published_only_row_and_unmeasured_stages_stay(runs: Path) -> None:
    write_run(runs, "simota")
    shown = grid(table_of(runs))
    assert len(shown.rows) == 1 + len(STAGE_NAMES)
    assert shown.rows[0][0].text == "YOLOv3-ultralytics"
    assert all(cell.text == "–" for cell in shown.rows[0] if cell.kind == "measured")
    assert [c.text for c in shown.rows[0] if c.kind == "paper"] == [
        "44.3",
        "–",
        "63.00",
        "157.3",
        "10.5",
        "95.2",
    ]


def test_every_measured_figure_carries_its_run_ids(demo_report_table: Table2) -> None:
    shown = grid(demo_report_table)
    notes = dict(shown.notes)
    for row in shown.rows:
        for cell in row:
            if cell.kind == "measured" and cell.text != "–":
                assert all(letter in notes for letter in cell.note.split(",")), (row[0].text, cell)


@pytest.fixture
def demo_report_table(runs: Path) -> Table2:
    write_study(runs, seeds=2)
    return table_of(runs)


def test_measured_seeds_vary_so_the_spread_is_shown_in_every_measured_figure(
    demo_report_table: Table2,
) -> None:
    row = cells(demo_report_table, "+decoupled head")
    for heading in ("AP best epoch (%): demo, not COCO", "AP best epoch (%): gain", "Latency (ms): trained"):
        assert "±" in row[heading][0]


def test_under_the_papers_protocol_the_full_size_columns_would_repeat_and_go(runs: Path) -> None:
    write_run(runs, "simota", protocol="paper", dataset=COCO)
    headings = [c.heading for c in grid(table_of(runs)).columns]
    assert not any("full size" in h for h in headings)
    assert "AP best epoch (%): measured" in headings


def test_an_undefined_ap_is_a_dash(runs: Path) -> None:
    import json

    path = write_run(runs, "simota") / "result.json"
    data = json.loads(path.read_text())
    data["best"]["AP"] = None
    path.write_text(json.dumps(data))
    assert cells(table_of(runs), "+SimOTA")["AP best epoch (%): demo, not COCO"] == ("–", "")


def test_latencies_of_other_hardware_are_not_averaged_in(runs: Path) -> None:
    write_run(runs, "baseline", 0, latency=10.0)
    write_run(runs, "simota", 0, latency=20.0)
    other = write_run(runs, "simota", 1, latency=500.0, hardware={**CPU, "name": "Slow CPU"})
    table = table_of(runs)
    row = next(r for r in table.rows if r.arm == "simota")
    assert row.latency is not None
    assert row.latency.values == (20.0,)
    assert row.seeds == (0, 1)
    assert other.name in table.notes[0]


def test_a_run_without_latency(runs: Path) -> None:
    import json

    path = write_run(runs, "simota") / "result.json"
    data = json.loads(path.read_text())
    data["latency"] = None
    path.write_text(json.dumps(data))
    table = table_of(runs)
    assert table.latency_conditions is None
    assert cells(table, "+SimOTA")["FPS: trained"] == ("–", "")


def test_csv_holds_unrounded_figures_and_says_that_they_are_not_comparable(runs: Path) -> None:
    write_run(runs, "simota", ap=36.54321)
    rows = {row["arm"]: row for row in csv.DictReader(io.StringIO(csv_text(table_of(runs))))}
    assert float(rows["simota"]["ap_best"]) == 36.54321
    assert rows["simota"]["ap_best_std"] == ""
    assert rows["simota"]["comparable_with_paper"] == "False"
    assert rows["simota"]["protocol"] == "demo"
    assert rows["simota"]["paper_ap"] == "47.3"
    assert rows["simota"]["runs"].startswith("simota-s0-")
    assert rows["baseline"]["ap_best"] == ""
    assert rows[""]["paper_row"] == "YOLOv3-ultralytics"


def test_the_halves_hold_every_column_once(demo_report_table: Table2) -> None:
    whole = grid(demo_report_table)
    halves = [*whole.only(ACCURACY).columns[1:], *whole.only(COST).columns[1:]]
    assert halves == list(whole.columns[1:])


def test_a_study_shows_the_tables_of_its_measured_arms_and_arms_of_none_behind(runs: Path) -> None:
    plan_study(runs / "scaling", SCALING)
    write_run(runs, "yolox-nano", study="scaling")
    write_run(runs, "my-idea", study="scaling")
    table = table_of(runs, "scaling")
    assert [row.label for row in table.rows] == [
        "YOLOv4-Tiny", "PPYOLO-Tiny", "YOLOX-Tiny", "NanoDet", "YOLOX-Nano", "my-idea"
    ]  # fmt: skip
    assert [row.ap_best is not None for row in table.rows] == [False, False, False, False, True, True]
    assert [row.published.ap if row.published else None for row in table.rows[3:]] == [23.5, 25.3, None]
    assert not any("gain" in c.title for c in grid(table).columns)
    assert grid(table).columns[0].title == "Model"


def test_a_study_that_was_never_planned_shows_what_was_measured(runs: Path) -> None:
    """Records of before: the fewer ingredients first, and nothing is compared."""
    for stage in ("simota", "baseline", "anchor-free"):
        write_run(runs, stage, study="old")
    table = table_of(runs, "old")
    assert [row.label for row in table.rows] == ["baseline", "anchor-free", "simota"]
    assert not any(row.published or row.previous for row in table.rows)


def test_an_arm_is_compared_with_the_one_it_names(runs: Path) -> None:
    """Not with the row above; the paper's gain is the difference of what it prints."""
    arms = (stage_arm("simota", against="baseline"), stage_arm("anchor-free"), stage_arm("baseline"))
    plan_study(runs / "mine", Study("mine", "?", arms))
    for arm, ap in (("simota", 30.0), ("anchor-free", 22.0), ("baseline", 21.0)):
        write_run(runs, arm, study="mine", ap=ap)
    table = table_of(runs, "mine")
    assert [row.arm for row in table.rows] == ["simota", "anchor-free", "baseline"]
    assert [row.gain.mean if row.gain else None for row in table.rows] == [9.0, None, None]
    assert [row.published.gain if row.published else None for row in table.rows] == [8.8, None, None]


def test_the_leading_stages_stay_in_their_order(runs: Path) -> None:
    write_study(runs)
    table = table_of(runs)
    kept = leading(table, 3)
    assert [row.arm for row in kept.rows] == ["multi-positives", "simota", "nms-free"]
    assert [s.arm for s in kept.group.arms] == ["multi-positives", "simota", "nms-free"]
    assert leading(table, 7) is table


def test_plan_keeps_the_papers_rows_for_any_subset_of_stages() -> None:
    plan = record_of(STUDY)
    assert len(plan_rows(plan, ["simota"])) == 8
    assert [row.arm for row in plan_rows(plan, ["simota", "other"])][-2:] == ["nms-free", "other"]
    assert [row.arm for row in plan_rows(plan, ["other"])] == ["other"]


@pytest.mark.parametrize(
    ("value", "text"), [(1.14, "+1.1"), (-0.8, "−0.8"), (0.04, "0.0"), (-0.04, "0.0"), (0.0, "0.0")]
)
def test_gains_are_signed(value: float, text: str) -> None:
    assert gain_text(value) == text


@given(st.floats(0.001, 999))
def test_flops_keep_three_figures_or_two_decimals(value: float) -> None:
    assert float(flops_text(value)) == pytest.approx(value, abs=0.051 if value >= 10 else 0.0051)
