"""OpenVINO files (.xml and .bin) from an ONNX file, with the card in ``rt_info``."""

from __future__ import annotations

from pathlib import Path

from yolox_core.deploy.card import Card
from yolox_core.deploy.packages import need

#: Where the card stands in ``rt_info``.
PLACE = "yolox_roadmap"


def save_openvino(onnx_file: Path, card: Card, path: Path) -> None:
    """Convert and write ``path`` (.xml) and the .bin beside it; fp16 keeps weights in half precision only.

    Raises ValueError without the package.
    """
    openvino = need("openvino")
    model = openvino.convert_model(onnx_file)
    for key, value in card.to_entries().items():
        model.set_rt_info(value, [PLACE, key])
    openvino.save_model(model, path, compress_to_fp16=card.precision == "fp16")
