"""The paper's sizes from the configuration alone; the same as counted on the built detectors."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from roadmap.cost import Conv, cost, iterations, training_flops
from roadmap.models import model_recipe
from roadmap.paper import roadmap_row, table
from roadmap.protocols import COCO_2017, DEMO, PAPER
from roadmap.stages import STAGE_NAMES, find_stage, ingredients_at, stage_recipe
from yolox_core.build import build_detector
from yolox_core.config import (
    INGREDIENTS,
    MODELS,
    YOLOX_INGREDIENTS,
    Ingredients,
    ModelConfig,
    input_size,
    model_config,
)
from yolox_core.profiling import profile_detector

DARKNET = MODELS["yolox-darknet53"]

#: Params in millions and GFLOPs in the paper's convention, counted on the official models (version 0.3.0).
STAGES = {
    "baseline": ("62.998749", "157.279"),
    "decoupled-head": ("63.855837", "186.007"),
    "strong-augmentation": ("63.855837", "186.007"),
    "anchor-free": ("63.724767", "185.273"),
    "multi-positives": ("63.724767", "185.273"),
    "simota": ("63.724767", "185.273"),
    "nms-free": ("67.267554", "205.121"),
}
NAMED = {
    "yolox-darknet53": ("63.724767", "185.273"),
    "yolox-nano": ("0.912159", "1.0792"),
    "yolox-tiny": ("5.055855", "6.4510"),
    "yolox-s": ("8.968255", "26.806"),
    "yolox-m": ("25.326495", "73.755"),
    "yolox-l": ("54.208895", "155.651"),
    "yolox-x": ("99.071455", "281.931"),
}


def printed(value: float, like: str) -> str:
    return f"{value:.{len(like.partition('.')[2])}f}"


class TestByHand:
    def test_a_normed_convolution(self) -> None:
        conv = Conv(inputs=3, outputs=32, kernel=3, stride=1)
        assert conv.weights == 864
        assert conv.params == 864 + 64

    def test_a_depthwise_convolution(self) -> None:
        assert Conv(16, 16, 3, 2, groups=16).params == 144 + 32

    def test_an_output_convolution_has_a_bias(self) -> None:
        assert Conv(256, 255, 1, 8, norm=False).params == 256 * 255 + 255

    def test_the_one_to_one_branch(self) -> None:
        """Per level two 3×3 convolutions 256→256 with norm, a 1×1 to one logit; 8400 cells at 640 px."""
        without, whole = (cost(DARKNET, ingredients_at(s), 640) for s in ("simota", "nms-free"))
        weights = 2 * 256 * 256 * 9
        assert whole.params - without.params == 3 * (weights + 4 * 256 + 256 + 1)
        assert whole.macs - without.macs == 8400 * (weights + 256)
        # bias 1, and per element of the two convolutions: 2 for the norm, 1 for LeakyReLU
        assert whole.extras - without.extras == 8400 * (1 + 2 * 256 * 3)


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_stages_equal_the_official_counts_and_the_papers_print(stage: str) -> None:
    found = cost(DARKNET, ingredients_at(stage), 640)
    params, gflops = STAGES[stage]
    assert printed(found.params / 1e6, params) == params
    assert printed(found.gflops_paper, gflops) == gflops
    published = roadmap_row(find_stage(stage).row)
    assert round(found.params / 1e6, 2) == published["params_m"]
    assert round(found.gflops_paper, 1) == published["gflops"]


@pytest.mark.parametrize("name", MODELS)
def test_models_equal_the_official_counts(name: str) -> None:
    found = cost(MODELS[name], YOLOX_INGREDIENTS, input_size(name))
    params, gflops = NAMED[name]
    assert printed(found.params / 1e6, params) == params
    assert printed(found.gflops_paper, gflops) == gflops


@pytest.mark.parametrize(("source", "digits"), [("table3_yolov5", 1), ("table4_tiny_nano", 2)])
def test_models_equal_the_papers_print(source: str, digits: int) -> None:
    rows = [row for row in table(source) if str(row["model"]).startswith("YOLOX")]
    assert rows
    for row in rows:
        name = str(row["model"]).lower()
        found = cost(MODELS[name], YOLOX_INGREDIENTS, input_size(name))
        assert round(found.params / 1e6, digits) == row["params_m"]
        if name == "yolox-l":  # 155.65: the paper cuts it to 155.6 where rounding gives 155.7
            assert row["gflops"] == 155.6 <= found.gflops_paper < 155.7
        else:
            assert round(found.gflops_paper, digits) == row["gflops"]


def check_against_the_built_detector(model: ModelConfig, ingredients: Ingredients, size: int) -> None:
    with torch.device("meta"):
        detector = build_detector(model, ingredients)
    counted, computed = profile_detector(detector, size), cost(model, ingredients, size)
    assert computed.params == counted.params
    assert computed.macs == counted.macs
    assert computed.gflops == counted.gflops
    assert computed.gflops_paper == counted.gflops_paper


@pytest.mark.parametrize("number", range(64))
def test_every_combination_equals_the_built_detector(number: int) -> None:
    ingredients = Ingredients(**{name: bool(number >> i & 1) for i, name in enumerate(INGREDIENTS)})
    slim = replace(DARKNET, depth=0.1, width=0.125, num_classes=7)
    check_against_the_built_detector(slim, ingredients, 64)


@pytest.mark.parametrize("decoupled_head", [False, True])
@pytest.mark.parametrize("anchor_free", [False, True])
@pytest.mark.parametrize("nms_free", [False, True])
def test_csp_with_other_ingredients_equals_the_built_detector(
    decoupled_head: bool, anchor_free: bool, nms_free: bool
) -> None:
    slim = replace(MODELS["yolox-nano"], width=0.125, num_classes=7, activation="leaky_relu")
    switched = Ingredients(decoupled_head=decoupled_head, anchor_free=anchor_free, nms_free=nms_free)
    check_against_the_built_detector(slim, switched, 96)


@pytest.mark.parametrize(
    ("backbone", "depth", "width"),
    [
        ("darknet53", 0.05, 0.1),
        ("darknet53", 0.67, 0.03),
        ("darknet53", 1.5, 0.375),
        ("csp-darknet", 0.05, 0.1),
        ("csp-darknet", 0.67, 0.03),
        ("csp-darknet", 1.2, 0.375),
    ],
)
def test_odd_scales_equal_the_built_detector(backbone: str, depth: float, width: float) -> None:
    model = replace(DARKNET, backbone=backbone, depth=depth, width=width, head_width=96)
    check_against_the_built_detector(model, YOLOX_INGREDIENTS, 64)


@pytest.mark.parametrize("name", MODELS)
def test_named_models_equal_the_built_detector(name: str) -> None:
    check_against_the_built_detector(model_config(name, 20), YOLOX_INGREDIENTS, input_size(name))


@pytest.mark.parametrize("size", [0, -32, 100])
def test_sizes_that_do_not_fit(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        cost(DARKNET, Ingredients(), size)


class TestTraining:
    def test_iterations_of_the_paper(self) -> None:
        # 118287 images: 924 whole batches of 128
        assert iterations(stage_recipe("simota", PAPER, COCO_2017)) == 300 * 924

    def test_flops_by_hand(self) -> None:
        recipe = stage_recipe("baseline", DEMO, COCO_2017)
        training = replace(
            recipe.training,
            epochs=1,
            warmup_epochs=0,
            closing_epochs=0,
            batch_size=16,
            multiscale=(64, 128),
        )
        recipe = replace(recipe, training=training, dataset=replace(COCO_2017, train_images=33))
        # sides 64, 96 and 128: 4, 9 and 16 times the arithmetic of 32; two batches of 16
        at_32 = 2 * cost(recipe.model, recipe.ingredients, 32).macs
        assert training_flops(recipe) == pytest.approx(3 * at_32 * (4 + 9 + 16) / 3 * 32)

    def test_flops_of_the_paper(self) -> None:
        # about 185 GFLOPs at 640 px; the mean square of 448…832 is 1.036 times 640²
        found = training_flops(stage_recipe("simota", PAPER, COCO_2017))
        mean_square = sum(s * s for s in range(448, 833, 32)) / 13 / 640**2
        assert found == pytest.approx(3 * 184.679e9 * mean_square * 300 * 924 * 128, rel=1e-4)

    def test_a_single_side(self) -> None:
        recipe = model_recipe("yolox-nano", DEMO, COCO_2017)
        fixed = replace(recipe, training=replace(recipe.training, multiscale=(416, 416)))
        forward = 2 * cost(fixed.model, fixed.ingredients, 416).macs
        assert training_flops(fixed) == pytest.approx(
            3 * forward * iterations(fixed) * fixed.training.batch_size
        )


def test_no_heavy_import() -> None:
    code = "import sys, roadmap.cost; assert not {'torch', 'numpy', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
