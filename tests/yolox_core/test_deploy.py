"""Exported files in every engine: the same numbers as PyTorch, and a file that says what it is."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from roadmap.stages import ingredients_at
from yolox_core.build import build_detector
from yolox_core.config import MODELS, YOLOX_INGREDIENTS, Ingredients
from yolox_core.deploy import parity
from yolox_core.deploy.card import SUFFIXES, Card, card_of_entries, engine_of
from yolox_core.deploy.engine_detector import EngineDetector
from yolox_core.deploy.engines import open_engine, pytorch_engine
from yolox_core.deploy.export import export_file, make_card, trace
from yolox_core.deploy.graph import Graph
from yolox_core.deploy.latency import measure_in_turn
from yolox_core.detector import Detector

pytestmark = [pytest.mark.deploy, pytest.mark.xdist_group("deploy")]  # its files are made once
for package in ("onnx", "onnxscript", "onnxruntime", "openvino", "ncnn", "pnnx"):
    pytest.importorskip(package, reason="needs pip install '.[deploy]'")

SIZE, NAMES = 64, ("circle", "square", "star")

#: One of each graph that the seven stages have (augmentation and assigners leave none).
GRAPHS = ("baseline", "decoupled-head", "simota", "nms-free")
#: What only the first and the last have, in one: PyTorch's exporter takes ten seconds for any graph.
BOTH = Ingredients(nms_free=True)


#: Facts that a card only passes on.
ASKED = {"recipe_hash": "1a2b3c4d", "weights": "ff" * 32}


def lively(name: str, ingredients: Ingredients | None = None) -> Detector:
    """A small detector with statistics of its own and outputs of some spread: fresh ones hide mistakes."""
    torch.manual_seed(0)
    small = {"depth": 0.1, "width": 0.125, "num_classes": len(NAMES)}
    if name in MODELS:
        detector = build_detector(replace(MODELS[name], **small), YOLOX_INGREDIENTS)  # type: ignore[arg-type]
    else:
        model = replace(MODELS["yolox-darknet53"], **small)  # type: ignore[arg-type]
        detector = build_detector(model, ingredients or ingredients_at(name))
    for module in detector.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.weight.data.mul_(10)
            module.bias.data.uniform_(-2, 1)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)  # type: ignore[union-attr]
            module.running_var.uniform_(0.6, 1.4)  # type: ignore[union-attr]
    return detector.eval()


def pictures(count: int = 3) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 255


def reference(detector: Detector) -> EngineDetector:
    return EngineDetector(
        pytorch_engine(Graph(detector, SIZE, "decoded"), make_card(detector, "x", NAMES, SIZE), 1)
    )


def exported(
    detector: Detector, form: str, folder: Path, traced: Any = None, **asked: object
) -> EngineDetector:
    card = make_card(detector, "small", NAMES, SIZE, **asked)  # type: ignore[arg-type]
    path = folder / f"small{SUFFIXES[form]}"
    export_file(detector, card, form, path, [image[None].numpy() for image in pictures(2)], traced)
    return EngineDetector(open_engine(path, 1))


@pytest.mark.parametrize("name", GRAPHS)
def test_every_stage_is_the_same_in_ncnn(name: str, tmp_path: Path) -> None:
    detector = lively(name)
    found = parity.compare(exported(detector, "ncnn", tmp_path), reference(detector), pictures())
    assert found.holds, str(found)
    assert found.images == 3


@pytest.fixture(scope="module")
def nano() -> Detector:
    return lively("yolox-nano")


@pytest.fixture(scope="module")
def folders(nano: Detector, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The small Nano in each of what can be asked for, by ``format-outputs-precision``."""
    traced = trace(nano, make_card(nano, "small", NAMES, SIZE, batch=None))
    found = {}
    for form, outputs, precision in (
        ("onnx", "decoded", "fp32"),
        ("openvino", "decoded", "fp32"),
        ("ncnn", "decoded", "fp32"),
        ("onnx", "decoded", "fp16"),
        ("ncnn", "decoded", "fp16"),
        ("onnx", "decoded", "int8"),
        ("onnx", "detections", "fp32"),
    ):
        name = f"{form}-{outputs}-{precision}"
        found[name] = tmp_path_factory.mktemp(name)
        asked = {"outputs": outputs, "precision": precision, "thresholds": (0.2, 0.5)} | ASKED
        exported(nano, form, found[name], traced, batch=1 if form == "ncnn" else None, **asked)
    return found


@pytest.fixture(scope="module")
def files(folders: dict[str, Path]) -> dict[str, EngineDetector]:
    """The same files, opened."""
    return {
        name: EngineDetector(open_engine(folder / f"small{SUFFIXES[name.partition('-')[0]]}", 1))
        for name, folder in folders.items()
    }


@pytest.mark.parametrize("form", ["onnx", "openvino", "ncnn"])
def test_engines_predict_what_pytorch_does(
    form: str, nano: Detector, files: dict[str, EngineDetector]
) -> None:
    found = parity.compare(files[f"{form}-decoded-fp32"], reference(nano), pictures())
    assert found.holds, str(found)


@pytest.mark.parametrize("name", ["baseline", "yolox-nano"])
def test_raw_outputs_are_decoded_outside_and_a_fixed_batch_is_filled(name: str) -> None:
    detector = lively(name)
    card = make_card(detector, "x", NAMES, SIZE, outputs="raw", batch=2)
    raw = EngineDetector(pytorch_engine(Graph(detector, SIZE, "raw"), card, 1))
    assert [part.shape[0] for part in raw.forward(pictures(3).numpy())] == [2, 2]
    found = parity.compare(raw, reference(detector), pictures(3))
    assert found.images == 3
    assert max(found.boxes, found.scores) < 1e-6


def test_fewer_bits_are_near_and_not_the_same(nano: Detector, files: dict[str, EngineDetector]) -> None:
    """Near in the mean: a tiny network of random weights magnifies errors at single places."""
    expected = reference(nano)
    want = expected.predictions(expected.forward(pictures().numpy()), 3)[..., 4:]
    errors = []
    for name in ("onnx-decoded-fp16", "onnx-decoded-int8"):
        engine = files[name]
        got = engine.predictions(engine.forward(pictures().numpy()), 3)[..., 4:]
        errors.append(float((got - want).abs().mean()))
    assert 0 < errors[0] < errors[1] < 0.1


def test_half_precision_halves_the_file(files: dict[str, EngineDetector], folders: dict[str, Path]) -> None:
    for form, suffix in (("onnx", ".onnx"), ("ncnn", ".bin")):
        large, small = (
            (folders[f"{form}-decoded-{precision}"] / f"small{suffix}").stat().st_size
            for precision in ("fp32", "fp16")
        )
        assert (
            0.45 < small / large < 0.85
        )  # biases stay, and the graph of a small network is most of its file


def test_nms_in_the_graph_gives_the_same_detections(nano: Detector, files: dict[str, EngineDetector]) -> None:
    inside = files["onnx-detections-fp32"].detect(pictures(), 0.2, 0.5)
    outside = nano.detect(pictures(), 0.2, 0.5)
    assert sum(len(image.scores) for image in outside) > 10
    for mine, their in zip(inside, outside, strict=True):
        torch.testing.assert_close(mine.scores, their.scores, rtol=0, atol=1e-4)
        torch.testing.assert_close(mine.boxes_xyxy, their.boxes_xyxy, rtol=1e-3, atol=1e-2)
        assert torch.equal(mine.labels, their.labels)


def test_nms_in_the_graph_is_not_held_to_other_thresholds(files: dict[str, EngineDetector]) -> None:
    engine = files["onnx-detections-fp32"]
    assert len(engine.detect(pictures(1), 0.9, 0.5)[0].scores) < len(
        engine.detect(pictures(1), 0.2, 0.5)[0].scores
    )
    for confidence, nms_iou in ((0.1, 0.5), (0.2, 0.6)):
        with pytest.raises(ValueError, match=r"has confidence 0\.2 and NMS IoU 0\.5 in its graph"):
            engine.detect(pictures(1), confidence, nms_iou)


def test_nms_free_is_exported_without_nms(tmp_path: Path) -> None:
    """The anchors of the first stage and the one-to-one branch of the last."""
    import onnx

    detector = lively("both", BOTH)
    traced = trace(detector, make_card(detector, "both", NAMES, SIZE, batch=2))
    decoded = parity.compare(
        exported(detector, "onnx", tmp_path, traced, batch=2), reference(detector), pictures()
    )
    assert decoded.holds, str(decoded)
    asked = {"outputs": "detections", "batch": 2, "thresholds": (0.001, 0.65)}
    engine = exported(detector, "onnx", tmp_path, traced, **asked)
    operators = {node.op_type for node in onnx.load(tmp_path / "small.onnx").graph.node}
    assert "TopK" in operators
    assert "NonMaxSuppression" not in operators
    assert engine.card.nms_iou is None
    assert engine.engine.run(pictures(2).numpy()).shape == (2, 100, 6)
    # any NMS IoU: there is nothing that it could change
    inside, outside = engine.detect(pictures(), 0.01, 0.1), detector.detect(pictures(), 0.01, 0.65)
    for mine, their in zip(inside, outside, strict=True):
        assert len(their.scores) > 10
        torch.testing.assert_close(mine.scores, their.scores, rtol=0, atol=1e-4)


def test_a_file_says_what_it_is(files: dict[str, EngineDetector]) -> None:
    for name, engine in files.items():
        form, outputs, precision = name.split("-")
        card = engine.card
        assert (card.outputs, card.precision, card.class_names) == (outputs, precision, NAMES)
        assert (card.image_size, card.strides, card.anchors, card.nms) == (SIZE, (8, 16, 32), (), True)
        assert (card.recipe_hash, card.weights) == ("1a2b3c4d", "ff" * 32)
        assert "114" in card.preprocessing
        assert card.opset == (18 if form == "onnx" else None)
        assert f"torch {torch.__version__.partition('+')[0]}" in card.made_by


def test_a_card_survives_its_entries() -> None:
    card = make_card(lively("baseline"), "x", NAMES, SIZE, outputs="raw", batch=None)
    assert len(card.anchors) == 3
    entries = card.to_entries()
    assert all(isinstance(value, str) for value in entries.values())
    assert card_of_entries(entries | {"author": "?"}, "x.onnx") == card
    del entries["batch"]
    with pytest.raises(ValueError, match=r"x\.onnx does not say its batch; write it with"):
        card_of_entries(entries, "x.onnx")


def test_a_strange_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"studies\.export"):
        open_engine(tmp_path / "absent.onnx", 1)
    with pytest.raises(ValueError, match=r"\.onnx \(onnxruntime\), \.xml \(openvino\), \.param \(ncnn\)"):
        engine_of(tmp_path / "x.pth")
    (tmp_path / "small.param").touch()
    (tmp_path / "small.json").write_text(json.dumps({"name": '"x"'}))
    with pytest.raises(ValueError, match="does not say its class_names"):
        open_engine(tmp_path / "small.param", 1)


@pytest.mark.parametrize(
    ("form", "asked", "message"),
    [
        ("ncnn", {"outputs": "detections"}, "ncnn has no NMS"),
        ("ncnn", {"precision": "int8"}, "need its own tools"),
        ("ncnn", {"batch": None}, "one image at a time"),
    ],
)
def test_what_a_format_cannot_do_is_said(
    form: str, asked: dict[str, object], message: str, nano: Detector, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        exported(nano, form, tmp_path, **asked)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_fix(
    nano: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pnnx", None)
    with pytest.raises(ValueError, match=r"pnnx is needed .* pip install '\.\[deploy\]'"):
        exported(nano, "ncnn", tmp_path)


def test_a_fixed_size_is_kept_to(nano: Detector) -> None:
    engine = reference(nano)
    with pytest.raises(ValueError, match="exported for 64 px, not for 96"):
        engine.forward(np.zeros((1, 3, 96, 96), np.float32))
    with pytest.raises(ValueError, match="multiple of 32, not 65"):
        Graph(nano, 65, "decoded")


def test_the_plain_stem_is_the_same_function(nano: Detector) -> None:
    card: Card = make_card(nano, "x", NAMES, SIZE)
    plain = EngineDetector(pytorch_engine(Graph(nano, SIZE, "decoded", plain=True), card, 1))
    found = parity.compare(plain, reference(nano), pictures())
    assert found.holds, str(found)
    assert found.scores < 1e-4


def test_a_difference_is_seen(nano: Detector) -> None:
    other = lively("yolox-nano")
    other.head.class_outputs[0].bias.data += 0.1  # type: ignore[index, union-attr, operator]
    found = parity.compare(reference(other), reference(nano), pictures())
    assert not found.holds
    assert found.boxes == 0


def test_latency_is_measured_in_turn_and_adds_up(nano: Detector) -> None:
    first, second = reference(nano), reference(nano)
    found = measure_in_turn({"a": first, "b": second}, pictures(2), 0.01, 0.65, repeats=3, warmup=1)
    assert list(found) == ["a", "b"]
    for times in found.values():
        assert list(times) == ["forward_ms", "postprocess_ms", "total_ms"]
        whole = times["forward_ms"]["mean"] + times["postprocess_ms"]["mean"]
        assert times["total_ms"]["mean"] == pytest.approx(whole)
        assert times["total_ms"]["p5"] <= times["total_ms"]["median"] <= times["total_ms"]["p95"]
    with pytest.raises(ValueError, match="repeats must be at least 1"):
        measure_in_turn({"a": first}, pictures(2), 0.01, 0.65, repeats=0, warmup=1)
