"""Streams, schedules and the pairing with the world of the moment, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolox_core.evaluation.collect import coco_metrics
from yolox_core.evaluation.detections import Detections
from yolox_core.streaming.pairing import answers, latest_outputs, paired, staleness
from yolox_core.streaming.stream import (
    Latencies,
    Outputs,
    SimulatedClock,
    WallClock,
    greedy,
    latencies_from_percentiles,
    newest_frame,
    play,
    shrinking_tail,
    simulate,
)


def constant(seconds: float) -> Latencies:
    return Latencies(np.array([seconds]))


def outputs(*pairs: tuple[float, int]) -> Outputs:
    return Outputs(np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs], np.int64))


def simulated(count: int, fps: float, seconds: float, dynamic: bool = False) -> list[tuple[float, int]]:
    out = simulate(count, fps, constant(seconds), np.random.default_rng(0), dynamic)
    return list(zip(out.finished.tolist(), out.frames.tolist(), strict=True))


def test_a_fast_detector_takes_every_frame_when_it_comes() -> None:
    """At 1 frame per second and 0.5 s: frame k from k to k + 0.5; it idles for the rest."""
    assert simulated(4, 1, 0.5) == [(0.5, 0), (1.5, 1), (2.5, 2), (3.5, 3)]


def test_a_slow_detector_takes_the_newest_frame_and_skips_the_others() -> None:
    """2.25 s each: 0 from 0, then 2 (came at 2) from 2.25, then 4 from 4.5, then 6 from 6.75, too late."""
    assert simulated(8, 1, 2.25) == [(2.25, 0), (4.5, 2), (6.75, 4)]


def test_the_shrinking_tail_waits_where_an_output_would_be_no_later_for_it() -> None:
    """1.5 s each, greedy: 0 from 0 to 1.5, 1 from 1.5 to 3, 3 from 3 to 4.5, 4 from 4.5 to 6: two frames old
    at 3 already. Dynamic: after 1.5 it waits for frame 2, which is ready at 3.5.
    """
    assert simulated(7, 1, 1.5) == [(1.5, 0), (3.0, 1), (4.5, 3), (6.0, 4)]
    assert simulated(7, 1, 1.5, dynamic=True) == [(1.5, 0), (3.5, 2), (5.5, 4)]


@pytest.mark.parametrize(("mean", "since", "waits"), [
    (1.5, 0.0, False),  # ends at 1.5: a tail of 0.5 after one of 0
    (1.5, 0.5, True),  # ends at 2.0: no tail after one of 0.5
    (2.8, 0.1, False),  # 2.9
    (2.8, 0.3, True),  # 3.1
    (0.9, 0.5, False),  # a detector that keeps up never waits
    (1.0, 0.5, False),
    (3.0, 0.5, False),  # the tail stays as it is
])  # fmt: skip
def test_the_rule_of_the_shrinking_tail(mean: float, since: float, waits: bool) -> None:
    assert shrinking_tail(mean)(since) is waits
    assert greedy(since) is False


def test_what_is_not_finished_when_the_video_ends_is_lost() -> None:
    assert simulated(2, 1, 2.0) == []
    assert simulated(2, 1, 1.9) == [(1.9, 0)]


def test_a_frame_exists_from_its_own_moment_on_to_the_last_bit() -> None:
    """29 / 25 · 25 is a little less than 29: a product would show the frame before."""
    assert int(29 / 25 * 25) == 28
    for fps in (24.0, 25.0, 29.97, 30.0, 60.0):
        for frame in range(1, 2000):
            assert newest_frame(frame / fps, fps) == frame
            assert newest_frame(float(np.nextafter(frame / fps, 0)), fps) == frame - 1


def test_draws_come_from_the_generator_that_is_given() -> None:
    latencies = Latencies(np.array([0.01, 0.05, 0.2]))
    first, same, other = (
        simulate(60, 30, latencies, np.random.default_rng(seed)).finished.tolist() for seed in (1, 1, 2)
    )
    assert first == same != other


@given(
    samples=st.lists(st.floats(0, 0.5), min_size=1, max_size=5),
    count=st.integers(1, 40),
    dynamic=st.booleans(),
    seed=st.integers(0, 9),
)
def test_what_holds_for_any_stream(samples: list[float], count: int, dynamic: bool, seed: int) -> None:
    out = simulate(count, 25, Latencies(np.array(samples)), np.random.default_rng(seed), dynamic)
    assert (np.diff(out.frames) > 0).all()  # newer and newer, none twice
    assert (out.finished >= out.frames / 25).all()  # none before it came
    assert (out.finished < count / 25).all()
    answered = answers(out, count, 25)
    assert (answered <= np.arange(count)).all()  # nothing from the future
    assert (np.diff(answered) >= 0).all()


def test_a_wall_clock_waits_and_reads_real_time() -> None:
    """With a made-up time source: reading it takes nothing, sleeping ends 0.1 s early once."""
    time = [100.0]

    def sleep(seconds: float) -> None:
        time[0] += seconds - (0.1 if len(slept) == 0 else 0)
        slept.append(seconds)

    slept: list[float] = []
    clock = WallClock(lambda: time[0], sleep)

    def work(frame: int) -> None:
        time[0] += 0.25

    out = play(3, 1, clock, work)
    assert out.frames.tolist() == [0, 1, 2]
    assert out.finished.tolist() == pytest.approx([0.25, 1.25, 2.25])
    assert slept == pytest.approx([0.75, 0.1, 0.75])


def test_after_a_wait_that_took_too_long_the_newest_frame_is_taken() -> None:
    time = [0.0]

    def oversleep(seconds: float) -> None:
        time[0] += seconds + 2

    taken: list[int] = []
    play(6, 1, WallClock(lambda: time[0], oversleep), taken.append)
    assert taken == [0, 3]


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_rates_are_refused(fps: float) -> None:
    with pytest.raises(ValueError, match="frame rate"):
        play(3, fps, SimulatedClock(), print)


@pytest.mark.parametrize("seconds", [[], [-0.1], [float("nan")], [float("inf")]])
def test_impossible_latencies_are_refused(seconds: list[float]) -> None:
    with pytest.raises(ValueError, match="laten"):
        Latencies(np.array(seconds))


def test_a_distribution_from_its_percentiles_has_them() -> None:
    found = latencies_from_percentiles(0.010, 0.012, 0.030)
    assert np.median(found.seconds) == pytest.approx(0.012)
    assert found.seconds.min() == pytest.approx(0.010)
    assert found.seconds.max() == pytest.approx(0.030)
    with pytest.raises(ValueError, match="ascend"):
        latencies_from_percentiles(0.012, 0.010, 0.030)


def test_an_output_counts_from_the_moment_at_which_it_is_finished() -> None:
    """At frame 1's moment an output of exactly 1 s is in time; of two, the later one counts."""
    out = outputs((1.0, 0), (2.5, 1), (2.75, 2))
    assert latest_outputs(out, 5, 1).tolist() == [-1, 0, 0, 2, 2]
    assert answers(out, 5, 1).tolist() == [-1, 0, 0, 2, 2]
    just_late = outputs((float(np.nextafter(1.0, 2)), 0))
    assert answers(just_late, 3, 1).tolist() == [-1, -1, 0]
    assert answers(outputs(), 3, 1).tolist() == [-1, -1, -1]


def test_staleness_counts_what_was_missed_what_was_in_time_and_how_old_the_rest_was() -> None:
    found = staleness([np.array([-1, 0, 0, 3]), np.array([0, -1])])
    assert (found.frames, found.missed, found.in_time) == (6, 2, 2)
    assert found.mean_age == pytest.approx((1 + 2 + 0 + 0) / 4)
    assert staleness([np.array([-1])]).mean_age is None


def detections(*rows: tuple[int, int, tuple[float, ...], float]) -> Detections:
    return Detections(
        np.array([r[0] for r in rows], np.int64),
        np.array([r[1] for r in rows], np.int64),
        np.array([r[2] for r in rows], float).reshape(-1, 4),
        np.array([r[3] for r in rows], float),
    )


def test_a_frame_has_the_detections_of_the_frame_that_answers_for_it() -> None:
    found = detections((11, 1, (0, 0, 5, 5), 0.9), (10, 1, (1, 1, 5, 5), 0.8), (10, 2, (2, 2, 5, 5), 0.7))
    streamed = paired(found, [np.array([10, 11, 12])], [np.array([-1, 0, 1])])
    assert streamed.image_ids.tolist() == [11, 11, 12]
    assert streamed.scores.tolist() == [0.8, 0.7, 0.9]


def moving_square(folder: Path, speed: int, count: int = 5) -> tuple[Path, Detections, np.ndarray]:
    """A square of 10 px that moves, and detections that are right on every frame."""
    ids = np.arange(1, count + 1)
    boxes = [(speed * k, 0, 10, 10) for k in range(count)]
    content = {
        "images": [{"id": int(i), "width": 100, "height": 20} for i in ids],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [
            {"id": int(i), "image_id": int(i), "category_id": 1, "bbox": list(b), "area": 100, "iscrowd": 0}
            for i, b in zip(ids, boxes, strict=True)
        ],
    }
    file = folder / "video.json"
    file.write_text(json.dumps(content))
    found = detections(*((int(i), 1, b, 0.9) for i, b in zip(ids, boxes, strict=True)))
    return file, found, ids


def streaming_ap(file: Path, found: Detections, ids: np.ndarray, seconds: float) -> float | None:
    """AP of a stream of one frame per second."""
    out = simulate(len(ids), 1, constant(seconds), np.random.default_rng(0))
    streamed = paired(found, [ids], [answers(out, len(ids), 1)])
    return coco_metrics(file, streamed, engine="pycocotools")["AP"]


def test_streaming_ap_of_a_moving_square_by_hand(tmp_path: Path) -> None:
    """Perfect detections, always one frame old: nothing at first, then the square where it was.

    At 2 px per frame a box of 10 px overlaps its successor by 80 of 120: IoU 2/3, right at the thresholds
    0.50 to 0.65, four of ten. Four of five squares are found there, so precision is 1 up to recall 0.8: 81 of
    101 recalls. AP = 4 / 10 · 81 / 101.
    """
    file, found, ids = moving_square(tmp_path, speed=2)
    assert streaming_ap(file, found, ids, 0.5) == pytest.approx(100 * 4 / 10 * 81 / 101)


def test_streaming_ap_of_a_slower_square_and_of_a_faster_one(tmp_path: Path) -> None:
    """At 1 px: 90 of 110, IoU 0.82, seven thresholds. At 4 px: 60 of 140, none. At rest: all ten."""
    for speed, thresholds in ((1, 7), (4, 0), (0, 10)):
        file, found, ids = moving_square(tmp_path, speed)
        expected = 100 * thresholds / 10 * 81 / 101
        assert streaming_ap(file, found, ids, 0.5) == pytest.approx(expected)


@pytest.mark.parametrize("dynamic", [False, True])
def test_without_latency_streaming_ap_is_ap(tmp_path: Path, dynamic: bool) -> None:
    """Every figure to 1e-9, at any frame rate, of detections that are right, wrong, missing and doubled."""
    rng = np.random.default_rng(3)
    file, right, ids = moving_square(tmp_path, speed=3, count=40)
    rows = [
        (int(i), 1, tuple(box + rng.normal(0, 1.5, 4)), float(rng.random()))
        for i, box in zip(right.image_ids, right.boxes_xywh, strict=True)
        for _ in range(int(rng.integers(0, 4)))
    ]
    found = detections(*rows)
    offline = coco_metrics(file, found, engine="pycocotools")
    for fps in (25.0, 29.97, 30.0):
        out = simulate(len(ids), fps, constant(0.0), np.random.default_rng(0), dynamic)
        streamed = paired(found, [ids], [answers(out, len(ids), fps)])
        figures = coco_metrics(file, streamed, engine="pycocotools")
        assert figures.keys() == offline.keys()
        for name, value in offline.items():
            assert figures[name] == (None if value is None else pytest.approx(value, abs=1e-9))
    assert offline["AP"] is not None
    assert 5 < offline["AP"] < 95
