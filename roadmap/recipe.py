"""A recipe: everything that decides a run's outcome but its seed and hardware.

A run is one recipe with one seed. Its identity is a hash of the whole resolved recipe, not of what the
user overrode, so a changed default gives a new run instead of silently reusing an old one.
"""

from __future__ import annotations

import hashlib
import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from yolox_core.config import Ingredients, ModelConfig, TrainConfig

T = TypeVar("T")


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

    @property
    def hash(self) -> str:
        """First 8 hex digits of the SHA-256 over the canonical JSON of the resolved recipe."""
        text = json.dumps(to_json(self), sort_keys=True, separators=(",", ":"))
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


def to_json(value: Any) -> Any:
    """Dataclass to plain JSON types (tuples become lists)."""
    return json.loads(json.dumps(asdict(value)))


def recipe_from_json(data: Mapping[str, Any]) -> Recipe:
    """Inverse of :func:`to_json` for a recipe. Raises ValueError naming an unknown or missing field."""
    return _build(Recipe, data, "recipe")


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


def _build(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    hints = get_type_hints(cls)
    names = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    unknown, missing = sorted(set(data) - names), sorted(names - set(data))
    if unknown or missing:
        raise ValueError(f"{where}: unknown fields {unknown}, missing fields {missing}")
    return cls(**{name: _convert(hints[name], data[name], f"{where}.{name}") for name in names})


def _convert(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return _build(hint, value, where)  # type: ignore[arg-type]
    if isinstance(value, list):
        inner = get_args(hint)[0] if get_origin(hint) is tuple else None
        return tuple(_convert(inner, item, where) for item in value)
    if isinstance(hint, types.UnionType) or hint is None:
        return value
    return value
