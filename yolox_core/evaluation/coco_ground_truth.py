"""Ground truth of a COCO annotation file, packed in arrays for evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class GroundTruth:
    """Objects of an annotation file that lie on its images and in its categories.

    image_ids, category_ids: sorted ids of the file. The other arrays have one row per object, in file
    order: images, categories: (G,) ids. boxes_xywh: (G, 4) and areas: (G,) in pixels. crowd: (G,) whether
    the box surrounds a crowd.
    """

    image_ids: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    images: NDArray[np.int64]
    categories: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]


def load_ground_truth(annotation_file: Path | str) -> GroundTruth:
    """Read an annotation file; a file that has not changed since the last reading is not read again.

    Raises FileNotFoundError, or ValueError when the file is not a COCO annotation file.
    """
    path = Path(annotation_file).resolve()
    status = path.stat()
    return _load(path, status.st_mtime_ns, status.st_size)


def read_annotations(annotation_file: Path | str) -> dict[str, Any]:
    """The JSON of an annotation file with ``iscrowd`` (0), ``area`` (width × height) and ``info`` filled in.

    Annotations are numbered from 1 where one has no ``id``, or 0, as exports that count from 0 have it:
    pycocotools takes 0 for "no match", and the object would count as never found.

    Raises ValueError naming what is missing.
    """
    with Path(annotation_file).open(encoding="utf-8") as file:
        try:
            data = json.load(file)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{annotation_file} is not valid JSON ({error})") from error
    missing = {"images", "annotations", "categories"} - set(data if isinstance(data, dict) else ())
    if missing:
        raise ValueError(f"{annotation_file} is not a COCO annotation file: no {', '.join(sorted(missing))}")
    data.setdefault("info", {})
    if not all(annotation.get("id") for annotation in data["annotations"]):
        for number, annotation in enumerate(data["annotations"], start=1):
            annotation["id"] = number
    for annotation in data["annotations"]:
        if len(annotation.get("bbox", ())) != 4:
            raise ValueError(f"{annotation_file}: annotation {annotation.get('id')} has no bbox of 4 numbers")
        annotation.setdefault("iscrowd", 0)
        annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])
    return data


@lru_cache(maxsize=4)
def _load(path: Path, modified_ns: int, size: int) -> GroundTruth:
    data = read_annotations(path)
    image_ids = np.unique(np.array([i["id"] for i in data["images"]], np.int64))
    category_ids = np.unique(np.array([c["id"] for c in data["categories"]], np.int64))
    annotations = _as_pycocotools_sees(
        data["annotations"], set(image_ids.tolist()), set(category_ids.tolist())
    )
    return GroundTruth(
        image_ids,
        category_ids,
        _column(annotations, "image_id", np.int64),
        _column(annotations, "category_id", np.int64),
        _column(annotations, "bbox", np.float64).reshape(-1, 4),
        _column(annotations, "area", np.float64),
        _column(annotations, "iscrowd", np.int64) != 0,
    )


def _as_pycocotools_sees(
    annotations: list[dict[str, Any]], images: set[int], categories: set[int]
) -> list[dict[str, Any]]:
    """Objects on known images and categories; of several with the same id, the last stands for each."""
    last = {a["id"]: a for a in annotations}
    known = (a for a in annotations if a["image_id"] in images and a["category_id"] in categories)
    return [last[a["id"]] for a in known]


def _column(annotations: Iterable[dict[str, Any]], key: str, dtype: type) -> NDArray[Any]:
    return np.array([a[key] for a in annotations], dtype)
