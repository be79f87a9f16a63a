"""ImageNet weights as others publish them: features equal the source's; other files are refused."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor

from roadmap.cost import cost
from tests.yolox_core.imagenet_references import (
    DarknetReader,
    Mmdetection,
    Timm,
    photograph,
    randomise,
    write_darknet,
)
from yolox_core.build import build_detector
from yolox_core.config import MODELS, YOLOX_INGREDIENTS, Ingredients, ModelConfig
from yolox_core.deploy.darknet_file import count_values
from yolox_core.deploy.fusion import fused_copy
from yolox_core.deploy.imagenet import ImagenetReport, load_imagenet, suited_model
from yolox_core.deploy.weights import to_official, unofficial_parts
from yolox_core.detector import Detector
from yolox_core.models.darknet53 import DarkNet53

Network = TypeVar("Network", Mmdetection, Timm)

SMALL = replace(MODELS["yolox-darknet53"], depth=0.2, width=0.125, num_classes=2)
SMALL_TIMM = replace(SMALL, backbone="darknet53-timm")


def build(model: ModelConfig = SMALL, ingredients: Ingredients = Ingredients()) -> Detector:  # noqa: B008
    torch.manual_seed(5)
    return build_detector(model, ingredients).eval()


@pytest.fixture(scope="module")
def mmdetection() -> Mmdetection:
    torch.manual_seed(1)
    network = Mmdetection()
    randomise(network, network.features)
    return network


@pytest.fixture(scope="module")
def timm_like() -> Timm:
    torch.manual_seed(2)
    network = Timm()
    randomise(network, network.features)
    return network


@pytest.fixture
def darknet(mmdetection: Mmdetection, tmp_path: Path) -> Path:
    path = tmp_path / "darknet53.conv.74"
    write_darknet(mmdetection, path)
    return path


def features(detector: Detector, bgr: Tensor) -> list[Tensor]:
    """Of stride 8, 16 and 32, before the pyramid pooling, which ImageNet's networks do not have."""
    backbone, found = detector.double().backbone, []
    assert isinstance(backbone, DarkNet53)
    hooks = [
        stage.register_forward_hook(lambda _, __, output: found.append(output.clone()))
        for stage in backbone.stages[2:]
    ]
    backbone(bgr.double())
    for hook in hooks:
        hook.remove()
    return found


def as_double(network: Network) -> Network:
    return deepcopy(network).double()


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert [x.shape[-1] for x in theirs] == [12, 6, 3]
    assert all(0.1 < float(x.std()) < 1e3 for x in theirs), "features worth comparing"
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_features_are_those_of_mmdetection(mmdetection: Mmdetection, tmp_path: Path, prefix: str) -> None:
    state = {prefix + name: value for name, value in mmdetection.state_dict().items()}
    torch.save({"meta": {"epoch": 1}, "state_dict": state}, tmp_path / "darknet53.pth")
    detector = build()
    report = load_imagenet(detector, tmp_path / "darknet53.pth")
    assert_same(features(detector, photograph()), as_double(mmdetection).features(photograph().double()))
    assert (len(report.taken), report.left_out) == (20, ())
    assert report.taken[5] == ("backbone.stages.1.1.reduce", "conv_res_block2.res0.conv1")


@torch.no_grad()
def test_features_are_those_of_timm(timm_like: Timm, tmp_path: Path) -> None:
    """Up to the border, which timm's network pads with ImageNet's mean colour."""
    torch.save(timm_like.state_dict(), tmp_path / "darknet53_256_c2ns.pth")
    detector = build(SMALL_TIMM)
    report = load_imagenet(detector, tmp_path / "darknet53_256_c2ns.pth")
    assert_same(features(detector, photograph()), as_double(timm_like).features(photograph().double()))
    assert report.left_out == ("head.fc.weight", "head.fc.bias")
    assert "backbone.stem from stem.conv1\n" in str(report)
    assert "random weights: backbone.pyramid, neck, head" in str(report)


@torch.no_grad()
@pytest.mark.parametrize(
    ("version", "more", "left_out"),
    [
        ((0, 2), 0, ()),
        ((0, 1), 0, ()),
        ((0, 2), 1000 * 129, ("a classifier of 1000 classes",)),
    ],
    ids=["conv.74", "older header", "whole"],
)
def test_features_are_those_of_darknet(
    mmdetection: Mmdetection, tmp_path: Path, version: tuple[int, int], more: int, left_out: tuple[str, ...]
) -> None:
    path = tmp_path / "darknet53.weights"
    write_darknet(mmdetection, path, version=version, more=more)
    detector = build()
    report = load_imagenet(detector, path)
    assert_same(features(detector, photograph()), DarknetReader(path).features(photograph().double()))
    assert report.left_out == left_out
    assert report.taken[-1] == ("backbone.stages.4.1.expand", "convolution 20")


def test_the_full_size_file_has_the_published_length() -> None:
    """darknet53.conv.74 is 162,482,580 bytes: a header of 20, then numbers of 4."""
    with torch.device("meta"):
        blocks = DarkNet53().trunk().values()
    shapes = [(b.conv.out_channels, b.conv.in_channels, b.conv.kernel_size[0]) for b in blocks]
    assert len(shapes) == 52
    assert 20 + 4 * count_values(shapes) == 162_482_580


@torch.no_grad()
def test_kernels_keep_their_length(mmdetection: Mmdetection, timm_like: Timm, tmp_path: Path) -> None:
    """Steps of training turn a kernel by 1 / length²: a range folded into it would make them enormous."""
    for network, first, model in (
        (mmdetection, mmdetection.conv1, SMALL),
        (timm_like, timm_like.stem[0], SMALL_TIMM),
    ):
        torch.save(network.state_dict(), tmp_path / "a.pth")
        detector = build(model)
        load_imagenet(detector, tmp_path / "a.pth")
        length, theirs = (b.conv.weight.norm().item() for b in (detector.backbone.stem, first))
        assert length == pytest.approx(theirs, rel=0.02)


@torch.no_grad()
def test_training_starts_from_the_same_features(mmdetection: Mmdetection, darknet: Path) -> None:
    """The batch's statistics are near the running ones there, so the epsilon's factor stays true."""
    detector = build()
    load_imagenet(detector, darknet)
    ours = features(detector.train(), photograph())
    theirs = as_double(mmdetection).train().features(photograph().double())
    for a, b in zip(ours, theirs, strict=True):
        assert float((a - b).norm() / b.norm()) < 0.05


@torch.no_grad()
def test_a_backbone_under_official_names_is_taken_as_it_is(tmp_path: Path) -> None:
    source, detector = build(ingredients=YOLOX_INGREDIENTS), build()
    for parameter in source.parameters():
        parameter.add_(0.01)
    prefix = "backbone.backbone."
    state = {k.removeprefix(prefix): v for k, v in to_official(source).items() if k.startswith(prefix)}
    torch.save(state, tmp_path / "a.pth")
    report = load_imagenet(detector, tmp_path / "a.pth")
    for name, value in source.backbone.state_dict().items():
        assert torch.equal(value, detector.backbone.state_dict()[name])
    assert report.anew == ("neck", "head")
    assert suited_model(SMALL, tmp_path / "a.pth") == SMALL


def cut(data: bytes) -> bytes:
    return data[:-4000]


def altered(place: int, number: float) -> Callable[[bytes], bytes]:
    """One number of a file changed."""
    start = 20 + 4 * place
    return lambda data: data[:start] + torch.tensor(number).numpy().tobytes() + data[start + 4 :]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, r"is cut off, or of another network: it holds \d+ of \d+ numbers"),
        (lambda data: data[:-3], "is damaged: it ends inside a number"),
        (lambda data: data + bytes(4 * 777), "777 numbers behind DarkNet53's that are no classifier"),
        (altered(2, float("nan")), "is damaged: convolution 1 has values that are not finite"),
        (altered(13, -1.0), "is damaged: convolution 1 has .* negative variances"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1", "does not begin with a version.*take"),
        (lambda data: b"<!doctype html><html>not found</html>", "is no PyTorch checkpoint; take Darknet's"),
        (lambda data: b"", "has 0 bytes"),
        (lambda data: data[:18], "is damaged"),
        (lambda data: bytes([90, 0, 0, 0, 0, 0, 0, 0]) + b'{"a":{}}', "safetensors file; give the .pth or"),
    ],
    ids=["cut", "inside", "detector", "nan", "variance", "pointer", "page", "empty", "header", "safetensors"],
)  # fmt: skip
def test_files_that_are_not_whole_are_named(
    darknet: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    darknet.write_bytes(change(darknet.read_bytes()))
    detector = build()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    for use in (lambda: load_imagenet(detector, darknet), lambda: suited_model(SMALL, darknet)):
        with pytest.raises(
            ValueError, match=rf"darknet53\.conv\.74 .*{message}|darknet53\.conv\.74 {message}"
        ):
            use()
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem.conv1.bn.bias": None}, r"is not timm's darknet53: stem\.conv1\.bn\.bias is missing"),
        ({"stages.0.attn.fc.bias": torch.zeros(1)}, r"stages\.0\.attn\.fc\.bias is unknown"),
        ({"stem.conv1.bn.bias": torch.zeros(5)}, r"stem\.conv1\.bn\.bias is \[5\], not \[4\]"),
        ({"stem.conv1.conv.weight": torch.zeros(4, 4, 3, 3)}, r"is \[4, 4, 3, 3\], not \[4, 3, 3, 3\]"),
        ({"stem.conv1.bn.running_var": -torch.ones(4)}, r"is damaged: stem\.conv1 has .*negative"),
    ],
    ids=["missing", "unknown", "norm", "kernel", "variance"],
)
def test_another_network_of_timm_is_refused(
    timm_like: Timm, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    state = {name: value for name, value in (timm_like.state_dict() | change).items() if value is not None}
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message):
        load_imagenet(build(SMALL_TIMM), tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"layer1.0.conv1.weight": 1}, r"holds no DarkNet53 that is known; its first names are layer1\.0"),
        (
            {"backbone.conv_res_block1.conv.conv.weight": 1, "neck.conv1.weight": 1},
            "more than a backbone .neck",
        ),
        (
            {"backbone.backbone.stem.0.conv.weight": 1, "head.stems.0.conv.weight": 1},
            "give it with --weights",
        ),
        ({"backbone.stem.conv.weight": 1, "neck.a.weight": 1}, "more than a backbone"),
    ],
    ids=["resnet", "mmdetection's detector", "YOLOX", "ours"],
)
def test_other_state_dicts_are_refused(tmp_path: Path, state: dict[str, int], message: str) -> None:
    torch.save({name: torch.zeros(size) for name, size in state.items()}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message):
        suited_model(SMALL, tmp_path / "a.pth")


def test_full_size_weights_do_not_fit_a_slim_model(timm_like: Timm, tmp_path: Path) -> None:
    darknet = tmp_path / "darknet53.conv.74"
    with darknet.open("wb") as file:
        file.write(bytes([0, 0, 0, 0, 2, 0, 0, 0]))
        file.truncate(162_482_580)
    with pytest.raises(
        ValueError, match=r"52 convolutions, the first of 32 .* has 20, the first of 4.*--set model"
    ):
        suited_model(SMALL, darknet)
    torch.save(timm_like.state_dict(), tmp_path / "a.pth")
    with pytest.raises(ValueError, match="20 convolutions, the first of 4 channels; the model's has 52"):
        suited_model(MODELS["yolox-darknet53"], tmp_path / "a.pth")


def test_planning_takes_the_backbone_that_the_weights_are_for(
    timm_like: Timm, darknet: Path, tmp_path: Path
) -> None:
    timm = tmp_path / "timm.pth"
    torch.save(timm_like.state_dict(), timm)
    assert suited_model(SMALL, darknet) == SMALL
    assert suited_model(SMALL, timm) == SMALL_TIMM
    for model, file, message in (
        (replace(SMALL, backbone="csp-darknet"), darknet, "the model's backbone is csp-darknet"),
        (replace(SMALL, activation="silu"), darknet, "leave model.activation as it is"),
        (SMALL_TIMM, darknet, "leave model.backbone as it is"),
    ):
        with pytest.raises(ValueError, match=message):
            suited_model(model, file)
    with pytest.raises(ValueError, match=r"is for the backbone darknet53-timm, the model's is darknet53"):
        load_imagenet(build(), timm)


def test_timms_backbone_costs_the_same_and_is_not_the_official_one() -> None:
    assert cost(SMALL_TIMM, YOLOX_INGREDIENTS, 64) == cost(SMALL, YOLOX_INGREDIENTS, 64)
    assert build(SMALL_TIMM).state_dict().keys() == build().state_dict().keys()
    assert unofficial_parts(build(SMALL_TIMM, YOLOX_INGREDIENTS)) == ("backbone",)


@torch.no_grad()
def test_timms_backbone_is_made_ready_for_inference_too(timm_like: Timm, tmp_path: Path) -> None:
    torch.save(timm_like.state_dict(), tmp_path / "a.pth")
    detector = build(SMALL_TIMM)
    load_imagenet(detector, tmp_path / "a.pth")
    assert_same(features(fused_copy(detector), photograph()), features(detector, photograph()))


@pytest.mark.slow
@torch.no_grad()
def test_features_are_those_of_the_installed_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model("darknet53")
    randomise(network, lambda bgr: network(bgr / 255))
    torch.save(network.state_dict(), tmp_path / "a.pth")
    detector = build(replace(MODELS["yolox-darknet53"], backbone="darknet53-timm"))
    load_imagenet(detector, tmp_path / "a.pth")
    normalise = timm.data.resolve_data_config(model=network)
    mean, std = (torch.tensor(normalise[key]).view(3, 1, 1) for key in ("mean", "std"))
    rgb = photograph().double()[:, [2, 1, 0]]
    theirs = network.double().forward_features((rgb / 255 - mean) / std)
    torch.testing.assert_close(features(detector, photograph())[-1], theirs, rtol=1e-4, atol=1e-4)


def test_the_report_lists_what_was_taken() -> None:
    report = ImagenetReport("somewhere", (("backbone.stem", "conv1"),), ("head.fc",), ("neck",))
    assert str(report).splitlines() == [
        "backbone from somewhere: 1 parts taken",
        "  backbone.stem from conv1",
        "  left out: head.fc",
        "  random weights: neck",
    ]
