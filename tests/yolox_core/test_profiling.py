"""Counting on the built detector, and latency with its conditions."""

from __future__ import annotations

import copy
import json
import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from yolox_core.build import build_detector
from yolox_core.config import MODELS, YOLOX_INGREDIENTS, Ingredients, ModelConfig
from yolox_core.deploy.fusion import fused_copy, inference_copy
from yolox_core.detector import Detector
from yolox_core.models.layers import ConvBlock
from yolox_core.profiling import measure_latency, profile_detector
from yolox_core.structures import Prediction

TINY = replace(ModelConfig(num_classes=4), depth=0.1, width=0.0625)
TINY_CSP = replace(MODELS["yolox-nano"], num_classes=4, width=0.125)
VARIANTS = [
    (TINY, Ingredients()),
    (TINY, replace(YOLOX_INGREDIENTS, nms_free=True)),
    (TINY_CSP, YOLOX_INGREDIENTS),
]


def trained(model: ModelConfig = TINY, ingredients: Ingredients = YOLOX_INGREDIENTS) -> Detector:
    """A detector whose batch norms hold something: fresh ones would fold to almost nothing."""
    torch.manual_seed(0)
    detector = build_detector(model, ingredients)
    for norm in detector.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
            nn.init.normal_(norm.running_mean, 0, 0.3)  # type: ignore[arg-type]
            nn.init.uniform_(norm.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return detector.eval()


def predict(detector: Detector, image: torch.Tensor) -> Prediction:
    with torch.no_grad():
        prediction = detector(image)
    assert isinstance(prediction, Prediction)
    return prediction


class TestCounting:
    def test_one_convolution_by_hand(self) -> None:
        """The baseline's stem at 64 px, counted alone: 64² × 32 outputs of 27 multiply-adds each."""
        from yolox_core.profiling import _Counter

        block, counter = ConvBlock(3, 32, 3, act="leaky_relu"), _Counter()
        with counter.watch(block):
            block(torch.zeros(1, 3, 64, 64))
        outputs = 64 * 64 * 32
        assert counter.macs == outputs * 27
        assert counter.extras == outputs * (2 + 1)
        block(torch.zeros(1, 3, 64, 64))
        assert counter.macs == outputs * 27, "hooks must be gone"

    @pytest.mark.parametrize(("model", "ingredients"), VARIANTS)
    def test_multiply_adds_are_what_torch_counts(self, model: ModelConfig, ingredients: Ingredients) -> None:
        detector = trained(model, ingredients)
        with FlopCounterMode(display=False) as flops:
            predict(detector, torch.zeros(1, 3, 96, 96))
        found = profile_detector(detector, 96)
        assert 2 * found.macs == flops.get_total_flops()
        assert found.params == sum(p.numel() for p in detector.parameters())

    def test_nothing_of_the_detector_changes(self) -> None:
        detector = trained().train()
        before = copy.deepcopy(detector.state_dict())
        profile_detector(detector, 64)
        assert detector.training
        assert all(torch.equal(value, before[key]) for key, value in detector.state_dict().items())
        detector(torch.zeros(2, 3, 64, 64)).boxes_cxcywh.sum().backward()

    def test_name_and_json(self) -> None:
        detector = trained()
        assert profile_detector(detector, 64).name == "yolox-darknet53"
        record = profile_detector(detector, 64, "simota").to_json()
        assert list(record) == ["name", "image_size", "params", "macs", "gflops", "gflops_paper"]
        assert json.loads(json.dumps(record)) == record
        assert record["name"] == "simota"
        assert record["gflops"] == 2 * record["macs"] / 1e9 < record["gflops_paper"]

    @pytest.mark.parametrize("size", [0, 33])
    def test_sizes_that_do_not_fit(self, size: int) -> None:
        with pytest.raises(ValueError, match="multiple of 32"):
            profile_detector(trained(), size)


class TestFusion:
    @pytest.mark.parametrize(("model", "ingredients"), VARIANTS)
    @pytest.mark.parametrize("prepare", [fused_copy, lambda d: inference_copy(d, "cpu")])
    def test_fused_is_the_same_function(
        self, model: ModelConfig, ingredients: Ingredients, prepare: Any
    ) -> None:
        detector = trained(model, ingredients)
        image = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 255
        ours, plain = predict(prepare(detector), image), predict(detector, image)
        for field in ("boxes_cxcywh", "objectness", "classes", "one_to_one"):
            a, b = getattr(ours, field), getattr(plain, field)
            assert (a is None) == (b is None)
            if a is not None:
                assert b.std() > 1e-3, "an output without variation would prove nothing"
                torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)

    def test_the_copy_is_apart_and_without_norms(self) -> None:
        detector = trained().train()
        before = copy.deepcopy(detector.state_dict())
        fused = fused_copy(detector)
        assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
        assert not fused.training
        assert detector.training
        for parameter in fused.parameters():
            parameter.data.zero_()
        assert all(torch.equal(value, before[key]) for key, value in detector.state_dict().items())

    def test_fusing_twice_changes_nothing(self) -> None:
        once = fused_copy(trained())
        image = torch.full((1, 3, 64, 64), 50.0)
        torch.testing.assert_close(predict(fused_copy(once), image), predict(once, image), rtol=0, atol=0)


class TestLatency:
    def test_the_conditions_are_recorded(self) -> None:
        found = measure_latency(trained(), 64, "cpu", 0.01, 0.65, repeats=5, warmup=2)
        times = ("forward_ms", "postprocess_ms", "total_ms")
        conditions = {key: value for key, value in found.items() if key not in times}
        assert conditions == {
            "device": "cpu",
            "dtype": "float32",
            "batch": 1,
            "image_size": 64,
            "fused": True,
            "warmup": 2,
            "repeats": 5,
            "threads": torch.get_num_threads(),
            "confidence": 0.01,
            "nms_iou": 0.65,
            "cudnn_benchmark": None,
            "tf32": None,
            "clock_mhz": None,
        }
        for key in times:
            assert list(found[key]) == ["median", "mean", "p5", "p95"]
            assert 0 < found[key]["p5"] <= found[key]["median"] <= found[key]["p95"]
        json.dumps(found, allow_nan=False)

    def test_each_part_is_timed_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A slow forward shows in forward and total, a slow post-processing in its own and total."""
        detector = trained()
        forward = Detector.forward

        def slow(self: Detector, *args: Any) -> Any:
            time.sleep(0.03)
            return forward(self, *args)

        monkeypatch.setattr(Detector, "forward", slow)
        detector.postprocess = lambda *_: time.sleep(0.01)  # type: ignore[assignment,return-value]
        found = measure_latency(detector, 32, "cpu", 0.01, 0.65, repeats=3, warmup=0)
        assert found["forward_ms"]["median"] >= 30
        assert 10 <= found["postprocess_ms"]["median"] < 30
        assert found["total_ms"]["median"] >= 40

    def test_warm_up_is_not_counted_and_images_take_turns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []
        forward = Detector.forward

        def spy(self: Detector, images: torch.Tensor) -> Any:
            seen.append(float(images[0, 0, 0, 0]))
            if len(seen) <= 2:
                time.sleep(0.2)
            return forward(self, images)

        monkeypatch.setattr(Detector, "forward", spy)
        images = torch.stack([torch.full((3, 32, 32), float(v)) for v in (10, 20, 30)])
        found = measure_latency(trained(), 32, "cpu", 0.01, 0.65, repeats=4, warmup=2, images=images)
        assert seen == [10, 20, 30, 10, 20, 30]
        assert found["forward_ms"]["p95"] < 200

    def test_the_measured_detector_stays_trainable(self) -> None:
        detector = trained().train()
        measure_latency(detector, 64, "cpu", 0.01, 0.65, repeats=1, warmup=0)
        assert detector.training
        detector(torch.zeros(2, 3, 64, 64)).boxes_cxcywh.sum().backward()

    @pytest.mark.parametrize(("repeats", "warmup"), [(0, 1), (1, -1)])
    def test_impossible_repeats(self, repeats: int, warmup: int) -> None:
        with pytest.raises(ValueError, match="repeats must be"):
            measure_latency(trained(), 64, "cpu", 0.01, 0.65, repeats=repeats, warmup=warmup)

    def test_images_of_another_size(self) -> None:
        with pytest.raises(ValueError, match=r"\(n, 3, 64, 64\)"):
            measure_latency(trained(), 64, "cpu", 0.1, 0.65, repeats=1, images=torch.zeros(1, 3, 32, 32))

    @pytest.mark.cuda
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    def test_half_precision_on_cuda(self) -> None:
        found = measure_latency(trained().cuda(), 64, "cuda", 0.01, 0.65, repeats=5, warmup=2)
        assert (found["device"], found["dtype"]) == ("cuda", "float16")
