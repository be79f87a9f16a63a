"""Files with ImageNet weights of DarkNet53, read as what they have in common: 52 convolutions, batch norms.

Darknet, timm and mmdetection publish such files (docs/data.md says where). What is not for certain an
ImageNet backbone of the model's size is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from yolox_core.config import Backbone
from yolox_core.deploy.darknet_file import (
    KernelShape,
    NotDarknetError,
    count_values,
    read_values,
    split_values,
)
from yolox_core.deploy.weights import read_state_dict
from yolox_core.models.darknet53 import DarkNet53
from yolox_core.seal import is_pytorch_file

#: What is taken, for messages.
TAKEN = (
    "Darknet's darknet53.conv.74 or darknet53.weights, timm's darknet53 and mmdetection's (.pth, .bin), or a "
    "backbone under official YOLOX names"
)
_TENSORS = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
_COUNTER = "bn.num_batches_tracked"


class Layer(NamedTuple):
    """A convolution and its batch norm. name: in the source. kernel: (outputs, inputs, side, side); the
    others: (outputs,).
    """

    name: str
    kernel: Tensor
    weight: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor


class Found(NamedTuple):
    """Layers in the data's order, and what the file has besides."""

    layers: list[Layer]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """Where weights come from, and what they were trained on.

    backbone: the one of ours that can compute the same. names: of the layers in order, from the number of
    residuals per stage. std: red, green and blue of images in 0 to 1 were divided by this. eps: of the batch
    norms.
    """

    title: str
    backbone: Backbone
    names: Callable[[Sequence[int]], Iterator[str]]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    eps: float = 1e-5


def _darknet_names(residuals: Sequence[int]) -> Iterator[str]:
    for number in range(1 + sum(1 + 2 * count for count in residuals)):
        yield f"convolution {number + 1}"


def _timm_names(residuals: Sequence[int]) -> Iterator[str]:
    yield "stem.conv1"
    for stage, count in enumerate(residuals):
        yield f"stages.{stage}.conv_down"
        for block in range(count):
            yield from (f"stages.{stage}.blocks.{block}.conv{k}" for k in (1, 2))


def _mmdetection_names(residuals: Sequence[int]) -> Iterator[str]:
    yield "conv1"
    for stage, count in enumerate(residuals, 1):
        yield f"conv_res_block{stage}.conv"
        for block in range(count):
            yield from (f"conv_res_block{stage}.res{block}.conv{k}" for k in (1, 2))


#: Its code for GPUs, which trained the files, has this epsilon inside the root (its code for CPUs another).
DARKNET = Source("Darknet's weights", "darknet53", _darknet_names)
TIMM = Source("timm's darknet53", "darknet53-timm", _timm_names, std=(0.229, 0.224, 0.225))
MMDETECTION = Source("mmdetection's Darknet", "darknet53", _mmdetection_names)


@dataclass(frozen=True)
class DarknetWeights:
    """A file in Darknet's format."""

    path: Path
    source: Source = DARKNET

    def layers(self, backbone: DarkNet53) -> Found:
        """What the backbone takes. Raises ValueError unless the file is of its size and whole."""
        values, shapes = read_values(self.path), _shapes(backbone)
        with torch.device("meta"):
            full = _shapes(DarkNet53())
        if shapes != full and _classes(len(values) - count_values(full), full) is not None:
            raise _another_size(self.path, full, shapes)
        rest = len(values) - count_values(shapes)
        if rest < 0:
            raise ValueError(
                f"{self.path} is cut off, or of another network: it holds {len(values)} of "
                f"{count_values(shapes)} numbers; download it again"
            )
        classes = _classes(rest, shapes)
        if classes is None:
            raise ValueError(
                f"{self.path} holds {rest} numbers behind DarkNet53's that are no classifier. It is damaged, "
                "another network's, or a detector's: those were trained on boxes (yolov3.weights on COCO's), "
                f"which is no ImageNet start. Take {TAKEN}"
            )
        layers = [
            Layer(name, *(torch.from_numpy(array.copy()) for array in convolution))
            for name, convolution in zip(
                self.source.names(_residuals(backbone)), split_values(values, shapes), strict=True
            )
        ]
        _check_values(self.path, layers)
        return Found(layers, (f"a classifier of {classes} classes",) if classes else ())


@dataclass(frozen=True)
class NamedWeights:
    """A state dict under the names of a source. rest: tensors of its classifier."""

    path: Path
    source: Source
    tensors: Mapping[str, Tensor]
    rest: tuple[str, ...] = ()

    def layers(self, backbone: DarkNet53) -> Found:
        """What the backbone takes. Raises ValueError unless the file has exactly its layers."""
        shapes = _shapes(backbone)
        theirs = [_shape(value) for name, value in self.tensors.items() if name.endswith(".conv.weight")]
        if len(theirs) != len(shapes) or theirs[0][0] != shapes[0][0]:
            raise _another_size(self.path, theirs, shapes)
        expected = {
            f"{name}.{tensor}": (outputs, inputs, side, side) if tensor == "conv.weight" else (outputs,)
            for name, (outputs, inputs, side) in zip(self._names(backbone), shapes, strict=True)
            for tensor in _TENSORS
        }
        counters = {f"{name}.{_COUNTER}" for name in self._names(backbone)}
        problems = [f"{name} is missing" for name in expected if name not in self.tensors]
        problems += [f"{name} is unknown" for name in self.tensors if name not in expected.keys() | counters]
        problems += [
            f"{name} is {list(self.tensors[name].shape)}, not {list(shape)}"
            for name, shape in expected.items()
            if name in self.tensors and self.tensors[name].shape != shape
        ]
        if problems:
            more = f" … and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise ValueError(f"{self.path} is not {self.source.title}: {'; '.join(problems[:5])}{more}")
        layers = [
            Layer(name, *(self.tensors[f"{name}.{tensor}"].float() for tensor in _TENSORS))
            for name in self._names(backbone)
        ]
        _check_values(self.path, layers)
        return Found(layers, self.rest)

    def _names(self, backbone: DarkNet53) -> list[str]:
        return list(self.source.names(_residuals(backbone)))


@dataclass(frozen=True)
class OfficialWeights:
    """A backbone under official YOLOX names, or ours: made for our images, with our epsilon."""

    path: Path
    tensors: Mapping[str, Tensor]


def open_weights(path: Path) -> DarknetWeights | NamedWeights | OfficialWeights:
    """Recognise a file. Raises FileNotFoundError, and ValueError for one that is damaged or not one of
    :data:`TAKEN`.
    """
    if not is_pytorch_file(path):
        with path.open("rb") as file:
            if file.read(9)[8:] == b"{":  # the length of a header, then its JSON
                raise ValueError(
                    f"{path} is a safetensors file; give the .pth or .bin that is published beside it"
                )
        try:
            read_values(path)
        except NotDarknetError as error:
            raise ValueError(f"{error}, and is no PyTorch checkpoint; take {TAKEN}") from error
        return DarknetWeights(path)
    tensors = read_state_dict(path)
    rest = tuple(name for name in tensors if name.startswith(("head.fc.", "fc.")))
    bare = {k.removeprefix("backbone."): value for k, value in tensors.items() if k not in rest}
    if "stem.conv1.conv.weight" in bare:
        return NamedWeights(path, TIMM, bare, rest)
    if "conv_res_block1.conv.conv.weight" in bare:
        _refuse_detector(path, [name for name in tensors if name.startswith(("neck.", "bbox_head."))])
        return NamedWeights(path, MMDETECTION, bare, rest)
    if not any(name.startswith("backbone.") for name in tensors):
        raise ValueError(
            f"{path} holds no DarkNet53 that is known; its first names are {', '.join(list(tensors)[:3])}; "
            f"take {TAKEN}"
        )
    parts = ("backbone.backbone.", "backbone.stem.", "backbone.stages.", "backbone.pyramid.")
    _refuse_detector(path, [name for name in tensors if not name.startswith(parts)])
    return OfficialWeights(path, tensors)


def _refuse_detector(path: Path, more: Sequence[str]) -> None:
    if more:
        raise ValueError(
            f"{path} holds more than a backbone ({', '.join(more[:3])}, …): a detector was trained on boxes, "
            "which is no ImageNet start; to start from it all the same, give it with --weights"
        )


def _residuals(backbone: DarkNet53) -> list[int]:
    return [len(stage) - 1 for stage in backbone.stages if isinstance(stage, nn.Sequential)]


def _shapes(backbone: DarkNet53) -> list[KernelShape]:
    return [_shape(block.conv.weight) for block in backbone.trunk().values()]


def _shape(kernel: Tensor) -> KernelShape:
    outputs, inputs, side = kernel.shape[:3]
    return outputs, inputs, side


def _classes(rest: int, shapes: Sequence[KernelShape]) -> int | None:
    """Classes of the classifier that ``rest`` numbers are (1×1 on the last channels, with biases); None when
    they are none.
    """
    per_class = shapes[-1][0] + 1
    return None if rest < 0 or rest % per_class else rest // per_class


def _another_size(path: Path, theirs: Sequence[KernelShape], ours: Sequence[KernelShape]) -> ValueError:
    return ValueError(
        f"{path} holds a backbone of {len(theirs)} convolutions, the first of {theirs[0][0]} channels; the "
        f"model's has {len(ours)}, the first of {ours[0][0]}. Protocols such as demo and smoke shrink the "
        "model: choose one that does not (--protocol paper), or add --set model.depth=1 --set model.width=1"
    )


def _check_values(path: Path, layers: Sequence[Layer]) -> None:
    for layer in layers:
        if not all(bool(value.isfinite().all()) for value in layer[1:]) or bool((layer.variance < 0).any()):
            raise ValueError(
                f"{path} is damaged: {layer.name} has values that are not finite, or negative variances; "
                "download it again"
            )
