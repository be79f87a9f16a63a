"""The runs as a table: every record one row, and the listings of docs/runs-frame.md as printed there."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import reports
from reports import epochs_frame, runs_frame
from reports.figures.curves import curves
from reports.records.collect import collect
from reports.records.groups import group_runs
from reports.tables.steps import build_table2
from roadmap.recipe import flatten, to_json
from tests.reports.factory import COCO, DEMO_HERE, SHAPES, stage_recipe, write_run, write_study

PAGE = Path(__file__).parents[2] / "docs" / "runs-frame.md"


def listings() -> list[tuple[str, str]]:
    """Each Python listing of the page with what stands below it as its output."""
    return re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", PAGE.read_text(), re.S)


def test_the_pages_listings_print_what_it_says(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(runs, seeds=3, stages=("baseline", "multi-positives", "simota"))
    write_run(runs, "nms-free", state="interrupted")
    monkeypatch.chdir(runs.parent)
    assert runs.name == "runs"
    names: dict[str, object] = {}
    found = listings()
    assert len(found) == 6
    for code, expected in found:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        lines = [line.rstrip() for line in printed.getvalue().splitlines()]
        assert lines == [line.rstrip() for line in expected.splitlines()], code


def test_a_row_holds_the_runs_figures_recipe_and_conditions(runs: Path) -> None:
    path = write_run(runs, "simota", 2, ap=40.5, last=39.25, latency=5.0)
    (row,) = runs_frame(runs).to_dict("records")
    assert (row["study"], row["arm"], row["seed"], row["run"]) == ("roadmap", "simota", 2, path.name)
    assert (row["best.AP"], row["last.AP"], row["latency.forward_ms.median"]) == (40.5, 39.25, 5.0)
    assert (row["state"], row["finished"]) == ("finished", pd.Timestamp("2026-01-02T03:04:05Z"))
    assert (row["hardware.cores"], row["environment.precision"], row["path"]) == (2, "fp32", str(path))
    assert "training.epochs: 24 (paper: 300)" in row["deviations"]
    recipe = flatten(to_json(stage_recipe("simota", DEMO_HERE, SHAPES)))
    for name, value in recipe.items():
        assert row[name] == value or isinstance(value, list), name
    assert row["training.multiscale"] == (128, 192)


def test_every_record_of_every_study_is_a_row_once(runs: Path) -> None:
    write_study(runs, seeds=2, stages=("baseline", "simota"))
    write_run(runs, "yolox-s", study="scaling")
    write_run(runs, "simota", protocol="paper", dataset=COCO)
    frame = runs_frame(runs)
    assert frame.groupby("study").size().to_dict() == {"roadmap": 5, "scaling": 1}
    assert not frame.duplicated(["study", "arm", "seed", "recipe_hash"]).any()
    assert runs_frame(runs, "scaling").study.to_list() == ["scaling"]


def test_rows_come_in_the_studys_order_of_arms_then_by_seed(runs: Path) -> None:
    write_study(runs, seeds=2, stages=("simota", "anchor-free", "baseline"))
    rows = runs_frame(runs)[["arm", "seed"]].to_records(index=False).tolist()
    assert rows == [(arm, seed) for arm in ("baseline", "anchor-free", "simota") for seed in (0, 1)]


def test_records_read_before_give_the_same_table(runs: Path) -> None:
    write_study(runs, seeds=2, stages=("baseline", "simota"))
    records = collect(runs, "roadmap").runs
    pd.testing.assert_frame_equal(runs_frame(records), runs_frame(runs, "roadmap"))
    pd.testing.assert_frame_equal(epochs_frame(records), epochs_frame(runs, "roadmap"))


def test_unfinished_runs_are_rows_only_when_asked_for(runs: Path) -> None:
    write_run(runs, "simota")
    write_run(runs, "baseline", state="failed")
    assert runs_frame(runs).arm.to_list() == ["simota"]
    frame = runs_frame(runs, unfinished=True).set_index("arm")
    assert frame.loc["baseline", ["state", "epoch", "training.epochs"]].to_list() == ["failed", 12, 24]
    assert pd.isna(frame.loc["baseline", "best.AP"])


def test_unfinished_runs_alone_are_a_table_too(runs: Path) -> None:
    write_run(runs, "baseline", state="interrupted")
    assert runs_frame(runs, unfinished=True).state.to_list() == ["interrupted"]
    assert runs_frame(runs).empty


def test_no_runs_are_an_empty_table_with_its_columns(tmp_path: Path) -> None:
    assert runs_frame(tmp_path / "none").columns.to_list() == ["study", "arm", "seed", "run"]
    assert epochs_frame(tmp_path / "none").AP.to_list() == []


def test_a_record_that_cannot_be_read_is_named(runs: Path) -> None:
    write_run(runs, "simota")
    (write_run(runs, "baseline") / "result.json").write_text("{")
    with pytest.warns(UserWarning, match=r"left out baseline-s0-\w+: .*result.json is not valid JSON"):
        assert runs_frame(runs).arm.to_list() == ["simota"]


def test_an_undefined_figure_is_missing_and_the_column_a_number(runs: Path) -> None:
    write_run(runs, "simota")
    column = runs_frame(runs)["best.APl"]
    assert column.dtype == float
    assert column.isna().all()


def test_epochs_hold_every_figure_and_ap_where_it_was_evaluated(runs: Path) -> None:
    write_run(runs, "simota", last=36.0)
    epochs = epochs_frame(runs).set_index("epoch")
    assert epochs.index.to_list() == list(range(1, 25))
    assert epochs.AP.dropna().index.to_list() == [4, 8, 12, 16, 20, 24]
    assert epochs.AP[24] == 36.0
    assert {"loss", "loss_box", "learning_rate", "AP50", "memory_mb"} <= set(epochs.columns)


def test_a_reports_table_and_curves_are_what_the_frames_give(runs: Path) -> None:
    write_study(runs, seeds=3, stages=("baseline", "multi-positives", "simota"))
    (group,) = group_runs("roadmap", collect(runs, "roadmap").runs)
    frame, epochs = runs_frame(runs), epochs_frame(runs)
    by_arm = frame.groupby("arm")
    for row in build_table2(group).rows:
        if row.ap_best is None or row.latency is None:
            continue
        ap = tuple(by_arm["best.AP"].agg(["mean", "std"]).loc[row.arm])
        assert (row.ap_best.mean, row.ap_best.std) == pytest.approx(ap, rel=1e-12)
        assert row.latency.mean == pytest.approx(by_arm["latency.forward_ms.median"].mean()[row.arm])
        curve = epochs[epochs.arm == row.arm].dropna(subset="AP").groupby("epoch").AP.mean()
        drawn = curves(group, "AP")[row.arm or ""]
        assert drawn.epochs.tolist() == curve.index.tolist()
        assert drawn.mean.tolist() == pytest.approx(curve.to_list())


def test_importing_the_package_does_not_import_pandas() -> None:
    code = (
        "import sys, reports, reports.__main__; print({'pandas', 'scipy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_package_offers_the_frames_and_nothing_else() -> None:
    assert reports.__all__ == ["epochs_frame", "runs_frame"]
    with pytest.raises(AttributeError, match="no attribute 'runs'"):
        reports.runs  # noqa: B018
