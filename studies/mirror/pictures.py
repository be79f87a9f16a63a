"""A picture of validation images with true and predicted boxes, from a run's record.

Which images are shown depends on the dataset alone, so that the pictures of two runs can be laid side by
side.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from roadmap.record import PICTURE, Result, RunFolder, read_json, write_atomic
from yolox_core.data.coco import CocoDataset, ImageError

log = logging.getLogger(__name__)

Image = NDArray[np.uint8]
Box = tuple[float, float, float, float]

#: Images shown, and how they are laid out; a tile is a square of this many pixels.
COUNT, COLUMNS, TILE = 12, 4, 320
#: Predictions below this score are not drawn.
CONFIDENCE = 0.3

_MARGIN, _HEADER = 6, 34
_PAPER, _INK = (255, 255, 255), (40, 40, 40)
#: BGR. Blue and vermilion of the Okabe-Ito palette, told apart by the colour-blind too.
_TRUE, _PREDICTED = (178, 114, 0), (0, 94, 213)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def write_validation_picture(folder: RunFolder) -> Path | None:
    """Draw ``validation.jpg`` into a finished run's folder, unless it is there and newer than the detections.

    Returns None, and logs why, when the record has no detections or the dataset can't be opened: a picture
    is never worth a failure.
    """
    path, detections = folder.path / PICTURE, folder.path / "detections.json"
    result, environment = folder.result(), folder.environment()
    if result is None or environment is None or not detections.exists():
        log.info("no picture of %s: it has no result or no detections", folder.name)
        return None
    if path.exists() and path.stat().st_mtime >= detections.stat().st_mtime:
        return path
    try:
        data = environment["dataset"]
        dataset = CocoDataset(Path(data["path"]), (data.get("val") or {}).get("split", "val2017"))
        picture = draw_validation(dataset, read_json(detections), _title(result))
    except (OSError, ValueError, KeyError, cv2.error) as error:
        log.warning("no picture of %s: %s", folder.name, error)
        return None
    write_atomic(path, cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return path


def draw_validation(dataset: CocoDataset, detections: Sequence[dict[str, Any]], title: str) -> Image:
    """A grid of images of a split, as BGR.

    detections: COCO result format. True boxes are thin, with the class below the box; predictions of at
    least :data:`CONFIDENCE` are thick, with class and score above it.
    """
    chosen = choose_images(dataset)
    names = dict(zip(dataset.category_ids.tolist(), dataset.class_names, strict=True))
    tiles = [_tile(dataset, index, _of_image(detections, int(dataset.ids[index])), names) for index in chosen]
    rows = -(-len(tiles) // COLUMNS)
    step = TILE + _MARGIN
    canvas = np.full((_HEADER + rows * step + _MARGIN, COLUMNS * step + _MARGIN, 3), _PAPER, np.uint8)
    for number, tile in enumerate(tiles):
        top = _HEADER + (number // COLUMNS) * step + _MARGIN
        left = (number % COLUMNS) * step + _MARGIN
        canvas[top : top + TILE, left : left + TILE] = tile
    _header(canvas, title)
    return canvas


def choose_images(dataset: CocoDataset, count: int = COUNT) -> list[int]:
    """Indices of ``count`` images with objects, evenly spread over a split; fewer when it has fewer."""
    indices = dataset.nonempty if len(dataset.nonempty) else np.arange(len(dataset))
    positions = np.linspace(0, len(indices) - 1, min(count, len(indices))).round().astype(int)
    return [int(index) for index in indices[positions]]


def _of_image(detections: Sequence[dict[str, Any]], image_id: int) -> list[dict[str, Any]]:
    own = [d for d in detections if d["image_id"] == image_id and d["score"] >= CONFIDENCE]
    return sorted(own, key=lambda d: d["score"])


def _tile(
    dataset: CocoDataset, index: int, predictions: Sequence[dict[str, Any]], names: dict[int, str]
) -> Image:
    """One image scaled into a tile, with its boxes."""
    tile = np.full((TILE, TILE, 3), 230, np.uint8)
    height, width = dataset.size(index)
    scale = TILE / max(height, width)
    try:
        image = dataset.load_image(index)
    except ImageError as error:
        _text(tile, (8, TILE // 2), error.reason, _INK)
        return tile
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = cv2.resize(image, size, interpolation=method)
    tile[: resized.shape[0], : resized.shape[1]] = resized
    truth = dataset.objects(index)
    for box, label in zip(truth.boxes_xyxy.tolist(), truth.labels.tolist(), strict=True):
        corners = _corners(box, scale)
        cv2.rectangle(tile, *corners, _TRUE, 1)
        _label(tile, corners[0][0], corners[1][1] + 11, dataset.class_names[label], _TRUE)
    for prediction in predictions:
        x, y, w, h = prediction["bbox"]
        corners = _corners((x, y, x + w, y + h), scale)
        cv2.rectangle(tile, *corners, _PREDICTED, 2)
        text = f"{names[prediction['category_id']]} {prediction['score']:.2f}"
        _label(tile, corners[0][0], corners[0][1] - 3, text, _PREDICTED)
    return tile


def _corners(box: Sequence[float], scale: float) -> tuple[tuple[int, int], tuple[int, int]]:
    left, top, right, bottom = (round(scale * value) for value in box)
    return (left, top), (right - 1, bottom - 1)


def _label(tile: Image, left: int, baseline: int, text: str, colour: tuple[int, int, int]) -> None:
    """White text on the box's colour, moved inside the tile when the box touches its edge."""
    (width, height), _ = cv2.getTextSize(text, _FONT, 0.36, 1)
    left = max(0, min(left, TILE - width - 2))
    baseline = max(height + 2, min(baseline, TILE - 3))
    cv2.rectangle(tile, (left, baseline - height - 2), (left + width + 1, baseline + 2), colour, cv2.FILLED)
    _text(tile, (left + 1, baseline), text, _PAPER)


def _text(image: Image, origin: tuple[int, int], text: str, colour: tuple[int, int, int]) -> None:
    cv2.putText(image, text, origin, _FONT, 0.36, colour, 1, cv2.LINE_AA)


def _header(canvas: Image, title: str) -> None:
    cv2.putText(canvas, title, (_MARGIN, 22), _FONT, 0.55, _INK, 1, cv2.LINE_AA)
    left = canvas.shape[1] - 330
    cv2.rectangle(canvas, (left, 12), (left + 16, 24), _TRUE, 1)
    cv2.putText(canvas, "true", (left + 22, 22), _FONT, 0.45, _INK, 1, cv2.LINE_AA)
    cv2.rectangle(canvas, (left + 80, 12), (left + 96, 24), _PREDICTED, 2)
    text = f"predicted, score at least {CONFIDENCE:g}"
    cv2.putText(canvas, text, (left + 102, 22), _FONT, 0.45, _INK, 1, cv2.LINE_AA)


def _title(result: Result) -> str:
    best = result.best
    figure = "" if best.AP is None else f", AP {best.AP:.1f} (epoch {best.epoch})"
    return f"{result.run}{figure}, {result.dataset.name} val"
