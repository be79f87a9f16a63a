"""Every toggle becomes its component, and the paper's models have the paper's number of parameters."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import nn

from roadmap.stages import STAGE_NAMES, ingredients_at
from yolox_core.assigners.center import CenterAssigner
from yolox_core.assigners.max_iou import MaxIoUAssigner
from yolox_core.assigners.one_to_one import OneToOneAssigner
from yolox_core.assigners.ota import OTAAssigner
from yolox_core.assigners.simota import SimOTAAssigner
from yolox_core.build import build_detector
from yolox_core.coding import AnchorCoding, PointCoding
from yolox_core.config import INGREDIENTS, AssignerConfig, Ingredients, ModelConfig
from yolox_core.detector import Detector
from yolox_core.models.heads import CoupledHead, DecoupledHead, OneToOneHead
from yolox_core.postprocess import NMS, TopK

#: Checked with the official models (paper notes; the stages differ by the head and the anchors alone).
PARAMETERS = {
    "baseline": 62_998_749,
    "decoupled-head": 63_855_837,
    "strong-augmentation": 63_855_837,
    "anchor-free": 63_724_767,
    "multi-positives": 63_724_767,
    "simota": 63_724_767,
    "nms-free": 67_267_554,
}


def build(config: ModelConfig | None = None, **toggles: bool) -> Detector:
    with torch.device("meta"):
        return build_detector(config or ModelConfig(depth=0.33, width=0.125), Ingredients(**toggles))


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_every_stage_is_counted() -> None:
    assert tuple(PARAMETERS) == STAGE_NAMES


@pytest.mark.parametrize(("stage", "expected"), PARAMETERS.items())
def test_parameters_of_the_stages(stage: str, expected: int) -> None:
    with torch.device("meta"):
        assert parameters(build_detector(ModelConfig(), ingredients_at(stage))) == expected


def test_nothing_but_augmentation_means_the_same_detector() -> None:
    assert repr(build(strong_augmentation=True)) == repr(build())


def test_heads() -> None:
    assert isinstance(build().head, CoupledHead)
    assert isinstance(build(decoupled_head=True).head, DecoupledHead)


def test_codings() -> None:
    anchors, point = build().coding, build(anchor_free=True).coding
    assert isinstance(anchors, AnchorCoding)
    assert anchors.per_cell == 3
    assert isinstance(point, PointCoding)
    assert point.per_cell == 1


@pytest.mark.parametrize("many", [False, True])
def test_assigners(many: bool) -> None:
    config = AssignerConfig()
    assert build(multi_positives=many).assigner == MaxIoUAssigner(int(many), config.ignore_iou)
    points = build(anchor_free=True, multi_positives=many).assigner
    assert points == CenterAssigner(int(many), config.scale_ranges)
    for anchor_free in (False, True):
        simota = build(simota=True, anchor_free=anchor_free, multi_positives=many).assigner
        assert simota == SimOTAAssigner(dynamic=many)
    with_ota = ModelConfig(depth=0.33, width=0.125, assigner=replace(config, solver="ota"))
    assert build(with_ota, simota=True, multi_positives=many).assigner == OTAAssigner(dynamic=many)
    assert build(with_ota, multi_positives=many).assigner == build(multi_positives=many).assigner


def test_assigner_options_arrive() -> None:
    options = AssignerConfig(
        simota_geometry="center",
        center_radius=1.5,
        iou_cost=2.0,
        candidates=7,
        ignore_iou=0.6,
        scale_ranges=(32.0, 99.0),
        one_to_one_alpha=0.5,
    )
    config = ModelConfig(depth=0.33, width=0.125, assigner=options)
    assert build(config, simota=True).assigner == SimOTAAssigner("center", False, 1.5, 2.0, 7)
    ota = replace(options, solver="ota", sinkhorn_epsilon=0.5, sinkhorn_iterations=20)
    expected = OTAAssigner("center", False, 1.5, 2.0, 7, 0.5, 20)
    assert build(replace(config, assigner=ota), simota=True).assigner == expected
    assert build(config).assigner == MaxIoUAssigner(0, 0.6)
    assert build(config, anchor_free=True).assigner == CenterAssigner(0, (32.0, 99.0))
    assert build(config, nms_free=True).one_to_one_assigner == OneToOneAssigner(0.5, 1.5)


def test_nms_free_adds_a_branch_and_drops_nms() -> None:
    without, free = build(), build(nms_free=True)
    assert without.one_to_one_head is None
    assert without.one_to_one_assigner is None
    assert isinstance(without.postprocess, NMS)
    assert isinstance(free.one_to_one_head, OneToOneHead)
    assert isinstance(free.postprocess, TopK)


def test_every_toggle_but_augmentation_changes_something_in_every_combination() -> None:
    """Parts of the 64 detectors, compared along every edge of the cube."""
    parts = {toggles: describe(*toggles) for toggles in product((False, True), repeat=6)}
    for toggles, off in parts.items():
        for place, name in enumerate(INGREDIENTS):
            if not toggles[place] and name != "strong_augmentation":
                on = parts[(*toggles[:place], True, *toggles[place + 1 :])]
                assert on != off, f"{name} changes nothing in {Ingredients(*toggles).enabled()}"


def describe(*toggles: bool) -> tuple[object, ...]:
    detector = build(**dict(zip(INGREDIENTS, toggles, strict=True)))
    shapes = [(name, tuple(p.shape)) for name, p in detector.named_parameters()]
    return (shapes, type(detector.coding), detector.assigner, detector.postprocess)


def test_unknown_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="darknet53"):
        build(ModelConfig(backbone="vgg"))


def test_weights_follow_the_seed() -> None:
    def first_weight(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        model = build_detector(ModelConfig(depth=0.33, width=0.125), Ingredients())
        return next(iter(model.parameters())).detach()

    assert first_weight(1).equal(first_weight(1))
    assert not first_weight(1).equal(first_weight(2))
