"""From toggles to components: the only place where an ingredient is looked up."""

from __future__ import annotations

from torch import nn

from yolox_core.assigners.center import CenterAssigner
from yolox_core.assigners.common import Assigner
from yolox_core.assigners.max_iou import MaxIoUAssigner
from yolox_core.assigners.one_to_one import OneToOneAssigner
from yolox_core.assigners.ota import OTAAssigner
from yolox_core.assigners.simota import SimOTAAssigner
from yolox_core.augmentation.pipelines import Pipeline, strong_pipeline, weak_pipeline
from yolox_core.coding import AnchorCoding, Coding, PointCoding
from yolox_core.config import DARKNETS, Ingredients, ModelConfig, TrainConfig
from yolox_core.detector import Detector
from yolox_core.models.csp_darknet import CSPDarknet
from yolox_core.models.darknet53 import DarkNet53
from yolox_core.models.fpn import FeaturePyramid
from yolox_core.models.heads import CoupledHead, DecoupledHead, OneToOneHead
from yolox_core.models.pafpn import PathAggregation
from yolox_core.postprocess import NMS, Postprocess, TopK


def build_detector(model: ModelConfig, ingredients: Ingredients) -> Detector:
    """The detector of an architecture with the given ingredients switched on; all 64 combinations build.

    Weights are drawn from torch's global generator: seed it first.
    """
    backbone, neck = _build_body(model)
    channels: tuple[int, ...] = neck.channels  # type: ignore[assignment]
    coding = _build_coding(model, ingredients)
    hidden = int(model.head_width * model.width)
    head: CoupledHead | DecoupledHead
    if ingredients.decoupled_head:
        head = DecoupledHead(
            channels,
            coding.per_cell,
            model.num_classes,
            hidden=hidden,
            act=model.activation,
            depthwise=model.depthwise,
        )
    else:
        head = CoupledHead(channels, coding.per_cell, model.num_classes, act=model.activation)
    one_to_one_head, one_to_one_assigner = None, None
    postprocess: Postprocess = NMS()
    if ingredients.nms_free:
        one_to_one_head = OneToOneHead(
            head.feature_channels, coding.per_cell, hidden=hidden, act=model.activation
        )
        one_to_one_assigner = OneToOneAssigner(
            alpha=model.assigner.one_to_one_alpha, center_radius=model.assigner.center_radius
        )
        postprocess = TopK()
    return Detector(
        model,
        ingredients,
        backbone=backbone,
        neck=neck,
        head=head,
        coding=coding,
        assigner=_build_assigner(model, ingredients),
        postprocess=postprocess,
        one_to_one_head=one_to_one_head,
        one_to_one_assigner=one_to_one_assigner,
    )


def _build_body(model: ModelConfig) -> tuple[nn.Module, nn.Module]:
    if model.backbone in DARKNETS:
        as_timm = model.backbone == "darknet53-timm"
        darknet = DarkNet53(model.depth, model.width, model.activation, as_timm=as_timm)
        return darknet, FeaturePyramid(darknet.channels, model.activation)
    csp = CSPDarknet(model.depth, model.width, model.activation, model.depthwise)
    return csp, PathAggregation(csp.channels, model.depth, model.activation, model.depthwise)


def _build_coding(model: ModelConfig, ingredients: Ingredients) -> Coding:
    if ingredients.anchor_free:
        return PointCoding(model.strides)
    return AnchorCoding(model.strides, model.anchors)


def _build_assigner(model: ModelConfig, ingredients: Ingredients) -> Assigner:
    config = model.assigner
    if ingredients.simota:
        simota = SimOTAAssigner(
            geometry=config.simota_geometry,
            dynamic=ingredients.multi_positives,
            center_radius=config.center_radius,
            iou_cost=config.iou_cost,
            candidates=config.candidates,
        )
        if config.solver == "simota":
            return simota
        return OTAAssigner(
            **vars(simota), epsilon=config.sinkhorn_epsilon, iterations=config.sinkhorn_iterations
        )
    radius = 1 if ingredients.multi_positives else 0
    if ingredients.anchor_free:
        return CenterAssigner(radius, config.scale_ranges)
    return MaxIoUAssigner(radius, config.ignore_iou)


def build_pipelines(ingredients: Ingredients, training: TrainConfig) -> tuple[Pipeline, Pipeline]:
    """The training pipeline, and the one of the closing epochs."""
    weak = weak_pipeline(training)
    return (strong_pipeline(training) if ingredients.strong_augmentation else weak), weak
