"""COCO box AP and AR by pycocotools, or by an evaluator in C++ that gives the same figures faster.

Both return the arrays that the twelve figures are means of; :func:`summarise` takes the means.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolox_core.evaluation.coco_ground_truth import GroundTruth, load_ground_truth, read_annotations
from yolox_core.evaluation.detections import Detections
from yolox_core.evaluation.native import NativeUnavailableError, load

log = logging.getLogger(__name__)

#: COCO's evaluation parameters, as pycocotools computes them (to the bit).
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
#: all, small, medium, large: inclusive ranges in square pixels.
AREA_RANGES = np.array([[0, 1e5**2], [0, 32**2], [32**2, 96**2], [96**2, 1e5**2]], np.float64)
MAX_DETECTIONS = np.array([1, 10, 100], np.int64)

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

SOURCE = Path(__file__).with_name("coco_eval.cpp")


@dataclass(frozen=True)
class Curves:
    """What the figures are means of; -1 where a category has no object that counts.

    A area ranges, T IoU thresholds, R recalls, K categories, M limits of detections per image.
    precision: (A, T, R, K), at most 100 detections per image. recall: (A, M, T, K).
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


Engine = Callable[[Path | str, Detections, NDArray[np.int64]], Curves]


def summarise(curves: Curves) -> dict[str, float | None]:
    """COCO's twelve figures in percent; None where no category has an object that counts."""
    precision, recall = curves.precision, curves.recall
    values = (
        precision[0],
        precision[0, 0],
        precision[0, 5],
        *(precision[a] for a in (1, 2, 3)),
        *(recall[0, m] for m in (0, 1, 2)),
        *(recall[a, 2] for a in (1, 2, 3)),
    )
    return {name: _mean_percent(array) for name, array in zip(METRICS, values, strict=True)}


def _mean_percent(array: NDArray[np.float64]) -> float | None:
    defined = array[array > -1]
    return 100 * float(np.mean(defined)) if len(defined) else None


def pycocotools_engine(
    annotation_file: Path | str, detections: Detections, image_ids: NDArray[np.int64]
) -> Curves:
    """The reference. What pycocotools prints is shown only in the error when it fails."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            truth = COCO()
            truth.dataset = read_annotations(annotation_file)
            truth.createIndex()
            evaluation = COCOeval(truth, _results(truth, detections), "bbox")
            evaluation.params.imgIds = image_ids.tolist()
            evaluation.evaluate()
            evaluation.accumulate()
    except Exception as error:
        error.add_note(f"pycocotools had printed: {printed.getvalue()}")
        raise
    # pycocotools: precision (T, R, K, A, M), recall (T, K, A, M)
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    return Curves(precision[..., -1].transpose(3, 0, 1, 2), recall.transpose(2, 3, 0, 1))


def _results(truth: Any, detections: Detections) -> Any:
    if len(detections):
        return truth.loadRes(detections.to_coco_results())
    from pycocotools.coco import COCO

    nothing = COCO()  # loadRes fails on an empty list
    nothing.dataset = {**truth.dataset, "annotations": []}
    nothing.createIndex()
    return nothing


def native_engine(
    annotation_file: Path | str, detections: Detections, image_ids: NDArray[np.int64]
) -> Curves:
    """The evaluator in C++. Raises NativeUnavailableError when it cannot be compiled."""
    library = native_library()
    truth = load_ground_truth(annotation_file)
    thresholds, recalls = len(IOU_THRESHOLDS), len(RECALLS)
    areas, limits, categories = len(AREA_RANGES), len(MAX_DETECTIONS), len(truth.category_ids)
    precision = np.full((areas, thresholds, recalls, categories), -1.0)
    recall = np.full((areas, limits, thresholds, categories), -1.0)
    image, category, kept = _indices(detections.image_ids, detections.category_ids, image_ids, truth)
    gt_image, gt_category, gt_kept = _indices(truth.images, truth.categories, image_ids, truth)
    error = library.coco_evaluate(
        len(image),
        image,
        category,
        _doubles(detections.boxes_xywh[kept]),
        _doubles(detections.scores[kept]),
        len(gt_image),
        gt_image,
        gt_category,
        _doubles(truth.boxes_xywh[gt_kept]),
        _doubles(truth.areas[gt_kept]),
        truth.crowd[gt_kept].astype(np.uint8),
        categories,
        thresholds,
        IOU_THRESHOLDS,
        recalls,
        RECALLS,
        areas,
        AREA_RANGES,
        limits,
        MAX_DETECTIONS,
        _threads(),
        precision,
        recall,
    )
    if error:
        raise MemoryError(f"COCO evaluation of {len(detections)} detections ran out of memory")
    return Curves(precision, recall)


@cache
def native_library() -> ctypes.CDLL:
    """The compiled evaluator, once per process."""
    library = load(SOURCE)
    doubles: Any = np.ctypeslib.ndpointer(np.float64, flags="C_CONTIGUOUS")
    integers: Any = np.ctypeslib.ndpointer(np.int64, flags="C_CONTIGUOUS")
    flags: Any = np.ctypeslib.ndpointer(np.uint8, flags="C_CONTIGUOUS")
    count: Any = ctypes.c_int64
    number: Any = ctypes.c_int
    detections = [count, integers, integers, doubles, doubles]
    objects = [count, integers, integers, doubles, doubles, flags]
    settings = [count, number, doubles, number, doubles, number, doubles, number, integers, number]
    library.coco_evaluate.argtypes = [*detections, *objects, *settings, doubles, doubles]
    library.coco_evaluate.restype = number
    return library


def choose_engine(name: str) -> Engine:
    """Engine by name; ``auto`` is the native one where it can be had. Raises ValueError with the names."""
    if name == "auto":
        return native_engine if _native_works() else pycocotools_engine
    engines: dict[str, Engine] = {"native": native_engine, "pycocotools": pycocotools_engine}
    if name not in engines:
        raise ValueError(f"unknown engine {name!r}; choose one of: auto, {', '.join(engines)}")
    return engines[name]


@cache
def _native_works() -> bool:
    """Whether the native engine can be had; cached, so the reason is logged once per process."""
    try:
        native_library()
    except NativeUnavailableError as error:
        log.warning("COCO evaluation by pycocotools, the slower way: %s", error)
        return False
    return True


def _indices(
    images: NDArray[np.int64], categories: NDArray[np.int64], image_ids: NDArray[np.int64], truth: GroundTruth
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Positions of ids in the sorted lists, of the rows where both are known; and which rows those are."""
    image, known_image = _positions(images, image_ids)
    category, known_category = _positions(categories, truth.category_ids)
    kept = known_image & known_category
    return image[kept], category[kept], kept


def _positions(
    values: NDArray[np.int64], sorted_ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    if not len(sorted_ids):
        return np.zeros(len(values), np.int64), np.zeros(len(values), np.bool_)
    position = np.minimum(np.searchsorted(sorted_ids, values), len(sorted_ids) - 1).astype(np.int64)
    return position, sorted_ids[position] == values


def _doubles(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.ascontiguousarray(values, np.float64)


def _threads() -> int:
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
