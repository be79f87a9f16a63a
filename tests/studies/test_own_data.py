"""A dataset of the user's own, from the command line to the record: layouts, splits, settings, anchors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from roadmap.datasets import describe_dataset, find_splits
from roadmap.record import find_runs
from roadmap.stages import STAGE_NAMES, stage_arm
from roadmap.study import Study
from studies.attempt.data import open_data
from studies.augmentation import STUDY as AUGMENTATION
from studies.command.cli import main
from studies.command.folders import _prepare
from tests.yolox_core.data_folders import box, gradient, write_split
from yolox_core.config import YOLOV3_ANCHORS
from yolox_core.data.coco import open_splits
from yolox_core.training.distributed import World

STUDY = Study("own", "What do the ingredients give on my data?", tuple(stage_arm(s) for s in STAGE_NAMES))
BCCD = Path(__file__).resolve().parents[3] / "shared" / "bccd"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("COCO_DIR", raising=False)


def _roboflow(root: Path, splits: dict[str, int]) -> Path:
    """Roboflow's COCO export: annotations beside the images of each split, one box in each image."""
    for split, count in splits.items():
        images: dict[str, Any] = {f"{split}{i}.jpg": gradient(48, 64, blue=20 * i) for i in range(count)}
        boxes = [box(i + 1, 3 + 4 * (i % 2), [4, 4, 10 + 6 * i, 30 - 2 * i], id=i + 1) for i in range(count)]
        write_split(root, images, boxes, split)
        (root / "annotations" / f"instances_{split}.json").rename(root / split / "_annotations.coco.json")
    (root / "annotations").rmdir()
    return root


def _plan(root: Path, tmp_path: Path, *more: str) -> int:
    given = ["--data", str(root), "--launcher", "local", "--runs", str(tmp_path / "runs"), *more]
    return main(STUDY, given)


def test_every_stage_gets_the_same_fitting_anchors_and_the_datas_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.command.cli._run_here", lambda plan, options: 0)
    root = _roboflow(tmp_path / "mine", {"train": 6, "valid": 2, "test": 2})
    for _ in range(2):  # planned twice, the hash is the same: no second folder
        assert _plan(root, tmp_path, "--protocol", "small") == 0
    folders = list(find_runs(tmp_path / "runs"))
    assert len(folders) == len(STUDY.names)
    recipes = [json.loads((folder.path / "recipe.json").read_text())["recipe"] for folder in folders]
    anchors = [recipe["model"]["anchors"] for recipe in recipes]
    assert all(one == anchors[0] for one in anchors)
    assert anchors[0] != [[list(shape) for shape in level] for level in YOLOV3_ANCHORS]
    assert {recipe["training"]["batch_size"] for recipe in recipes} == {8}
    assert {recipe["training"]["image_size"] for recipe in recipes} == {160}


def test_anchors_are_chosen_for_the_users_training_size_or_by_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Any] = []
    monkeypatch.setattr("studies.command.cli._run_here", lambda plan, options: plans.append(plan) or 0)
    root = _roboflow(tmp_path / "mine", {"train": 6, "valid": 2})

    def anchors(*assignments: str) -> Any:
        more = [word for assignment in assignments for word in ("--set", assignment)]
        assert _plan(root, tmp_path, "--protocol", "small", "--only", "baseline", *more) == 0
        return plans[-1].planned[0].run.recipe.model.anchors

    fitting, double = anchors(), anchors("training.image_size=320")
    for one, other in zip(sum(fitting, ()), sum(double, ()), strict=True):
        assert other == pytest.approx((2 * one[0], 2 * one[1]), abs=1)
    assert anchors("model.anchors=yolov3") == YOLOV3_ANCHORS
    written = json.dumps(YOLOV3_ANCHORS)
    assert anchors(f"model.anchors={written}") == YOLOV3_ANCHORS, "numbers of the user's stay, even YOLOv3's"
    assert anchors("model.anchors=yolov3", "model.anchors=kmeans") == fitting


@pytest.mark.parametrize("protocol", ["demo", "smoke", "fine-tune"])
def test_protocols_that_keep_yolov3s_anchors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    plans: list[Any] = []
    monkeypatch.setattr("studies.command.cli._run_here", lambda plan, options: plans.append(plan) or 0)
    root = _roboflow(tmp_path / "mine", {"train": 6, "valid": 2})
    weights = tmp_path / "weights.pth"
    torch.save({}, weights)
    start = ["--weights", str(weights)] if protocol == "fine-tune" else []
    assert _plan(root, tmp_path, "--protocol", protocol, "--only", "baseline", *start) == 0
    assert plans[0].planned[0].run.recipe.model.anchors == YOLOV3_ANCHORS


def test_the_names_of_the_splits_reach_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.command.cli._run_here", lambda plan, options: 0)
    root = _roboflow(tmp_path / "mine", {"day": 6, "night": 3})
    more = ["--only", "baseline", "--protocol", "small", "--train-split", "day", "--val-split", "night"]
    assert _plan(root, tmp_path, *more) == 0
    (folder,) = find_runs(tmp_path / "runs")
    prepared = _prepare(folder, argparse.Namespace(data=None, weights=None))
    assert prepared is not None
    planned, inputs = prepared
    assert inputs.splits == ("day", "night")
    assert (planned.run.recipe.dataset.train_images, planned.run.recipe.dataset.val_images) == (6, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--val-split", "test"], "give --data DIR too"),
        (["--data", ""], "--data is empty; give a folder, or --embedded"),
        (["--embedded", "--data", "somewhere"], "--embedded is a dataset of its own"),
        (["--embedded", "--train-split", "a"], "--embedded is a dataset of its own"),
        (["--data", "/nowhere"], "/nowhere is not a folder"),
        (["--embedded", "--protocol", "fine-tune"], "starts from a trained model; give it with --weights"),
    ],
)
def test_what_contradicts_itself_is_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(STUDY, [*arguments, "--launcher", "local", "--dry-run"])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_papers_protocol_on_few_images_draws_a_remark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = _roboflow(tmp_path / "mine", {"train": 6, "valid": 2})
    assert _plan(root, tmp_path, "--dry-run") == 0
    assert "on 6, --protocol small suits better" in caplog.text
    caplog.clear()
    assert _plan(root, tmp_path, "--dry-run", "--protocol", "small") == 0
    assert "suits better" not in caplog.text
    assert "small protocol on mine: 6 training and 2 validation images" in capsys.readouterr().out


def test_a_run_opens_the_splits_it_was_planned_with_and_records_them(tmp_path: Path) -> None:
    root = _roboflow(tmp_path / "mine", {"train": 6, "valid": 2, "test": 3})
    alone = World()
    usual = open_data(root, None, alone)
    assert (len(usual.train), len(usual.val)) == (6, 2)
    chosen = open_data(root, None, alone, ("train", "test"))
    assert (len(chosen.train), len(chosen.val)) == (6, 3)
    recorded = chosen.summary()["val"]
    assert recorded["split"] == "test"
    assert recorded["annotations"] == str(root / "test" / "_annotations.coco.json")


@pytest.mark.parametrize("mask", [None, [], [[8, 6, 38, 6, 38, 36]], {"size": [48, 64], "counts": "X"}])
def test_copy_paste_is_refused_where_there_are_no_masks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mask: Any
) -> None:
    """While planning where no annotation has one, else when the run opens its data; other arms run."""
    root = _roboflow(tmp_path / "mine", {"train": 6, "valid": 2})
    file = root / "train" / "_annotations.coco.json"
    content = json.loads(file.read_text())
    for annotation in content["annotations"]:
        annotation["segmentation"] = mask
    file.write_text(json.dumps(content))
    words = ["--data", str(root), "--protocol", "small", "--launcher", "local", "--dry-run"]
    assert main(AUGMENTATION, [*words, "--only", "yolox-l-mixup"]) == 0
    if mask:
        assert main(AUGMENTATION, words) == 0
    else:
        with pytest.raises(SystemExit):
            main(AUGMENTATION, words)
        said = capsys.readouterr().err
        assert "yolox-l-copy-paste: Copy-Paste cuts objects out by their masks, and" in said
        assert "or leave Copy-Paste out: --only with the other arms" in said
    if isinstance(mask, list) and mask:
        assert open_data(root, None, World(), masks=True).train.mask(0, 0) is not None
    else:
        with pytest.raises(ValueError, match=r"6 of 6 objects in .* have no mask, more than the allowed 5%"):
            open_data(root, None, World(), masks=True)


@pytest.mark.skipif(not BCCD.is_dir(), reason="no blood cells beside the checkout")
def test_real_photographs_as_roboflow_exports_them(tmp_path: Path) -> None:
    root = tmp_path / "bccd"
    root.mkdir()
    for name, split in (("train", "train2017"), ("valid", "val2017")):
        (root / name).mkdir()
        for image in (BCCD / split).iterdir():
            (root / name / image.name).symlink_to(image)
        content = json.loads((BCCD / "annotations" / f"instances_{split}.json").read_text())
        for number, annotation in enumerate(content["annotations"]):
            annotation["id"] = number  # Roboflow counts from 0, and adds a category for the group
        content["categories"].insert(0, {"id": 0, "name": "cells", "supercategory": "none"})
        (root / name / "_annotations.coco.json").write_text(json.dumps(content))
    described = describe_dataset(root)
    assert (described.train_images, described.val_images, described.num_classes) == (292, 72, 4)
    train, val = open_splits(root, find_splits(root))
    assert (len(train), len(val)) == (292, 72)
    assert train.dropped_annotations().endswith("not used: with a box without area 2")
