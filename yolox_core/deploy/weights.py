"""Official YOLOX checkpoints in and out (key names of the official code, version 0.3.0).

Parts that the official code does not have (coupled head, one-to-one branch) keep our own names. Files are
read as weights only: no code in them is ever run.
"""

from __future__ import annotations

import _codecs
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from yolox_core.deploy.folded_norms import has_folded_norms
from yolox_core.detector import Detector
from yolox_core.files import replacing
from yolox_core.models.csp_darknet import Bottleneck, CSPDarknet, CSPLayer
from yolox_core.models.darknet53 import DarkNet53, Residual
from yolox_core.models.fpn import FeaturePyramid
from yolox_core.models.heads import CoupledHead, DecoupledHead, OneToOneHead
from yolox_core.models.layers import ConvBlock, DepthwiseConvBlock, SpatialPyramidPooling
from yolox_core.models.pafpn import PathAggregation
from yolox_core.seal import check_seal, is_pytorch_file

#: Per module class: our name of a child -> the official one. Names not listed are the same.
OFFICIAL_NAMES: dict[type[nn.Module], dict[str, str]] = {
    Detector: {"backbone": "backbone.backbone", "neck": "backbone"},
    ConvBlock: {"norm": "bn"},
    DepthwiseConvBlock: {"depthwise": "dconv", "pointwise": "pconv"},
    Residual: {"reduce": "layer1", "expand": "layer2"},
    Bottleneck: {"reduce": "conv1", "expand": "conv2"},
    CSPLayer: {"enter": "conv1", "bypass": "conv2", "merge": "conv3", "blocks": "m"},
    SpatialPyramidPooling: {"reduce": "conv1", "merge": "conv2"},
    FeaturePyramid: {
        "reduce_coarse": "out1_cbl",
        "merge_middle": "out1",
        "reduce_middle": "out2_cbl",
        "merge_fine": "out2",
    },
    PathAggregation: {
        "reduce_coarse": "lateral_conv0",
        "top_down_middle": "C3_p4",
        "reduce_middle": "reduce_conv1",
        "top_down_fine": "C3_p3",
        "downsample_fine": "bu_conv2",
        "bottom_up_middle": "C3_n3",
        "downsample_middle": "bu_conv1",
        "bottom_up_coarse": "C3_n4",
    },
    DecoupledHead: {
        "class_convs": "cls_convs",
        "box_convs": "reg_convs",
        "class_outputs": "cls_preds",
        "box_outputs": "reg_preds",
        "objectness_outputs": "obj_preds",
    },
}

#: Where checkpoints keep their tensors, the preferred place first: averaged weights before raw ones.
NESTS = ("ema", "ema_state_dict", "model", "state_dict", "model_state_dict")


@dataclass(frozen=True)
class WrongShape:
    """A tensor of the file that does not fit the model's of the same name."""

    name: str
    file: tuple[int, ...]
    model: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name}: {list(self.file)} in the file, {list(self.model)} in the model"


@dataclass(frozen=True)
class LoadReport:
    """What became of each tensor, under its official name.

    loaded: taken from the file. missing: the model's, not in the file. unexpected: the file's, unknown to
    the model. wrong_shape: in both, not taken. The model keeps its own values of what was not loaded.
    folded: whether the file's batch norms are folded away; such a model scores as it should, but training
    needs :func:`yolox_core.deploy.folded_norms.unfold_norms` first.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shape: tuple[WrongShape, ...]
    folded: bool = False

    @property
    def complete(self) -> bool:
        """Whether every tensor of the model came from the file."""
        return not self.missing and not self.wrong_shape

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} tensors loaded"]
        for title, names in (
            ("missing from the file", self.missing),
            ("of the wrong shape", self.wrong_shape),
            ("unknown to the model", self.unexpected),
        ):
            if names:
                lines += [f"{len(names)} {title}:", *(f"  {name}" for name in names)]
        if self.folded:
            lines.append("the batch norms are folded into the convolutions: unfold them before training")
        return "\n".join(lines)


def load_official(detector: Detector, path: Path | str) -> LoadReport:
    """Load a checkpoint with official names into a detector; what does not fit is left as it was.

    Takes the official files (``{"model": …}``), training checkpoints (averaged weights first), plain
    state dicts, DarkNet53's ImageNet weights (backbone only) and our own names.
    Raises FileNotFoundError, and ValueError for a file that cannot be read as weights or of which not one
    tensor fits.
    """
    return load_tensors(detector, read_state_dict(path), str(path))


def load_tensors(detector: Detector, found: Mapping[str, Tensor], source: str) -> LoadReport:
    """:func:`load_official` with tensors in hand; ``source`` names their origin in errors."""
    official = official_keys(detector)
    ours = {theirs: mine for mine, theirs in official.items()}
    state, accepted, wrong, unexpected = detector.state_dict(), {}, [], []
    for name, value in found.items():
        key = ours.get(name, name)
        if key not in state:
            unexpected.append(name)
        elif value.shape != state[key].shape:
            wrong.append(WrongShape(official[key], tuple(value.shape), tuple(state[key].shape)))
        else:
            accepted[key] = value
    handled = {official[key] for key in accepted} | {w.name for w in wrong}
    missing = [n for n in official.values() if n not in handled and not n.endswith("num_batches_tracked")]
    if all(key.endswith("num_batches_tracked") for key in accepted):
        raise ValueError(
            f"not one tensor of {source} fits {detector.config.name}: is it a checkpoint of another model? "
            f"Its first names are {', '.join(list(found)[:3])}"
        )
    detector.load_state_dict(accepted, strict=False)
    return LoadReport(
        tuple(official[key] for key in accepted),
        tuple(missing),
        tuple(unexpected),
        tuple(wrong),
        has_folded_norms(detector),
    )


def to_official(detector: Detector, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The detector's tensors under official names.

    state: other values under the detector's own names, for example averaged weights.
    """
    names = official_keys(detector)
    return {names[key]: value for key, value in (detector.state_dict() if state is None else state).items()}


def save_official(detector: Detector, path: Path | str, state: Mapping[str, Tensor] | None = None) -> None:
    """Write a checkpoint that the official tools read: ``{"model": to_official(detector, state)}``."""
    target = Path(path)
    tensors = {name: value.detach().cpu() for name, value in to_official(detector, state).items()}
    with replacing(target) as file:
        torch.save({"model": tensors}, file)


def official_keys(detector: Detector) -> dict[str, str]:
    """Our name of every tensor -> its official name."""
    return {key: ".".join(_translate(detector, key.split("."))) for key in detector.state_dict()}


def unofficial_parts(detector: Detector) -> tuple[str, ...]:
    """Parts of the detector that the official code does not have; their tensors keep our names."""
    own = (CoupledHead, OneToOneHead)
    return tuple(
        name
        for name, part in detector.named_children()
        if isinstance(part, own) or (isinstance(part, DarkNet53) and part.as_timm)
    )


def read_state_dict(path: Path | str) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name, on the CPU, without prefixes that wrappers add.

    Raises FileNotFoundError, and ValueError for a file that holds no tensors or more than plain data.
    """
    check_seal(Path(path))
    if not is_pytorch_file(Path(path)):
        raise ValueError(f"{path} is no PyTorch checkpoint; give the .pth or .pt file that training wrote")
    try:
        with torch.serialization.safe_globals(_harmless_globals()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch reports broken files with half a dozen types
        raise ValueError(f"{path} cannot be read as a PyTorch checkpoint: {_what_is_wrong(error)}") from error
    tensors = _find_tensors(content)
    if tensors is None:
        places = ", ".join(NESTS)
        raise ValueError(f"{path} holds no state dict; expected tensors by name, directly or under: {places}")
    state = {name.removeprefix("module."): value for name, value in tensors.items()}
    if any(name.startswith("dark2.") for name in state):  # the backbone alone, as for ImageNet
        state = {f"backbone.backbone.{name}": value for name, value in state.items()}
    return state


def _what_is_wrong(error: Exception) -> str:
    """torch's reason, without its advice to load the file as a program (``weights_only=False``)."""
    if code := re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error)):
        return (
            f"it holds pickled code ({code[1]}) and not tensors alone; save its state dict: "
            "torch.save(model.state_dict(), …)"
        )
    words = str(error).strip().splitlines()
    return "it is damaged" + (
        f" ({words[0]})" if words and not isinstance(error, pickle.UnpicklingError) else ""
    )


def _translate(module: nn.Module, path: list[str]) -> list[str]:
    if not path:
        return []
    for ours, theirs in _official_names(module).items():
        parts = ours.split(".")
        if path[: len(parts)] == parts:
            return [theirs, *_translate(module.get_submodule(ours), path[len(parts) :])]
    name, *rest = path
    child = getattr(module, name)
    return [name, *_translate(child, rest)] if isinstance(child, nn.Module) else path


def _official_names(module: nn.Module) -> dict[str, str]:
    if isinstance(module, CSPDarknet):
        return {f"stages.{k}": f"dark{k + 2}" for k in range(len(module.stages))}
    if isinstance(module, DarkNet53):
        return _darknet53_names(module)
    return OFFICIAL_NAMES.get(type(module), {})


def _darknet53_names(backbone: DarkNet53) -> dict[str, str]:
    """The official stem takes the first stage in, the last stage the pyramid pooling."""
    first, last = backbone.stages[0], backbone.stages[4]
    assert isinstance(first, nn.Sequential)
    assert isinstance(last, nn.Sequential)
    names = {"stem": "stem.0"}
    names |= {f"stages.0.{k}": f"stem.{k + 1}" for k in range(len(first))}
    names |= {f"stages.{k}": f"dark{k + 1}" for k in range(1, 5)}
    return names | {f"pyramid.{k}": f"dark5.{len(last) + k}" for k in range(len(backbone.pyramid))}


def _find_tensors(content: Any, depth: int = 3) -> dict[str, Tensor] | None:
    """depth: how many nests may lie in each other; a file may well hold itself."""
    if not isinstance(content, Mapping) or not depth:
        return None
    for nest in NESTS:
        found = _find_tensors(content.get(nest), depth - 1)
        if found is not None:
            return found
    if content and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()):
        return dict(content)
    return None


def _harmless_globals() -> list[Any]:
    """What numpy numbers need: the official trainer writes its best AP as one."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    dtypes = [np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType]
    return [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *dtypes, _codecs.encode]
