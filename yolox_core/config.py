"""What a detector and its training are made of, as plain data.

Light: command lines read this module and must answer at once. The annotations say what values are legal
(docs/settings.md lists them); whatever reads a file or a command line checks them.
Defaults are the paper's values (arXiv 2107.08430 §2.1); where the paper is silent they are the
official code's (version 0.3.0).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from annotated_types import Ge, Gt, Interval, MultipleOf

Share = Annotated[float, Interval(ge=0, le=1)]
Decay = Annotated[float, Interval(ge=0, lt=1)]
Weight = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Whole = Annotated[int, Ge(0)]
Count = Annotated[int, Ge(1)]
Side = Annotated[int, Ge(32), MultipleOf(32)]

#: Per level (width, height) of each anchor in pixels.
AnchorShapes = tuple[tuple[tuple[Count, Count], ...], ...]

#: YOLOv3's nine anchors clustered on COCO, (width, height) in pixels, per level of stride 8, 16, 32
#: (arXiv 1804.02767 §2.3).
YOLOV3_ANCHORS: AnchorShapes = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)

Backbone = Literal["darknet53", "csp-darknet", "darknet53-timm"]
Activation = Literal["leaky_relu", "silu"]
SimotaGeometry = Literal["box-or-center", "center"]
CostSolver = Literal["simota", "ota"]
BACKBONES: tuple[str, ...] = get_args(Backbone)
#: Both DarkNet53s: YOLOv3's, and with what timm's has different, for weights from there.
DARKNETS: tuple[Backbone, ...] = ("darknet53", "darknet53-timm")
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
SIMOTA_GEOMETRIES: tuple[str, ...] = get_args(SimotaGeometry)
COST_SOLVERS: tuple[str, ...] = get_args(CostSolver)

#: Metadata of a field that was added after runs had been recorded; see :func:`later`.
NEUTRAL = "neutral"


def later(default: Any, neutral: Any) -> Any:
    """A field of a recipe that was added after runs had been recorded (docs/decisions/0080-identity.md).

    neutral: what runs did before there was the field. It is filled in when their records are read, and left
    out of the hash, so that they keep their names and a recipe with it is the same recipe as theirs.
    """
    return field(default=default, metadata={NEUTRAL: neutral})


def _choose(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def _ascending(name: str, bounds: tuple[float, float]) -> None:
    if bounds[0] > bounds[1]:
        raise ValueError(f"{name} must go from the smaller to the larger, not {bounds[0]:g} to {bounds[1]:g}")


@dataclass(frozen=True)
class Ingredients:
    """The paper's six toggles. Every one of the 64 combinations is legal."""

    decoupled_head: bool = False
    strong_augmentation: bool = False
    anchor_free: bool = False
    multi_positives: bool = False
    simota: bool = False
    nms_free: bool = False

    def enabled(self) -> tuple[str, ...]:
        """Names of the toggles that are on, in the paper's order."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name))


INGREDIENTS: tuple[str, ...] = tuple(f.name for f in fields(Ingredients))


@dataclass(frozen=True)
class AssignerConfig:
    """How priors become positives; each assigner reads its own fields.

    simota_geometry: ``box-or-center`` is the official code up to 0.3.0 (candidates lie in the box or in
    the centre square; being in both is preferred), ``center`` the later one (centre square only).
    center_radius: half side of SimOTA's centre square, in strides (2.5; the later code uses 1.5).
    iou_cost: weight of -log IoU against the classification cost.
    candidates: how many of the highest IoUs are summed to give the dynamic k.
    ignore_iou: a prior whose predicted box overlaps an object above this is no negative (YOLOv3; anchors).
    scale_ranges: upper bounds, in pixels, of the larger half side of an object for every level but the
    last (FCOS's ranges; points without SimOTA).
    one_to_one_alpha: exponent of the IoU in the one-to-one matching quality (NMS-free).
    solver: how the ingredient ``simota`` chooses positives by cost: each object its cheapest priors
    (``simota``), or all objects together by optimal transport (``ota``, arXiv 2103.14259).
    sinkhorn_epsilon, sinkhorn_iterations: OTA's softness of the plan, in units of cost, and rounds.
    """

    simota_geometry: SimotaGeometry = "box-or-center"
    center_radius: Positive = 2.5
    iou_cost: Weight = 3.0
    candidates: Count = 10
    ignore_iou: Share = 0.7
    scale_ranges: tuple[Positive, ...] = (64.0, 128.0)
    one_to_one_alpha: Share = 0.8
    solver: CostSolver = later("simota", neutral="simota")
    sinkhorn_epsilon: Positive = later(0.1, neutral=0.1)
    sinkhorn_iterations: Count = later(50, neutral=50)

    def __post_init__(self) -> None:
        _choose("simota_geometry", self.simota_geometry, SIMOTA_GEOMETRIES)
        _choose("solver", self.solver, COST_SOLVERS)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms; each term is a sum divided by the number of positives."""

    box: Weight = 5.0
    objectness: Weight = 1.0
    classification: Weight = 1.0
    l1: Weight = 1.0
    one_to_one: Weight = 1.0
    #: Multiply class targets by the matched IoU (the "IoU-aware" part of the official code).
    iou_aware: bool = True


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of a detector, without its ingredients.

    depth, width: multipliers of blocks per stage and of channels.
    head_width: channels of the decoupled head and of the one-to-one branch before ``width``.
    strides: pixels per cell of the three levels.
    """

    name: str = "yolox-darknet53"
    backbone: Backbone = "darknet53"
    depth: Positive = 1.0
    width: Positive = 1.0
    depthwise: bool = False
    activation: Activation = "leaky_relu"
    num_classes: Count = 80
    head_width: Count = 256
    strides: tuple[Count, ...] = (8, 16, 32)
    anchors: AnchorShapes = YOLOV3_ANCHORS
    assigner: AssignerConfig = field(default_factory=AssignerConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def __post_init__(self) -> None:
        _choose("backbone", self.backbone, BACKBONES)
        _choose("activation", self.activation, ACTIVATIONS)
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, not {self.num_classes}")
        if len(self.anchors) != len(self.strides):
            raise ValueError(f"{len(self.anchors)} levels of anchors for {len(self.strides)} strides")
        bounds = len(self.assigner.scale_ranges)
        if bounds != len(self.strides) - 1:
            raise ValueError(
                f"{bounds} scale_ranges for {len(self.strides)} strides; one lies between two levels"
            )


def _csp(name: str, depth: float, width: float, depthwise: bool = False) -> ModelConfig:
    return ModelConfig(
        name=name, backbone="csp-darknet", depth=depth, width=width, depthwise=depthwise, activation="silu"
    )


#: The paper's named models (Tables 2, 3 and 4).
MODELS: dict[str, ModelConfig] = {
    m.name: m
    for m in (
        ModelConfig(),
        _csp("yolox-nano", 0.33, 0.25, depthwise=True),
        _csp("yolox-tiny", 0.33, 0.375),
        _csp("yolox-s", 0.33, 0.50),
        _csp("yolox-m", 0.67, 0.75),
        _csp("yolox-l", 1.0, 1.0),
        _csp("yolox-x", 1.33, 1.25),
    )
}

#: Ingredients of the named models: everything but NMS-free (paper §2.2).
YOLOX_INGREDIENTS = Ingredients(
    decoupled_head=True, strong_augmentation=True, anchor_free=True, multi_positives=True, simota=True
)


def model_config(name: str, num_classes: int = 80) -> ModelConfig:
    """Named model with another number of classes. Raises ValueError with the valid names."""
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; choose one of: {', '.join(MODELS)}")
    return replace(MODELS[name], num_classes=num_classes)


def input_size(name: str) -> int:
    """Test image side in pixels of a named model (paper Tables 3 and 4)."""
    return 416 if name in ("yolox-nano", "yolox-tiny") else 640


@dataclass(frozen=True)
class AugmentationConfig:
    """Both pipelines: the weak one reads flip and hsv, the strong one everything.

    hsv: largest shift of hue (of 180), saturation and value (of 255).
    mosaic_scale, mixup_scale, copy_paste_scale: ranges of the random scale. degrees, shear: ± degrees.
    translate: ± share of the image side. copy_paste: chance that objects of a second image are pasted into a
    Mosaic, by their masks (arXiv 2012.07177). copy_paste_visible: of what an object showed before, the share
    that must still be seen; one of which less is left is no object any more.
    """

    flip: Share = 0.5
    hsv: tuple[Weight, Weight, Weight] = (5.0, 30.0, 30.0)
    mosaic: Share = 1.0
    mosaic_scale: tuple[Positive, Positive] = (0.1, 2.0)
    degrees: Annotated[float, Interval(ge=0, le=180)] = 10.0
    shear: Annotated[float, Interval(ge=0, lt=90)] = 2.0
    translate: Share = 0.1
    mixup: Share = 1.0
    mixup_scale: tuple[Positive, Positive] = (0.5, 1.5)
    copy_paste: Share = later(0.0, neutral=0.0)
    copy_paste_scale: tuple[Positive, Positive] = later((0.5, 1.5), neutral=(0.5, 1.5))
    copy_paste_visible: Share = later(0.1, neutral=0.1)

    def __post_init__(self) -> None:
        _ascending("mosaic_scale", self.mosaic_scale)
        _ascending("mixup_scale", self.mixup_scale)
        _ascending("copy_paste_scale", self.copy_paste_scale)


@dataclass(frozen=True)
class TrainConfig:
    """Training and evaluation settings that decide a run's outcome.

    learning_rate is for the whole batch. multiscale: inclusive range of the input side in pixels, drawn
    every ``multiscale_interval`` iterations in steps of 32. closing_epochs: last epochs without strong
    augmentation (then with an L1 term) and with the learning rate at its floor. final_confidence: lowest
    score that counts in every evaluation, so that the best epoch is chosen by the figure that is reported.
    """

    #: Fields of earlier records, and the value that all of them have; it stays part of the hash, so that they
    #: keep their names. confidence: of the evaluations while training (docs/decisions/0014).
    RETIRED: ClassVar[dict[str, Any]] = {"confidence": 0.01}

    epochs: Count = 300
    warmup_epochs: Whole = 5
    closing_epochs: Whole = 15
    batch_size: Count = 128
    learning_rate: Positive = 0.02
    floor_ratio: Share = 0.05
    momentum: Decay = 0.9
    weight_decay: Weight = 5e-4
    ema_decay: Decay = 0.9998
    ema_ramp: Count = 2000
    image_size: Side = 640
    multiscale: tuple[Side, Side] = (448, 832)
    multiscale_interval: Count = 10
    evaluate_every: Count = 10
    final_confidence: Share = 0.001
    nms_iou: Share = 0.65
    max_objects: Count = 120
    mixed_precision: bool = True
    pretrained: str = ""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        if self.image_size % 32 or any(side % 32 for side in self.multiscale):
            raise ValueError("image_size and multiscale must be multiples of 32 (the coarsest stride)")
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError("epochs and batch_size must be at least 1")
        if self.warmup_epochs + self.closing_epochs > self.epochs:
            raise ValueError(
                f"warmup_epochs ({self.warmup_epochs}) + closing_epochs ({self.closing_epochs}) "
                f"must not exceed epochs ({self.epochs})"
            )
        _ascending("multiscale", self.multiscale)

    def iterations_per_epoch(self, images: int) -> int:
        """Whole batches in ``images`` training images; at least one (a small dataset then wraps around)."""
        return max(1, images // self.batch_size)


def needs_masks(ingredients: Ingredients, training: TrainConfig) -> bool:
    """Whether the training images' instance masks are used: Copy-Paste, part of strong augmentation."""
    return ingredients.strong_augmentation and training.augmentation.copy_paste > 0


@dataclass(frozen=True)
class ShapesSpec:
    """The embedded dataset: everything that decides its pixels and boxes.

    Pixels throughout. sides: range of both image sides. objects: range of objects per image.
    object_side: range of an object's nominal side, drawn log-uniformly. max_covered: largest share of an
    object that later ones may hide. class_texture, class_hue: chance that an object wears its class's own
    texture and colour instead of a random one. hue_spread: ± degrees (of 180) around the class's hue.
    contrast: range of the blend of a texture into its object's colour. background: standard deviation of
    the background's light and dark. clutter: range of the number of meaningless marks in the background.
    noise: standard deviation of the sensor noise. quality: of the JPEG files. version: of the drawing
    code; raise it when the code draws something else.
    """

    version: int = 1
    seed: int = 2107
    classes: tuple[str, ...] = ("disc", "square", "triangle", "star", "ring", "cross")
    train_images: int = 480
    val_images: int = 128
    sides: tuple[int, int] = (128, 176)
    objects: tuple[int, int] = (1, 6)
    object_side: tuple[float, float] = (16.0, 112.0)
    max_covered: float = 0.2
    class_texture: float = 0.7
    class_hue: float = 0.8
    hue_spread: float = 14.0
    contrast: tuple[float, float] = (0.35, 0.8)
    background: float = 32.0
    clutter: tuple[int, int] = (6, 24)
    noise: float = 6.0
    quality: int = 92

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the canonical JSON of all fields, in hex."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


#: Names of the training and the validation split in COCO's layout.
SPLITS = ("train2017", "val2017")

#: What Roboflow's COCO export calls the annotations in each split's folder.
ROBOFLOW_ANNOTATIONS = "_annotations.coco.json"


def annotation_file(root: Path, split: str) -> Path:
    """Annotations of a split whose images lie in :func:`image_folder`: COCO's layout, Roboflow's export where
    only that exists, or the bare list of images of a test split, whose annotations are not public.
    """
    coco = root / "annotations" / f"instances_{split}.json"
    others = (root / split / ROBOFLOW_ANNOTATIONS, root / "annotations" / f"image_info_{split}.json")
    return coco if coco.is_file() else next((file for file in others if file.is_file()), coco)


def image_folder(root: Path, split: str) -> Path:
    """Images of a split: the folder of its name; those of ``test-dev2017`` lie among ``test2017``."""
    whole = root / split.replace("-dev", "")
    return root / split if (root / split).is_dir() or not whole.is_dir() else whole
