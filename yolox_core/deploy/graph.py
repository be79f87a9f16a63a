"""The detector as engines run it: one tensor in, one tensor out."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from yolox_core.deploy.card import Outputs
from yolox_core.deploy.fusion import fused_copy
from yolox_core.detector import Detector
from yolox_core.models.csp_darknet import CSPDarknet, Focus


class Graph(nn.Module):
    """(B, 3, S, S) images to (B, N, 5 + C): box, objectness and class probabilities of every prior.

    The layout is the official code's (0.3.0), so that its demos take our files: box as centre and size in
    pixels, or, with ``raw``, in the coding's own units. Where there is no NMS the one-to-one probability is
    in the objectness.
    """

    def __init__(self, detector: Detector, image_size: int, outputs: Outputs, plain: bool = False) -> None:
        """plain: without slices in steps of two, which ncnn does not have.

        Raises ValueError for a size that is no multiple of the coarsest stride.
        """
        super().__init__()
        coarsest = max(detector.config.strides)
        if image_size < coarsest or image_size % coarsest:
            raise ValueError(f"image size must be a positive multiple of {coarsest}, not {image_size}")
        self.detector = fused_copy(detector).cpu()
        self.raw = outputs == "raw"
        if plain and isinstance(self.detector.backbone, CSPDarknet):
            self.detector.backbone.stem = plain_stem(self.detector.backbone.stem)  # type: ignore[assignment]
        with torch.no_grad():  # priors are kept from here on, so that a tracer sees constants
            self.detector.predict(torch.zeros(1, 3, image_size, image_size))

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B N K"]:
        prediction, _ = self.detector.predict(images)
        objectness, classes = self.detector.postprocess.probabilities(prediction)
        boxes = prediction.offsets if self.raw else prediction.boxes_cxcywh
        return torch.cat((boxes, objectness[..., None], classes), -1)


class Scale(nn.Module):
    """Times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


#: Pixels reach 255, so the stem's weights are small, and ncnn's half precision makes those below 6e-5 zero.
_PIXELS = 256.0


def plain_stem(stem: Focus) -> nn.Sequential:
    """The same function as one 6×6 convolution of stride 2: a 3×3 one on 2×2 patches is nothing else.

    Pixels are divided by a power of two and weights multiplied by it, which changes no bit in float32.
    stem: with its batch norm folded.
    """
    patches = stem.conv.conv
    whole = nn.Conv2d(3, patches.out_channels, 6, 2, padding=2)
    with torch.no_grad():
        for place, (column, row) in enumerate((column, row) for column in (0, 1) for row in (0, 1)):
            part = patches.weight[:, 3 * place : 3 * place + 3]
            whole.weight[:, :, row::2, column::2] = part * _PIXELS
        assert patches.bias is not None
        assert whole.bias is not None
        whole.bias.copy_(patches.bias)
    return nn.Sequential(Scale(1 / _PIXELS), whole, stem.conv.activation).requires_grad_(False)
