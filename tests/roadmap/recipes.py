"""Recipes for the tests, without torch and without a dataset."""

from __future__ import annotations

from roadmap.protocols import PROTOCOLS
from roadmap.recipe import DatasetConfig, Recipe
from roadmap.stages import stage_recipe

SHAPES = DatasetConfig("embedded-shapes", "0123abcd", 6, 480, 128)


def recipe(stage: str = "simota", protocol: str = "demo", dataset: DatasetConfig = SHAPES) -> Recipe:
    return stage_recipe(stage, PROTOCOLS[protocol], dataset)
