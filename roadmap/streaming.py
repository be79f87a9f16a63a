"""The record of a streaming study: what was played, to which detectors, how fast, and what came of it.

streaming.json is the truth; its tables and figures can be rebuilt from it (docs/streaming.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt

from roadmap.record import Amount, Count, Percent
from roadmap.typed import parse
from yolox_core.files import read_json

#: Of streaming.json. Raise it when a reader of today would misread what is written.
SCHEMA = 1
NAME = "streaming.json"

#: Where an arm's latencies come from, and what is said of it.
SOURCES = {
    "measured": "measured on every frame of the video in this run (resize, forward, post-processing)",
    "record": "the run's record (forward and post-processing; straight lines between its percentiles)",
    "file": "a table of studies.profile (forward and post-processing; straight lines between percentiles)",
    "constant": "a constant that was given",
    "realtime": "the wall clock: the video was played in real time",
}

#: Every way of playing: by the dynamic schedule or not, with forecasts or not.
VARIANTS = ((False, False), (False, True), (True, False), (True, True))
VARIANT_NAMES = {
    (False, False): "plain",
    (False, True): "Kalman filter",
    (True, False): "dynamic schedule",
    (True, True): "both",
}

Rate = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class VideoFacts:
    """What was played. embedded: whether it is the video of drawn shapes that comes with the project."""

    name: str
    embedded: bool
    sha256: str
    sequences: Count
    frames: Count
    objects: Count
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Conditions:
    """fps: of the table. swept: frame rates that were tried, ascending. seed: of the drawn latencies.

    others_load: cores that other processes kept busy while latencies were measured.
    """

    fps: Rate
    swept: tuple[Rate, ...]
    seed: int
    latency: str
    confidence: Amount
    nms_iou: Amount
    device: str
    hardware: str
    dtype: str
    threads: Count
    host: str
    commit: str | None
    measured: str
    others_load: Amount | None = None


@dataclass(frozen=True)
class LatencySpread:
    """Milliseconds, over so many samples."""

    median: Amount
    mean: Amount
    p5: Amount
    p95: Amount
    samples: Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Stream:
    """One way of playing the video to an arm. dynamic: by the shrinking tail. forecast: by the Kalman filter.

    figures: COCO's twelve in percent. processed: frames detected on. missed, in_time, mean_age: as
    :class:`yolox_core.streaming.pairing.Staleness` has them, over ``frames``.
    """

    fps: Rate
    dynamic: bool
    forecast: bool
    figures: Mapping[str, Percent]
    frames: Count
    processed: Count
    missed: Count
    in_time: Count
    mean_age: Amount | None

    @property
    def variant(self) -> tuple[bool, bool]:
        return self.dynamic, self.forecast

    @property
    def ap(self) -> float | None:
        return self.figures["AP"]


@dataclass(frozen=True)
class StreamArm:
    """A detector. name: unique in the record. run: its run's folder name, empty for weights of a file.

    offline: COCO's figures with every frame answered by its own detections.
    """

    name: str
    label: str
    run: str
    image_size: Count
    source: str
    latency_ms: LatencySpread
    offline: Mapping[str, Percent]
    streams: tuple[Stream, ...]

    @property
    def ap(self) -> float | None:
        return self.offline["AP"]

    def stream(self, fps: float, variant: tuple[bool, bool]) -> Stream | None:
        """How it was played at a rate and in a variant (dynamic, forecast); None where it was not."""
        found = (s for s in self.streams if s.fps == fps and s.variant == variant)
        return next(found, None)


@dataclass(frozen=True)
class StreamingRecord:
    """streaming.json."""

    schema: Annotated[int, Ge(1)]
    video: VideoFacts
    conditions: Conditions
    arms: tuple[StreamArm, ...]


def read_streaming(path: Path) -> StreamingRecord:
    """Read a record. Raises ValueError naming what is wrong with it."""
    data: Any = read_json(path)
    if not isinstance(data, Mapping):
        raise ValueError(f"{path} is missing or not a JSON object; python -m studies.streaming writes it")
    if isinstance(schema := data.get("schema"), int) and schema > SCHEMA:
        raise ValueError(f"{path} has schema {schema}, newer than {SCHEMA}: update the project")
    return parse(StreamingRecord, data, str(path))
