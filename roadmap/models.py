"""The paper's named models (Tables 3 and 4) as recipes and as arms of a study."""

from __future__ import annotations

from dataclasses import replace

from roadmap.paper import published_model
from roadmap.protocols import Protocol
from roadmap.recipe import DatasetConfig, Recipe
from roadmap.study import Arm, Setting
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
