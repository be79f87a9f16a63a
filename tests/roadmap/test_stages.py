"""The roadmap as data: seven stages, each the previous one plus one ingredient."""

from __future__ import annotations

from dataclasses import fields

import pytest

from roadmap.paper import roadmap_row
from roadmap.stages import (
    STAGE_NAMES,
    STAGES,
    companions_at,
    find_stage,
    ingredients_at,
    previous_stage,
)
from yolox_core.config import INGREDIENTS, TrainConfig


def test_the_order_of_table_2() -> None:
    assert STAGE_NAMES == (
        "baseline",
        "decoupled-head",
        "strong-augmentation",
        "anchor-free",
        "multi-positives",
        "simota",
        "nms-free",
    )


def test_every_stage_adds_exactly_one_ingredient() -> None:
    assert ingredients_at("baseline").enabled() == ()
    for stage in STAGES[1:]:
        previous = previous_stage(stage)
        assert previous is not None
        before, now = ingredients_at(previous.name).enabled(), ingredients_at(stage.name).enabled()
        assert set(now) - set(before) == {stage.adds}
        assert set(before) < set(now)


def test_every_ingredient_is_added_once() -> None:
    assert tuple(stage.adds for stage in STAGES[1:]) == INGREDIENTS


def test_the_baseline_has_no_predecessor() -> None:
    assert previous_stage(STAGES[0]) is None


def test_every_stage_has_a_published_row() -> None:
    for stage in STAGES:
        assert roadmap_row(stage.row)["ap"] is not None


def test_pretraining_ends_when_strong_augmentation_arrives() -> None:
    """Paper §2.1: ImageNet weights for the first two stages, from scratch afterwards."""
    starts = {name: companions_at(name)["pretrained"] for name in STAGE_NAMES}
    assert [name for name, start in starts.items() if start == "imagenet"] == ["baseline", "decoupled-head"]
    assert {start for name, start in starts.items()} == {"imagenet", ""}


def test_companions_are_training_settings_with_a_reason() -> None:
    names = {f.name for f in fields(TrainConfig)}
    companions = [c for stage in STAGES for c in stage.companions]
    assert companions
    for companion in companions:
        assert companion.field in {f"training.{name}" for name in names}
        assert companion.why


def test_an_unknown_stage_is_refused_with_the_choices() -> None:
    for ask in (find_stage, ingredients_at, companions_at):
        with pytest.raises(ValueError, match=r"unknown stage 'ota'; choose one of: baseline, decoupled-head"):
            ask("ota")
