"""Both engines of the COCO evaluation give the same figures, to the bit, on anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.yolox_core.annotations import annotation, detections, write
from yolox_core.evaluation import coco_engines, coco_ground_truth
from yolox_core.evaluation.coco_engines import native_engine, pycocotools_engine
from yolox_core.evaluation.collect import coco_metrics
from yolox_core.evaluation.detections import Detections, concatenate

#: Few values, so that ties in score and IoU, equal boxes and areas on a range's border are frequent.
SIDES = st.sampled_from([0.0, 8.0, 16.0, 31.0, 32.0, 33.0, 64.0, 96.0, 97.0, 200.0, -4.0])
PLACES = st.sampled_from([-10.0, 0.0, 4.0, 8.0, 20.0, 33.0])
BOXES = st.lists(st.tuples(PLACES, PLACES, SIDES, SIDES).map(list), min_size=1, max_size=6)
SCORES = st.sampled_from([0.0, 0.1, 0.1 + 1e-16, 0.5, 0.5, 0.9, 1.0, float("nan")])
IMAGES, CATEGORIES = (3, 1, 12, 7), (2, 1, 90)


@st.composite
def datasets(draw: st.DrawFn) -> tuple[list[dict[str, Any]], Detections]:
    boxes = draw(BOXES)
    box = st.sampled_from(boxes)
    ids = draw(st.sampled_from([range(1, 99), range(0, 99), [1, 2, 2, 3, 3, *range(4, 99)]]))
    annotations = [
        annotation(
            ids[i], draw(st.sampled_from([*IMAGES, 555])), draw(box), draw(st.sampled_from([*CATEGORIES, 4]))
        )
        | {
            "iscrowd": int(draw(st.integers(0, 5)) == 0),
            "area": draw(st.sampled_from([9.0, 1024.0, 9216.0, 3e4])),
        }
        for i in range(draw(st.integers(0, 14)))
    ]
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from(IMAGES), st.sampled_from([*CATEGORIES, 4]), box, SCORES), max_size=40
        )
    )
    copies = draw(st.sampled_from([1, 1, 1, 13]))  # more than 10 and more than 100 of an image
    return annotations, detections(*(rows * copies))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(datasets(), st.none() | st.lists(st.sampled_from(IMAGES), max_size=5))
def test_both_engines_give_the_same_curves(
    tmp_path: Path, case: tuple[list[dict[str, Any]], Detections], image_ids: list[int] | None
) -> None:
    annotations, found = case
    file = write(tmp_path / "a.json", annotations, IMAGES, CATEGORIES)
    coco_ground_truth._load.cache_clear()  # rewritten faster than the clock ticks
    chosen = np.unique(IMAGES if image_ids is None else image_ids).astype(np.int64)
    ours, reference = native_engine(file, found, chosen), pycocotools_engine(file, found, chosen)
    np.testing.assert_array_equal(ours.precision, reference.precision)
    np.testing.assert_array_equal(ours.recall, reference.recall)
    assert coco_metrics(file, found, image_ids, "native") == coco_metrics(
        file, found, image_ids, "pycocotools"
    )


def realistic(
    rng: np.random.Generator, images: int, categories: int
) -> tuple[list[dict[str, Any]], Detections]:
    """Objects, and detections around them and elsewhere."""
    annotations, parts = [], []
    for image in range(1, images + 1):
        count = rng.poisson(7)
        boxes = np.column_stack([rng.uniform(0, 500, (count, 2)), rng.lognormal(4, 1, (count, 2))])
        labels = rng.integers(1, categories + 1, count)
        annotations += [
            annotation(len(annotations) + i + 1, image, box.tolist(), int(label), int(rng.random() < 0.03))
            for i, (box, label) in enumerate(zip(boxes, labels, strict=True))
        ]
        near = np.repeat(np.arange(count), 8)
        moved = boxes[near] * rng.normal(1, 0.08, (len(near), 4))
        stray = np.column_stack([rng.uniform(0, 500, (30, 2)), rng.lognormal(4, 1, (30, 2))])
        size = len(near) + 30
        parts.append(
            Detections(
                np.full(size, image, np.int64),
                np.concatenate([labels[near], rng.integers(1, categories + 1, 30)]).astype(np.int64),
                np.concatenate([moved, stray]),
                rng.random(size).round(2),
            )
        )
    return annotations, concatenate(parts)


@pytest.mark.parametrize("seed", range(3))
def test_both_engines_on_a_realistic_dataset(tmp_path: Path, seed: int) -> None:
    annotations, found = realistic(np.random.default_rng(seed), images=60, categories=5)
    file = write(tmp_path / "a.json", annotations, tuple(range(1, 61)), tuple(range(1, 6)))
    ours, reference = (coco_metrics(file, found, engine=e) for e in ("native", "pycocotools"))
    assert ours == reference
    assert 1 < ours["AP"] < 99  # type: ignore[operator]


def test_the_order_of_detections_of_different_images_does_not_matter(tmp_path: Path) -> None:
    annotations, found = realistic(np.random.default_rng(5), images=30, categories=3)
    file = write(tmp_path / "a.json", annotations, tuple(range(1, 31)), (1, 2, 3))
    by_image = np.argsort(-found.image_ids, kind="stable")
    assert coco_metrics(file, found.select(by_image)) == coco_metrics(file, found)


def test_threads_do_not_change_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations, found = realistic(np.random.default_rng(6), images=30, categories=9)
    file = write(tmp_path / "a.json", annotations, tuple(range(1, 31)), tuple(range(1, 10)))
    results = []
    for threads in (1, 2, 7):
        monkeypatch.setattr(coco_engines, "_threads", lambda count=threads: count)
        results.append(coco_metrics(file, found, engine="native"))
    assert results[0] == results[1] == results[2]
