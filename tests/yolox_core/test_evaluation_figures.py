"""COCO figures: cases worked by hand, for both engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.yolox_core.annotations import annotation, detections, write
from yolox_core.evaluation.coco_engines import METRICS
from yolox_core.evaluation.coco_ground_truth import load_ground_truth
from yolox_core.evaluation.collect import coco_metrics
from yolox_core.evaluation.detections import Detections

ENGINES = ("pycocotools", "native")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


class TestByHand:
    def test_a_perfect_detection_scores_100_where_its_size_is_asked_for(
        self, tmp_path: Path, engine: str
    ) -> None:
        file = write(tmp_path / "a.json", [annotation(1, 1, [10, 10, 50, 50])])
        found = coco_metrics(file, detections((1, 1, [10, 10, 50, 50], 0.9)), engine=engine)
        whole = {name: pytest.approx(100.0) for name in METRICS}
        assert found == whole | {"APs": None, "APl": None, "ARs": None, "ARl": None}

    def test_iou_decides_at_how_many_thresholds_a_detection_counts(self, tmp_path: Path, engine: str) -> None:
        # 100 × 72 inside 100 × 100: IoU 0.72, right at 0.50, 0.55, 0.60, 0.65 and 0.70, that is 5 of 10
        file = write(tmp_path / "a.json", [annotation(1, 1, [0, 0, 100, 100])])
        found = coco_metrics(file, detections((1, 1, [0, 0, 100, 72], 0.9)), engine=engine)
        assert found["AP"] == pytest.approx(50.0)
        assert found["AP50"] == pytest.approx(100.0)
        assert found["AP75"] == 0.0
        assert found["AR100"] == pytest.approx(50.0)

    def test_a_better_scored_mistake_halves_the_precision(self, tmp_path: Path, engine: str) -> None:
        file = write(tmp_path / "a.json", [annotation(1, 1, [0, 0, 50, 50])])
        right, wrong = (1, 1, [0, 0, 50, 50], 0.5), (1, 1, [200, 200, 50, 50], 0.9)
        assert coco_metrics(file, detections(right, wrong), engine=engine)["AP"] == pytest.approx(50.0)

    def test_half_of_the_objects_found_gives_the_recalls_up_to_one_half(
        self, tmp_path: Path, engine: str
    ) -> None:
        # 101 recall levels, 0.00 … 0.50 are reached: 51 of them
        file = write(tmp_path / "a.json", [annotation(i, 1, [60 * i, 0, 50, 50]) for i in (1, 2)])
        found = coco_metrics(file, detections((1, 1, [60, 0, 50, 50], 0.9)), engine=engine)
        assert found["AP"] == pytest.approx(100 * 51 / 101)
        assert found["AR100"] == pytest.approx(50.0)

    def test_a_second_hit_on_the_same_object_is_a_mistake(self, tmp_path: Path, engine: str) -> None:
        file = write(tmp_path / "a.json", [annotation(i, 1, [60 * i, 0, 50, 50]) for i in (1, 2)])
        rows = [(1, 1, [60, 0, 50, 50], 0.9), (1, 1, [60, 0, 50, 50], 0.8), (1, 1, [120, 0, 50, 50], 0.7)]
        # precision 1 up to recall 0.5 (51 levels), then 2/3 (50 levels)
        expected = 100 * (51 + 50 * 2 / 3) / 101
        assert coco_metrics(file, detections(*rows), engine=engine)["AP"] == pytest.approx(expected)

    def test_detections_in_a_crowd_are_neither_right_nor_wrong(self, tmp_path: Path, engine: str) -> None:
        crowd = annotation(2, 1, [200, 0, 200, 200], crowd=1)
        file = write(tmp_path / "a.json", [annotation(1, 1, [0, 0, 50, 50]), crowd])
        inside = [(1, 1, [210.0 + 20 * i, 10, 20, 20], 0.95) for i in range(5)]
        found = coco_metrics(file, detections((1, 1, [0, 0, 50, 50], 0.5), *inside), engine=engine)
        assert found["AP"] == pytest.approx(100.0)

    def test_ar1_sees_only_the_best_detection_of_an_image(self, tmp_path: Path, engine: str) -> None:
        file = write(tmp_path / "a.json", [annotation(i, 1, [60 * i, 0, 50, 50]) for i in (1, 2)])
        rows = [(1, 1, [60 * i, 0, 50, 50], 0.9 - i / 10) for i in (1, 2)]
        found = coco_metrics(file, detections(*rows), engine=engine)
        assert found["AR1"] == pytest.approx(50.0)
        assert found["AR10"] == pytest.approx(100.0)

    def test_only_100_detections_of_an_image_and_category_count(self, tmp_path: Path, engine: str) -> None:
        file = write(tmp_path / "a.json", [annotation(1, 1, [0, 0, 50, 50])])
        wrong = [(1, 1, [300, 300, 10, 10], 0.9)] * 100
        found = coco_metrics(file, detections(*wrong, (1, 1, [0, 0, 50, 50], 0.5)), engine=engine)
        assert found["AR100"] == found["AP"] == 0.0
        found = coco_metrics(file, detections(*wrong[1:], (1, 1, [0, 0, 50, 50], 0.5)), engine=engine)
        assert found["AR100"] == pytest.approx(100.0)

    def test_an_iou_on_the_threshold_is_enough(self, tmp_path: Path, engine: str) -> None:
        # 100 × 50 inside 100 × 100: IoU exactly 0.5, right at one threshold of ten
        file = write(tmp_path / "a.json", [annotation(1, 1, [0, 0, 100, 100])])
        found = coco_metrics(file, detections((1, 1, [0, 0, 100, 50], 0.9)), engine=engine)
        assert found["AP"] == pytest.approx(10.0)

    def test_of_two_objects_alike_the_later_in_the_file_is_taken(self, tmp_path: Path, engine: str) -> None:
        # The first detection overlaps both objects by 5/7, the second is the first object. Up to 0.70 both
        # are found because the first detection leaves the first object; above only the second detection is
        # right: (5 × 1 + 5 × 1/2) / 10.
        objects = [annotation(1, 1, [0, 0, 60, 60]), annotation(2, 1, [20, 0, 60, 60])]
        rows = detections((1, 1, [10, 0, 60, 60], 0.9), (1, 1, [0, 0, 60, 60], 0.8))
        file = write(tmp_path / "a.json", objects)
        assert coco_metrics(file, rows, engine=engine)["AR100"] == pytest.approx(75.0)

    def test_an_object_goes_before_a_crowd_that_overlaps_more(self, tmp_path: Path, engine: str) -> None:
        objects = [annotation(1, 1, [0, 0, 100, 100]), annotation(2, 1, [0, 0, 200, 200], crowd=1)]
        file = write(tmp_path / "a.json", objects)
        found = coco_metrics(file, detections((1, 1, [0, 0, 100, 60], 0.9)), engine=engine)
        assert found["AP50"] == pytest.approx(100.0)

    def test_a_mistake_on_the_border_of_two_sizes_counts_in_both(self, tmp_path: Path, engine: str) -> None:
        # 32 × 32 is small and medium
        objects = [annotation(1, 1, [0, 0, 20, 20]), annotation(2, 1, [0, 100, 50, 50])]
        rows = [(1, 1, [0, 0, 20, 20], 0.5), (1, 1, [0, 100, 50, 50], 0.4), (1, 1, [300, 300, 32, 32], 0.9)]
        found = coco_metrics(write(tmp_path / "a.json", objects), detections(*rows), engine=engine)
        assert found["APs"] == pytest.approx(50.0)
        assert found["APm"] == pytest.approx(50.0)

    def test_boxes_without_width_find_nothing(self, tmp_path: Path, engine: str) -> None:
        # their IoU would be 0 / 0
        file = write(tmp_path / "a.json", [annotation(1, 1, [10, 0, 0, 50])])
        assert coco_metrics(file, detections((1, 1, [10, 0, 0, 50], 0.5)), engine=engine)["AP"] == 0.0

    def test_a_score_that_is_no_number_comes_last(self, tmp_path: Path, engine: str) -> None:
        file = write(tmp_path / "a.json", [annotation(1, 1, [0, 0, 50, 50])])
        rows = [(1, 1, [0, 0, 50, 50], float("nan")), (1, 1, [200, 0, 50, 50], 0.1)]
        assert coco_metrics(file, detections(*rows), engine=engine)["AP"] == pytest.approx(50.0)

    def test_a_category_without_objects_has_no_say(self, tmp_path: Path, engine: str) -> None:
        file = write(tmp_path / "a.json", [annotation(1, 1, [0, 0, 50, 50])], categories=(1, 7))
        rows = [(1, 1, [0, 0, 50, 50], 0.9), (1, 7, [0, 0, 50, 50], 0.9), (1, 99, [0, 0, 50, 50], 0.9)]
        assert coco_metrics(file, detections(*rows), engine=engine)["AP"] == pytest.approx(100.0)

    def test_a_mistake_on_an_image_without_annotations_counts(self, tmp_path: Path, engine: str) -> None:
        file = write(tmp_path / "a.json", [annotation(1, 1, [0, 0, 50, 50])], images=(1, 2))
        rows = detections((1, 1, [0, 0, 50, 50], 0.5), (2, 1, [0, 0, 50, 50], 0.9))
        assert coco_metrics(file, rows, engine=engine)["AP"] == pytest.approx(50.0)
        assert coco_metrics(file, rows, image_ids=[1], engine=engine)["AP"] == pytest.approx(100.0)

    def test_no_detection_at_all_is_0_and_no_object_at_all_is_undefined(
        self, tmp_path: Path, engine: str
    ) -> None:
        file = write(tmp_path / "a.json", [annotation(1, 1, [0, 0, 50, 50])])
        assert coco_metrics(file, Detections.empty(), engine=engine)["AP"] == 0.0
        file = write(tmp_path / "b.json", [])
        found = coco_metrics(file, detections((1, 1, [0, 0, 50, 50], 0.5)), engine=engine)
        assert found == dict.fromkeys(METRICS)

    def test_missing_area_and_iscrowd_are_filled_in(self, tmp_path: Path, engine: str) -> None:
        bare = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 50, 50]}
        file = write(tmp_path / "a.json", [bare])
        found = coco_metrics(file, detections((1, 1, [0, 0, 50, 50], 0.5)), engine=engine)
        assert found["APm"] == pytest.approx(100.0)


class TestErrors:
    def test_detections_on_an_unknown_image(self, tmp_path: Path, engine: str) -> None:
        file = write(tmp_path / "a.json", [])
        with pytest.raises(ValueError, match="detections are on image 5"):
            coco_metrics(file, detections((5, 1, [0, 0, 1, 1], 0.5)), engine=engine)

    def test_unknown_image_to_evaluate(self, tmp_path: Path, engine: str) -> None:
        with pytest.raises(ValueError, match="image_ids names image 9"):
            coco_metrics(write(tmp_path / "a.json", []), Detections.empty(), image_ids=[9], engine=engine)

    def test_unknown_engine(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="auto, native, pycocotools"):
            coco_metrics(write(tmp_path / "a.json", []), Detections.empty(), engine="fast")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "not valid JSON"),
            ("[]", "no annotations, categories, images"),
            ('{"images": []}', "no annotations"),
        ],
    )
    def test_files_that_are_no_annotations(
        self, tmp_path: Path, engine: str, text: str, message: str
    ) -> None:
        file = tmp_path / "a.json"
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            coco_metrics(file, Detections.empty(), engine=engine)

    def test_an_annotation_without_box(self, tmp_path: Path, engine: str) -> None:
        file = write(tmp_path / "a.json", [{"id": 3, "image_id": 1, "category_id": 1}])
        with pytest.raises(ValueError, match="annotation 3 has no bbox"):
            coco_metrics(file, Detections.empty(), engine=engine)

    def test_annotations_without_ids_are_numbered(self, tmp_path: Path, engine: str) -> None:
        objects = [annotation(1, 1, [0, 0, 50, 50]), annotation(2, 1, [60, 60, 20, 20])]
        for item in objects:
            del item["id"]
        file = write(tmp_path / "a.json", objects)
        rows = [(1, 1, [0, 0, 50, 50], 0.5), (1, 1, [60, 60, 20, 20], 0.5)]
        assert coco_metrics(file, detections(*rows), engine=engine)["AP"] == pytest.approx(100)

    def test_ids_that_count_from_0_lose_no_object(self, tmp_path: Path, engine: str) -> None:
        file = write(tmp_path / "a.json", [annotation(0, 1, [0, 0, 50, 50])])
        found = coco_metrics(file, detections((1, 1, [0, 0, 50, 50], 0.5)), engine=engine)
        assert found["AP"] == pytest.approx(100)

    def test_what_pycocotools_printed_is_in_the_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def broken(self: object) -> None:
            print("on the way")
            raise RuntimeError("no such luck")

        monkeypatch.setattr("pycocotools.cocoeval.COCOeval.evaluate", broken)
        with pytest.raises(RuntimeError, match="no such luck") as caught:
            coco_metrics(write(tmp_path / "a.json", []), Detections.empty(), engine="pycocotools")
        assert "on the way" in "".join(caught.value.__notes__)
        assert capsys.readouterr().out == ""


def test_a_changed_annotation_file_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path / "a.json", [annotation(1, 1, [0, 0, 50, 50])])
    assert load_ground_truth(file) is load_ground_truth(file)
    assert len(load_ground_truth(file).areas) == 1
    write(file, [annotation(1, 1, [0, 0, 50, 50]), annotation(2, 1, [0, 0, 50, 50])])
    assert len(load_ground_truth(file).areas) == 2
