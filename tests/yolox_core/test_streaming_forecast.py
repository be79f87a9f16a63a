"""The Kalman filter that forecasts boxes: hand-worked steps, and motions that it must follow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolox_core.evaluation.detections import Detections
from yolox_core.streaming.forecast import (
    KalmanSettings,
    associate,
    forecast,
    inside,
    new_tracks,
    pairwise_iou_xywh,
    predict,
    step,
    update,
)
from yolox_core.streaming.stream import Outputs

SETTINGS = KalmanSettings()


def detections(boxes: list[tuple[float, ...]], labels: list[int], scores: list[float]) -> Detections:
    ids = np.zeros(len(boxes), np.int64)
    return Detections(
        ids, np.array(labels, np.int64), np.array(boxes, float).reshape(-1, 4), np.array(scores, float)
    )


def test_a_new_track_rests_where_it_was_seen() -> None:
    tracks = new_tracks(detections([(1, 2, 30, 40)], [7], [0.5]), SETTINGS)
    assert tracks.state.tolist() == [[1, 2, 30, 40, 0, 0, 0, 0]]
    assert tracks.covariance.tolist() == [(100 * np.eye(8)).tolist()]


def test_one_step_of_the_filter_by_hand() -> None:
    """One coordinate: variances 100 and 100, unrelated. After a frame position has 100 + 100 + 1 = 201,
    velocity 101, together 100. Seen 10 px further: S = 211, gains 201/211 and 100/211.
    """
    tracks = predict(new_tracks(detections([(0, 0, 30, 40)], [1], [0.5]), SETTINGS), 1, SETTINGS)
    assert tracks.covariance[0, [0, 0, 4], [0, 4, 4]].tolist() == [201, 100, 101]
    after = update(tracks, np.array([[10.0, 0, 30, 40]]), SETTINGS)
    expected = [10 * 201 / 211, 0, 30, 40, 10 * 100 / 211, 0, 0, 0]
    assert after.state[0] == pytest.approx(np.array(expected))
    variances = [201 - 201 * 201 / 211, 100 - 100 * 201 / 211, 101 - 100 * 100 / 211]
    assert after.covariance[0, [0, 0, 4], [0, 4, 4]] == pytest.approx(np.array(variances))
    assert after.boxes(2)[0, 0] == pytest.approx(10 * (201 + 2 * 100) / 211)


def test_uncertainty_grows_with_the_square_of_the_frames_between_outputs() -> None:
    tracks = predict(new_tracks(detections([(0, 0, 30, 40)], [1], [0.5]), SETTINGS), 3, SETTINGS)
    assert tracks.covariance[0, 0, 0] == 100 + 9 * 100 + 9
    assert tracks.covariance[0, 4, 4] == 100 + 9


def test_a_detection_continues_the_track_of_its_category_that_it_overlaps_most() -> None:
    tracks = new_tracks(
        detections([(0, 0, 10, 10), (2, 0, 10, 10), (50, 50, 10, 10)], [1, 1, 2], [0.9] * 3), SETTINGS
    )
    seen = detections(
        [(1.5, 0, 10, 10), (2, 0, 10, 10), (50, 50, 10, 10), (9, 9, 10, 10)], [1] * 4, [0.9] * 4
    )
    # The first takes track 1, the second what is left; the third's only overlap is of another category.
    assert associate(tracks, seen, 0.3).tolist() == [1, 0, -1, -1]


def test_an_overlap_of_exactly_the_limit_is_enough() -> None:
    """10 px wide, moved by 5: 50 of 150."""
    tracks = new_tracks(detections([(0, 0, 10, 10)], [1], [0.9]), SETTINGS)
    moved = detections([(5, 0, 10, 10)], [1], [0.9])
    assert associate(tracks, moved, 50 / 150).tolist() == [0]
    assert associate(tracks, moved, 0.34).tolist() == [-1]


def test_what_is_not_seen_again_is_forgotten_and_what_is_new_rests() -> None:
    tracks = new_tracks(detections([(0, 0, 10, 10), (50, 50, 10, 10)], [1, 1], [0.9, 0.8]), SETTINGS)
    after = step(tracks, 1, detections([(80, 0, 10, 10), (1, 0, 10, 10)], [3, 1], [0.2, 0.6]), SETTINGS)
    assert after.categories.tolist() == [1, 3]
    assert after.scores.tolist() == [0.6, 0.2]
    assert after.state[0, 4] > 0
    assert after.state[1].tolist() == [80, 0, 10, 10, 0, 0, 0, 0]
    assert len(step(after, 1, detections([], [], []), SETTINGS)) == 0


def straight(
    count: int, velocity: np.ndarray, start: np.ndarray
) -> tuple[Detections, np.ndarray, np.ndarray]:
    boxes = start + np.arange(count)[:, None] * velocity
    ids = np.arange(100, 100 + count)
    ones = np.ones(count)
    return Detections(ids, ones.astype(np.int64), boxes, 0.9 * ones), ids, np.tile([400, 400], (count, 1))


def stream(taken: list[int], late: float) -> Outputs:
    """Outputs of these frames, each ``late`` frames after it came, at one frame per second."""
    return Outputs(np.array(taken) + late, np.array(taken, np.int64))


@given(
    velocity=st.tuples(*[st.floats(-2, 2)] * 4),
    every=st.integers(1, 3),
    late=st.floats(0.1, 2.5),
)
def test_a_straight_motion_seen_without_error_is_followed_exactly(
    velocity: tuple[float, ...], every: int, late: float
) -> None:
    """With a filter that trusts what it sees and a motion that does not drift, from the third output on: the
    second shares what it saw between place and velocity.
    """
    certain = KalmanSettings(measured=1e-9, drift=0.0, smallest=0, match_iou=0.01)
    found, ids, sizes = straight(24, np.array(velocity), np.array([150.0, 160.0, 90.0, 100.0]))
    out = stream(list(range(0, 24, every)), late)
    ahead = forecast(found, ids, sizes, out, 1, certain)
    settled = ids >= 100 + np.ceil(2 * every + late)
    truth = dict(zip(ids.tolist(), found.boxes_xywh, strict=True))
    forecasts = {int(i): box for i, box in zip(ahead.image_ids, ahead.boxes_xywh, strict=True)}
    for image in ids[settled].tolist():
        assert forecasts[image] == pytest.approx(truth[image], abs=1e-5)


def test_the_usual_settings_settle_on_a_straight_motion() -> None:
    found, ids, sizes = straight(40, np.array([3.0, -2.0, 0.5, 0.25]), np.array([50.0, 200.0, 60.0, 50.0]))
    ahead = forecast(found, ids, sizes, stream(list(range(40)), 0.5), 1)
    error = np.abs(ahead.boxes_xywh - found.boxes_xywh[1:]).max(axis=1)
    assert error[0] == pytest.approx(3.0)  # one output: at rest still
    assert error[5:].max() < 0.1
    assert error[-1] < 1e-6


def test_before_the_first_output_there_is_nothing_and_without_outputs_nothing_at_all() -> None:
    found, ids, sizes = straight(4, np.zeros(4), np.array([10.0, 10.0, 50.0, 50.0]))
    assert forecast(found, ids, sizes, stream([0], 1.5), 1).image_ids.tolist() == [102, 103]
    assert len(forecast(found, ids, sizes, stream([], 0.0), 1)) == 0


def test_boxes_are_cut_to_the_image_and_small_ones_left_out() -> None:
    boxes = np.array(
        [[-5.0, 2, 15, 10], [95, 2, 15, 10], [200, 0, 20, 20], [10, 10, -3, 30], [10, 10, 9.9, 7]]
    )
    cut, kept = inside(boxes, 50, 100, 70)
    assert cut.tolist() == [[0, 2, 10, 10]]
    assert kept.tolist() == [True, False, False, False, False]
    assert inside(boxes, 50, 100)[1].tolist() == [True, True, False, False, True]


def test_overlap_of_boxes_without_area_is_none() -> None:
    first = np.array([[0.0, 0, 10, 10], [0, 0, 0, 10], [5, 5, -3, 4]])
    second = np.array([[5.0, 0, 10, 10], [0, 0, 0, 0]])
    assert pairwise_iou_xywh(first, second) == pytest.approx(np.array([[50 / 150, 0], [0, 0], [0, 0]]))
