"""Training the official code in a plain loop, from one of our recipes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.end_point import (
    Comparison,
    OfficialTraining,
    check_recipe,
    comparison_text,
    official_experiment,
    welch_interval,
)
from roadmap.recipe import DatasetConfig, Recipe
from yolox_core.config import (
    YOLOX_INGREDIENTS,
    AssignerConfig,
    AugmentationConfig,
    ShapesSpec,
    TrainConfig,
    model_config,
)
from yolox_core.data.shapes import ensure_shapes_dataset

SPEC = ShapesSpec(train_images=8, val_images=4, sides=(64, 96), object_side=(16.0, 48.0))
RECIPE = Recipe(
    "tiny",
    replace(model_config("yolox-s", 6), width=0.125),
    YOLOX_INGREDIENTS,
    TrainConfig(
        epochs=2,
        warmup_epochs=0,
        closing_epochs=1,
        batch_size=2,
        image_size=64,
        multiscale=(64, 96),
        multiscale_interval=10,
        evaluate_every=1,
        mixed_precision=False,
        augmentation=AugmentationConfig(mixup=0.0, mosaic_scale=(0.5, 1.5)),
    ),
    DatasetConfig("embedded-shapes", "f" * 64, 6, 8, 4),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure_shapes_dataset(tmp_path_factory.mktemp("shapes"), SPEC)


def test_killed_after_an_epoch_it_ends_as_it_would_have(data: Path, tmp_path: Path) -> None:
    whole = OfficialTraining(RECIPE, data, 0, tmp_path / "whole.pth")
    assert list(whole.run()) == [1, 2]
    first = OfficialTraining(RECIPE, data, 0, tmp_path / "cut.pth")
    assert next(first.run()) == 1
    second = OfficialTraining(RECIPE, data, 0, tmp_path / "cut.pth")
    assert list(second.run()) == [2]
    assert second.evaluations == whole.evaluations
    assert [row["epoch"] for row in whole.evaluations] == [1, 2]
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(second.network.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_another_seed_sees_other_samples(data: Path, tmp_path: Path) -> None:
    losses = []
    for seed in (0, 1):
        training = OfficialTraining(RECIPE, data, seed, tmp_path / f"{seed}.pth")
        next(training.run())
        losses.append(next(iter(training.network.state_dict().values())))
    assert not torch.equal(*losses)


def test_the_experiment_says_what_the_recipe_says(data: Path) -> None:
    training = replace(RECIPE.training, learning_rate=0.03, closing_epochs=2, nms_iou=0.5)
    experiment = official_experiment(replace(RECIPE, training=training), data, 3)
    assert experiment.basic_lr_per_img * 2 == 0.03
    assert (experiment.no_aug_epochs, experiment.nmsthre, experiment.enable_mixup) == (2, 0.5, False)
    assert experiment.random_size == (2, 3)
    assert experiment.get_model().backbone.backbone.stem.conv.conv.out_channels == 8


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"ingredients": replace(YOLOX_INGREDIENTS, simota=False)},
            "ingredients.simota = False (there: True)",
        ),
        ({"model": model_config("yolox-darknet53")}, "model.backbone"),
        ({"training": replace(RECIPE.training, ema_decay=0.9)}, "training.ema_decay = 0.9"),
        ({"model": replace(RECIPE.model, assigner=AssignerConfig(solver="ota"))}, "assigner.solver = 'ota'"),
        (
            {"training": replace(RECIPE.training, augmentation=AugmentationConfig(copy_paste=0.5))},
            "copy_paste = 0.5",
        ),
    ],
)
def test_what_the_official_code_cannot_do_is_refused(change: dict, named: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match="cannot train this recipe") as refused:
        check_recipe(replace(RECIPE, **change))
    assert named in str(refused.value)


def test_the_difference_of_two_sides() -> None:
    """By hand: means 2 and 5, variances 1 and 1, error sqrt(2/3), 4 degrees of freedom, t = 2.776."""
    interval = welch_interval((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(
        (3 - 2.7764 * (2 / 3) ** 0.5, 3 + 2.7764 * (2 / 3) ** 0.5), abs=1e-3
    )
    assert welch_interval((1.0,), (4.0, 5.0)) is None
    text = comparison_text((Comparison("last epoch", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),))
    assert "+3.00" in text
    assert "+0.73 to +5.27" in text
