"""From a detector to a file that an engine runs."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolox_core.coding import AnchorCoding
from yolox_core.deploy.card import SUFFIXES, Card, Outputs, Precision
from yolox_core.deploy.graph import Graph
from yolox_core.deploy.ncnn_file import save_ncnn
from yolox_core.deploy.onnx_file import OPSET, save_onnx, trace_onnx, with_postprocess
from yolox_core.deploy.onnx_precision import to_eight_bits, to_half
from yolox_core.deploy.openvino_file import save_openvino
from yolox_core.deploy.packages import need, versions
from yolox_core.detector import Detector
from yolox_core.postprocess import NMS, TopK


def make_card(
    detector: Detector,
    name: str,
    class_names: Sequence[str],
    image_size: int,
    outputs: Outputs = "decoded",
    precision: Precision = "fp32",
    batch: int | None = 1,
    thresholds: tuple[float, float] = (0.0, 1.0),
    recipe_hash: str = "",
    weights: str = "",
) -> Card:
    """The card of a detector that is going to be exported; ``thresholds`` count where detections are made in
    the graph. Raises ValueError when there are not as many names as classes.
    """
    config, coding, choice = detector.config, detector.coding, detector.postprocess
    if len(class_names) != config.num_classes:
        raise ValueError(f"{len(class_names)} names for {config.num_classes} classes")
    inside = outputs == "detections"
    return Card(
        name=name,
        class_names=tuple(class_names),
        image_size=image_size,
        recipe_hash=recipe_hash,
        weights=weights,
        outputs=outputs,
        precision=precision,
        batch=batch,
        nms=isinstance(choice, NMS),
        limit=choice.limit if isinstance(choice, TopK) else TopK.limit,
        strides=config.strides,
        anchors=tuple(tuple(level) for level in coding.anchors) if isinstance(coding, AnchorCoding) else (),
        confidence=thresholds[0] if inside else None,
        nms_iou=thresholds[1] if inside and isinstance(choice, NMS) else None,
    )


def trace(detector: Detector, card: Card) -> Any:
    """What :func:`export_file` takes as ``traced``: an ``onnx.ModelProto`` in float32, no NMS. It takes most
    of the time, and serves all precisions of one size, batch and coding.
    """
    return trace_onnx(Graph(detector, card.image_size, card.outputs).eval(), card)


def export_file(
    detector: Detector,
    card: Card,
    form: str,
    path: Path,
    calibration: Sequence[NDArray[np.float32]] = (),
    traced: Any = None,
) -> Card:
    """Write ``path`` in a format of :data:`yolox_core.deploy.card.SUFFIXES`; the card as it stands in it.

    calibration: (1, 3, S, S) training images for int8. Raises ValueError for what a format does not have,
    with those that do, and without the packages of the extra ``deploy``.
    """
    if path.suffix != SUFFIXES[form]:
        raise ValueError(f"{path}: a file for {form} ends with {SUFFIXES[form]}")
    if form == "ncnn":
        return _export_ncnn(detector, card, path)
    need("onnx")
    need("onnxruntime")
    made_by = versions("torch", "onnx", *(("openvino",) if form == "openvino" else ()))
    card = replace(card, opset=OPSET if form != "openvino" else None, made_by=made_by)
    model = copy.deepcopy(traced) if traced is not None else trace(detector, card)
    if card.precision == "int8":
        model = to_eight_bits(model, calibration)
    elif card.precision == "fp16" and form != "openvino":  # OpenVINO packs weights itself
        model = to_half(model)
    if card.outputs == "detections":
        model = with_postprocess(model, card)
    if form != "openvino":
        save_onnx(model, card, path)
        return card
    with tempfile.TemporaryDirectory() as folder:
        onnx_file = Path(folder, "model.onnx")
        save_onnx(model, card, onnx_file)
        save_openvino(onnx_file, card, path)
    return card


def _export_ncnn(detector: Detector, card: Card, path: Path) -> Card:
    if card.outputs == "detections":
        raise ValueError("ncnn has no NMS: export raw or decoded outputs, or choose onnx or openvino")
    if card.precision == "int8":
        raise ValueError("ncnn's eight bits need its own tools, which PyPI does not have: onnx or openvino")
    if card.batch != 1:
        raise ValueError("ncnn works on one image at a time: --batch 1")
    need("ncnn")
    card = replace(card, made_by=versions("torch", "pnnx"))
    save_ncnn(Graph(detector, card.image_size, card.outputs, plain=True).eval(), card, path)
    return card
