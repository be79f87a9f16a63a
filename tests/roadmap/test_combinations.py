"""Any of the 64 combinations on any named model."""

from __future__ import annotations

from itertools import product

import pytest

from roadmap.combinations import chosen_ingredients, combination_arm, combination_recipe, combination_study
from roadmap.models import model_recipe
from roadmap.protocols import COCO_2017, PAPER, PROTOCOLS
from roadmap.stages import STAGE_NAMES, ingredients_at, stage_recipe
from roadmap.study import Setting
from tests.roadmap.recipes import SHAPES
from yolox_core.config import INGREDIENTS, MODELS, YOLOX_INGREDIENTS, Ingredients

ALL = [Ingredients(*values) for values in product((False, True), repeat=6)]


def test_the_ingredients_named_are_on_and_no_others() -> None:
    chosen = chosen_ingredients(["decoupled_head,simota"], [])
    assert chosen == Ingredients(decoupled_head=True, simota=True)
    assert chosen_ingredients(["decoupled-head", "simota"], []) == chosen
    assert chosen_ingredients(["none"], []) == Ingredients()


def test_without_names_it_is_yolox_and_off_takes_away() -> None:
    assert chosen_ingredients([], []) == YOLOX_INGREDIENTS
    off_simota = chosen_ingredients([], ["simota"])
    assert off_simota.enabled() == tuple(n for n in YOLOX_INGREDIENTS.enabled() if n != "simota")
    assert chosen_ingredients(["all"], ["nms_free"]) == YOLOX_INGREDIENTS


def test_every_combination_can_be_named() -> None:
    for wanted in ALL:
        assert chosen_ingredients([",".join(wanted.enabled()) or "none"], []) == wanted


def test_wrong_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="--on: unknown ingredient 'simoto'; did you mean simota"):
        chosen_ingredients(["simoto"], [])
    with pytest.raises(
        ValueError, match=r"--off: unknown ingredient 'xyz'; valid keys: decoupled_head, .*yolox"
    ):
        chosen_ingredients([], ["xyz"])
    with pytest.raises(ValueError, match="simota cannot be both on and off"):
        chosen_ingredients(["simota"], ["simota"])
    with pytest.raises(ValueError, match="unknown model 'yolox-q'; choose one of: yolox-darknet53"):
        combination_study(["yolox-q"], Ingredients())


def test_arms_of_all_combinations_have_names_of_their_own() -> None:
    names = {combination_arm(model, ingredients).name for model in MODELS for ingredients in ALL}
    assert len(names) == 64 * len(MODELS)
    assert combination_arm("yolox-s", Ingredients()).name == "yolox-s-plain"
    assert combination_arm("yolox-s", YOLOX_INGREDIENTS).name == "yolox-s-all-but-nms-free"
    assert combination_arm("yolox-s", Ingredients(simota=True)).name == "yolox-s-simota"
    assert combination_arm("yolox-s", Ingredients(*[True] * len(INGREDIENTS))).name == "yolox-s-all"


@pytest.mark.parametrize("protocol", ["paper", "demo"])
@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_a_stages_ingredients_on_its_model_are_the_stage(stage: str, protocol: str) -> None:
    """The same run, whichever study asks for it."""
    arguments = (PROTOCOLS[protocol], SHAPES, "imagenet:0123456789ab")
    combined = combination_recipe("yolox-darknet53", ingredients_at(stage), *arguments)
    assert combined == stage_recipe(stage, *arguments)


def test_a_named_model_with_yoloxs_ingredients_is_itself() -> None:
    made = combination_recipe("yolox-nano", YOLOX_INGREDIENTS, PAPER, COCO_2017)
    assert made == model_recipe("yolox-nano", PAPER, COCO_2017)


def test_all_combinations_on_all_models_resolve_to_recipes_of_their_own() -> None:
    setting = Setting(PROTOCOLS["demo"], SHAPES)
    recipes = {
        combination_arm(model, ingredients).resolve(setting).hash for model in MODELS for ingredients in ALL
    }
    assert len(recipes) == 64 * len(MODELS)
