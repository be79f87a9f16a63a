"""Protocols: the paper's settings, the small ones, and what a recipe does differently."""

from __future__ import annotations

from dataclasses import replace

import pytest

from roadmap.models import model_recipe
from roadmap.protocols import COCO_2017, DEMO, PAPER, PROTOCOLS, Deviation, deviations, find_protocol
from roadmap.recipe import Recipe, flatten, to_json
from roadmap.stages import STAGE_NAMES, paper_recipe, stage_recipe
from tests.roadmap.recipes import SHAPES
from yolox_core.config import MODELS, YOLOX_INGREDIENTS


def fields(recipe: Recipe, reference: Recipe) -> set[str]:
    return {deviation.field for deviation in deviations(recipe, reference)}


def test_protocols_are_found_by_name() -> None:
    assert find_protocol("paper") is PAPER
    assert find_protocol("demo") is DEMO
    assert list(PROTOCOLS) == [p.name for p in PROTOCOLS.values()]
    with pytest.raises(ValueError, match="unknown protocol 'quick'; choose one of: paper, demo"):
        find_protocol("quick")


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_the_papers_recipe_does_not_deviate_from_itself(stage: str) -> None:
    reference = paper_recipe(stage)
    assert deviations(reference, reference) == ()
    assert reference.model == MODELS["yolox-darknet53"]
    assert reference.training.epochs == 300


def test_a_deviation_says_what_the_paper_has_and_what_is_here() -> None:
    reference = paper_recipe("simota")
    shorter = replace(reference, training=replace(reference.training, epochs=100))
    (deviation,) = deviations(shorter, reference)
    assert deviation == Deviation("training.epochs", 300, 100)
    assert str(deviation) == "training.epochs: 100 (paper: 300)"


def test_the_demo_deviates_and_says_where() -> None:
    demo, reference = stage_recipe("simota", DEMO, SHAPES), paper_recipe("simota")
    differing = fields(demo, reference)
    assert {"training.epochs", "training.image_size", "model.width", "dataset.name"} <= differing
    ours, papers = flatten(to_json(demo)), flatten(to_json(reference))
    names = {"protocol", "dataset.fingerprint"}  # they name, they decide nothing by themselves
    assert differing == {k for k in ours if ours[k] != papers[k]} - names


def test_only_the_first_two_stages_take_imagenet_weights() -> None:
    """Without weights at hand they start from scratch, and say that this departs from the paper."""
    for stage in STAGE_NAMES:
        early = stage in ("baseline", "decoupled-head")
        given = stage_recipe(stage, PAPER, COCO_2017, "imagenet:0123abcd")
        assert given.training.pretrained == ("imagenet:0123abcd" if early else "")
        assert deviations(given, paper_recipe(stage)) == ()
        scratch = stage_recipe(stage, PAPER, COCO_2017)
        assert scratch.training.pretrained == ""
        assert fields(scratch, paper_recipe(stage)) == ({"training.pretrained"} if early else set())


def test_two_copies_of_coco_are_the_same_dataset() -> None:
    """The paper's dataset under another folder's name is no deviation; a part of it is one."""
    own = replace(COCO_2017, name="coco", fingerprint="0123abcd")
    assert deviations(stage_recipe("simota", PAPER, own), paper_recipe("simota")) == ()
    part = replace(own, coco=False, train_images=96)
    assert "dataset.train_images" in fields(stage_recipe("simota", PAPER, part), paper_recipe("simota"))


def test_the_model_follows_the_dataset_and_the_scale() -> None:
    demo = stage_recipe("baseline", DEMO, SHAPES).model
    assert demo.num_classes == SHAPES.num_classes
    assert (demo.depth, demo.width) == DEMO.scale
    assert stage_recipe("baseline", PAPER, SHAPES).model.width == 1.0


@pytest.mark.parametrize("name", MODELS)
def test_named_models_have_their_own_sizes_and_augmentation(name: str) -> None:
    """Paper §2.1 and Table 5: Tiny and Nano at 320…640, tested at 416; S, Tiny and Nano without MixUp."""
    recipe = model_recipe(name, PAPER, COCO_2017)
    small = name in ("yolox-nano", "yolox-tiny")
    light = small or name == "yolox-s"
    assert recipe.model == MODELS[name]
    assert recipe.ingredients == YOLOX_INGREDIENTS
    assert recipe.training.image_size == (416 if small else 640)
    assert recipe.training.multiscale == ((320, 640) if small else (448, 832))
    assert recipe.training.augmentation.mixup == (0.0 if light else 1.0)
    assert recipe.training.augmentation.mosaic_scale == ((0.5, 1.5) if light else (0.1, 2.0))


def test_the_demo_keeps_its_sizes_for_small_models() -> None:
    assert model_recipe("yolox-nano", DEMO, SHAPES).training == DEMO.training


def test_an_unknown_model_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="unknown model 'yolox-q'; choose one of: yolox-darknet53"):
        model_recipe("yolox-q", PAPER, COCO_2017)


def test_coco_is_the_papers_dataset() -> None:
    assert (COCO_2017.train_images, COCO_2017.val_images, COCO_2017.num_classes) == (118287, 5000, 80)
    assert COCO_2017.coco
