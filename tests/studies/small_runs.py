"""A run small enough to be carried out inside a test: batches of two, a network of some thousand weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from roadmap.recipe import DatasetConfig, Recipe, Run
from tests.yolox_core.data_folders import box, gradient, write_split
from yolox_core.augmentation.sample import Image
from yolox_core.config import AugmentationConfig, Ingredients, ModelConfig, TrainConfig

TRAINING = TrainConfig(
    epochs=2,
    warmup_epochs=1,
    closing_epochs=0,
    batch_size=2,
    image_size=64,
    multiscale=(64, 64),
    evaluate_every=1,
    augmentation=AugmentationConfig(),
)
MODEL = ModelConfig(depth=0.1, width=0.0625, num_classes=2)


def make_data(root: Path, train: int = 8, val: int = 4, **annotation: object) -> Path:
    """A folder in COCO's layout; an object in every image. annotation: what else each annotation says."""
    for split, count in (("train2017", train), ("val2017", val)):
        images: dict[str, Image | None] = {
            f"{i}.jpg": gradient(48, 64, blue=20 + 20 * i) for i in range(count)
        }
        objects = [box(i + 1, 3 + 4 * (i % 2), [8, 6, 30, 30], id=i + 1, **annotation) for i in range(count)]
        write_split(root, images, objects, split)
    return root


def small_run(seed: int = 0, **training: object) -> Run:
    """An arm called ``small`` on :func:`make_data`."""
    recipe = Recipe(
        "smoke",
        MODEL,
        Ingredients(anchor_free=True, multi_positives=True, simota=True),
        replace(TRAINING, **training),  # type: ignore[arg-type]
        DatasetConfig("small", "0123abcd", 2, 8, 4),
    )
    return Run("tiny", "small", seed, recipe)
