"""The study of all combinations: 64 recipes, the paper's stages among them, and designs by name."""

from __future__ import annotations

from roadmap.protocols import DEMO
from roadmap.stages import STAGE_NAMES, STAGES, stage_recipe
from roadmap.study import PAPER_SETTING, Setting, record_of
from studies.attribution import STUDY
from tests.roadmap.recipes import SHAPES


def test_sixty_four_recipes_differ_in_ingredients_alone() -> None:
    recipes = [arm.resolve(Setting(DEMO, SHAPES)) for arm in STUDY.arms]
    assert len({recipe.ingredients for recipe in recipes}) == 64
    assert len({(recipe.model, recipe.training, recipe.dataset) for recipe in recipes}) == 1


def test_stages_are_the_papers_own() -> None:
    arms, (design,) = STUDY.choose(["roadmap"])
    assert design.name == "roadmap"
    for arm, stage in zip(arms, STAGES, strict=True):
        assert arm.reference() == stage_recipe(
            stage.name, PAPER_SETTING.protocol, PAPER_SETTING.dataset, "imagenet"
        )
        assert arm.paper is not None
        assert arm.summary == f"Table 2: {stage.row}"
    assert [arm.against for arm in arms] == ["", *(arm.name for arm in arms[:-1])]
    assert [arm.name for arm in STUDY.arms if arm.paper] == [arm.name for arm in arms]


def test_an_arm_differs_from_the_one_it_is_compared_with_in_one_ingredient() -> None:
    for arm in record_of(STUDY).arms[1:]:
        ingredients = [name for name in arm.changes if name.startswith("ingredients.")]
        companions = [c.field for c in arm.companions]
        assert len(ingredients) == 1, arm.name
        assert [name for name in arm.changes if name not in ingredients] == companions, arm.name


def test_designs_by_name() -> None:
    sizes = {design.name: len(STUDY.choose([design.name])[0]) for design in STUDY.designs}
    assert sizes == {"roadmap": 7, "leave-one-out": 7, "add-one-in": 7, "fraction": 16, "factorial": 64}
    arms, designs = STUDY.choose(["leave-one-out", "all", "plain"])
    assert [arm.name for arm in arms][:3] == ["all", "all-but-decoupled-head", "all-but-strong-augmentation"]
    assert (len(arms), [design.name for design in designs]) == (8, ["leave-one-out"])
    assert len(STAGE_NAMES) == 7
