"""Protocols: named sets of training settings, and how far a recipe departs from the paper's.

``paper`` is what the paper describes. ``demo`` shrinks everything to minutes on a laptop; its figures
say whether the code works and which way an ingredient pulls, never what it gives on COCO. ``small`` is for
real datasets of hundreds of images: its settings follow from the data (:func:`roadmap.fitting.fitted`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from roadmap.recipe import DatasetConfig, Recipe, flatten, to_json
from yolox_core.config import AugmentationConfig, ModelConfig, TrainConfig


@dataclass(frozen=True)
class Protocol:
    """A named set of training settings.

    scale: (depth, width) that a model is shrunk to, None to keep it whole. anchors: ``kmeans`` (clustered on
    the training boxes, except on COCO, whose clusters YOLOv3 published) or ``yolov3``
    (:mod:`roadmap.anchors`). fits_data: training and scale are only a start and follow from the dataset.
    own_sizes, own_augmentation: Nano and Tiny have input sizes, and with S an augmentation, of their own.
    settings: (dotted name, value) of what a user changed; they have the last word in every recipe
    (:mod:`roadmap.settings`).
    """

    name: str
    summary: str
    training: TrainConfig
    scale: tuple[float, float] | None = None
    head_width: int | None = None
    anchors: str = "kmeans"
    fits_data: bool = False
    own_sizes: bool = False
    own_augmentation: bool = False
    settings: tuple[tuple[str, Any], ...] = ()


PAPER = Protocol(
    "paper",
    "300 epochs of COCO, batch 128, 448…832 px, test at 640 px (paper §2.1)",
    TrainConfig(),
    own_sizes=True,
    own_augmentation=True,
)

#: Its anchors stay YOLOv3's although the shapes are smaller than COCO's objects: its published figures were
#: measured so, and must come out the same to the digit.
DEMO = Protocol(
    "demo",
    "minutes on two CPU cores: a slimmer DarkNet53, small images, few epochs",
    TrainConfig(
        epochs=18,
        warmup_epochs=1,
        closing_epochs=4,
        batch_size=8,
        learning_rate=0.015,
        image_size=128,
        multiscale=(96, 160),
        evaluate_every=2,
        augmentation=AugmentationConfig(mosaic_scale=(0.7, 1.4), mixup=0.3),
    ),
    scale=(0.34, 0.25),
    anchors="yolov3",
)

SMOKE = Protocol(
    "smoke",
    "seconds: does every part run here? Its AP means nothing",
    replace(
        DEMO.training,
        epochs=3,
        closing_epochs=1,
        batch_size=32,
        learning_rate=0.03,
        image_size=64,
        multiscale=(64, 96),
        multiscale_interval=3,
        evaluate_every=1,
    ),
    scale=(0.1, 0.125),
    anchors="yolov3",
)

SMALL = Protocol(
    "small",
    "a real dataset of hundreds of images: sizes, epochs and batch follow from the data, light augmentation",
    TrainConfig(augmentation=AugmentationConfig(mosaic_scale=(0.5, 1.5), mixup=0.0)),
    fits_data=True,
)

#: The checkpoint's box outputs are relative to the anchors it was trained with.
FINE_TUNE = Protocol(
    "fine-tune",
    "ten epochs at a hundredth of the learning rate, without strong augmentation; give --weights",
    TrainConfig(
        epochs=10,
        warmup_epochs=1,
        closing_epochs=9,
        batch_size=16,
        learning_rate=0.01 / 64 * 16 / 100,
        floor_ratio=1.0,
        evaluate_every=1,
    ),
    anchors="yolov3",
    own_sizes=True,
)

PROTOCOLS: dict[str, Protocol] = {p.name: p for p in (PAPER, DEMO, SMOKE, SMALL, FINE_TUNE)}


def find_protocol(name: str) -> Protocol:
    """Protocol by name. Raises ValueError with the valid names."""
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}; choose one of: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


@dataclass(frozen=True)
class Deviation:
    """A setting that differs from the paper's protocol."""

    field: str
    paper: object
    here: object

    def __str__(self) -> str:
        return f"{self.field}: {self.here} (paper: {self.paper})"


def deviations(recipe: Recipe, reference: Recipe) -> tuple[Deviation, ...]:
    """Every setting in which a recipe differs from the paper's recipe for the same stage or model."""
    ours, paper = flatten(to_json(recipe)), flatten(to_json(reference))
    return tuple(
        Deviation(key, paper[key], ours[key])
        for key in paper
        if paper[key] != ours[key] and not _same(key, recipe, reference)
    )


def _same(key: str, recipe: Recipe, reference: Recipe) -> bool:
    """Whether a difference is one of names only."""
    if key == "dataset.fingerprint" or (key.startswith("dataset.") and recipe.dataset.coco):
        return True
    if key == "training.pretrained" and reference.training.pretrained == IMAGENET:
        return recipe.training.pretrained.startswith(IMAGENET)
    return key == "protocol"


#: Companion value of stages that start from ImageNet weights.
IMAGENET = "imagenet"

#: The dataset of the paper's val figures (Tables 1-5).
COCO_2017 = DatasetConfig("COCO 2017", "", 80, 118287, 5000, coco=True)


def scaled_model(model: ModelConfig, protocol: Protocol, dataset: DatasetConfig) -> ModelConfig:
    """A model for a dataset's classes, no deeper and no wider than the protocol wants it."""
    model = replace(model, num_classes=dataset.num_classes)
    if protocol.scale is not None:
        depth, width = protocol.scale
        model = replace(model, depth=min(model.depth, depth), width=min(model.width, width))
    if protocol.head_width is not None:
        model = replace(model, head_width=protocol.head_width)
    return model
