"""The paper's named models (Tables 3 and 4, DarkNet53) as recipes and as arms of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from roadmap.layout import Layout, listed
from roadmap.paper import published_model
from roadmap.protocols import Protocol
from roadmap.recipe import DatasetConfig, Recipe
from roadmap.study import Arm, PublishedRow, Setting, Table
from yolox_core.config import MODELS, YOLOX_INGREDIENTS, Ingredients, input_size


def model_recipe(
    model: str, protocol: Protocol, dataset: DatasetConfig, ingredients: Ingredients = YOLOX_INGREDIENTS
) -> Recipe:
    """The recipe of a named model, with the small models' own sizes and augmentation (paper §2.1, Table 5).

    Models keep their size under every protocol: it is what tells them apart. Raises ValueError for an
    unknown model.
    """
    if model not in MODELS:
        raise ValueError(f"unknown model {model!r}; choose one of: {', '.join(MODELS)}")
    training = protocol.training
    if protocol.own_sizes and model in ("yolox-nano", "yolox-tiny"):
        training = replace(training, image_size=input_size(model), multiscale=(320, 640))
    if protocol.own_augmentation and model in ("yolox-nano", "yolox-tiny", "yolox-s"):
        light = replace(training.augmentation, mixup=0.0, mosaic_scale=(0.5, 1.5))
        training = replace(training, augmentation=light)
    config = replace(MODELS[model], num_classes=dataset.num_classes)
    return Recipe(protocol.name, config, ingredients, training, dataset)


def model_arm(name: str, against: str = "") -> Arm:
    """A named model, with all of YOLOX's ingredients but NMS-free, as an arm of any study.

    against: the arm that its gain is counted from. Raises ValueError for an unknown model.
    """

    def recipe(setting: Setting) -> Recipe:
        return model_recipe(name, setting.protocol, setting.dataset)

    summary = f"tested at {input_size(name)} px"
    return Arm(name, recipe, printed_name(name), against, published_model(name), summary)


#: The small and the standard models, by size, and the roadmap's own: its stage with SimOTA.
SMALL = ("yolox-nano", "yolox-tiny")
STANDARD = ("yolox-s", "yolox-m", "yolox-l", "yolox-x")
DARKNET53 = "yolox-darknet53"

#: Table 4 as printed: a model and, of ours, the other that its AP is compared with in brackets.
_LIGHT = (
    ("YOLOv4-Tiny", ""),
    ("PPYOLO-Tiny", ""),
    ("yolox-tiny", "PPYOLO-Tiny"),
    ("NanoDet", ""),
    ("yolox-nano", "NanoDet"),
)
_RIVALS = {"YOLOv4-Tiny": "yolox-tiny", "PPYOLO-Tiny": "yolox-tiny", "NanoDet": "yolox-nano"}


def model_arms() -> tuple[Arm, ...]:
    """The models of Tables 3 and 4, by size, and DarkNet53."""
    return tuple(model_arm(name) for name in (*SMALL, *STANDARD, DARKNET53))


def model_tables() -> tuple[Table, ...]:
    """Table 4, Table 3 and DarkNet53: the models beside those that the paper sets against them.

    DarkNet53's AP on COCO val stands in Table 2 alone; Table 6 has it on test-dev.
    """
    light = tuple(_other(row, _RIVALS[row]) if row in _RIVALS else row for row, _ in _LIGHT)
    rivals = {name: printed_name(name).replace("YOLOX", "YOLOv5") for name in STANDARD}
    standard = tuple(row for name in STANDARD for row in (_other(rivals[name], name), name))
    sizes = ("ap", "params_m", "gflops")
    return (
        Table(
            "Table 4 of the paper (arXiv 2107.08430): the small models at 416 px",
            light,
            _layout("Table 4", light, sizes, {row: before for row, before in _LIGHT if before}),
        ),
        Table(
            "Table 3 of the paper (arXiv 2107.08430): the standard models at 640 px",
            standard,
            _layout("Table 3", standard, (*sizes, "latency_ms"), rivals),
        ),
        Table(
            "YOLOX-DarkNet53 at 640 px, as in Table 2 of the paper (arXiv 2107.08430)",
            (_other("YOLOv3-ultralytics", DARKNET53), DARKNET53),
        ),
    )


def _layout(
    source: str, rows: Sequence[str | PublishedRow], figures: Sequence[str], against: Mapping[str, str]
) -> Layout:
    names = [row.label if isinstance(row, PublishedRow) else row for row in rows]
    return listed(source, ("Models",), {name: (printed_name(name),) for name in names}, figures, against)


def printed_name(name: str) -> str:
    """A model's name as the paper prints it: ``YOLOX-Nano``, ``YOLOX-DarkNet53``."""
    family, _, size = name.partition("-")
    if family != "yolox":
        return name
    return f"YOLOX-{'DarkNet53' if name == DARKNET53 else size.capitalize()}"


def _other(model: str, rival: str) -> PublishedRow:
    return PublishedRow(model, published_model(model), rival)
