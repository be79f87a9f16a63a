"""A recipe: everything that decides a run's outcome but its seed and hardware.

A run is one recipe with one seed. Its identity is a hash of the whole resolved recipe, not of what the
user overrode, so a changed default gives a new run instead of silently reusing an old one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from roadmap.typed import parse, to_json
from yolox_core.config import Ingredients, ModelConfig, TrainConfig


@dataclass(frozen=True)
class DatasetConfig:
    """Which data a run sees.

    name: ``embedded-shapes`` or the name of the given folder. fingerprint: hash over the annotation
    files (or of the generator's settings). coco: whether this is the full COCO 2017, the paper's dataset.
    train_images, val_images: images in the annotation files.
    """

    name: str
    fingerprint: str
    num_classes: int
    train_images: int
    val_images: int
    coco: bool = False


@dataclass(frozen=True)
class Recipe:
    """What a run is made of."""

    protocol: str
    model: ModelConfig
    ingredients: Ingredients
    training: TrainConfig
    dataset: DatasetConfig

    @cached_property
    def hash(self) -> str:
        """First 8 hex digits of the SHA-256 over the canonical JSON of the resolved recipe.

        Equal recipes have one hash. A field with a neutral value is left out as long as it has that value,
        so that records from before the field keep their names.
        """
        text = json.dumps(to_json(self, identity=True), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Run:
    """One recipe with one seed, as an arm of a study."""

    study: str
    arm: str
    seed: int
    recipe: Recipe

    @property
    def name(self) -> str:
        """Folder name below ``runs/<study>/``, e.g. ``simota-s0-1a2b3c4d``."""
        return f"{self.arm}-s{self.seed}-{self.recipe.hash}"


def recipe_from_json(data: Any, where: str = "recipe") -> Recipe:
    """Inverse of :func:`to_json` for a recipe; a field that older records lack takes its neutral value, and
    a retired one that only they have is passed over.

    Raises ValueError naming every unknown, missing or impossible field.
    """
    return parse(Recipe, data, where, whole=True)


def checked(recipe: Recipe) -> Recipe:
    """The recipe with every value of its declared type. Raises ValueError for one that is out of range."""
    return recipe_from_json(to_json(recipe))


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mapping to one level, keys joined with dots: ``training.epochs``. Lists stay values."""
    return dict(_leaves(value, prefix))


def _leaves(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(item, Mapping):
            yield from _leaves(item, name)
        else:
            yield name, item
