"""Recipes for the tests, without torch and without a dataset."""

from __future__ import annotations

from roadmap.protocols import PROTOCOLS, stage_recipe
from roadmap.recipe import DatasetConfig, Recipe

SHAPES = DatasetConfig("embedded-shapes", "0123abcd", 6, 480, 128)


def recipe(stage: str = "simota", protocol: str = "demo", dataset: DatasetConfig = SHAPES) -> Recipe:
    return stage_recipe(stage, PROTOCOLS[protocol], dataset)
