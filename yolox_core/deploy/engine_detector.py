"""An engine as a detector: our post-processing behind whatever computed the predictions."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from yolox_core.coding import AnchorCoding, Coding, PointCoding
from yolox_core.deploy.engines import Engine, Pixels
from yolox_core.postprocess import NMS, Postprocess, TopK
from yolox_core.structures import ImageDetections, Priors


class EngineDetector:
    """``detect`` as :class:`yolox_core.detector.Detector` has it, for evaluation and latency."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.card = card = engine.card
        self.coding: Coding = (
            AnchorCoding(card.strides, card.anchors) if card.anchors else PointCoding(card.strides)
        )
        self.choice: Postprocess = NMS() if card.nms else TopK(card.limit)

    @torch.no_grad()
    def detect(
        self, images: Float[Tensor, "B 3 S S"], confidence: float, nms_iou: float
    ) -> list[ImageDetections]:
        """Detections of each image, best first, in pixels of ``images``."""
        return self.postprocess(self.forward(images.cpu().numpy()), len(images), confidence, nms_iou)

    def forward(self, images: Pixels) -> list[NDArray[np.float32]]:
        """What the engine gives for (B, 3, S, S) pixels, in batches of the size that the file takes.

        Raises ValueError for images of another side than the file's.
        """
        size = self.card.image_size
        if images.shape[1:] != (3, size, size):
            raise ValueError(f"{self.card.name} was exported for {size} px, not for {images.shape[-1]}")
        batch = self.card.batch or len(images)
        parts = [images[start : start + batch] for start in range(0, len(images), batch)]
        return [self.engine.run(_filled(part, batch)) for part in parts]

    def postprocess(
        self, found: list[NDArray[np.float32]], count: int, confidence: float, nms_iou: float
    ) -> list[ImageDetections]:
        """Detections of ``count`` images from what :meth:`forward` gave.

        Raises ValueError for thresholds that a graph with NMS in it cannot be held to any more.
        """
        if self.card.outputs == "detections":
            self._check_thresholds(confidence, nms_iou)
            batch = self.card.batch or count
            images = [image for part in found for image in _by_image(torch.from_numpy(part), batch)]
            return [_as_detections(image, confidence) for image in images[:count]]
        decoded = self.predictions(found, count)
        return self.choice.choose(decoded[..., :4], decoded[..., 4], decoded[..., 5:], confidence, nms_iou)

    def predictions(self, found: list[NDArray[np.float32]], count: int) -> Float[Tensor, "B N K"]:
        """Decoded boxes and probabilities of ``count`` images, whether the graph decodes or not."""
        outputs = torch.cat([torch.from_numpy(part) for part in found])[:count]
        if self.card.outputs == "raw":
            boxes = self.coding.decode(outputs[..., :4], self._priors)
            outputs = torch.cat((boxes, outputs[..., 4:]), -1)
        return outputs

    @cached_property
    def _priors(self) -> Priors:
        side = self.card.image_size
        grid = tuple((side // stride, side // stride) for stride in self.card.strides)
        return self.coding.priors(grid, torch.device("cpu"))

    def _check_thresholds(self, confidence: float, nms_iou: float) -> None:
        card = self.card
        assert card.confidence is not None
        if confidence < card.confidence or (card.nms and nms_iou != card.nms_iou):
            raise ValueError(
                f"{card.name} has confidence {card.confidence:g} and NMS IoU {card.nms_iou} in its "
                f"graph; asked for were {confidence:g} and {nms_iou:g}: export it with these"
            )


def _filled(images: Pixels, batch: int) -> Pixels:
    """Images up to a fixed batch; the last ones are black and nobody looks at what they give."""
    if len(images) == batch:
        return np.ascontiguousarray(images)
    filled = np.zeros((batch, *images.shape[1:]), np.float32)
    filled[: len(images)] = images
    return filled


def _by_image(found: Tensor, batch: int) -> list[Tensor]:
    """Rows of (box, score, label) of each image, from (B, k, 6) or from (M, 7) with the image in front."""
    if found.ndim == 3:
        return list(found.unbind())
    return [found[found[:, 0] == image, 1:] for image in range(batch)]


def _as_detections(rows: Float[Tensor, "M 6"], confidence: float) -> ImageDetections:
    rows = rows[rows[:, 4] >= confidence]
    rows = rows[rows[:, 4].sort(descending=True, stable=True).indices]
    return ImageDetections(rows[:, :4], rows[:, 4], rows[:, 5].long())
