"""Configuration: plain data that says no to nonsense, and imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest

from yolox_core.config import (
    INGREDIENTS,
    MODELS,
    YOLOX_INGREDIENTS,
    AssignerConfig,
    Ingredients,
    ModelConfig,
    TrainConfig,
    input_size,
    model_config,
)


def test_six_ingredients_in_the_papers_order() -> None:
    assert INGREDIENTS == (
        "decoupled_head",
        "strong_augmentation",
        "anchor_free",
        "multi_positives",
        "simota",
        "nms_free",
    )
    assert Ingredients().enabled() == ()
    assert Ingredients(simota=True, decoupled_head=True).enabled() == ("decoupled_head", "simota")
    assert YOLOX_INGREDIENTS.enabled() == INGREDIENTS[:-1]


def test_configuration_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Ingredients().simota = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "resnet"}, "darknet53, csp-darknet"),
        ({"activation": "mish"}, "leaky_relu, silu"),
        ({"num_classes": 0}, "at least 1"),
        ({"strides": (8, 16)}, "3 levels of anchors for 2 strides"),
        ({"assigner": AssignerConfig(scale_ranges=(64.0,))}, "1 scale_ranges for 3 strides"),
    ],
)
def test_a_wrong_model_is_refused_with_the_choices(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(ModelConfig(), **change)  # type: ignore[arg-type]


def test_a_wrong_geometry_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="box-or-center, center"):
        AssignerConfig(simota_geometry="round")


def test_a_wrong_solver_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="solver must be one of simota, ota, not 'sinkhorn'"):
        AssignerConfig(solver="sinkhorn")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 600},
        {"multiscale": (448, 830)},
        {"epochs": 0},
        {"batch_size": 0},
        {"epochs": 10},  # 5 of warm-up and 15 of closing do not fit
    ],
)
def test_wrong_training_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"multiples of 32|at least 1|must not exceed"):
        replace(TrainConfig(), **change)  # type: ignore[arg-type]


def test_defaults_are_the_papers() -> None:
    """Paper §2.1: 300 epochs, 5 of warm-up, batch 128, learning rate 0.01 × batch / 64, 448…832 px."""
    training = TrainConfig()
    assert (training.epochs, training.warmup_epochs, training.batch_size) == (300, 5, 128)
    assert training.learning_rate == 0.01 * training.batch_size / 64
    assert (training.momentum, training.weight_decay) == (0.9, 5e-4)
    assert training.multiscale == (448, 832)


@pytest.mark.parametrize(("images", "iterations"), [(118287, 924), (128, 1), (127, 1), (1, 1), (256, 2)])
def test_iterations_per_epoch(images: int, iterations: int) -> None:
    assert TrainConfig().iterations_per_epoch(images) == iterations


def test_named_models() -> None:
    assert set(MODELS) == {f"yolox-{x}" for x in ("darknet53", "nano", "tiny", "s", "m", "l", "x")}
    assert [name for name, model in MODELS.items() if model.depthwise] == ["yolox-nano"]
    assert model_config("yolox-s", 3).num_classes == 3
    assert {name for name in MODELS if input_size(name) == 416} == {"yolox-nano", "yolox-tiny"}
    with pytest.raises(ValueError, match="yolox-darknet53, yolox-nano"):
        model_config("yolox-q")


def test_nothing_heavy_is_imported() -> None:
    """Command lines answer at once because this holds; a new process, because this one has torch."""
    program = (
        "import sys, yolox_core.config; "
        "print([m for m in ('torch', 'numpy', 'cv2', 'torchvision', 'mlflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
