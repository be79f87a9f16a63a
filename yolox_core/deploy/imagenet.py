"""ImageNet weights in a detector's backbone: what is made equal, so that its features are those of the
network that was trained (docs/decisions/0011-imagenet-weights.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from yolox_core.config import DARKNETS, Backbone, ModelConfig
from yolox_core.deploy.imagenet_files import Layer, OfficialWeights, Source, open_weights
from yolox_core.deploy.weights import load_tensors, official_keys
from yolox_core.detector import Detector
from yolox_core.models.darknet53 import DarkNet53
from yolox_core.models.layers import ConvBlock


@dataclass(frozen=True)
class ImagenetReport:
    """What became of a file with ImageNet weights.

    taken: our name of each part and its name in the source. left_out: what the file has besides. anew: parts
    of the detector that keep their random weights. folded: as in
    :class:`yolox_core.deploy.weights.LoadReport`.
    """

    source: str
    taken: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]
    anew: tuple[str, ...]
    folded: bool = False

    def __str__(self) -> str:
        lines = [f"backbone from {self.source}: {len(self.taken)} parts taken"]
        lines += [f"  {ours} from {theirs}" for ours, theirs in self.taken]
        lines += [f"  left out: {name}" for name in self.left_out]
        return "\n".join([*lines, f"  random weights: {', '.join(self.anew)}"])


def load_imagenet(detector: Detector, path: Path) -> ImagenetReport:
    """Load ImageNet weights into a detector's backbone so that its features, from images in BGR and 0 to 255,
    are those of the source's network from the images it was trained on. The rest keeps its random weights.

    Raises FileNotFoundError, and ValueError for a file that is damaged, not one of
    :data:`yolox_core.deploy.imagenet_files.TAKEN`, or not for this model.
    """
    weights, backbone = open_weights(path), detector.backbone
    if not isinstance(backbone, DarkNet53):
        raise ValueError(f"{path} is for a DarkNet53; the model's backbone is {detector.config.backbone}")
    if isinstance(weights, OfficialWeights):
        return _load_official(detector, weights)
    source = weights.source
    if source.backbone != detector.config.backbone:
        raise ValueError(
            f"{path}: {source.title} is for the backbone {source.backbone}, the model's is "
            f"{detector.config.backbone}; --imagenet-weights chooses it as the study is planned"
        )
    layers, left_out = weights.layers(backbone)
    blocks = backbone.trunk()
    for place, (block, layer) in enumerate(zip(blocks.values(), layers, strict=True)):
        _fill(block, layer, source, is_first=place == 0)
    taken = tuple((f"backbone.{name}", layer.name) for name, layer in zip(blocks, layers, strict=True))
    return ImagenetReport(source.title, taken, left_out, ("backbone.pyramid", *_others(detector)))


def suited_model(model: ModelConfig, path: Path) -> ModelConfig:
    """The model with the backbone that a file's weights are for: what a study is planned with.

    Raises ValueError for a file that :func:`load_imagenet` would refuse, and for a model it does not fit.
    """
    weights = open_weights(path)
    if model.backbone not in DARKNETS:
        raise ValueError(f"{path} is for a DarkNet53; the model's backbone is {model.backbone}")
    if model.activation != "leaky_relu":
        raise ValueError(f"{path} was trained with leaky ReLUs; leave model.activation as it is")
    wanted: Backbone = "darknet53"
    if not isinstance(weights, OfficialWeights):
        wanted = weights.source.backbone
        with torch.device("meta"):
            backbone = DarkNet53(model.depth, model.width)
        weights.layers(backbone)
    if model.backbone not in ("darknet53", wanted):
        raise ValueError(f"{path} is for the backbone {wanted}; leave model.backbone as it is")
    return replace(model, backbone=wanted)


def _load_official(detector: Detector, weights: OfficialWeights) -> ImagenetReport:
    report = load_tensors(detector, weights.tensors, str(weights.path))
    trunk = {
        official
        for ours, official in official_keys(detector).items()
        if ours.startswith("backbone.") and not ours.startswith("backbone.pyramid.")
    }
    if trunk.intersection(report.missing) or report.wrong_shape or report.unexpected:
        raise ValueError(f"{weights.path} does not fill the backbone of {detector.config.name}:\n{report}")
    taken = tuple((name, name) for name in report.loaded)
    return ImagenetReport("official YOLOX names", taken, (), _others(detector), report.folded)


@torch.no_grad()
def _fill(block: ConvBlock, layer: Layer, source: Source, is_first: bool) -> None:
    """Give a block the source's function; the first one, of our images.

    The range of the images goes into the first norm, not into the kernel: behind a norm, a step of training
    turns a kernel by 1 / length², so one 255 times shorter would be lost at once.
    """
    norm = block.norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    kernel, weight, bias, mean, variance = (value.double() for value in layer[1:])
    scale = 1.0
    if is_first:
        std = torch.tensor(source.std[::-1], dtype=torch.float64)
        kernel = kernel.flip(1) * (std.mean() / std).view(1, 3, 1, 1)
        scale = 255 * float(std.mean())
        mean, variance = mean * scale, variance * scale**2
    block.conv.weight.copy_(kernel)
    norm.weight.copy_(weight * ((variance + norm.eps) / (variance + source.eps * scale**2)).sqrt())
    norm.bias.copy_(bias)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def _others(detector: Detector) -> tuple[str, ...]:
    return tuple(name for name, _ in detector.named_children() if name != "backbone")
