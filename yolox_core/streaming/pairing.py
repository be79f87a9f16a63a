"""Which output stands for the world at which moment: streaming AP is COCO's AP after this pairing.

The world of frame k is asked for at k / fps, the moment at which the frame comes (the published toolkit's
``eta = 0``). The answer is what finished last, at that moment or before: exactly then is in time, as in the
toolkit, so that a detector without latency has its AP as streaming AP. Before the first output there are no
detections, and the objects of those frames count as missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yolox_core.evaluation.detections import Detections, concatenate
from yolox_core.streaming.stream import Outputs


@dataclass(frozen=True)
class Staleness:
    """How late outputs were. missed: frames without an output yet. in_time: frames answered by their own.
    mean_age: of the others, how many frames old the answer was on average; None where no frame has one.
    """

    frames: int
    missed: int
    in_time: int
    mean_age: float | None


def latest_outputs(outputs: Outputs, count: int, fps: float) -> NDArray[np.int64]:
    """(count,) for each frame's moment the output that finished last, as an index; -1 where none had."""
    moments = np.arange(count) / fps
    return np.searchsorted(outputs.finished, moments, side="right").astype(np.int64) - 1


def answers(outputs: Outputs, count: int, fps: float) -> NDArray[np.int64]:
    """(count,) the frame whose detections stand for each frame; -1 for none."""
    latest = latest_outputs(outputs, count, fps)
    if not len(outputs):
        return latest
    return np.where(latest < 0, -1, outputs.frames[latest])


def staleness(answered: Sequence[NDArray[np.int64]]) -> Staleness:
    """Over all videos. answered: of each, what :func:`answers` gives."""
    ages = np.concatenate([np.arange(len(one)) - one for one in answered])
    found = np.concatenate(answered) >= 0
    mean = float(ages[found].mean()) if found.any() else None
    return Staleness(len(ages), int((~found).sum()), int((found & (ages == 0)).sum()), mean)


class ByImage:
    """Detections that can be looked up by image, in the order they were given in."""

    def __init__(self, detections: Detections) -> None:
        self._sorted = detections.select(np.argsort(detections.image_ids, kind="stable"))

    def of(self, image_id: int) -> Detections:
        first, after = np.searchsorted(self._sorted.image_ids, (image_id, image_id + 1))
        return self._sorted.select(np.arange(first, after))


def paired(
    detections: Detections, image_ids: Sequence[NDArray[np.int64]], answered: Sequence[NDArray[np.int64]]
) -> Detections:
    """Detections as the streams gave them: each frame has those of the frame that answers for it.

    detections: on every frame, as offline. image_ids: of each video's frames, in time. answered: of each.
    """
    known = ByImage(detections)
    parts = [
        relabelled(known.of(int(ids[source])), int(image_id))
        for ids, sources in zip(image_ids, answered, strict=True)
        for image_id, source in zip(ids, sources, strict=True)
        if source >= 0
    ]
    return concatenate(parts)


def relabelled(detections: Detections, image_id: int) -> Detections:
    """The same detections, on another image."""
    ids = np.full(len(detections), image_id, np.int64)
    return Detections(ids, detections.category_ids, detections.boxes_xywh, detections.scores)
