"""A recipe's identity: the same everywhere, another as soon as anything differs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from roadmap.protocols import PROTOCOLS
from roadmap.recipe import Recipe, Run, flatten, recipe_from_json, to_json
from roadmap.stages import STAGE_NAMES
from tests.roadmap.recipes import recipe

#: Where adding one to a number or a letter to a name would be refused.
OTHER = {
    "backbone": "csp-darknet",
    "activation": "silu",
    "simota_geometry": "center",
    "solver": "ota",
    "image_size": 192,
    "multiscale": (96, 224),
    "strides": (8, 16, 64),
}


def changed(value: Any, name: str) -> Any:
    if name in OTHER:
        assert OTHER[name] != value
        return OTHER[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value / 2 + 0.01
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    assert isinstance(value, tuple)
    return (*value[:-1], changed(value[-1], name))


def variants(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every copy of a dataclass that differs from it in one leaf."""
    for field in fields(value):
        name, current = f"{path}.{field.name}", getattr(value, field.name)
        if is_dataclass(current):
            for where, inner in variants(current, name):
                yield where, replace(value, **{field.name: inner})
        else:
            yield name, replace(value, **{field.name: changed(current, field.name)})


VARIANTS = dict(variants(recipe(), "recipe"))


def test_every_field_is_varied() -> None:
    leaves = flatten(to_json(recipe()), "recipe")
    assert set(VARIANTS) == set(leaves)
    assert len(VARIANTS) > 60


@pytest.mark.parametrize("name", VARIANTS)
def test_any_change_gives_another_hash(name: str) -> None:
    assert VARIANTS[name].hash != recipe().hash


def test_all_variants_differ_from_each_other() -> None:
    hashes = [variant.hash for variant in VARIANTS.values()]
    assert len(set(hashes)) == len(hashes)


def test_stages_and_protocols_have_their_own_hash() -> None:
    """Baseline and decoupled-head differ by an ingredient, not only by a name."""
    hashes = {recipe(stage, protocol).hash for stage in STAGE_NAMES for protocol in PROTOCOLS}
    assert len(hashes) == len(STAGE_NAMES) * len(PROTOCOLS)


def test_the_hash_is_the_same_in_another_process() -> None:
    program = "from tests.roadmap.recipes import recipe; print(recipe().hash)"
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        assert done.stdout.strip() == recipe().hash


def test_the_hash_is_eight_hex_digits() -> None:
    assert len(recipe().hash) == 8
    assert int(recipe().hash, 16) >= 0


@pytest.mark.parametrize("name", ["recipe.protocol", *list(VARIANTS)[1::7]])
def test_there_and_back_through_json(name: str) -> None:
    there = json.loads(json.dumps(to_json(VARIANTS[name])))
    back = recipe_from_json(there)
    assert back == VARIANTS[name]
    assert back.hash == VARIANTS[name].hash
    assert isinstance(back, Recipe)


def test_all_stages_there_and_back() -> None:
    for stage in STAGE_NAMES:
        for protocol in PROTOCOLS:
            original = recipe(stage, protocol)
            assert recipe_from_json(to_json(original)) == original


def test_unknown_and_missing_fields_are_named() -> None:
    data = to_json(recipe())
    data["training"]["momentun"] = data["training"].pop("momentum")
    message = (
        r"recipe: training\.momentum is missing; unknown key 'training\.momentun'; "
        r"did you mean training\.momentum\?"
    )
    with pytest.raises(ValueError, match=message):
        recipe_from_json(data)


def test_wrong_values_are_refused_on_the_way_back() -> None:
    data = to_json(recipe())
    data["model"]["backbone"] = "vgg"
    with pytest.raises(ValueError, match="darknet53"):
        recipe_from_json(data)


def test_flattening() -> None:
    assert flatten({"a": 1, "b": {"c": [1, 2], "d": {"e": None}}}) == {"a": 1, "b.c": [1, 2], "b.d.e": None}
    flat = flatten(to_json(recipe()))
    assert flat["training.augmentation.flip"] == 0.5
    assert flat["ingredients.simota"] is True


def test_a_run_is_named_by_stage_seed_and_hash() -> None:
    run = Run("roadmap", "simota", 3, recipe())
    assert run.name == f"simota-s3-{recipe().hash}"
