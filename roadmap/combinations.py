"""Any of the 64 combinations of ingredients on any named model, as arms of a study.

python -m studies.run --on decoupled_head,simota --model yolox-s      these two and no other
python -m studies.run --off simota --model yolox-nano                 YOLOX's five without SimOTA
python -m studies.run --on all --off nms_free,anchor_free
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from roadmap.models import model_recipe
from roadmap.protocols import Protocol, scaled_model
from roadmap.recipe import DatasetConfig, Recipe
from roadmap.study import Arm, Setting, Study
from roadmap.typed import nearest
from yolox_core.config import INGREDIENTS, MODELS, YOLOX_INGREDIENTS, Ingredients

#: The roadmap's own model, which protocols may shrink.
ROADMAP_MODEL = "yolox-darknet53"
#: Words for several ingredients at once.
GROUPS: dict[str, tuple[str, ...]] = {
    "all": INGREDIENTS,
    "yolox": YOLOX_INGREDIENTS.enabled(),
    "none": (),
}


def chosen_ingredients(on: Sequence[str], off: Sequence[str]) -> Ingredients:
    """The ingredients that are on: those named, without those switched off; YOLOX's where none is named.

    on, off: names separated by commas, or words of :data:`GROUPS`. Raises ValueError with the valid names.
    """
    named, removed = _names(on or ["yolox"], "--on"), _names(off, "--off")
    if both := [name for name in _words(on) if name in removed]:
        raise ValueError(f"{', '.join(both)} cannot be both on and off")
    return Ingredients(**{name: True for name in named if name not in removed})


def combination_study(models: Sequence[str], ingredients: Ingredients) -> Study:
    """One arm per model, with these ingredients. Raises ValueError with the valid names of models."""
    for model in models:
        if model not in MODELS:
            raise ValueError(f"unknown model {model!r}; choose one of: {', '.join(MODELS)}")
    arms = tuple(combination_arm(model, ingredients) for model in dict.fromkeys(models))
    return Study("combinations", __doc__ or "", arms)


def combination_arm(model: str, ingredients: Ingredients, against: str = "") -> Arm:
    """A named model with any ingredients, as an arm of any study; its name says which are on."""

    def recipe(setting: Setting) -> Recipe:
        return combination_recipe(model, ingredients, setting.protocol, setting.dataset, setting.imagenet)

    enabled = ingredients.enabled()
    name = f"{model}-{combination_name(enabled)}"
    return Arm(name, recipe, against=against, summary=f"{model} with {', '.join(enabled) or 'no ingredient'}")


def combination_name(enabled: Iterable[str]) -> str:
    """Which ingredients are on, in a word for a command line and a folder."""
    return "-".join(_brief(tuple(name for name in INGREDIENTS if name in set(enabled)))).replace("_", "-")


def combination_recipe(
    model: str, ingredients: Ingredients, protocol: Protocol, dataset: DatasetConfig, imagenet: str = ""
) -> Recipe:
    """The recipe of a named model with any ingredients; on the roadmap's model that of the stage with them.

    As there, training on the roadmap's model starts from ImageNet weights (imagenet: their identity, empty to
    start from scratch) until strong augmentation comes.
    """
    if model != ROADMAP_MODEL:
        return model_recipe(model, protocol, dataset, ingredients)
    pretrained = "" if ingredients.strong_augmentation else imagenet
    training = replace(protocol.training, pretrained=pretrained)
    config = scaled_model(MODELS[model], protocol, dataset)
    return Recipe(protocol.name, config, ingredients, training, dataset)


def _brief(enabled: tuple[str, ...]) -> tuple[str, ...]:
    """What of an arm's name says which ingredients are on: those, or when most are those that are off."""
    if len(enabled) <= len(INGREDIENTS) // 2:
        return enabled or ("plain",)
    off = tuple(name for name in INGREDIENTS if name not in enabled)
    return ("all", "but", *off) if off else ("all",)


def _words(lists: Iterable[str]) -> list[str]:
    return [word.strip().replace("-", "_") for text in lists for word in text.split(",") if word.strip()]


def _names(lists: Iterable[str], option: str) -> list[str]:
    names: list[str] = []
    for word in _words(lists):
        if word not in GROUPS and word not in INGREDIENTS:
            hint = nearest(word, (*INGREDIENTS, *GROUPS))
            raise ValueError(f"{option}: unknown ingredient {word!r}; {hint}")
        names += GROUPS.get(word, (word,))
    return names
