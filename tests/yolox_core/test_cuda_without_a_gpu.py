"""Training on CUDA, tried without a GPU: no tensor on the wrong device, and no wait beyond a short list."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from roadmap.stages import STAGE_NAMES, ingredients_at
from tests.yolox_core.fake_cuda import CUDA, Waits, fake_cuda
from yolox_core.assigners import ota
from yolox_core.build import build_detector
from yolox_core.config import MODELS, AssignerConfig, Ingredients, ModelConfig, TrainConfig
from yolox_core.detector import Detector
from yolox_core.structures import Targets
from yolox_core.training.checkpoint import CheckpointStore
from yolox_core.training.distributed import World
from yolox_core.training.loop import Hooks, Trainer

pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")

#: All that a step may wait for on a GPU: the positives are picked out before their losses are taken.
ALLOWED_WAITS = ["losses.py:detection_loss"]

TINY = replace(ModelConfig(num_classes=4), depth=0.1, width=0.0625)
TINY_CSP = replace(MODELS["yolox-nano"], num_classes=4, width=0.125)
CONFIG = TrainConfig(batch_size=2, image_size=64, epochs=3, warmup_epochs=1, closing_epochs=1)

#: Of the 64 combinations, beside the stages: some toggles alone, and some left out of all.
ALONE = [Ingredients(**{name: True}) for name in ("anchor_free", "simota", "nms_free")]
LEFT_OUT = [
    replace(ingredients_at("nms-free"), **{name: False}) for name in ("anchor_free", "multi_positives")
]


@dataclass(frozen=True)
class Batch:
    images: Tensor
    targets: Targets


class Levels(nn.Module):
    """In the place of backbone and neck, the same for every combination: one convolution of means a level."""

    def __init__(self, channels: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        pairs = zip(channels, strides, strict=True)
        self.levels = nn.ModuleList(
            nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(3, wide, 1)) for wide, stride in pairs
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(level(images) for level in self.levels)


def shorten_body(detector: Detector) -> None:
    channels: tuple[int, ...] = detector.neck.channels  # type: ignore[assignment]
    detector.backbone, detector.neck = Levels(channels, TINY.strides), nn.Identity()


def with_a_small_body(ingredients: Ingredients, model: ModelConfig = TINY) -> Detector:
    detector = build_detector(model, ingredients)
    shorten_body(detector)
    return detector


def step(detector: Detector, tmp_path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """A training step in mixed precision on fake CUDA, in a closing epoch: losses, and what waited."""
    hooks = Hooks(batches=lambda e, i: iter(()), side=lambda e, i: 96, evaluate=lambda model, epoch: {})
    trainer = Trainer(
        detector, CONFIG, images=10, world=World(0, 1, 0, CUDA), store=CheckpointStore(tmp_path), hooks=hooks
    )
    assert trainer.mixed
    trainer.model.train()
    images = torch.empty(2, 3, 64, 64, dtype=torch.uint8)
    batch = Batch(images, Targets(torch.empty(2, 6, 4), torch.zeros(2, 6, dtype=torch.int64)))
    with Waits() as waits:
        losses = trainer.step(batch, 2, 0)
    return losses, waits.found


@pytest.mark.parametrize(
    "ingredients", [*map(ingredients_at, STAGE_NAMES), *ALONE, *LEFT_OUT], ids=lambda i: "+".join(i.enabled())
)
def test_a_step_of_any_ingredients(ingredients: Ingredients, tmp_path: Path) -> None:
    with fake_cuda():
        losses, waits = step(with_a_small_body(ingredients), tmp_path)
        assert {value.device for value in losses.values()} == {CUDA}
    assert waits == ALLOWED_WAITS


def test_a_step_with_ota(tmp_path: Path) -> None:
    """Its iterations ask the device nothing, and stay in single precision in the midst of mixed."""
    model = replace(TINY, assigner=AssignerConfig(solver="ota"))
    with fake_cuda(), mock.patch.object(ota, "sinkhorn", wraps=ota.sinkhorn) as sinkhorn:
        losses, waits = step(with_a_small_body(ingredients_at("simota"), model), tmp_path)
        assert {value.device for value in losses.values()} == {CUDA}
        (call,) = sinkhorn.call_args_list
        assert {part.dtype for part in call.args if isinstance(part, Tensor)} == {torch.float32}
    assert waits == ALLOWED_WAITS


@pytest.mark.slow
@pytest.mark.parametrize("model", [TINY, TINY_CSP], ids=["darknet53", "csp"])
def test_a_step_of_both_backbones(model: ModelConfig, tmp_path: Path) -> None:
    with fake_cuda():
        losses, waits = step(build_detector(model, ingredients_at("nms-free")), tmp_path)
        assert {value.device for value in losses.values()} == {CUDA}
    assert waits == ALLOWED_WAITS


@pytest.mark.parametrize("stage", STAGE_NAMES)
def test_inference_in_half_precision(stage: str) -> None:
    """From images to detections, whose number the host waits for once per batch."""
    with fake_cuda():
        detector = with_a_small_body(ingredients_at(stage)).to(CUDA).eval()
        assert isinstance(detector, Detector)
        with Waits() as waits, torch.autocast("cuda", torch.float16):
            found = detector.detect(torch.empty(2, 3, 64, 64, device=CUDA), 0.01, 0.65)
        assert {part.device for image in found for part in image} == {CUDA}
    assert len(found) == 2
    assert len(waits.found) == 1


def test_a_tensor_on_the_wrong_device_is_found(tmp_path: Path) -> None:
    """The tests above would notice: a detector whose strides stayed on the CPU."""
    with fake_cuda():
        detector = with_a_small_body(Ingredients())
        wrong = torch.ones(1, 1, 1, 1)

        def spoil(_module: nn.Module, _given: object, levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(level * wrong for level in levels)

        detector.backbone.register_forward_hook(spoil)
        with pytest.raises(RuntimeError, match="cuda:0"):
            step(detector, tmp_path)


def test_a_value_that_is_read_back_is_found(tmp_path: Path) -> None:
    with fake_cuda():
        detector = with_a_small_body(Ingredients())
        assert isinstance(detector.head, nn.Module)
        original = detector.losses
        detector.losses = lambda *given: {k: v for k, v in original(*given).items() if v > 0 or k}  # type: ignore[method-assign]
        with pytest.raises(AssertionError):
            assert step(detector, tmp_path)[1] == ALLOWED_WAITS
