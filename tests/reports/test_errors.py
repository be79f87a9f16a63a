"""What is wrong with detections, and what AP gains without it: by hand, and what always holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.images.bootstrap import average_precision
from reports.images.errors import (
    BACKGROUND,
    BOTH,
    CLASSIFICATION,
    DUPLICATE,
    ERRORS,
    LOCALISATION,
    MISSED,
    ErrorSplit,
    error_split,
    judge_detections,
)
from reports.images.matches import match_images
from tests.reports.test_image_bootstrap_matching import found, random_case, truth

BOX, ELSEWHERE = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 10.0, 10.0]
#: IoU with BOX: 40 / 160 = 0.25, and 20 / 180 = 0.11.
LOW = [0.0, 6.0, 10.0, 10.0]
#: AP of a run that finds the first of two objects and then nothing: 51 of 101 recall points.
HALF = 100 * 51 / 101


def split(ground_truth: dict[str, Any], *rows: tuple[int, int, list[float], float]) -> ErrorSplit:
    return error_split(judge_detections(ground_truth, found(*rows)))


def one_object(*others: tuple[int, int, list[float], int]) -> dict[str, Any]:
    return truth((1, 10, BOX, 0), *others, images=1)


def nothing_but(**expected: float) -> Any:
    return pytest.approx(dict.fromkeys(ERRORS, 0.0) | expected, abs=1e-9)


# --- one kind after the other ----------------------------------------------------------------------------


def test_right_box_wrong_category() -> None:
    """Category 10 is never found; 20 has a false alarm before its hit: 50. Renamed, both are perfect."""
    result = split(one_object((1, 20, ELSEWHERE, 0)), (1, 20, BOX, 0.9), (1, 20, ELSEWHERE, 0.8))
    assert result.ap == pytest.approx(25)
    assert result.gained == nothing_but(classification=75)
    assert result.counts == {error: int(error == CLASSIFICATION) for error in ERRORS}


def test_right_category_wrong_box() -> None:
    result = split(one_object(), (1, 10, LOW, 0.9))
    assert result.ap == 0
    assert result.gained == nothing_but(localisation=100)
    assert result.counts[MISSED] == 0, "moving the box would find the object"


def test_wrong_category_and_wrong_box() -> None:
    """It can find nothing, so fixing it takes it away; it stood before the hit of category 20."""
    result = split(
        one_object((1, 20, ELSEWHERE, 0)), (1, 20, LOW, 0.9), (1, 20, ELSEWHERE, 0.8), (1, 10, BOX, 0.7)
    )
    assert result.ap == pytest.approx(75)
    assert result.gained == nothing_but(both=25)


def test_an_object_found_twice() -> None:
    """Hit, false, hit: precision 1 up to half of the recall, then 2/3."""
    ground_truth = truth((1, 10, BOX, 0), (2, 10, BOX, 0))
    result = split(ground_truth, (1, 10, BOX, 0.9), (1, 10, [0, 0, 10, 9], 0.8), (2, 10, BOX, 0.7))
    assert result.ap == pytest.approx(100 * (51 + 50 * 2 / 3) / 101)
    assert result.gained == nothing_but(duplicate=100 - result.ap)


@pytest.mark.parametrize("where", [(1, ELSEWHERE), (2, BOX)])
def test_a_false_alarm(where: tuple[int, list[float]]) -> None:
    """Beside the objects of its image, or on an image without any."""
    image, box = where
    result = split(truth((1, 10, BOX, 0)), (image, 10, box, 0.9), (1, 10, BOX, 0.8))
    assert result.ap == pytest.approx(50)
    assert result.gained == nothing_but(background=50)


def test_an_object_not_found() -> None:
    ground_truth = truth((1, 10, BOX, 0), (2, 10, BOX, 0))
    result = split(ground_truth, (1, 10, BOX, 0.9))
    assert result.ap == pytest.approx(HALF)
    assert result.gained == nothing_but(missed=100 - HALF)
    assert result.counts[MISSED] == 1


def test_nothing_found_is_all_missed() -> None:
    assert split(one_object()).gained == nothing_but(missed=100)


def test_nothing_wrong() -> None:
    result = split(one_object(), (1, 10, BOX, 0.9))
    assert (result.ap, result.gained) == (pytest.approx(100), nothing_but())


# --- where several hold ----------------------------------------------------------------------------------


def test_only_the_best_wrong_detection_of_an_object_is_put_right() -> None:
    """Two badly placed: the second is taken away, not put right as well."""
    result = split(one_object(), (1, 10, LOW, 0.9), (1, 10, LOW, 0.8))
    assert result.gained == nothing_but(localisation=100)
    assert result.counts[LOCALISATION] == 2


def test_the_best_wrong_detection_is_chosen_among_boxes_and_categories_together() -> None:
    """The badly placed one comes first; a right category for the other finds nothing new."""
    ground_truth = one_object((1, 20, ELSEWHERE, 0))
    rows = (1, 10, LOW, 0.9), (1, 20, BOX, 0.8), (1, 20, ELSEWHERE, 0.95)
    result = split(ground_truth, *rows)
    assert result.ap == pytest.approx(50)
    assert result.gained == nothing_but(localisation=50)
    assert result.counts[CLASSIFICATION] == 1


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ((1, 10, LOW, 0.9), LOCALISATION),  # the object was found by another: taken away
        ((1, 20, BOX, 0.9), CLASSIFICATION),
        ((1, 10, [0, 0, 10, 5], 0.5), LOCALISATION),  # IoU 0.5 with a found object: not a duplicate yet
        ((1, 10, [0, 0, 10, 5.1], 0.5), DUPLICATE),
        ((1, 10, [0, 0, 1, 10], 0.5), LOCALISATION),  # IoU 0.1
        ((1, 20, [0, 0, 1, 10], 0.5), BACKGROUND),
        ((1, 20, LOW, 0.9), BOTH),
        ((1, 10, ELSEWHERE, 0.9), BACKGROUND),
    ],
)
def test_thresholds_beside_an_object_that_was_found(
    row: tuple[int, int, list[float], float], error: str
) -> None:
    counts = split(one_object(), (1, 10, BOX, 0.99), row).counts
    assert counts == {each: int(each == error) for each in ERRORS}


@pytest.mark.parametrize(
    ("other", "error"),
    [(LOW, LOCALISATION), ([0.0, 1.0, 10.0, 10.0], CLASSIFICATION)],
    ids=["localisation before classification", "classification before duplicate"],
)
def test_which_kind_comes_first(other: list[float], error: str) -> None:
    """Both objects were found; one more detection of category 10 lies exactly on that of category 20, which
    its own overlaps with IoU 0.25 or 0.82.
    """
    both = (1, 10, BOX, 0.99), (1, 20, other, 0.98)
    counts = split(one_object((1, 20, other, 0)), *both, (1, 10, other, 0.5)).counts
    assert counts == {each: int(each == error) for each in ERRORS}


def test_errors_overlap_so_gains_need_not_sum_to_what_is_missing() -> None:
    """A false alarm before a badly placed box: 100 is missing, 50 is gained by the box, none by the other."""
    result = split(one_object(), (1, 10, ELSEWHERE, 0.9), (1, 10, LOW, 0.8))
    assert result.ap == 0
    assert result.gained == nothing_but(localisation=50)
    assert result.counts[BACKGROUND] == 1


# --- crowds, detections that count, categories -----------------------------------------------------------


def test_what_lies_on_a_crowd_counts_only_once_it_is_put_right() -> None:
    """It is no false alarm; but it also is the badly placed detection of an object."""
    crowd = (1, 10, [0.0, 0.0, 100.0, 100.0], 1)
    assert split(one_object(crowd), (1, 10, ELSEWHERE, 0.9), (1, 10, BOX, 0.8)).ap == pytest.approx(100)
    assert split(one_object(crowd), (1, 10, LOW, 0.9)).gained == nothing_but(localisation=100)


def test_the_best_detections_of_an_image_count_whatever_their_category() -> None:
    ground_truth = one_object((1, 20, ELSEWHERE, 0))
    rows = found((1, 20, ELSEWHERE, 0.9), (1, 10, BOX, 0.8))
    assert error_split(judge_detections(ground_truth, rows, max_detections=1)).counts[MISSED] == 1
    assert error_split(judge_detections(ground_truth, rows, max_detections=2)).counts[MISSED] == 0


def test_a_category_without_objects_does_not_count_unless_told() -> None:
    judged = judge_detections(one_object(), found((1, 10, BOX, 0.9), (1, 20, ELSEWHERE, 0.8)))
    assert error_split(judged).gained == nothing_but()
    assert error_split(judged, every_category=True).ap == pytest.approx(50)


def test_a_category_of_which_every_object_was_missed_drops_out_once_they_are_not_asked_for() -> None:
    judged = judge_detections(
        one_object((1, 20, ELSEWHERE, 0)), found((1, 10, BOX, 0.9), (1, 20, [90, 90, 9, 9], 0.8))
    )
    assert error_split(judged).gained == nothing_but(missed=50)
    assert error_split(judged, every_category=True).gained == nothing_but(background=0, missed=0)


def test_detections_of_another_dataset_are_refused() -> None:
    with pytest.raises(ValueError, match="another split or dataset"):
        judge_detections(one_object(), found((1, 99, BOX, 0.5)))


# --- always ----------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 3]))
def test_fixing_never_costs_ap_and_everything_is_accounted_for(seed: int, levels: int) -> None:
    ground_truth, rows = random_case(np.random.default_rng(seed), levels=levels)
    judged = judge_detections(ground_truth, rows)
    result = error_split(judged)
    assert min(result.gained.values()) >= -1e-9
    assert max(result.gained.values()) <= 100 - result.ap + 1e-9
    hits = int(np.count_nonzero(judged.kinds == 0))
    wrong = sum(number for error, number in result.counts.items() if error != MISSED)
    assert hits + wrong == len(rows), "each detection is right or wrong in one way"
    put_right = int(np.count_nonzero(judged.finds >= 0))
    objects = sum(not row["iscrowd"] for row in ground_truth["annotations"])
    assert hits + put_right + result.counts[MISSED] == objects, (
        "each object is found, nearly found, or missed"
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_ap_is_that_of_the_report_where_no_image_has_too_many_detections(seed: int) -> None:
    ground_truth, rows = random_case(np.random.default_rng(seed))
    ap50 = average_precision(match_images(ground_truth, rows))[0, 0]
    assert split(ground_truth, *(tuple(row.values()) for row in rows)).ap == pytest.approx(ap50)  # type: ignore[misc]
