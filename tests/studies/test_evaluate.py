"""python -m studies.evaluate, on made-up data and, where they are at hand, on real images and weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from roadmap.protocols import DEMO
from roadmap.recipe import DatasetConfig, Recipe, to_json
from roadmap.record import write_json
from roadmap.stages import ingredients_at
from studies.evaluate import LABELS, main
from yolox_core.build import build_detector
from yolox_core.config import MODELS, YOLOX_INGREDIENTS, Ingredients, ModelConfig
from yolox_core.deploy.weights import save_official
from yolox_core.evaluation.collect import METRICS, coco_metrics
from yolox_core.evaluation.detections import Detections
from yolox_core.evaluation.submission import check_submission

NANO = replace(MODELS["yolox-nano"], num_classes=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three noisy images with one object each, two categories, in COCO's layout."""
    root = tmp_path_factory.mktemp("data")
    for split in ("train2017", "val2017"):
        (root / split).mkdir()
        (root / "annotations").mkdir(exist_ok=True)
        rng = np.random.default_rng(1)
        images, annotations = [], []
        for number in range(1, 4):
            name = f"{number:012d}.png"
            cv2.imwrite(str(root / split / name), rng.integers(0, 256, (60, 80, 3), np.uint8))
            images.append({"id": number, "file_name": name, "height": 60, "width": 80})
            annotations.append(
                {
                    "id": number,
                    "image_id": number,
                    "category_id": (7, 9)[number % 2],
                    "bbox": [10, 10, 30, 20],
                    "area": 600,
                    "iscrowd": 0,
                }
            )
        categories = [{"id": 7, "name": "cup"}, {"id": 9, "name": "fork"}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def checkpoint(path: Path, model: ModelConfig = NANO, ingredients: Ingredients = YOLOX_INGREDIENTS) -> Path:
    torch.manual_seed(0)
    save_official(build_detector(model, ingredients), path)
    return path


def arguments(data: Path, weights: Path, *more: str) -> list[str]:
    given = ["--model", "yolox-nano", "--weights", str(weights), "--data", str(data)]
    return [*given, "--image-size", "64", "--device", "cpu", *more]


def test_json_has_the_settings_and_the_twelve_figures(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, detections = checkpoint(tmp_path / "nano.pth"), tmp_path / "detections.json"
    more = ["--json", "--confidence", "0", "--split", "train2017", "--detections", str(detections)]
    assert main(arguments(data, weights, *more)) == 0
    report = json.loads(capsys.readouterr().out)
    assert tuple(report["metrics"]) == METRICS == tuple(LABELS)
    assert report["images"] == 3
    assert report["split"] == "train2017"
    assert report["confidence"] == 0
    assert report["nms_iou"] == 0.65
    assert report["image_size"] == 64
    found = Detections.from_coco_results(json.loads(detections.read_text()))
    assert len(found) == report["detections"] > 0
    assert set(found.category_ids.tolist()) <= {7, 9}
    file = data / "annotations" / "instances_train2017.json"
    assert coco_metrics(file, found) == report["metrics"]


def test_text_names_the_figures_in_percent(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(data, checkpoint(tmp_path / "nano.pth"))) == 0
    text = capsys.readouterr().out
    assert "yolox-nano on val2017" in text
    assert "3 images, 64 px, confidence 0.001, NMS IoU 0.65" in text
    for label in LABELS.values():
        assert label in text
    assert "undefined" in text  # no small and no large objects here


def test_a_stage_of_the_roadmap(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Full size, as the paper's figures are."""
    model = replace(MODELS["yolox-darknet53"], num_classes=2)
    weights = checkpoint(tmp_path / "stage.pth", model, ingredients_at("baseline"))
    given = ["--stage", "baseline", "--weights", str(weights), "--data", str(data), "--image-size", "32"]
    assert main([*given, "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "baseline"


def test_a_run_brings_its_model_size_weights_and_data(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = DatasetConfig("made-up", "0", 2, 3, 3)
    training = replace(DEMO.training, image_size=96)
    ingredients = ingredients_at("nms-free")
    recipe = Recipe("demo", replace(NANO, name="tiny"), ingredients, training, dataset)
    folder = tmp_path / "runs" / "roadmap" / "nms-free-s0-00000000"
    (folder / "checkpoints").mkdir(parents=True)
    write_json(folder / "recipe.json", {"recipe": to_json(recipe)})
    assert main(["--run", str(folder)]) == 1
    assert "best.pt is missing" in capsys.readouterr().err
    checkpoint(folder / "checkpoints" / "best.pt", recipe.model, ingredients)
    assert main(["--run", str(folder)]) == 1
    assert "give --data DIR" in capsys.readouterr().err
    write_json(folder / "environment.json", {"dataset": {"path": str(data)}})
    assert main(["--run", str(folder), "--json", "--device", "cpu"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["name"] == folder.name
    assert report["image_size"] == 96
    assert main(["--run", str(tmp_path)]) == 1
    assert "no recipe.json" in capsys.readouterr().err


def test_weights_that_do_not_fill_the_model_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = checkpoint(tmp_path / "coco.pth", MODELS["yolox-nano"])
    assert main(arguments(data, weights)) == 1
    error = capsys.readouterr().err
    assert "does not fill yolox-nano with 2 classes" in error
    assert "head.cls_preds.0.bias: [80] in the file, [2] in the model" in error


def test_what_is_missing_is_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COCO_DIR", raising=False)
    weights = checkpoint(tmp_path / "nano.pth")
    for given, message in (
        (["--model", "yolox-nano", "--data", str(data)], "--weights FILE is missing"),
        (["--model", "yolox-nano", "--weights", str(weights)], "--data DIR is missing"),
        (arguments(data, tmp_path / "absent.pth"), "absent.pth"),
        (arguments(tmp_path / "nowhere", weights), "nowhere"),
        (arguments(data, weights, "--image-size", "65"), "multiple of 32, not 65"),
        (arguments(data, weights, "--split", "test2017"), "test2017"),
        (arguments(data, weights, "--device", "cuda:99"), "--device cuda:99: PyTorch finds no such"),
        (arguments(data, weights, "--device", "tpu9000"), "must be cpu, cuda or cuda:N, not 'tpu9000'"),
    ):
        assert main(given) == 1
        assert message in capsys.readouterr().err


def test_dataset_of_the_environment_is_used(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COCO_DIR", str(data))
    weights = checkpoint(tmp_path / "nano.pth")
    given = ["--model", "yolox-nano", "--weights", str(weights), "--image-size", "64", "--device", "cpu"]
    assert main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == str(data)


@pytest.mark.parametrize(
    "wrong", [["--confidence", "2"], ["--nms-iou", "-1"], ["--batch-size", "0"], ["--model", "yolox-z"], []]
)
def test_wrong_arguments_are_usage_errors(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    given = wrong if "--model" in wrong or not wrong else ["--model", "yolox-nano", *wrong]
    with pytest.raises(SystemExit) as stop:
        main(given)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


SHARED = Path(__file__).resolve().parents[3] / "shared"
COCO_MINI, RELEASED = SHARED / "coco-mini", SHARED / "weights" / "yolox_nano.pth"

#: AP of the official code on these images with these weights at 416 px: (confidence 0.01, 0.001).
OFFICIAL_AP = {"val2017": (37.971, 38.255), "train2017": (33.158, 33.555)}


@pytest.mark.slow
@pytest.mark.skipif(
    not (COCO_MINI.exists() and RELEASED.exists()), reason="needs ../shared/coco-mini and ../shared/weights"
)
@pytest.mark.parametrize("split", OFFICIAL_AP)
def test_released_nano_scores_as_in_the_official_code(
    split: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One forward pass serves both thresholds: NMS never drops a box because of a weaker one."""
    detections = tmp_path / "detections.json"
    given = ["--model", "yolox-nano", "--weights", str(RELEASED), "--data", str(COCO_MINI), "--split", split]
    assert main([*given, "--device", "cpu", "--json", "--detections", str(detections)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["image_size"] == 416
    assert report["confidence"] == 0.001
    sure, all_of_them = OFFICIAL_AP[split]
    assert report["metrics"]["AP"] == pytest.approx(all_of_them, abs=0.05)
    found = Detections.from_coco_results(json.loads(detections.read_text()))
    file = COCO_MINI / "annotations" / f"instances_{split}.json"
    metrics = coco_metrics(file, found.select(found.scores >= 0.01))
    assert metrics["AP"] == pytest.approx(sure, abs=0.05)


def test_the_validation_split_is_found_under_its_usual_names(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "export"
    (root / "valid").mkdir(parents=True)
    for image in (data / "val2017").iterdir():
        (root / "valid" / image.name).symlink_to(image)
    annotations = data / "annotations" / "instances_val2017.json"
    (root / "valid" / "_annotations.coco.json").write_bytes(annotations.read_bytes())
    out = tmp_path / "detections.json"
    given = ["--model", "yolox-nano", "--weights", str(checkpoint(tmp_path / "a.pth")), "--data", str(root)]
    assert main([*given, "--image-size", "64", "--device", "cpu", "--detections", str(out)]) == 0
    assert out.exists()
    assert main([*given, "--image-size", "64", "--device", "cpu", "--split", "test"]) == 1


@pytest.fixture
def test_dev(data: Path, tmp_path: Path) -> Path:
    """The same images as COCO's test-dev lies: a bare list of images, the pixels among test2017's."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "test2017").symlink_to(data / "val2017")
    content = json.loads((data / "annotations" / "instances_val2017.json").read_text())
    del content["annotations"]
    (root / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(content))
    return root


def test_results_for_the_evaluation_server_come_without_ap(
    test_dev: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = tmp_path / "nano.zip"
    given = arguments(test_dev, checkpoint(tmp_path / "nano.pth"), "--split", "test-dev2017")
    assert main([*given, "--confidence", "0", "--submission", str(archive), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["metrics"] is None
    assert report["submission"]["file"] == "detections_test-dev2017_yolox-nano_results.json"
    written = report["submission"]
    assert written["detections"] + written["left_out"] == report["detections"] > 0
    check_submission(archive, "test-dev2017", [1, 2, 3])
    assert main([*given, "--confidence", "0", "--submission", str(archive)]) == 0
    text = capsys.readouterr().out
    assert "no AP here: " in text
    assert "image_info_test-dev2017.json has no annotations" in text
    assert "of COCO has 20288 images, this one 3" in text


def test_a_split_without_annotations_needs_somewhere_to_write(
    test_dev: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments(test_dev, checkpoint(tmp_path / "nano.pth"), "--split", "test-dev2017")
    assert main(given) == 1
    assert "has no annotations, so there is no AP to compute; give --submission" in capsys.readouterr().err
    assert main([*given, "--submission", str(tmp_path / "detections_val2017_a_results.zip")]) == 1
    assert "call it detections_test-dev2017_yolox-nano_results.zip" in capsys.readouterr().err
    assert main([*given, "--detections", str(tmp_path / "none" / "a.json")]) == 1
    assert "none is missing; make it first" in capsys.readouterr().err


def test_a_submission_leaves_no_image_out(
    test_dev: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = test_dev / "annotations" / "image_info_test-dev2017.json"
    content = json.loads(file.read_text())
    content["images"].append({"id": 4, "file_name": "gone.png", "height": 60, "width": 80})
    file.write_text(json.dumps(content))
    given = arguments(test_dev, checkpoint(tmp_path / "nano.pth"), "--split", "test-dev2017")
    assert main([*given, "--submission", str(tmp_path / "a.zip")]) == 1
    assert "1 of 4 images in" in capsys.readouterr().err
    assert not (tmp_path / "a.zip").exists()


def test_detections_are_kept_when_the_submission_is_refused(
    test_dev: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = test_dev / "annotations" / "image_info_test-dev2017.json"
    content = json.loads(file.read_text())
    content["categories"] = [{"id": 12, "name": "cup"}, {"id": 91, "name": "fork"}]
    file.write_text(json.dumps(content))
    out = tmp_path / "detections.json"
    given = arguments(test_dev, checkpoint(tmp_path / "nano.pth"), "--split", "test-dev2017")
    given += ["--confidence", "0", "--submission", str(tmp_path / "a.zip"), "--detections", str(out)]
    assert main(given) == 1
    assert "category ids that COCO does not have: 12, 91" in capsys.readouterr().err
    assert json.loads(out.read_text())
    assert not (tmp_path / "a.zip").exists()
