"""The paper's named models (Tables 3 and 4) as recipes and as arms of a study."""

from __future__ import annotations

from dataclasses import replace

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

    against: the arm that its gain is counted from. Raises ValueError for an unknown model, or one that
    Tables 3 and 4 do not have.
    """

    def recipe(setting: Setting) -> Recipe:
        return model_recipe(name, setting.protocol, setting.dataset)

    summary = f"tested at {input_size(name)} px"
    return Arm(name, recipe, name, against, published_model(name), summary)


#: The small and the standard models, by size.
SMALL = ("yolox-nano", "yolox-tiny")
STANDARD = ("yolox-s", "yolox-m", "yolox-l", "yolox-x")


def model_arms() -> tuple[Arm, ...]:
    """The models of Tables 3 and 4, by size."""
    return tuple(model_arm(name) for name in SMALL + STANDARD)


def model_tables() -> tuple[Table, ...]:
    """Table 4 and Table 3: the models beside those that the paper sets against them."""
    light = (("NanoDet", "yolox-nano"), ("YOLOv4-Tiny", "yolox-tiny"), ("PPYOLO-Tiny", "yolox-tiny"))
    standard = [(_other(name.upper().replace("YOLOX", "YOLOv5"), name), name) for name in STANDARD]
    return (
        Table("Table 4 of the paper: the small models at 416 px", (*(_other(*p) for p in light), *SMALL)),
        Table(
            "Table 3 of the paper: the standard models at 640 px",
            tuple(row for pair in standard for row in pair),
        ),
    )


def _other(model: str, rival: str) -> PublishedRow:
    return PublishedRow(model, published_model(model), rival)
