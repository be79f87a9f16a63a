"""What an exported file says of itself, and the words for what can be in one. Light: no torch.

The same entries, each a string of JSON, stand in an ONNX file's ``metadata_props``, in an OpenVINO file's
``rt_info`` and in the JSON file beside ncnn's two.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from yolox_core.config import AnchorShapes

#: What the graph ends with. ``raw``: the head's outputs, probabilities beside offsets in the coding's own
#: units. ``decoded``: boxes in pixels. ``detections``: after NMS, or the best k where there is no NMS.
Outputs = Literal["raw", "decoded", "detections"]
Precision = Literal["fp32", "fp16", "int8"]
OUTPUTS: tuple[str, ...] = get_args(Outputs)
PRECISIONS: tuple[str, ...] = get_args(Precision)

#: Format of a file -> how its name ends.
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "ncnn": ".param", "tensorrt": ".onnx"}
#: Engine -> how the files that it runs end; PyTorch runs checkpoints.
ENGINES = {"pytorch": "", "onnxruntime": ".onnx", "openvino": ".xml", "ncnn": ".param"}

#: Engine -> the format that is written for it.
FORMAT_OF = {"onnxruntime": "onnx", "openvino": "openvino", "ncnn": "ncnn"}

#: The same for all models and engines; yolox_core/augmentation/letterbox.py does it.
PREPROCESSING = (
    "BGR, 0 to 255, float32, (batch, 3, height, width); resized bilinearly to fit, at the top left of a "
    "square filled with 114; no mean, no scale. Boxes are in its pixels: divide by the resize ratio."
)


@dataclass(frozen=True)
class Card:
    """Everything that somebody who only has the file needs to know.

    name: model, stage or run. recipe_hash: of the run's recipe, empty where there was none. weights: SHA-256
    of the checkpoint's bytes, empty for untrained ones. anchors: per level, empty for one point per cell.
    nms: whether the detections need it; otherwise the best ``limit`` pairs of prior and class are the
    detections. confidence, nms_iou: in the graph, None unless ``outputs`` is ``detections``. batch: None for
    any. opset: of ONNX's operators, None for other formats. made_by: the versions that wrote the file.
    """

    name: str
    class_names: tuple[str, ...]
    image_size: int
    recipe_hash: str
    weights: str
    outputs: Outputs
    precision: Precision
    batch: int | None
    nms: bool
    limit: int
    strides: tuple[int, ...]
    anchors: AnchorShapes
    confidence: float | None = None
    nms_iou: float | None = None
    opset: int | None = None
    made_by: str = ""
    preprocessing: str = PREPROCESSING

    def to_entries(self) -> dict[str, str]:
        """One string of JSON per field."""
        return {key: json.dumps(value) for key, value in asdict(self).items()}


def card_of_entries(entries: Mapping[str, str], where: Path | str) -> Card:
    """Inverse of :meth:`Card.to_entries`; other entries are passed over.

    Raises ValueError when one is missing or no JSON.
    """
    names = [field.name for field in fields(Card)]
    if missing := [name for name in names if name not in entries]:
        raise ValueError(
            f"{where} does not say its {', '.join(missing)}; write it with python -m studies.export"
        )
    try:
        values = {name: _frozen(json.loads(entries[name])) for name in names}
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: its metadata is no JSON ({error}); export it again") from error
    return Card(**values)


def engine_of(path: Path) -> str:
    """The engine that runs a file. Raises ValueError with the endings that there are."""
    for engine, suffix in ENGINES.items():
        if suffix and path.suffix == suffix:
            return engine
    endings = ", ".join(f"{suffix} ({engine})" for engine, suffix in ENGINES.items() if suffix)
    raise ValueError(f"{path} is no exported file; they end with {endings}")


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
