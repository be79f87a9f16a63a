"""Annotation files and detections made up for the tests of the evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from yolox_core.evaluation.detections import Detections


def annotation(
    number: int, image: int, box: list[float], category: int = 1, crowd: int = 0, **more: Any
) -> dict[str, Any]:
    area = box[2] * box[3]
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": area,
        "iscrowd": crowd,
        **more,
    }


def write(
    path: Path,
    annotations: list[dict[str, Any]],
    images: tuple[int, ...] = (1,),
    categories: tuple[int, ...] = (1,),
) -> Path:
    data = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in images],
        "categories": [{"id": c, "name": str(c)} for c in categories],
        "annotations": annotations,
    }
    path.write_text(json.dumps(data))
    return path


def detections(*rows: tuple[int, int, list[float], float]) -> Detections:
    return Detections.from_coco_results(
        [{"image_id": i, "category_id": c, "bbox": b, "score": s} for i, c, b, s in rows]
    )
