"""How far an engine's predictions are from PyTorch's on the same images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from yolox_core.deploy.engine_detector import EngineDetector

#: What a float32 file may differ by, in both of :class:`Parity`'s measures.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Parity:
    """Largest differences over all priors of all images.

    boxes: of a coordinate or side, as a share of the box's longer side (of a pixel where that is shorter).
    pixels: the same in pixels, of boxes with a score of at least 0.01. scores: of objectness and classes.
    """

    images: int
    boxes: float
    pixels: float
    scores: float

    @property
    def holds(self) -> bool:
        return self.boxes <= TOLERANCE and self.scores <= TOLERANCE

    def __str__(self) -> str:
        return (
            f"boxes {self.boxes:.1e} of their longer side ({self.pixels:.1e} px where a score reaches 0.01), "
            f"scores {self.scores:.1e}"
        )


def compare(engine: EngineDetector, reference: EngineDetector, images: Float[Tensor, "B 3 S S"]) -> Parity:
    """Differences of an engine from a reference, both with raw or decoded outputs.

    Raises ValueError for one with detections: NMS makes a discrete choice of tiny differences.
    """
    if "detections" in (engine.card.outputs, reference.card.outputs):
        raise ValueError("detections are not compared number by number; export decoded outputs too")
    pixels = images.cpu().numpy()
    ours, theirs = (
        detector.predictions(detector.forward(pixels), len(pixels)) for detector in (engine, reference)
    )
    boxes = (ours[..., :4] - theirs[..., :4]).abs().amax(-1)
    side = theirs[..., 2:4].amax(-1).clamp_min(1)
    likely = theirs[..., 4] * theirs[..., 5:].amax(-1) >= 0.01
    scores = (ours[..., 4:] - theirs[..., 4:]).abs().max()
    return Parity(
        len(pixels),
        float((boxes / side).max()),
        float(torch.where(likely, boxes, 0.0).max()),
        float(scores),
    )
