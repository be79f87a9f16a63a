"""Play a video to a detector in every way that was asked for, and judge what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from roadmap.streaming import VARIANTS, LatencySpread, Stream, StreamArm
from studies.attempt.played import Subject
from yolox_core.build import build_detector
from yolox_core.deploy.weights import load_official
from yolox_core.detector import Detector
from yolox_core.evaluation.collect import coco_metrics
from yolox_core.evaluation.detections import Detections, concatenate
from yolox_core.streaming.detect import FrameDetector, detect_video, load_all
from yolox_core.streaming.forecast import forecast
from yolox_core.streaming.pairing import answers, paired, staleness
from yolox_core.streaming.stream import (
    Latencies,
    Outputs,
    WallClock,
    greedy,
    latencies_from_percentiles,
    play,
    shrinking_tail,
    simulate,
)
from yolox_core.streaming.video import Video

#: Detections before anything is timed.
WARMUP = {"cuda": 50, "cpu": 5}


@dataclass(frozen=True)
class Playing:
    """How videos are played. fps: of the table. swept: the others too. source: of latencies
    (:data:`roadmap.streaming.SOURCES`). constant: seconds, where that is the source.
    """

    fps: float
    swept: tuple[float, ...]
    seed: int
    source: str
    constant: float
    confidence: float
    nms_iou: float
    device: torch.device


def load_detector(subject: Subject, video: Video) -> tuple[Detector, NDArray[np.int64]]:
    """A detector with its weights, and the category of each of its labels.

    Raises ValueError when the weights fit neither the video's categories nor COCO's as it maps them.
    """
    reports = []
    for classes in dict.fromkeys((len(video.category_ids), len(video.coco_mapping) or 80)):
        detector = build_detector(replace(subject.model, num_classes=classes), subject.ingredients)
        loaded = load_official(detector, subject.weights)
        if loaded.complete:
            return detector, video.categories_of(classes)
        reports.append(f"with {classes} classes: {loaded}")
    raise ValueError(f"{subject.weights} does not fill {subject.label}\n" + "\n".join(reports))


def play_to(
    subject: Subject, video: Video, playing: Playing, progress: Callable[[int], object] | None = None
) -> tuple[StreamArm, str]:
    """Everything about one detector, and the type that its arithmetic was done in."""
    detector, categories = load_detector(subject, video)
    detect = FrameDetector(
        detector, subject.image_size, playing.confidence, playing.nms_iou, playing.device, categories
    )
    found, seconds = detect_video(detect, video, WARMUP[playing.device.type], progress)
    latencies = _latencies(subject, playing, seconds)
    ids = [sequence.image_ids for sequence in video.sequences]
    arm = StreamArm(
        name=subject.name,
        label=subject.label,
        run=subject.run,
        image_size=subject.image_size,
        source=playing.source,
        latency_ms=_spread(latencies, subject, playing),
        offline=coco_metrics(video.annotation_file, found, np.concatenate(ids).tolist()),
        streams=tuple(_streams(detect, found, video, latencies, playing)),
    )
    return arm, str(detect.dtype).removeprefix("torch.")


def _latencies(subject: Subject, playing: Playing, seconds: NDArray[np.float64]) -> Latencies:
    if playing.source == "constant":
        return Latencies(np.array([playing.constant]))
    if playing.source in ("record", "file"):
        assert subject.latency is not None
        total = subject.latency.total_ms
        return latencies_from_percentiles(total.p5 / 1e3, total.median / 1e3, total.p95 / 1e3)
    return Latencies(seconds)


def _spread(latencies: Latencies, subject: Subject, playing: Playing) -> LatencySpread:
    low, middle, high = np.percentile(1e3 * latencies.seconds, (5, 50, 95)).tolist()
    mean = 1e3 * latencies.mean
    count = len(latencies.seconds)
    if playing.source in ("record", "file"):
        assert subject.latency is not None
        total = subject.latency.total_ms
        count = subject.latency.repeats or 1
        low, middle, high, mean = total.p5, total.median, total.p95, total.mean
    return LatencySpread(middle, mean, low, high, count)


def _streams(
    detect: FrameDetector, found: Detections, video: Video, latencies: Latencies, playing: Playing
) -> Iterator[Stream]:
    for fps in playing.swept:
        for dynamic in (False, True):
            if playing.source == "realtime":
                outputs = _in_real_time(detect, video, fps, latencies, dynamic)
            else:
                outputs = [
                    # The same draws for every arm and rate: they differ by the detector, not by luck.
                    simulate(len(s), fps, latencies, np.random.default_rng((playing.seed, number)), dynamic)
                    for number, s in enumerate(video.sequences)
                ]
            for variant in VARIANTS:
                if variant[0] == dynamic:
                    yield judge(found, video, outputs, fps, *variant)


def judge(
    found: Detections,
    video: Video,
    outputs: Sequence[Outputs],
    fps: float,
    dynamic: bool,
    forecasting: bool,
) -> Stream:
    """What a video's streams come to. found: detections on every frame. outputs: of each video's stream."""
    answered = [answers(o, len(s), fps) for o, s in zip(outputs, video.sequences, strict=True)]
    ids = [sequence.image_ids for sequence in video.sequences]
    if forecasting:
        streamed = concatenate(
            [
                forecast(found, s.image_ids, s.sizes, o, fps)
                for s, o in zip(video.sequences, outputs, strict=True)
            ]
        )
    else:
        streamed = paired(found, ids, answered)
    late = staleness(answered)
    figures = coco_metrics(video.annotation_file, streamed, np.concatenate(ids).tolist())
    return Stream(
        fps=fps,
        dynamic=dynamic,
        forecast=forecasting,
        figures=figures,
        frames=late.frames,
        processed=sum(map(len, outputs)),
        missed=late.missed,
        in_time=late.in_time,
        mean_age=late.mean_age,
    )


def _in_real_time(
    detect: FrameDetector, video: Video, fps: float, latencies: Latencies, dynamic: bool
) -> list[Outputs]:
    """Outputs of videos that are played as time passes. What is detected is known from before; here it is
    the time that counts.
    """
    schedule = shrinking_tail(latencies.mean * fps) if dynamic else greedy
    outputs = []
    for sequence in video.sequences:
        frames = load_all(sequence)
        ids = sequence.image_ids.tolist()

        def work(frame: int, frames: list = frames, ids: list[int] = ids) -> None:
            detect(frames[frame], ids[frame])

        outputs.append(play(len(sequence), fps, WallClock(time.perf_counter), work, schedule))
    return outputs
