"""Detections of a whole dataset as flat arrays, and their COCO result format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Detections:
    """Detections of many images, in no particular order.

    image_ids, category_ids: (M,) ids of the annotation file. boxes_xywh: (M, 4) left, top, width and
    height in pixels of the original image. scores: (M,) in 0…1.
    Raises ValueError when the arrays do not belong together.
    """

    image_ids: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.image_ids)
        shapes = (self.image_ids.shape, self.category_ids.shape, self.boxes_xywh.shape, self.scores.shape)
        if shapes != ((count,), (count,), (count, 4), (count,)):
            raise ValueError(f"detections need shapes (M,), (M,), (M, 4) and (M,), not {shapes}")

    def __len__(self) -> int:
        return len(self.image_ids)

    @classmethod
    def empty(cls) -> Detections:
        ids = np.zeros(0, np.int64)
        return cls(ids, ids, np.zeros((0, 4)), np.zeros(0))

    @classmethod
    def from_coco_results(cls, results: Sequence[Mapping[str, Any]]) -> Detections:
        """Detections from COCO's result format; raises ValueError naming the first broken entry."""
        try:
            return cls(
                np.array([r["image_id"] for r in results], np.int64),
                np.array([r["category_id"] for r in results], np.int64),
                np.array([r["bbox"] for r in results], np.float64).reshape(-1, 4),
                np.array([r["score"] for r in results], np.float64),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(_first_broken(results)) from error

    def to_coco_results(self) -> list[dict[str, Any]]:
        """COCO's result format: a list of ``image_id, category_id, bbox, score`` with plain numbers."""
        columns = zip(
            self.image_ids.tolist(),
            self.category_ids.tolist(),
            self.boxes_xywh.tolist(),
            self.scores.tolist(),
            strict=True,
        )
        return [{"image_id": i, "category_id": c, "bbox": b, "score": s} for i, c, b, s in columns]

    def select(self, chosen: NDArray[Any]) -> Detections:
        """The chosen detections, by index or by mask."""
        return Detections(
            self.image_ids[chosen], self.category_ids[chosen], self.boxes_xywh[chosen], self.scores[chosen]
        )


def concatenate(parts: Sequence[Detections]) -> Detections:
    """All detections of the parts, in the parts' order."""
    if not parts:
        return Detections.empty()
    return Detections(
        np.concatenate([p.image_ids for p in parts]),
        np.concatenate([p.category_ids for p in parts]),
        np.concatenate([p.boxes_xywh for p in parts]),
        np.concatenate([p.scores for p in parts]),
    )


def merge(parts: Sequence[Detections]) -> Detections:
    """Detections of several processes as one, sorted by image id (order within an image is kept).

    The result does not depend on how many processes there were. Raises ValueError when two parts hold
    the same image: it would be counted twice.
    """
    seen: set[int] = set()
    for part in parts:
        images = set(np.unique(part.image_ids).tolist())
        if both := seen & images:
            raise ValueError(f"image {min(both)} was evaluated by two processes; shard the dataset first")
        seen |= images
    whole = concatenate(parts)
    return whole.select(np.argsort(whole.image_ids, kind="stable"))


def shard(count: int, rank: int = 0, world_size: int = 1) -> range:
    """Indices of ``count`` images that one of ``world_size`` processes evaluates.

    The shards of all ranks are disjoint and cover everything; their sizes differ by at most one.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must lie in 0…{world_size - 1}, not {rank}")
    return range(rank, count, world_size)


def _first_broken(results: Sequence[Mapping[str, Any]]) -> str:
    for position, result in enumerate(results):
        try:
            numbers = [*result["bbox"], result["score"], result["image_id"], result["category_id"]]
            if len(result["bbox"]) == 4 and all(isinstance(n, int | float) for n in numbers):
                continue
        except (KeyError, TypeError):
            pass
        return f"detection {position} is not in COCO's result format: {result!r}"
    return "detections are not in COCO's result format"
