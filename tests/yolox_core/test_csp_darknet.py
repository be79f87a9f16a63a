"""Modified CSPNet v5 and PAFPN: the paper's models by their counts and shapes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolox_core.build import build_detector
from yolox_core.config import MODELS, YOLOX_INGREDIENTS, ModelConfig
from yolox_core.models.csp_darknet import CSPDarknet, CSPLayer, Focus, bottlenecks
from yolox_core.models.pafpn import PathAggregation

#: Parameters to the last one, from which the paper's tables are rounded (Tables 2-4).
PARAMETERS = {
    "yolox-darknet53": 63_724_767,
    "yolox-nano": 912_159,
    "yolox-tiny": 5_055_855,
    "yolox-s": 8_968_255,
    "yolox-m": 25_326_495,
    "yolox-l": 54_208_895,
    "yolox-x": 99_071_455,
}


def build(model: ModelConfig) -> nn.Module:
    """Without memory for the weights: only shapes matter."""
    with torch.device("meta"):
        return build_detector(model, YOLOX_INGREDIENTS)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_the_papers(name: str) -> None:
    assert count(build(MODELS[name])) == PARAMETERS[name]


def test_focus_stacks_each_patch_column_by_column() -> None:
    image = torch.arange(3 * 4 * 4, dtype=torch.float32).reshape(1, 3, 4, 4)
    focus = Focus(12, act="silu")
    focus.conv = nn.Identity()  # type: ignore[assignment]
    stacked = focus(image)
    assert stacked.shape == (1, 12, 2, 2)
    # the patch at row 0, column 1 of the first colour: pixels (0, 2), (1, 2), (0, 3), (1, 3)
    assert stacked[0, ::3, 0, 1].tolist() == [2.0, 6.0, 3.0, 7.0]


def test_csp_layer_sends_half_of_its_channels_around_the_bottlenecks() -> None:
    layer = CSPLayer(8, 12, 2, act="silu").eval()
    seen: list[torch.Size] = []
    layer.blocks.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    assert layer(torch.zeros(1, 8, 4, 4)).shape == (1, 12, 4, 4)
    assert seen == [(1, 6, 4, 4)]
    assert len(layer.blocks) == 2


def test_without_residual_a_dead_bottleneck_gives_nothing() -> None:
    x = torch.rand(1, 8, 4, 4)
    for residual in (True, False):
        layer = CSPLayer(8, 8, 1, act="silu", residual=residual).eval()
        block = layer.blocks[0]
        nn.init.zeros_(block.expand.conv.weight)
        inner = torch.rand(1, 4, 4, 4)
        expected = inner if residual else torch.zeros_like(inner)
        assert torch.equal(block(inner), expected)
        assert layer(x).shape == x.shape


def test_only_the_last_stage_has_no_residuals_and_pools() -> None:
    backbone = CSPDarknet(0.33, 0.25)
    assert [stage[-1].blocks[0].residual for stage in backbone.stages] == [True, True, True, False]
    assert [len(stage) for stage in backbone.stages] == [2, 2, 2, 3]


@pytest.mark.parametrize(("depth", "blocks"), [(0.1, 1), (0.33, 1), (0.67, 2), (1.0, 3), (1.33, 4)])
def test_depth_rounds_once_on_three_blocks(depth: float, blocks: int) -> None:
    assert bottlenecks(depth) == blocks
    lengths = [len(stage[-1].blocks) for stage in CSPDarknet(depth, 0.0625).stages]
    assert lengths == [blocks, 3 * blocks, 3 * blocks, blocks]


@pytest.mark.parametrize("depthwise", [False, True])
def test_features_have_strides_8_16_32_and_the_named_channels(depthwise: bool) -> None:
    backbone = CSPDarknet(0.33, 0.125, depthwise=depthwise).eval()
    neck = PathAggregation(backbone.channels, 0.33, depthwise=depthwise).eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, 64, 96))
        levels = neck(features)
    for outputs in (features, levels):
        assert [tuple(x.shape[2:]) for x in outputs] == [(8, 12), (4, 6), (2, 3)]
        assert tuple(x.shape[1] for x in outputs) == backbone.channels == neck.channels == (32, 64, 128)


def test_depthwise_convolutions_are_in_nano_only() -> None:
    def depthwise(name: str) -> int:
        modules = build(MODELS[name]).modules()
        return sum(isinstance(m, nn.Conv2d) and m.groups > 1 for m in modules)

    assert depthwise("yolox-nano") > 20
    assert depthwise("yolox-tiny") == 0


def test_any_width_builds_and_runs() -> None:
    """Channels are multiples of the stem's, so that widths that do not divide 64 fit together too."""
    for width in (0.03, 0.3, 0.7):
        backbone = CSPDarknet(0.33, width).eval()
        neck = PathAggregation(backbone.channels, 0.33).eval()
        with torch.no_grad():
            levels = neck(backbone(torch.zeros(1, 3, 32, 32)))
        assert tuple(x.shape[1] for x in levels) == neck.channels


def test_every_level_sees_every_other() -> None:
    """Top-down and bottom-up: a change in one input level reaches all outputs."""
    torch.manual_seed(0)
    neck = PathAggregation((8, 16, 32), 0.33).eval()
    levels = [torch.rand(1, c, s, s) for c, s in ((8, 8), (16, 4), (32, 2))]
    with torch.no_grad():
        before = neck(tuple(levels))
        for k in range(3):
            changed = [x + (i == k) for i, x in enumerate(levels)]
            for a, b in zip(neck(tuple(changed)), before, strict=True):
                assert not torch.equal(a, b)
