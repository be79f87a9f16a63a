"""Where objects will be when an output comes out: boxes tracked by a Kalman filter and moved ahead.

The baseline of the paper that introduced streaming AP, and of the challenge's entries: boxes move with
constant velocity, in (left, top, width, height), each coordinate by itself. It costs no time here, as there.
The settings are the published toolkit's (docs/decisions/0100-streaming-ap.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from yolox_core.evaluation.detections import Detections, concatenate
from yolox_core.streaming.pairing import ByImage, latest_outputs
from yolox_core.streaming.stream import Outputs

Array = NDArray[np.float64]


@dataclass(frozen=True)
class KalmanSettings:
    """Variances in square pixels, velocities in pixels per frame.

    measured: of a detected coordinate. first: of a new track's coordinates and velocities. drift: added to
    each over one frame; over n frames n² times that. match_iou: least overlap of a detection with the track
    it continues. smallest: least area of a forecast box inside the image, in whole pixels.
    """

    measured: float = 10.0
    first: float = 100.0
    drift: float = 1.0
    match_iou: float = 0.3
    smallest: int = 75


@dataclass(frozen=True)
class Tracks:
    """Objects at one moment. state: (n, 8) left, top, width, height, and their change per frame.

    covariance: (n, 8, 8). categories: (n,). scores: (n,) of the last detection of each.
    """

    state: Array
    covariance: Array
    categories: NDArray[np.int64]
    scores: Array

    def __len__(self) -> int:
        return len(self.state)

    def boxes(self, ahead: float = 0.0) -> Array:
        """(n, 4) ``ahead`` frames later."""
        return self.state[:, :4] + ahead * self.state[:, 4:]


def new_tracks(detections: Detections, settings: KalmanSettings) -> Tracks:
    """A track at rest for every detection."""
    count = len(detections)
    state = np.concatenate([detections.boxes_xywh, np.zeros((count, 4))], axis=1)
    covariance = np.tile(settings.first * np.eye(8), (count, 1, 1))
    return Tracks(state, covariance, detections.category_ids, detections.scores)


def predict(tracks: Tracks, frames: float, settings: KalmanSettings) -> Tracks:
    """The tracks so many frames later: boxes moved, and less certain."""
    motion = np.eye(8)
    motion[:4, 4:] = frames * np.eye(4)
    noise = settings.drift * frames**2 * np.eye(8)
    covariance = motion @ tracks.covariance @ motion.T + noise
    return replace(tracks, state=tracks.state @ motion.T, covariance=covariance)


def update(tracks: Tracks, boxes_xywh: Array, settings: KalmanSettings) -> Tracks:
    """The tracks after each was seen at a box. boxes_xywh: (n, 4)."""
    residual = boxes_xywh - tracks.state[:, :4]
    uncertainty = tracks.covariance[:, :4, :4] + settings.measured * np.eye(4)
    gain = tracks.covariance[:, :, :4] @ np.linalg.inv(uncertainty)
    state = tracks.state + (gain @ residual[..., None])[..., 0]
    return replace(tracks, state=state, covariance=tracks.covariance - gain @ tracks.covariance[:, :4])


def associate(tracks: Tracks, detections: Detections, match_iou: float) -> NDArray[np.int64]:
    """(detections,) the track that each continues, -1 for none.

    In the order given, best first: each takes, of the tracks of its category that are still free, the one
    that it overlaps most.
    """
    chosen = np.full(len(detections), -1, np.int64)
    if not len(tracks):
        return chosen
    overlap = pairwise_iou_xywh(tracks.boxes(), detections.boxes_xywh)
    overlap[tracks.categories[:, None] != detections.category_ids] = -1.0
    for number in np.flatnonzero(overlap.max(axis=0) >= match_iou):
        best = int(overlap[:, number].argmax())
        if overlap[best, number] >= match_iou:
            chosen[number] = best
            overlap[best] = -1.0
    return chosen


def step(tracks: Tracks, frames: float, detections: Detections, settings: KalmanSettings) -> Tracks:
    """Tracks after an output, ``frames`` after the one before. What was not detected again is forgotten."""
    best_first = detections.select(np.argsort(-detections.scores, kind="stable"))
    moved = predict(tracks, frames, settings)
    chosen = associate(moved, best_first, settings.match_iou)
    seen = chosen >= 0
    known = Tracks(
        moved.state[chosen[seen]],
        moved.covariance[chosen[seen]],
        best_first.category_ids[seen],
        best_first.scores[seen],
    )
    known = update(known, best_first.boxes_xywh[seen], settings)
    fresh = new_tracks(best_first.select(~seen), settings)
    return Tracks(
        np.concatenate([known.state, fresh.state]),
        np.concatenate([known.covariance, fresh.covariance]),
        np.concatenate([known.categories, fresh.categories]),
        np.concatenate([known.scores, fresh.scores]),
    )


def forecast(
    detections: Detections,
    image_ids: NDArray[np.int64],
    sizes: NDArray[np.int64],
    outputs: Outputs,
    fps: float,
    settings: KalmanSettings | None = None,
) -> Detections:
    """Detections of one video as a forecasting stream gives them: at every frame's moment, the tracks of the
    latest output, moved ahead to it.

    detections: on every frame, as offline. image_ids: (n,) of the frames, in time. sizes: (n, 2) their height
    and width. An output that another one overtook before a frame came is not seen by the filter.
    """
    settings = settings or KalmanSettings()
    known = ByImage(detections)
    tracks = new_tracks(Detections.empty(), settings)
    found: list[Detections] = []
    current, source = -1, 0
    for frame, number in enumerate(latest_outputs(outputs, len(image_ids), fps).tolist()):
        if number < 0:
            continue
        if number != current:
            taken = int(outputs.frames[number])
            tracks = step(tracks, taken - source, known.of(int(image_ids[taken])), settings)
            current, source = number, taken
        height, width = sizes[frame].tolist()
        boxes, kept = inside(tracks.boxes(frame - source), height, width, settings.smallest)
        ids = np.full(len(boxes), image_ids[frame], np.int64)
        found.append(Detections(ids, tracks.categories[kept], boxes, tracks.scores[kept]))
    return concatenate(found)


def inside(boxes_xywh: Array, height: int, width: int, smallest: int = 0) -> tuple[Array, NDArray[np.bool_]]:
    """Boxes cut to the image, and which of those given they are: those left with an area, of at least
    ``smallest`` square pixels when both sides are cut to whole ones.
    """
    limits = np.array([width, height], np.float64)
    low = np.clip(boxes_xywh[:, :2], 0, limits)
    sides = np.clip(boxes_xywh[:, :2] + boxes_xywh[:, 2:], 0, limits) - low
    kept = (boxes_xywh[:, 2:] > 0).all(axis=1) & (sides > 0).all(axis=1)
    kept &= np.floor(sides).prod(axis=1) >= smallest
    return np.concatenate([low, sides], axis=1)[kept], kept


def pairwise_iou_xywh(first: Array, second: Array) -> Array:
    """(n, m) overlap of (n, 4) with (m, 4) boxes; 0 where a box has no area."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum((first[:, :2] + first[:, 2:])[:, None], (second[:, :2] + second[:, 2:])[None])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    areas = np.clip(first[:, 2:], 0, None).prod(axis=-1), np.clip(second[:, 2:], 0, None).prod(axis=-1)
    union = areas[0][:, None] + areas[1][None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
