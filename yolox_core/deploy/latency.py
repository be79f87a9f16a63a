"""Latency of engines side by side: single images, in turn, so that all see the same weather."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from yolox_core.deploy.engine_detector import EngineDetector
from yolox_core.profiling import spread


def measure_in_turn(
    engines: Mapping[str, EngineDetector],
    images: Float[Tensor, "n 3 S S"],
    confidence: float,
    nms_iou: float,
    repeats: int,
    warmup: int,
) -> dict[str, dict[str, dict[str, float]]]:
    """Milliseconds of each engine: forward pass, our post-processing, and their sum of the same image.

    Every round gives one image to all engines, one after the other, and the next round the next image.
    Raises ValueError when nothing is to be measured.
    """
    if repeats < 1 or warmup < 0 or not len(images):
        raise ValueError(
            f"repeats must be at least 1 and warmup 0, on images: {repeats}, {warmup}, {len(images)}"
        )
    pixels = images.cpu().numpy()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for turn in range(-warmup, repeats):
        shown = pixels[[turn % len(pixels)]]
        for name, engine in engines.items():
            start = time.perf_counter()
            found = engine.forward(shown)
            middle = time.perf_counter()
            engine.postprocess(found, 1, confidence, nms_iou)
            end = time.perf_counter()
            if turn >= 0:
                times[name].append((middle - start, end - middle))
    return {name: _summary(np.array(seconds) * 1e3) for name, seconds in times.items()}


def _summary(milliseconds: Any) -> dict[str, dict[str, float]]:
    forward, postprocess = milliseconds.T
    parts = {"forward_ms": forward, "postprocess_ms": postprocess, "total_ms": forward + postprocess}
    return {name: spread(values) for name, values in parts.items()}
