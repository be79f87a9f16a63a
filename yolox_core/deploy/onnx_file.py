"""ONNX files: from a detector by PyTorch's current exporter, with what the card says built in.

OpenVINO's files are made from these, and so are TensorRT's engines.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from string import Template
from typing import Any

import torch

from yolox_core.deploy.card import Card
from yolox_core.deploy.graph import Graph
from yolox_core.deploy.packages import need
from yolox_core.files import write_atomic

#: The exporter's own lowest: a newer one is converted to by engines of 2023 less surely, and adds nothing.
OPSET = 18
INPUT, OUTPUT, DETECTIONS = "images", "predictions", "detections"


def trace_onnx(graph: Graph, card: Card) -> Any:
    """The graph as an ``onnx.ModelProto`` in float32, up to boxes or raw outputs.

    Raises ValueError without the packages of the extra ``deploy``.
    """
    need("onnxscript")
    count = 2 if card.batch is None else card.batch  # a batch of one would be taken for a constant
    images = torch.zeros(count, 3, card.image_size, card.image_size)
    batch = {0: torch.export.Dim("batch", min=1)} if card.batch is None else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own parts
        program = torch.onnx.export(
            graph,
            (images,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(batch,),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for place in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.output):
        del place.metadata_props[
            :
        ]  # names and lines of the code that made them: three quarters of a megabyte
    return model


def with_postprocess(model: Any, card: Card) -> Any:
    """The model with NMS, or the best k, at its end.

    NMS: (M, 7) image, left, top, right, bottom, score, label of all images' detections. Best k: (B, k, 6),
    the same without the image, best first.
    """
    onnx = need("onnx")
    _, priors, width = (d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim)
    text = (_NMS if card.nms else _TOP_K).substitute(
        ir=model.ir_version,
        priors=priors,
        width=width,
        classes=width - 5,
        best=min(card.limit, priors * (width - 5)),
        confidence=card.confidence,
        nms_iou=card.nms_iou,
    )
    tail = onnx.parser.parse_model(text)
    return onnx.compose.merge_models(model, tail, io_map=[(OUTPUT, "decoded")])


def save_onnx(model: Any, card: Card, path: Path) -> None:
    """Check the model and write it with its card, whole or not at all."""
    onnx = need("onnx")
    onnx.helper.set_model_props(model, card.to_entries())
    onnx.checker.check_model(model, full_check=True)
    write_atomic(path, model.SerializeToString())


def _tail(shape: str, values: str, chosen: str, joined: str) -> Template:
    return Template(f"""<ir_version: $ir, opset_import: ["": {OPSET}]>
tail (float[batch, $priors, $width] decoded) => (float[{shape}] {DETECTIONS})
<int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] four = {{4}},
 int64[1] five = {{5}}, int64[1] end = {{$width}}, int64[1] last = {{-1}}, float half = {{0.5}}, {values}>
{{
    boxes = Slice(decoded, zero, four, last)
    objectness = Slice(decoded, four, five, last)
    classes = Slice(decoded, five, end, last)
    scores = Mul(objectness, classes)
    {chosen}
    centre = Slice(picked, zero, two, last)
    side = Slice(picked, two, four, last)
    reach = Mul(side, half)
    low = Sub(centre, reach)
    high = Add(centre, reach)
    {joined}
}}""")


# Each prior stands for its best class alone, as in yolox_core/postprocess.py: its other scores become 0.
_NMS = _tail(
    "found, 7",
    "float nothing = {0}, float confidence = {$confidence}, float nms_iou = {$nms_iou}, "
    "int64 most = {$priors}, int64[1] three = {3}",
    """best = ReduceMax <keepdims=1> (classes, last)
    is_best = GreaterOrEqual(classes, best)
    own = Where(is_best, scores, nothing)
    by_class = Transpose <perm=[0, 2, 1]> (own)
    found_at = NonMaxSuppression <center_point_box=1> (boxes, by_class, most, nms_iou, confidence)
    image = Slice(found_at, zero, one, last)
    label = Slice(found_at, one, two, last)
    prior = Slice(found_at, two, three, last)
    place = Concat <axis=1> (image, prior)
    picked = GatherND(boxes, place)""",
    """flat_score = GatherND(by_class, found_at)
    score = Unsqueeze(flat_score, last)
    image_number = Cast <to=1> (image)
    label_number = Cast <to=1> (label)
    detections = Concat <axis=1> (image_number, low, high, score, label_number)""",
)
_TOP_K = _tail(
    "batch, $best, 6",
    "int64[2] rows = {0, -1}, int64[1] best = {$best}, int64 number = {$classes}",
    """flat = Reshape(scores, rows)
    value, place = TopK <axis=-1> (flat, best)
    prior = Div(place, number)
    label = Mod(place, number)
    at = Unsqueeze(prior, last)
    picked = GatherND <batch_dims=1> (boxes, at)""",
    """score = Unsqueeze(value, last)
    label_column = Unsqueeze(label, last)
    label_number = Cast <to=1> (label_column)
    detections = Concat <axis=-1> (low, high, score, label_number)""",
)
