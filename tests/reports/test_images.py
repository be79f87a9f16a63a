"""Gains over validation images, from detections and annotations on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.build import build_report
from reports.images.bootstrap import ap_difference
from reports.images.matches import ImageMatches, match_images
from reports.judging.attribution import attribute
from reports.records.collect import collect
from reports.records.groups import group_runs
from reports.tables.images import OverImages, effects_over_images, image_grid, steps_over_images
from roadmap.study import Setting
from roadmap.study import write_study as write_study_data
from tests.reports.combinations import STUDY
from tests.reports.factory import SHAPES, protocol_of, write_run

BOX = [10.0, 10.0, 40.0, 40.0]
#: AP of a run that finds 10 and 15 of 20 objects exactly: the share of the 101 recall points reached.
TEN, FIFTEEN = 100 * 51 / 101, 100 * 76 / 101


def write_annotations(data: Path, images: int = 20) -> None:
    path = data / "annotations" / "instances_val2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [{"id": i, "width": 100, "height": 100, "file_name": f"{i}.jpg"} for i in range(images)],
        "categories": [{"id": 1, "name": "shape"}],
        "annotations": [
            {"id": i + 1, "image_id": i, "category_id": 1, "bbox": BOX, "area": 1600.0, "iscrowd": 0}
            for i in range(images)
        ],
    }
    path.write_text(json.dumps(content))


def write_detections(run: Path, data: Path, found: range, images: int = 20) -> None:
    """A run that finds the object of some images exactly, and nothing in the others."""
    rows: list[dict[str, Any]] = [
        {"image_id": i, "category_id": 1, "bbox": BOX, "score": 0.9} for i in found if i < images
    ]
    (run / "detections.json").write_text(json.dumps(rows))
    environment = json.loads((run / "environment.json").read_text())
    environment["dataset"]["path"] = str(data)
    (run / "environment.json").write_text(json.dumps(environment))


def steps(runs: Path) -> OverImages:
    (group,) = group_runs("roadmap", collect(runs, "roadmap").runs)
    return steps_over_images(group, resamples=200)


def matches(annotations: Path, run: Path) -> ImageMatches:
    return match_images(
        json.loads(annotations.read_bytes()), json.loads((run / "detections.json").read_bytes())
    )


def test_a_step_is_the_difference_of_two_runs_on_the_same_images(runs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_annotations(data)
    before, after = write_run(runs, "multi-positives", ap=TEN), write_run(runs, "simota", ap=FIFTEEN)
    write_detections(before, data, range(10))
    write_detections(after, data, range(15))
    (step,) = steps(runs).steps
    annotations = data / "annotations" / "instances_val2017.json"
    expected = ap_difference(
        [matches(annotations, before)],
        [matches(annotations, after)],
        np.random.default_rng(0), resamples=200,
    )  # fmt: skip
    assert step.difference == expected
    assert step.difference.before == pytest.approx(TEN)
    assert step.difference.after == pytest.approx(FIFTEEN)
    assert step.seeds == (0,)
    low, high = step.difference.interval.low, step.difference.interval.high
    assert low < step.difference.difference < high
    shown = image_grid(steps(runs)).rows[0]
    assert [c.text for c in shown[:4]] == ["+SimOTA", "50.5", "75.2", "+24.8"]
    assert shown[-2].text == "1 (seed 0)"  # "0" alone would read as none
    assert shown[-1].text == "holds for other images"
    write_detections(after, data, range(5, 20))  # five lost, ten found
    (step,) = steps(runs).steps
    assert step.difference.difference > 0
    assert step.word == "may be these images"


def test_effects_of_ingredients_draw_the_same_images_for_all_arms(runs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_annotations(data)
    setting = Setting(protocol_of("demo"), SHAPES)
    write_study_data(runs / STUDY.name, STUDY)
    for arm, ap, found in (("plain", TEN, 10), ("simota", TEN, 10), ("decoupled-head", FIFTEEN, 15),
                           ("decoupled-head-simota", FIFTEEN, 15)):  # fmt: skip
        recipe = STUDY.find(arm).resolve(setting)
        run = write_run(runs, arm, study=STUDY.name, ap=ap, recipe=recipe)
        write_detections(run, data, range(found))
    (group,) = group_runs(STUDY.name, collect(runs, STUDY.name).runs)
    effects = attribute(group)
    assert effects is not None
    head, simota = (item.mean for item in effects_over_images(group, effects, resamples=200).ingredients)
    assert head is not None
    assert head.images is not None
    assert simota is not None
    assert head.value == pytest.approx(FIFTEEN - TEN)
    assert head.images.low < head.value < head.images.high
    assert simota.images is not None
    assert (simota.images.low, simota.images.high) == pytest.approx((0, 0), abs=1e-9)
    run = next((runs / STUDY.name).glob("simota-s0-*"))
    more = tmp_path / "more"
    write_annotations(more)
    file = more / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["images"].append({"id": 20, "width": 100, "height": 100, "file_name": "empty.jpg"})
    file.write_text(json.dumps(content))
    write_detections(run, more, range(10))
    (other,) = group_runs(STUDY.name, collect(runs, STUDY.name).runs)
    assert "evaluated on other images than plain" in effects_over_images(other, effects, 10).notes[-1]
    (run / "detections.json").unlink()
    without = effects_over_images(group, effects)
    assert without.ingredients == effects.ingredients
    assert "no effects over images: simota-s0" in without.notes[-1]


def test_only_common_seeds_are_compared(runs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_annotations(data)
    for seed in (0, 1):
        write_detections(write_run(runs, "multi-positives", seed, ap=TEN), data, range(10))
    for seed in (1, 2):
        write_detections(write_run(runs, "simota", seed, ap=FIFTEEN), data, range(15))
    (step,) = steps(runs).steps
    assert step.seeds == (1,)


def test_what_cannot_be_computed_is_named(runs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_annotations(data)
    write_detections(write_run(runs, "multi-positives", ap=TEN), data, range(10))
    lost = write_run(runs, "simota")  # no detections
    found = steps(runs)
    assert found.steps == ()
    assert any(lost.name in problem for problem in found.problems)


def test_detections_of_other_images_are_named(runs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_annotations(data)
    write_detections(write_run(runs, "multi-positives", ap=TEN), data, range(10))
    write_detections(write_run(runs, "simota", ap=FIFTEEN), data, range(30), images=30)
    (problem,) = steps(runs).problems
    assert "another split or dataset" in problem


def test_detections_that_do_not_give_the_recorded_ap_are_not_used(runs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_annotations(data)
    write_detections(write_run(runs, "multi-positives", ap=TEN), data, range(10))
    write_detections(write_run(runs, "simota", ap=60.0), data, range(15))
    found = steps(runs)
    assert found.steps == ()
    assert "its detections give 75.25 AP on these annotations, its record says 60.0" in found.problems[0]


def test_a_lone_stages_detections_are_not_read(runs: Path) -> None:
    write_run(runs, "simota")
    assert steps(runs) == OverImages((), (), "stage")


def test_the_report_shows_them_when_asked(runs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_annotations(data)
    write_detections(write_run(runs, "multi-positives", ap=TEN), data, range(10))
    write_detections(write_run(runs, "simota", ap=FIFTEEN), data, range(15))
    report = build_report(runs, figures=False, images=True)
    (step,) = report.data["groups"][0]["over_images"]
    assert step["gain"] == pytest.approx(FIFTEEN - TEN)
    for name in ("report.md", "report.html"):
        text = (report.out / name).read_text()
        assert "Gains over validation images" in text
        assert "+24.8" in text
    assert build_report(runs, figures=False).data["groups"][0]["over_images"] is None
