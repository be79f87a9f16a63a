"""Matching and accumulation against hand-worked cases and pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from reports.images.bootstrap import average_precision, draw_images
from reports.images.matches import match_images

COCO_MINI = Path(__file__).parents[3] / "shared" / "coco-mini"


def truth(
    *annotations: tuple[int, int, list[float], int], images: int = 2, categories: int = 2
) -> dict[str, Any]:
    """Ground truth from (image, category, box, crowd)."""
    return {
        "images": [{"id": i + 1} for i in range(images)],
        "categories": [{"id": 10 * (c + 1)} for c in range(categories)],
        "annotations": [
            {"id": n + 1, "image_id": i, "category_id": c, "bbox": b, "area": b[2] * b[3], "iscrowd": crowd}
            for n, (i, c, b, crowd) in enumerate(annotations)
        ],
    }


def found(*rows: tuple[int, int, list[float], float]) -> list[dict[str, Any]]:
    """Detections from (image, category, box, score)."""
    return [{"image_id": i, "category_id": c, "bbox": b, "score": s} for i, c, b, s in rows]


def pycocotools_ap(ground_truth: dict[str, Any], detections: list[dict[str, Any]]) -> np.ndarray:
    """(T,) AP in percent by pycocotools, area all, 100 detections."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(ground_truth))
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(json.loads(json.dumps(detections))), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, 0]
    return 100 * np.array([p[p > -1].mean() for p in precision])


def random_case(
    rng: np.random.Generator, images: int = 12, categories: int = 3, levels: int = 0, first_id: int = 1
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects (some crowds), near misses and clutter; ``levels`` > 0 rounds scores so that they tie."""
    ids = (rng.permutation(3 * images)[:images] + 1).tolist()
    kinds = (rng.permutation(2 * categories)[:categories] + 1).tolist()
    annotations, rows = [], []

    def score(a: float, b: float) -> float:
        value = float(rng.beta(a, b))
        return round(value * levels) / levels if levels else value

    for image in ids:
        for _ in range(rng.poisson(4)):
            kind = int(rng.choice(kinds))
            box = np.concatenate([rng.uniform(0, 100, 2), rng.uniform(5, 60, 2)]).round(1)
            annotations.append(
                {"id": len(annotations) + first_id, "image_id": image, "category_id": kind,
                 "bbox": box.tolist(), "area": float(box[2] * box[3]), "iscrowd": int(rng.random() < 0.15)}
            )  # fmt: skip
            for _ in range(rng.integers(0, 3)):
                near = (box + rng.normal(0, 0.1, 4) * np.tile(box[2:], 2)).round(1)
                rows.append(
                    {"image_id": image, "category_id": kind, "bbox": near.tolist(), "score": score(3, 2)}
                )  # fmt: skip
        for _ in range(rng.poisson(6)):
            box = np.concatenate([rng.uniform(0, 100, 2), rng.uniform(0, 60, 2)]).round(0)
            rows.append(
                {
                    "image_id": image,
                    "category_id": int(rng.choice(kinds)),
                    "bbox": box.tolist(),
                    "score": score(1, 4),
                }
            )
    truth = {
        "images": [{"id": i} for i in ids],
        "categories": [{"id": k} for k in kinds],
        "annotations": annotations,
    }
    return truth, rows


# --- by hand -------------------------------------------------------------------------------------------


def test_one_of_two_objects_found_after_a_false_alarm() -> None:
    """Precision 1/2 at recall 1/2: 51 of the 101 recall points have 0.5, the others 0."""
    ground_truth = truth((1, 10, [0, 0, 10, 10], 0), (2, 10, [0, 0, 10, 10], 0), categories=1)
    detections = found((1, 10, [50, 50, 10, 10], 0.9), (2, 10, [0, 0, 10, 10], 0.8))
    ap = average_precision(match_images(ground_truth, detections))
    np.testing.assert_allclose(ap, np.full((1, 10), 100 * 0.5 * 51 / 101), rtol=1e-12)


def test_thresholds_are_apart() -> None:
    """IoU 8/12: a hit up to 0.65, a false alarm from 0.7 on."""
    ground_truth = truth((1, 10, [0, 0, 10, 10], 0), images=1, categories=1)
    matches = match_images(ground_truth, found((1, 10, [0, 2, 10, 10], 0.5)))
    assert matches.categories[0].hit[:, 0].tolist() == [True] * 4 + [False] * 6
    np.testing.assert_allclose(average_precision(matches)[0], [100] * 4 + [0] * 6)


def test_an_object_is_found_once() -> None:
    ground_truth = truth((1, 10, [0, 0, 10, 10], 0), images=1, categories=1)
    detections = found((1, 10, [0, 0, 10, 10], 0.5), (1, 10, [0, 0, 10, 9], 0.9))
    hit = match_images(ground_truth, detections).categories[0].hit
    # By falling score: the worse box comes first and takes the object where its IoU of 0.9 suffices.
    assert hit[0].tolist() == [True, False]
    assert hit[9].tolist() == [False, True]


def test_a_crowd_takes_any_number_and_counts_for_nothing() -> None:
    ground_truth = truth((1, 10, [0, 0, 100, 100], 1), (1, 10, [0, 0, 10, 10], 0), images=1, categories=1)
    detections = found(*[(1, 10, [0.0, 0.0, 10.0, 10.0], 0.9 - 0.1 * n) for n in range(4)])
    category = match_images(ground_truth, detections).categories[0]
    assert category.objects.tolist() == [1]
    assert category.hit[0].tolist() == [True, False, False, False]
    assert category.ignored[0].tolist() == [False, True, True, True]


def test_categories_without_objects_are_left_out() -> None:
    ground_truth = truth((1, 10, [0, 0, 10, 10], 0), images=1, categories=2)
    detections = found((1, 10, [0, 0, 10, 10], 0.9), (1, 20, [0, 0, 10, 10], 0.95))
    np.testing.assert_allclose(average_precision(match_images(ground_truth, detections)), 100)


def test_nothing_detected_is_zero_and_nothing_to_detect_undefined() -> None:
    ground_truth = truth((1, 10, [0, 0, 10, 10], 0))
    assert average_precision(match_images(ground_truth, [])).tolist() == [[0.0] * 10]
    assert np.isnan(average_precision(match_images(truth(), []))).all()


@pytest.mark.parametrize(("image", "category"), [(99, 10), (1, 99)])
def test_detections_of_another_dataset_are_refused(image: int, category: int) -> None:
    with pytest.raises(ValueError, match="another split or dataset"):
        match_images(truth((1, 10, [0, 0, 10, 10], 0)), found((image, category, [0, 0, 1, 1], 0.5)))


# --- equal to pycocotools ------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 3, 10]), st.sampled_from([0, 1]))
def test_every_figure_equals_pycocotools(seed: int, levels: int, first_id: int) -> None:
    ground_truth, detections = random_case(np.random.default_rng(seed), levels=levels, first_id=first_id)
    ours = average_precision(match_images(ground_truth, detections))
    # pycocotools takes id 0 for "no match": the truth is the same file counted from 1.
    numbered = [a | {"id": n} for n, a in enumerate(ground_truth["annotations"], start=1)]
    reference = pycocotools_ap(ground_truth | {"annotations": numbered}, detections)
    np.testing.assert_allclose(ours[0], reference, atol=1e-9)


def test_more_detections_than_count() -> None:
    """Only the best 100 of an image and category count."""
    rng = np.random.default_rng(5)
    ground_truth = truth(*[(1, 10, [20.0 * n, 0.0, 10.0, 10.0], 0) for n in range(5)], images=1, categories=1)
    boxes = [[20.0 * int(rng.integers(0, 12)), 0.0, 10.0, float(rng.integers(6, 13))] for _ in range(300)]
    detections = found(*[(1, 10, box, float(rng.random())) for box in boxes])
    matches = match_images(ground_truth, detections)
    assert matches.categories[0].hit.shape == (10, 100)
    np.testing.assert_allclose(
        average_precision(matches)[0], pycocotools_ap(ground_truth, detections), atol=1e-9
    )


@pytest.mark.parametrize("seed", range(5))
def test_weights_equal_a_dataset_with_copied_images(seed: int) -> None:
    """Drawing an image twice is evaluating a dataset that holds it twice; never, one without it."""
    rng = np.random.default_rng(seed)
    ground_truth, detections = random_case(rng, images=10)
    weights = draw_images(10, 3, rng)
    ours = average_precision(match_images(ground_truth, detections), weights)
    for row, expected in zip(weights, ours, strict=True):
        np.testing.assert_allclose(
            expected, pycocotools_ap(*_copied(ground_truth, detections, row)), atol=1e-9
        )


def test_crowded_photographs_equal_pycocotools() -> None:
    annotations = COCO_MINI / "annotations" / "instances_val2017.json"
    if not annotations.exists():
        pytest.skip("no coco-mini beside the repository")
    rng = np.random.default_rng(0)
    ground_truth = json.loads(annotations.read_text())
    rows = []
    for annotation in ground_truth["annotations"]:
        box = np.array(annotation["bbox"])
        for _ in range(rng.integers(0, 4)):
            near = box + rng.normal(0, 0.1, 4) * np.tile(box[2:], 2)
            rows.append(
                (annotation["image_id"], annotation["category_id"], near.tolist(), float(rng.random()))
            )
    ours = average_precision(match_images(ground_truth, found(*rows)))
    np.testing.assert_allclose(ours[0], pycocotools_ap(ground_truth, found(*rows)), atol=1e-9)


def _copied(
    ground_truth: dict[str, Any], detections: list[dict[str, Any]], weights: np.ndarray
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Every image as often as its weight (by ascending id) says, copies with ids of their own."""
    copies = {
        image: [1000 * image + n for n in range(weight)]
        for image, weight in zip(
            sorted(i["id"] for i in ground_truth["images"]), weights.tolist(), strict=True
        )
    }
    annotations = [a | {"image_id": c} for a in ground_truth["annotations"] for c in copies[a["image_id"]]]
    return (
        ground_truth
        | {
            "images": [{"id": c} for group in copies.values() for c in group],
            "annotations": [a | {"id": n + 1} for n, a in enumerate(annotations)],
        },
        [d | {"image_id": c} for d in detections for c in copies[d["image_id"]]],
    )
