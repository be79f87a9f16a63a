"""Which errors a step removed, from detections and annotations on disk to every format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reports.build import build_report
from reports.images.errors import ERRORS, LOCALISATION, MISSED
from reports.judging.statistics import t_interval
from reports.records.collect import collect
from reports.records.groups import group_runs
from reports.tables.errors import (
    GroupErrors,
    categories_grid,
    changes_grid,
    errors_grid,
    errors_of_group,
    sizes_grid,
)
from tests.reports.factory import write_run
from tests.reports.test_images import write_annotations, write_detections

#: IoU 0.25 with BOX.
LOW = [10.0, 34.0, 40.0, 40.0]


def share(found: int) -> float:
    """AP of a run that finds some of the 20 objects and raises no false alarm."""
    return 100 * (1 + found * 5) / 101 if found else 0.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_annotations(tmp_path / "data")
    return tmp_path / "data"


def run(runs: Path, data: Path, stage: str, seed: int, hits: int, badly_placed: int) -> Path:
    """A run that finds some objects, places a box badly at the next ones, and misses the rest."""
    path = write_run(runs, stage, seed, ap=share(hits))
    write_detections(path, data, range(hits))
    rows = json.loads((path / "detections.json").read_text())
    rows += [
        {"image_id": i, "category_id": 1, "bbox": LOW, "score": 0.1} for i in range(hits, hits + badly_placed)
    ]
    (path / "detections.json").write_text(json.dumps(rows))
    return path


def judged(runs: Path) -> GroupErrors:
    (group,) = group_runs("roadmap", collect(runs, "roadmap").runs)
    return errors_of_group(group)


def test_a_step_removed_localisation_errors_and_left_misses(runs: Path, data: Path) -> None:
    """Ten found, five badly placed, five missed; then fifteen found and five missed, with two seeds."""
    for seed in (0, 1):
        run(runs, data, "multi-positives", seed, hits=10 + seed, badly_placed=5 - seed)
        run(runs, data, "simota", seed, hits=15, badly_placed=0)
    found = judged(runs)
    before, after = found.arms
    # Put right, the badly placed boxes find as many objects as SimOTA does.
    assert before.runs[0].split.ap == pytest.approx(share(10))
    assert before.runs[0].split.gained[LOCALISATION] == pytest.approx(share(15) - share(10))
    assert before.runs[0].split.counts[MISSED] == 5
    assert after.changes(LOCALISATION) == pytest.approx({0: share(10) - share(15), 1: share(11) - share(15)})
    assert after.changes(MISSED)[0] == pytest.approx(
        100 - share(15) - (100 * (1 + int(100 * 10 / 15)) / 101 - share(10))
    )
    changes = changes_grid(found)
    assert changes is not None
    (row,) = changes.rows
    interval = t_interval(list(after.changes(LOCALISATION).values()))
    assert interval is not None
    shown = row[4 + list(ERRORS).index(LOCALISATION)].text
    assert shown == "−22.3 (−53.7 … +9.2)"
    assert (interval.low, interval.high) == pytest.approx((-53.7, 9.2), abs=0.05)
    assert [cell.text for cell in row[:3]] == ["+SimOTA", "+multi positives", "2"]


def test_one_seed_has_no_interval_and_a_first_arm_no_change(runs: Path, data: Path) -> None:
    """Without the five misses ten of fifteen objects are found: 67 instead of 51 of 101 recall points."""
    run(runs, data, "multi-positives", 0, 10, 5)
    found = judged(runs)
    assert changes_grid(found) is None
    assert [cell.text for cell in sizes_grid(found).rows[0]][1:] == ["25.2", "55.5", "–"]
    assert [cell.text for cell in errors_grid(found).rows[0]] == [
        "+multi positives", "50.5", "0.0", "24.8", "0.0", "0.0", "0.0", "15.8",
    ]  # fmt: skip
    run(runs, data, "simota", 0, 15, 0)
    changes = changes_grid(judged(runs))
    assert changes is not None
    assert changes.rows[0][5].text == "−24.8"
    assert len(sizes_grid(judged(runs)).columns) == 1 + 2 * 3


def test_runs_of_other_detections_are_named_and_the_rest_is_shown(runs: Path, data: Path) -> None:
    run(runs, data, "multi-positives", 0, 10, 5)
    lost = write_run(runs, "simota")
    found = judged(runs)
    assert [arm.arm for arm in found.arms] == ["multi-positives"]
    assert len(found.problems) == 1
    assert lost.name in found.problems[0]


def test_categories_that_differ_most_come_first(runs: Path, data: Path) -> None:
    path = data / "annotations" / "instances_val2017.json"
    truth = json.loads(path.read_text())
    truth["categories"] = [{"id": 1, "name": "always found"}, {"id": 2, "name": "found later"}]
    for row in truth["annotations"][10:]:
        row["category_id"] = 2
    path.write_text(json.dumps(truth))
    write_detections(write_run(runs, "multi-positives", ap=50.0), data, range(10))
    later = write_run(runs, "simota", ap=100.0)
    write_detections(later, data, range(20))
    rows = json.loads((later / "detections.json").read_text())
    (later / "detections.json").write_text(
        json.dumps([row | {"category_id": 1 + (row["image_id"] >= 10)} for row in rows])
    )
    grid = categories_grid(judged(runs))
    assert [[cell.text for cell in row] for row in grid.rows] == [
        ["found later", "0.0", "100.0"], ["always found", "100.0", "100.0"],
    ]  # fmt: skip


def test_every_format_shows_them_when_asked(runs: Path, data: Path) -> None:
    run(runs, data, "multi-positives", 0, 10, 5)
    run(runs, data, "simota", 0, 15, 0)
    report = build_report(runs, figures=False, images=True)
    for name in ("report.md", "report.html", "report.tex"):
        text = (report.out / name).read_text()
        for expected in ("What is missed", "Which errors a step removed", "24.8", "AP by category"):
            assert expected in text, (name, expected)
    before, after = report.data["groups"][0]["errors"]
    assert before["runs"][0]["counts"][MISSED] == 5
    assert after["against"] == "multi-positives"
    assert after["changes"][LOCALISATION] == pytest.approx([share(10) - share(15)])
    assert build_report(runs, figures=False).data["groups"][0]["errors"] is None
