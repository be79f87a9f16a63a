"""Time of the paired image bootstrap: 1,000 resamples of 5,000 images with 100 detections each.

    python -m benchmarks.bootstrap [--images 5000] [--resamples 1000] [--seed 0]

Two made-up runs of COCO val2017's size (80 categories, 7 objects and 100 detections per image, category
frequencies falling as 1/rank). One core: nothing here starts threads. Matching, done once per run, is timed
apart. At the end the unresampled figures are checked against pycocotools on the same detections.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import resource
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from reports.images.bootstrap import ap_difference
from reports.images.matches import ImageMatches, match_images

CATEGORIES = 80
OBJECTS = 7
DETECTIONS = 100
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    truth = make_ground_truth(arguments.images, rng)
    detections = [make_detections(truth, spread, rng) for spread in (0.11, 0.10)]
    runs: list[ImageMatches] = []
    for rows in detections:
        seconds, matches = timed(match_images, truth, rows)
        print(f"{len(rows)} detections matched in {seconds:.1f} s")
        runs.append(matches)
    resident = peak_mb()
    seconds, result = timed(ap_difference, runs[:1], runs[1:], rng, "AP", arguments.resamples)
    interval = result.interval
    print(f"{arguments.resamples} resamples of {arguments.images} images, two runs, paired: {seconds:.1f} s")
    print(f"  difference {result.difference:+.3f} AP, 95 % {interval.low:+.3f} to {interval.high:+.3f}")
    print(f"  peak memory {peak_mb():.0f} MB, {resident:.0f} MB of it before the bootstrap (data, matching)")
    for rows, ours in zip(detections, (result.before, result.after), strict=True):
        seconds, reference = timed(pycocotools_ap, truth, rows)
        print(f"AP {ours:.10f}; pycocotools {reference:.10f} (area all only, {seconds:.1f} s per evaluation)")
        assert abs(ours - reference) < 1e-9, "the figures differ"


def timed(call: Callable[..., T], *arguments: Any) -> tuple[float, T]:
    start = time.perf_counter()
    result = call(*arguments)
    return time.perf_counter() - start, result


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_ground_truth(images: int, rng: np.random.Generator) -> dict[str, Any]:
    """COCO annotations: random boxes, three categories or fewer in an image, 1 % crowds."""
    share = 1 / np.arange(1, CATEGORIES + 1)
    annotations: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        kinds = rng.choice(CATEGORIES, 3, p=share / share.sum()) + 1
        for box in _boxes(rng.poisson(OBJECTS), rng):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(rng.choice(kinds)),
                    "bbox": box.tolist(),
                    "area": float(box[2] * box[3]),
                    "iscrowd": int(rng.random() < 0.01),
                }
            )
    return {
        "images": [{"id": i} for i in range(1, images + 1)],
        "categories": [{"id": i} for i in range(1, CATEGORIES + 1)],
        "annotations": annotations,
    }


def make_detections(truth: dict[str, Any], spread: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    """100 detections per image: every object, its box off by ``spread`` of its size, then clutter."""
    found: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"]}
    for annotation in truth["annotations"]:
        box = np.array(annotation["bbox"])
        noise = rng.normal(0, spread, 4) * np.tile(box[2:], 2)
        found[annotation["image_id"]].append(
            {
                "image_id": annotation["image_id"],
                "category_id": annotation["category_id"],
                "bbox": (box + noise).clip(0).round(2).tolist(),
                "score": float(rng.beta(3, 2)),
            }
        )
    for image, rows in found.items():
        kinds = [row["category_id"] for row in rows] or [1]
        missing = max(0, DETECTIONS - len(rows))
        own, other = rng.choice(kinds, missing), rng.integers(1, CATEGORIES + 1, missing)
        categories = np.where(rng.random(missing) < 0.6, own, other)
        boxes, scores = _boxes(missing, rng), rng.beta(1, 8, missing)
        rows += [
            {"image_id": image, "category_id": int(c), "bbox": b.tolist(), "score": float(s)}
            for c, b, s in zip(categories, boxes, scores, strict=True)
        ]
    return [row for rows in found.values() for row in rows]


def _boxes(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 4) x, y, width, height in pixels."""
    return np.concatenate([rng.uniform(0, 400, (count, 2)), rng.uniform(8, 220, (count, 2))], axis=1).round(2)


def pycocotools_ap(truth: dict[str, Any], detections: list[dict[str, Any]]) -> float:
    """AP in percent by pycocotools, restricted to what the bootstrap needs (area all, 100 detections)."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = truth
        ground_truth.createIndex()
        evaluation = COCOeval(ground_truth, ground_truth.loadRes([dict(row) for row in detections]), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]
    return 100 * float(precision[precision > -1].mean())


if __name__ == "__main__":
    main()
