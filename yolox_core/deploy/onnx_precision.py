"""Half precision and eight bits for the convolutions of an ONNX model.

What comes after them (decoding, scores, NMS) stays in float32: a half-precision coordinate of 400 is a
multiple of a quarter of a pixel.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from yolox_core.deploy.packages import need

#: Convolutions at the input that stay in float32: stem and first halving, where an error is one of everything
#: behind it (docs/decisions/0101-eight-bits.md).
FIRST = 3


def to_half(model: Any) -> Any:
    """Weights of convolutions in float16, half the file; a processor computes in float32 with them, as with
    OpenVINO's and ncnn's half-precision files.
    """
    onnx = need("onnx")
    readers = [node for node in model.graph.node if node.op_type == "Conv"]
    weights = {node.input[1] for node in readers}
    casts = []
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            half = f"{tensor.name}.half"
            casts.append(onnx.helper.make_node("Cast", [half], [tensor.name], f"{tensor.name}.cast", to=1))
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, half))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def to_eight_bits(model: Any, images: Sequence[NDArray[np.float32]]) -> Any:
    """Convolutions in int8 (weights per channel) and uint8, calibrated on the images, in the QDQ form; not
    the first ones, depthwise ones and those that give the outputs.

    images: (1, 3, S, S) each, of the training split: those that figures come from must not decide anything.
    Raises ValueError without any.
    """
    if not images:
        raise ValueError("eight bits need images to be calibrated on: give --data DIR")
    onnx, quantization = need("onnx"), need("onnxruntime.quantization")

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it asks for a preparation that the exporter has done
    try:
        with tempfile.TemporaryDirectory() as folder:
            whole, small = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
            onnx.save(model, whole)
            quantization.quantize_static(
                str(whole),
                str(small),
                _Reader(model.graph.input[0].name, images),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=_sensitive(model),
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                calibrate_method=quantization.CalibrationMethod.MinMax,
            )
            return onnx.load(small)
    finally:
        root.setLevel(level)


class _Reader:
    """The images one by one, in the form that the quantisation asks for."""

    def __init__(self, name: str, images: Sequence[NDArray[np.float32]]) -> None:
        self.name = name
        self.rest: Iterator[NDArray[np.float32]] = iter(images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        image = next(self.rest, None)
        return None if image is None else {self.name: image}


def _sensitive(model: Any) -> list[str]:
    """Names of the convolutions that eight bits would spoil."""
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    after = set(_after_convolutions(model))
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    groups = {
        node.name: attribute.i
        for node in convolutions
        for attribute in node.attribute
        if attribute.name == "group"
    }
    depthwise = [name for name, number in groups.items() if number > 1]
    last = [n.name for n in convolutions if all(r.name in after for r in readers.get(n.output[0], []))]
    return [*(node.name for node in convolutions[:FIRST]), *depthwise, *last]


def _after_convolutions(model: Any) -> list[str]:
    """Names of the nodes that no convolution needs; they are sorted, so one pass from the end decides."""
    needed: set[str] = set()
    after = []
    for node in reversed(model.graph.node):
        if node.op_type == "Conv" or needed.intersection(node.output):
            needed.update(node.input)
        else:
            after.append(node.name)
    return after
