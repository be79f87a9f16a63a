"""The split of errors against the authors' package where it is installed, else against what it once said.

It is no dependency of the project: ``pip install --no-deps --target DIR tidecv seaborn appdirs`` and DIR in
PYTHONPATH.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports.images.errors import ERRORS, ErrorSplit, error_split, judge_detections
from tests.reports.test_image_bootstrap_matching import COCO_MINI, random_case

#: The package's names, in the order of ours.
NAMES = dict(zip(ERRORS, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), strict=True))

pytestmark = pytest.mark.filterwarnings("ignore")


def theirs(ground_truth: dict[str, Any], detections: list[dict[str, Any]]) -> ErrorSplit:
    """What the package says, with its defaults."""
    tidecv = pytest.importorskip("tidecv")
    truth, found = tidecv.Data("truth"), tidecv.Data("found")
    for image in ground_truth["images"]:
        truth.add_image(image["id"], "")
    for category in ground_truth["categories"]:
        truth.add_class(category["id"], "")
    for row in ground_truth["annotations"]:
        add = truth.add_ignore_region if row["iscrowd"] else truth.add_ground_truth
        add(row["image_id"], row["category_id"], row["bbox"])
    for row in detections:
        found.add_detection(row["image_id"], row["category_id"], row["score"], row["bbox"])
    run = tidecv.TIDE().evaluate(truth, found, mode=tidecv.TIDE.BOX)
    gained = {error.short_name: value for error, value in run.fix_main_errors().items()}
    counts = {error.short_name: value for error, value in run.count_errors().items()}
    return ErrorSplit(
        run.ap, {ours: gained[name] for ours, name in NAMES.items()}, {k: counts[v] for k, v in NAMES.items()}
    )


def assert_same(ours: ErrorSplit, other: ErrorSplit, within: float) -> None:
    assert ours.counts == other.counts
    assert ours.ap == pytest.approx(other.ap, abs=within)
    assert ours.gained == pytest.approx(other.gained, abs=within)


#: What tidecv 1.0.1 said of the first random case.
RECORDED = ErrorSplit(
    45.6977,
    dict(zip(ERRORS, (0.0194, 6.4246, 0.6860, 3.6056, 3.1570, 21.2656), strict=True)),
    dict(zip(ERRORS, (1, 24, 43, 27, 154, 30), strict=True)),
)


def test_what_the_package_once_said() -> None:
    ground_truth, detections = random_case(np.random.default_rng(0), images=30)
    assert_same(error_split(judge_detections(ground_truth, detections)), RECORDED, 0.1)


@pytest.mark.parametrize("seed", range(8))
def test_random_cases_with_crowds_agree(seed: int) -> None:
    ground_truth, detections = random_case(np.random.default_rng(seed), images=30)
    ours = error_split(judge_detections(ground_truth, detections), every_category=True)
    assert_same(ours, theirs(ground_truth, detections), 0.1)


def test_detections_on_photographs_agree() -> None:
    """Boxes of coco-mini moved, renamed and doubled; categories without an object are among them."""
    annotations = COCO_MINI / "annotations" / "instances_val2017.json"
    if not annotations.exists():
        pytest.skip("no coco-mini beside the repository")
    ground_truth, detections = wrong_in_many_ways(annotations)
    ours = error_split(judge_detections(ground_truth, detections), every_category=True)
    assert min(ours.counts.values()) > 0
    assert_same(ours, theirs(ground_truth, detections), 0.1)


def wrong_in_many_ways(annotations: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    rng = np.random.default_rng(0)
    ground_truth = json.loads(annotations.read_text())
    kinds = [category["id"] for category in ground_truth["categories"]]
    rows = []
    for row in ground_truth["annotations"]:
        box = np.array(row["bbox"])
        for _ in range(rng.integers(0, 5)):
            near = box + rng.normal(0, rng.choice([0.02, 0.3]), 4) * np.tile(box[2:], 2)
            near[2:] = np.maximum(near[2:], 1)
            kind = row["category_id"] if rng.random() < 0.7 else int(rng.choice(kinds))
            rows.append({"image_id": row["image_id"], "category_id": kind, "bbox": near.tolist(),
                         "score": float(rng.random())})  # fmt: skip
    return ground_truth, rows
