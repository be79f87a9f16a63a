"""Official checkpoints in and out, without the official code (tests/peer has the comparison with it)."""

from __future__ import annotations

import os
import pathlib
import pickle
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from yolox_core.build import build_detector
from yolox_core.config import MODELS, YOLOX_INGREDIENTS, Ingredients
from yolox_core.deploy.weights import (
    LoadReport,
    WrongShape,
    load_official,
    official_keys,
    read_state_dict,
    save_official,
    to_official,
    unofficial_parts,
)
from yolox_core.detector import Detector
from yolox_core.training.checkpoint import CheckpointStore

NANO = MODELS["yolox-nano"]
DARKNET = replace(MODELS["yolox-darknet53"], depth=0.2, width=0.0625)
STEM = "backbone.backbone.stem.conv.conv.weight"


def build(seed: int = 0, model: Any = NANO, ingredients: Ingredients = YOLOX_INGREDIENTS) -> Detector:
    torch.manual_seed(seed)
    return build_detector(model, ingredients)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_names_are_translated_word_by_word() -> None:
    names = official_keys(build())
    for ours, theirs in {
        "backbone.stem.conv.norm.running_var": "backbone.backbone.stem.conv.bn.running_var",
        "backbone.stages.0.0.depthwise.conv.weight": "backbone.backbone.dark2.0.dconv.conv.weight",
        "backbone.stages.1.1.blocks.2.expand.pointwise.norm.bias": (
            "backbone.backbone.dark3.1.m.2.conv2.pconv.bn.bias"
        ),
        "backbone.stages.3.1.merge.conv.weight": "backbone.backbone.dark5.1.conv2.conv.weight",
        "backbone.stages.3.2.merge.conv.weight": "backbone.backbone.dark5.2.conv3.conv.weight",
        "neck.top_down_middle.bypass.conv.weight": "backbone.C3_p4.conv2.conv.weight",
        "head.class_convs.2.1.depthwise.conv.weight": "head.cls_convs.2.1.dconv.conv.weight",
        "head.objectness_outputs.0.bias": "head.obj_preds.0.bias",
    }.items():
        assert names[ours] == theirs
    assert len(set(names.values())) == len(names)


def test_darknets_stem_and_pyramid_are_numbered_as_the_official_ones() -> None:
    names = official_keys(build(model=replace(MODELS["yolox-darknet53"], width=0.03)))
    for ours, theirs in {
        "backbone.stem.conv.weight": "backbone.backbone.stem.0.conv.weight",
        "backbone.stages.0.0.conv.weight": "backbone.backbone.stem.1.conv.weight",
        "backbone.stages.0.1.expand.norm.weight": "backbone.backbone.stem.2.layer2.bn.weight",
        "backbone.stages.4.4.reduce.conv.weight": "backbone.backbone.dark5.4.layer1.conv.weight",
        "backbone.pyramid.0.conv.weight": "backbone.backbone.dark5.5.conv.weight",
        "backbone.pyramid.2.merge.conv.weight": "backbone.backbone.dark5.7.conv2.conv.weight",
        "neck.reduce_coarse.conv.weight": "backbone.out1_cbl.conv.weight",
        "neck.merge_fine.4.conv.weight": "backbone.out2.4.conv.weight",
    }.items():
        assert names[ours] == theirs


@pytest.mark.parametrize("model", [NANO, DARKNET], ids=["nano", "darknet53"])
@pytest.mark.parametrize(
    "ingredients",
    [YOLOX_INGREDIENTS, replace(YOLOX_INGREDIENTS, nms_free=True), Ingredients()],
    ids=["yolox", "nms-free", "baseline"],
)
def test_what_is_written_is_read_again(tmp_path: Path, model: Any, ingredients: Ingredients) -> None:
    first, second = build(1, model, ingredients), build(2, model, ingredients)
    save_official(first, tmp_path / "model.pth")
    report = load_official(second, tmp_path / "model.pth")
    assert report.complete
    assert not report.unexpected
    assert same(first.state_dict(), second.state_dict())
    assert os.listdir(tmp_path) == ["model.pth"]


def test_parts_the_official_code_lacks_keep_our_names() -> None:
    detector = build(model=DARKNET, ingredients=Ingredients(nms_free=True))
    assert unofficial_parts(detector) == ("head", "one_to_one_head")
    assert unofficial_parts(build()) == ()
    names = official_keys(detector)
    assert names["head.outputs.0.weight"] == "head.outputs.0.weight"
    assert names["one_to_one_head.outputs.0.weight"] == "one_to_one_head.outputs.0.weight"


def test_other_values_can_be_exported(tmp_path: Path) -> None:
    detector = build()
    averaged = {key: value * 2 for key, value in detector.state_dict().items()}
    assert torch.equal(to_official(detector, averaged)[STEM], to_official(detector)[STEM] * 2)
    save_official(detector, tmp_path / "a.pth", averaged)
    assert torch.equal(read_state_dict(tmp_path / "a.pth")[STEM], to_official(detector)[STEM] * 2)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: OrderedDict(state),
        lambda state: {"model": state, "start_epoch": 300, "optimizer": {"state": {}}},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {"model": {"nothing": torch.zeros(1)}, "ema": {"model": state, "updates": 7}},
        lambda state: {"model": state, "best_ap": np.float64(0.258), "curr_ap": np.float32(0.25)},
    ],
    ids=["plain", "ordered", "official", "wrapped", "averaged first", "numpy numbers"],
)
def test_every_usual_wrapping_is_understood(tmp_path: Path, wrap: Any) -> None:
    first, second = build(1), build(2)
    torch.save(wrap(to_official(first)), tmp_path / "model.pth")
    assert load_official(second, tmp_path / "model.pth").complete
    assert same(first.state_dict(), second.state_dict())


def test_our_own_names_load_too(tmp_path: Path) -> None:
    first, second = build(1), build(2)
    torch.save({"model": first.state_dict(), "epoch": 3}, tmp_path / "best.pt")
    assert load_official(second, tmp_path / "best.pt").complete
    assert same(first.state_dict(), second.state_dict())


def test_backbone_alone_loads_into_the_backbone(tmp_path: Path) -> None:
    """The official ImageNet weights of DarkNet53 have names without a prefix."""
    first, second = build(1, DARKNET), build(2, DARKNET)
    prefix = "backbone.backbone."
    backbone = {k.removeprefix(prefix): v for k, v in to_official(first).items() if k.startswith(prefix)}
    torch.save(backbone, tmp_path / "imagenet.pth")
    head = second.head.stems[0].conv.weight.clone()
    report = load_official(second, tmp_path / "imagenet.pth")
    assert same(first.backbone.state_dict(), second.backbone.state_dict())
    assert torch.equal(second.head.stems[0].conv.weight, head)
    assert not report.complete
    assert all(not name.startswith(prefix) for name in report.missing)


def test_another_number_of_classes_keeps_the_rest(tmp_path: Path) -> None:
    first, second = build(1), build(2, replace(NANO, num_classes=6))
    save_official(first, tmp_path / "coco.pth")
    kept = {k: v.clone() for k, v in second.state_dict().items() if "class_outputs" in k}
    report = load_official(second, tmp_path / "coco.pth")
    assert len(kept) == 6
    assert report.missing == report.unexpected == ()
    assert {w.name for w in report.wrong_shape} == {official_keys(second)[key] for key in kept}
    assert WrongShape("head.cls_preds.0.weight", (80, 64, 1, 1), (6, 64, 1, 1)) in report.wrong_shape
    for key, value in second.state_dict().items():
        assert torch.equal(value, kept.get(key, first.state_dict()[key]))


def test_report_lists_everything(tmp_path: Path) -> None:
    detector = build(model=replace(NANO, num_classes=6))
    state = to_official(build())
    del state[STEM]
    state["head.stranger"] = torch.zeros(2)
    torch.save({"model": state}, tmp_path / "model.pth")
    report = load_official(detector, tmp_path / "model.pth")
    assert report.missing == (STEM,)
    assert report.unexpected == ("head.stranger",)
    text = str(report)
    assert f"{len(report.loaded)} tensors loaded" in text
    assert f"1 missing from the file:\n  {STEM}" in text
    assert "1 unknown to the model:\n  head.stranger" in text
    assert "6 of the wrong shape:" in text
    assert "head.cls_preds.2.bias: [80] in the file, [6] in the model" in text


def test_a_complete_report_is_one_line() -> None:
    assert str(LoadReport(("a", "b"), (), (), ())) == "2 tensors loaded"


def test_counters_of_batches_may_be_missing(tmp_path: Path) -> None:
    """Nothing reads them while the momentum is fixed; converted files often lack them."""
    state = {k: v for k, v in to_official(build(1)).items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "model.pth")
    assert load_official(build(2), tmp_path / "model.pth").complete


def test_a_file_of_another_model_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)}, tmp_path / "resnet.pth")
    detector = build()
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    with pytest.raises(ValueError, match=r"not one tensor of .*resnet.pth fits yolox-nano.*conv1.weight"):
        load_official(detector, tmp_path / "resnet.pth")
    assert same(before, detector.state_dict())


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def test_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    torch.save({"model": to_official(build()), "extra": Malicious(trap)}, tmp_path / "bad.pth")
    with pytest.raises(ValueError, match="pickled code"):
        load_official(build(), tmp_path / "bad.pth")
    assert not trap.exists()


def test_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent.pth"):
        load_official(build(), tmp_path / "absent.pth")


def broken_files(folder: Path) -> dict[str, bytes]:
    good = folder / "good.pth"
    torch.save({"model": {"a": torch.zeros(1000)}}, good)
    data = good.read_bytes()
    return {
        "empty": b"",
        "text": b"version https://git-lfs.github.com/spec/v1\nsize 7\n",
        "page": b"<!doctype html><html>not found</html>",
        "half": data[: len(data) // 2],
        "beheaded": data[50:],
        "pickle": pickle.dumps([1, 2, {"a": 3}]),
        "zip": b"PK\x03\x04" + bytes(100),
        "random": np.random.default_rng(0).bytes(5000),
    }


@pytest.mark.parametrize("kind", ["empty", "text", "page", "half", "beheaded", "pickle", "zip", "random"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch guesses at what it cannot read
def test_broken_files_are_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"{kind}.pth"
    path.write_bytes(broken_files(tmp_path)[kind])
    with pytest.raises(ValueError, match=f"{kind}.pth"):
        read_state_dict(path)


@pytest.mark.parametrize(
    "content", [[], {}, 3, {"model": 7}, {"model": {"a": 1}}, {"a": torch.zeros(1), "b": 2}]
)
def test_files_without_a_state_dict_say_where_one_was_expected(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=r"holds no state dict.*ema, .*model"):
        read_state_dict(tmp_path / "model.pth")


def test_half_precision_files_load_as_floats(tmp_path: Path) -> None:
    first, second = build(1), build(2)
    state = {k: v.half() if v.is_floating_point() else v for k, v in to_official(first).items()}
    torch.save({"model": state}, tmp_path / "half.pth")
    assert load_official(second, tmp_path / "half.pth").complete
    weight = second.state_dict()["backbone.stem.conv.conv.weight"]
    assert weight.dtype == torch.float32
    torch.testing.assert_close(
        weight, first.state_dict()["backbone.stem.conv.conv.weight"], rtol=1e-3, atol=1e-4
    )


OFFICIAL_NANO = Path(__file__).resolve().parents[3] / "shared" / "weights" / "yolox_nano.pth"


@pytest.mark.skipif(not OFFICIAL_NANO.exists(), reason="needs ../shared/weights/yolox_nano.pth")
def test_the_released_nano_fills_every_tensor_and_comes_back_unchanged() -> None:
    detector = build()
    report = load_official(detector, OFFICIAL_NANO)
    assert report.complete
    assert not report.unexpected
    assert len(report.loaded) == 642
    assert same(to_official(detector), read_state_dict(OFFICIAL_NANO))


def test_pytorchs_advice_to_run_the_file_is_not_passed_on(tmp_path: Path) -> None:
    text, code = tmp_path / "notes.pth", tmp_path / "code.pth"
    text.write_text("these are no weights", encoding="utf-8")
    torch.save({"model": pathlib.PurePosixPath("x")}, code)
    for file, reason in (
        (text, "notes.pth is no PyTorch checkpoint; give the"),
        (code, "it holds pickled code .*PurePosixPath"),
    ):
        with pytest.raises(ValueError, match=reason) as caught:
            read_state_dict(file)
        assert "weights_only" not in str(caught.value)


def test_a_checkpoint_that_holds_itself_holds_no_weights(tmp_path: Path) -> None:
    content: dict[str, object] = {}
    content["model"] = content
    torch.save(content, tmp_path / "cyclic.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_state_dict(tmp_path / "cyclic.pth")


def test_damaged_weights_of_ours_are_noticed(tmp_path: Path) -> None:
    path = CheckpointStore(tmp_path).save_best({"model": {"weight": torch.ones(5000)}, "epoch": 1})
    assert list(read_state_dict(path)) == ["weight"]
    content = bytearray(path.read_bytes())
    content[9000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"best\.pt is damaged: its content does not match its checksum"):
        read_state_dict(path)
