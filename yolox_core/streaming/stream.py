"""A detector in front of a stream: which frames it takes, and when its outputs come out.

Streaming perception (Li, Wang and Ramanan, ECCV 2020): frame k of a video comes at k / fps seconds, whether
or not the detector is ready for it. One frame is worked on at a time. How the outputs are judged is in
:mod:`yolox_core.streaming.pairing`; docs/decisions/0100-streaming-ap.md lists the choices.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Outputs:
    """What came out of a detector during one video, in order.

    finished: (n,) seconds after the first frame came, ascending. frames: (n,) the frame that each output is
    of, from 0. Raises ValueError when these do not belong together.
    """

    finished: NDArray[np.float64]
    frames: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.finished.shape != self.frames.shape or self.finished.ndim != 1:
            raise ValueError(
                f"outputs need shapes (n,) and (n,), not {self.finished.shape}, {self.frames.shape}"
            )
        if (np.diff(self.finished) < 0).any():
            raise ValueError("outputs must be in the order in which they finished")

    def __len__(self) -> int:
        return len(self.frames)


class Clock(Protocol):
    """Seconds since the first frame came."""

    def now(self) -> float: ...

    def wait_until(self, moment: float) -> None: ...


class SimulatedClock:
    """Time that passes only when somebody says so."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        return self._now

    def wait_until(self, moment: float) -> None:
        self._now = max(self._now, moment)

    def spend(self, seconds: float) -> None:
        self._now += seconds


class WallClock:
    """Real time from the moment this is made. read, sleep: in seconds."""

    def __init__(
        self, read: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._read, self._sleep = read, sleep
        self._start = read()

    def now(self) -> float:
        return self._read() - self._start

    def wait_until(self, moment: float) -> None:
        while (left := moment - self.now()) > 0:  # a sleep may end early by another clock than ours
            self._sleep(left)


#: Whether to wait for the next frame rather than take the newest: from the time since that one came.
#: Both in frames, as is the detector's mean latency that a schedule knows.
Schedule = Callable[[float], bool]


def greedy(since: float) -> bool:
    """Take the newest frame as soon as there is nothing to do."""
    return False


def shrinking_tail(mean: float) -> Schedule:
    """The paper's dynamic schedule: wait where the output would finish earlier in its frame than it began in
    its own, for what began with the next frame is not much later, and of a newer world.

    mean: the detector's mean latency in frames. Up to one frame nothing is waited for.
    """

    def waits(since: float) -> bool:
        return mean > 1 and mean < math.floor(since + mean)

    return waits


def newest_frame(moment: float, fps: float) -> int:
    """The frame that came last at a moment: the largest k with k / fps ≤ moment, to the last bit."""
    frame = math.floor(moment * fps)
    if (frame + 1) / fps <= moment:
        return frame + 1
    return frame - 1 if frame / fps > moment else frame


def play(
    count: int, fps: float, clock: Clock, work: Callable[[int], None], schedule: Schedule = greedy
) -> Outputs:
    """Play a video of ``count`` frames to a detector, one frame at a time.

    work: detects on a frame; the clock shows how long that took. No frame is taken twice: where the newest is
    done, the next one is waited for. An output that is not finished when the video ends is lost.
    Raises ValueError for an impossible rate.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"the frame rate must be a positive number, not {fps}")
    finished: list[float] = []
    frames: list[int] = []
    end, last = count / fps, -1
    while (moment := clock.now()) < end:
        frame = newest_frame(moment, fps)
        if frame == last or schedule(moment * fps - frame):
            if frame + 1 == count:
                break
            clock.wait_until((frame + 1) / fps)
            if (moment := clock.now()) >= end:
                break
            frame = newest_frame(moment, fps)
        last = frame
        work(frame)
        if (done := clock.now()) >= end:
            break
        finished.append(done)
        frames.append(frame)
    return Outputs(np.array(finished, np.float64), np.array(frames, np.int64))


@dataclass(frozen=True)
class Latencies:
    """An empirical distribution of a detector's latency. seconds: (n,) samples, each as likely.

    Raises ValueError when there is none, or one is no time.
    """

    seconds: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.seconds.ndim != 1 or not len(self.seconds):
            raise ValueError("a latency distribution needs at least one sample")
        if not (np.isfinite(self.seconds) & (self.seconds >= 0)).all():
            raise ValueError("latencies must be finite and not negative")

    @property
    def mean(self) -> float:
        return float(self.seconds.mean())


def latencies_from_percentiles(p5: float, median: float, p95: float) -> Latencies:
    """A distribution with these percentiles (seconds), where no samples were kept: straight lines between
    them, and nothing beyond. Raises ValueError when they are not in order.
    """
    if not p5 <= median <= p95:
        raise ValueError(f"percentiles must ascend, not {p5}, {median}, {p95}")
    return Latencies(np.interp(np.linspace(0.05, 0.95, 91), (0.05, 0.5, 0.95), (p5, median, p95)))


def simulate(
    count: int, fps: float, latencies: Latencies, rng: np.random.Generator, dynamic: bool = False
) -> Outputs:
    """:func:`play` with latencies drawn from a distribution. dynamic: schedule by the shrinking tail."""
    clock = SimulatedClock()

    def work(frame: int) -> None:
        clock.spend(float(rng.choice(latencies.seconds)))

    return play(count, fps, clock, work, shrinking_tail(latencies.mean * fps) if dynamic else greedy)
