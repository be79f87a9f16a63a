"""The same figures as the published toolkit's, from the same detections and timestamps.

The fixture says how its figures were obtained (``how``): the toolkit's own code, of the commit named there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from yolox_core.evaluation.collect import METRICS, coco_metrics
from yolox_core.evaluation.detections import Detections, concatenate
from yolox_core.streaming.forecast import forecast
from yolox_core.streaming.pairing import answers, paired, staleness
from yolox_core.streaming.stream import Outputs, SimulatedClock, greedy, play, shrinking_tail

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "streaming_toolkit.json").read_text())
FPS = FIXTURE["fps"]
CASES = [pytest.param(case, id=f"{case['name']}-{case['dynamic']}") for case in FIXTURE["cases"]]


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("toolkit") / "val.json"
    file.write_text(json.dumps(FIXTURE["annotations"]))
    return file


def all_detections() -> Detections:
    rows = np.array(FIXTURE["detections"])
    ids = rows[:, :2].astype(np.int64)
    return Detections(ids[:, 0], ids[:, 1], rows[:, 2:6], rows[:, 6])


def videos() -> list[np.ndarray]:
    images = FIXTURE["annotations"]["images"]
    return [np.array([i["id"] for i in images if i["sid"] == number], np.int64) for number in range(2)]


def outputs(sequence: dict[str, Any]) -> Outputs:
    return Outputs(np.array(sequence["timestamps"]), np.array(sequence["input_fidx"], np.int64))


def close(figures: dict[str, float | None], theirs: list[float]) -> None:
    for name, value in zip(METRICS, theirs, strict=True):
        assert figures[name] == (None if value == -1 else pytest.approx(100 * value, abs=1e-9)), name


@pytest.mark.parametrize("case", CASES)
def test_streaming_figures(case: dict[str, Any], annotations: Path) -> None:
    answered = [
        answers(outputs(s), len(ids), FPS) for s, ids in zip(case["sequences"], videos(), strict=True)
    ]
    close(coco_metrics(annotations, paired(all_detections(), videos(), answered)), case["streaming"])
    found, theirs = staleness(answered), case["assoc"]
    assert (found.missed, found.in_time) == (theirs["miss"], theirs["in_time"])
    assert found.mean_age == pytest.approx(theirs["mismatch"] / (found.frames - found.missed))


@pytest.mark.parametrize("case", CASES)
def test_forecast_figures(case: dict[str, Any], annotations: Path) -> None:
    """Theirs are computed in float32; no figure moves by it."""
    parts = [
        forecast(all_detections(), ids, np.tile([120, 160], (len(ids), 1)), outputs(s), FPS)
        for s, ids in zip(case["sequences"], videos(), strict=True)
    ]
    close(coco_metrics(annotations, concatenate(parts)), case["forecast"])


@pytest.mark.parametrize("case", CASES)
def test_schedules(case: dict[str, Any]) -> None:
    """The same frames at the same times, when their draws are replayed.

    A drawn latency of an output that was lost at the end is not on record; any that ends as late will do.
    """
    mean = float(np.mean(case["samples"])) * FPS
    for sequence, ids in zip(case["sequences"], videos(), strict=True):
        clock, drawn = SimulatedClock(), iter(sequence["runtime"])

        def work(frame: int, clock: SimulatedClock = clock, drawn: Any = drawn) -> None:
            clock.spend(next(drawn, 1e9))

        out = play(len(ids), FPS, clock, work, shrinking_tail(mean) if case["dynamic"] else greedy)
        assert out.frames.tolist() == sequence["input_fidx"]
        assert out.finished.tolist() == sequence["timestamps"]


def test_the_fixture_tells_latency_and_schedule_and_forecast_apart() -> None:
    """Else agreement would say little."""
    figures = {case["streaming"][0] for case in FIXTURE["cases"]}
    figures |= {case["forecast"][0] for case in FIXTURE["cases"]} | {FIXTURE["offline"][0]}
    assert len(figures) == 2 * len(FIXTURE["cases"]) + 1
