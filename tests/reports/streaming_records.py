"""Records of streaming studies, without playing anything."""

from __future__ import annotations

from collections.abc import Mapping

from roadmap.streaming import (
    SCHEMA,
    VARIANTS,
    Conditions,
    LatencySpread,
    Stream,
    StreamArm,
    StreamingRecord,
    VideoFacts,
)
from yolox_core.evaluation.coco_engines import METRICS


def figures(ap: float | None) -> dict[str, float | None]:
    return {name: ap if name == "AP" else None for name in METRICS}


def arm(
    name: str, offline: float | None, by_rate: Mapping[float, float | None], ms: float = 10.0
) -> StreamArm:
    """An arm with the same streaming AP in every way of playing."""
    streams = tuple(
        Stream(fps, *variant, figures(ap), 100, 40, 1, 0, 1.5)
        for fps, ap in by_rate.items()
        for variant in VARIANTS
    )
    spread = LatencySpread(ms, ms, 0.9 * ms, 1.2 * ms, 100)
    return StreamArm(name, f"+{name}", "", 128, "measured", spread, figures(offline), streams)


def record(*arms: StreamArm, embedded: bool = True, fps: float = 30.0) -> StreamingRecord:
    rates = tuple(sorted({s.fps for a in arms for s in a.streams}))
    video = VideoFacts("a video" if embedded else "val.json", embedded, "0" * 64, 2, 100, 300, ("a", "b"))
    conditions = Conditions(
        fps, rates, 0, "measured", 0.001, 0.65, "cpu", "a stand-in", "float32", 1, "here", "abc1234",
        "2026-01-01T00:00:00+00:00", 0.0,
    )  # fmt: skip
    return StreamingRecord(SCHEMA, video, conditions, arms)
