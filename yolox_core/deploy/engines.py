"""Engines that run exported files: one small interface, and what each was asked for.

Every engine is given the same letterboxed pixels and returns the same numbers as :class:`Graph`; what comes
before and after is ours (:mod:`yolox_core.deploy.engine_detector`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray

from yolox_core.deploy.card import Card, card_of_entries, engine_of
from yolox_core.deploy.graph import Graph
from yolox_core.deploy.ncnn_file import card_file
from yolox_core.deploy.openvino_file import PLACE
from yolox_core.deploy.packages import need, versions

Pixels = Float32[NDArray[Any], "B 3 S S"]


@dataclass(frozen=True)
class Engine:
    """A model made ready. run: (B, 3, S, S) pixels to what ``card.outputs`` says, both float32.

    name: of the engine. version: of its package. provider: what of the engine computes. precision: in which
    numbers, which may be wider than the file's. threads: that a forward pass may use.
    """

    name: str
    version: str
    provider: str
    precision: str
    threads: int
    card: Card
    run: Callable[[Pixels], NDArray[np.float32]]


def open_engine(path: Path, threads: int) -> Engine:
    """The engine of a file. Raises ValueError for a file without a card, or without the engine's package;
    OSError when it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; write it with python -m studies.export")
    return _OPENERS[engine_of(path)](path, threads)


def read_card(path: Path) -> Card:
    """What a file says of itself; raises as :func:`open_engine` does."""
    return open_engine(path, 1).card


def pytorch_engine(graph: Graph, card: Card, threads: int) -> Engine:
    """The same interface around PyTorch, on the CPU, channels innermost in memory."""
    graph = graph.eval().to(memory_format=torch.channels_last)

    def run(images: Pixels) -> NDArray[np.float32]:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            pixels = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
            return graph(pixels).numpy()

    return Engine("pytorch", versions("torch"), "CPU", "fp32", threads, card, run)


def _open_onnxruntime(path: Path, threads: int) -> Engine:
    runtime = need("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin between calls would slow whatever runs in turn with this engine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    card = card_of_entries(session.get_modelmeta().custom_metadata_map, path)
    (given,) = session.get_inputs()

    def run(images: Pixels) -> NDArray[np.float32]:
        return session.run(None, {given.name: images})[0]

    provider = session.get_providers()[0]
    return Engine("onnxruntime", versions("onnxruntime"), provider, _computed(card), threads, card, run)


def _open_openvino(path: Path, threads: int) -> Engine:
    openvino = need("openvino")
    core = openvino.Core()
    model = core.read_model(path)
    entries = model.get_rt_info([PLACE]).astype(dict) if model.has_rt_info([PLACE]) else {}
    card = card_of_entries({key: _text(value) for key, value in entries.items()}, path)
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()

    def run(images: Pixels) -> NDArray[np.float32]:
        return request.infer({0: images}, share_inputs=True)[0].copy()

    return Engine("openvino", versions("openvino"), "CPU", _computed(card), threads, card, run)


def _open_ncnn(path: Path, threads: int) -> Engine:
    ncnn = need("ncnn")
    card = card_of_entries(_sidecar(path), path)
    net = ncnn.Net()
    net.opt.num_threads = threads
    # Its own default is half precision wherever a processor has it, whatever the file holds.
    for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, name, False)
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise ValueError(f"ncnn cannot load {path}; export it again")

    def run(images: Pixels) -> NDArray[np.float32]:
        found = []
        for image in images:
            extractor = net.create_extractor()
            # A copy: its layers write into their input where they can, and expect aligned memory.
            extractor.input("in0", ncnn.Mat(image).clone())
            _, output = extractor.extract("out0")
            found.append(np.array(output))
        return np.stack(found)

    return Engine("ncnn", versions("ncnn"), "CPU", "fp32", threads, card, run)


def _computed(card: Card) -> str:
    """Half precision is how weights are kept: a processor computes in float32 with them."""
    return "int8" if card.precision == "int8" else "fp32"


def _sidecar(path: Path) -> dict[str, str]:
    try:
        entries: dict[str, str] = json.loads(card_file(path).read_bytes())
    except json.JSONDecodeError as error:
        raise ValueError(f"{card_file(path)} is no JSON ({error}); export it again") from error
    return entries


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value.astype(str))


_OPENERS: dict[str, Callable[[Path, int], Engine]] = {
    "onnxruntime": _open_onnxruntime,
    "openvino": _open_openvino,
    "ncnn": _open_ncnn,
}
