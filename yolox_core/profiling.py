"""Parameters, arithmetic and latency of a built detector.

Counting goes by the modules that really run; :mod:`roadmap.cost` computes the same from a configuration
and explains the three conventions. Latency comes with everything it depends on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from yolox_core.deploy.fusion import inference_copy
from yolox_core.detector import Detector
from yolox_core.kernels import choose_kernels, describe_kernels
from yolox_core.structures import Prediction


@dataclass(frozen=True)
class Profile:
    """Size and arithmetic of one forward pass of one square image.

    params: trainable numbers. macs: multiply-adds of the convolutions, biases left out. gflops: 2 × macs,
    in 10⁹. gflops_paper: the convention in which the paper's figures come out to the printed digit.
    """

    name: str
    image_size: int
    params: int
    macs: int
    gflops: float
    gflops_paper: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def profile_detector(detector: Detector, image_size: int, name: str | None = None) -> Profile:
    """Count by a forward pass on shapes alone: no arithmetic is done, on any device.

    name: what the profile is of, default the model's name. Raises ValueError when ``image_size`` is no
    positive multiple of the coarsest stride.
    """
    coarsest = max(detector.config.strides)
    if image_size < coarsest or image_size % coarsest:
        raise ValueError(f"image size must be a positive multiple of {coarsest}, not {image_size}")
    counter = _Counter()
    image = torch.empty(1, 3, image_size, image_size, device="meta")
    state = {**dict(detector.named_parameters()), **dict(detector.named_buffers())}
    shapes = {key: tensor.detach().to("meta") for key, tensor in state.items()}
    training = detector.training
    detector.eval()
    try:
        with counter.watch(detector), torch.no_grad():
            functional_call(detector, shapes, (image,))
    finally:
        detector.train(training)
    return Profile(
        name=name or detector.config.name,
        image_size=image_size,
        params=sum(p.numel() for p in detector.parameters()),
        macs=counter.macs,
        gflops=2 * counter.macs / 1e9,
        gflops_paper=2 * (counter.macs + counter.extras) / 1e9,
    )


class _Counter:
    """Sums what the leaf modules do while it watches."""

    def __init__(self) -> None:
        self.macs = 0
        self.extras = 0  # what the paper's convention counts beside the macs

    @contextmanager
    def watch(self, module: nn.Module) -> Iterator[None]:
        rules: dict[type[nn.Module], Callable[..., None]] = {
            nn.Conv2d: self._conv,
            nn.BatchNorm2d: self._norm,
            nn.LeakyReLU: self._leaky_relu,
        }
        hooks = [m.register_forward_hook(rules[type(m)]) for m in module.modules() if type(m) in rules]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _conv(self, conv: nn.Conv2d, _: object, output: Tensor) -> None:
        per_output = conv.in_channels // conv.groups * conv.kernel_size[0] * conv.kernel_size[1]
        self.macs += output.numel() * per_output
        if conv.bias is not None:
            self.extras += output.numel()

    def _norm(self, _: nn.Module, __: object, output: Tensor) -> None:
        self.extras += 2 * output.numel()

    def _leaky_relu(self, _: nn.Module, __: object, output: Tensor) -> None:
        self.extras += output.numel()


def measure_latency(
    detector: Detector,
    image_size: int,
    device: torch.device | str,
    confidence: float,
    nms_iou: float,
    repeats: int,
    warmup: int = 50,
    images: Float[Tensor, "n 3 S S"] | None = None,
) -> dict[str, Any]:
    """Latency of single images, with the conditions it holds under (``latency`` in docs/record.md).

    Batch norms are folded, channels lie innermost in memory, half precision on CUDA and float32
    elsewhere; the device is synchronised before and after each part. Times are in milliseconds;
    ``total_ms`` is forward and post-processing of the same image.
    images: (n, 3, S, S) float, BGR, 0 to 255, shown in turn; default uniform noise. The number of boxes
    that post-processing meets depends on them, so a trained detector should be shown photographs.
    """
    if repeats < 1 or warmup < 0:
        raise ValueError(f"repeats must be at least 1 and warmup 0, not {repeats} and {warmup}")
    if images is None:
        images = _noise(image_size)
    elif images.shape[1:] != (3, image_size, image_size):
        raise ValueError(f"images must be (n, 3, {image_size}, {image_size}), not {tuple(images.shape)}")
    device = torch.device(device)
    choose_kernels(device)
    model = inference_copy(detector, device)
    dtype = next(model.parameters()).dtype
    shown = [image[None].to(device, dtype).contiguous(memory_format=torch.channels_last) for image in images]
    times = []
    with torch.inference_mode():
        for step in range(warmup + repeats):
            pair = _time_once(model, shown[step % len(shown)], device, confidence, nms_iou)
            if step >= warmup:
                times.append(pair)
    forward, postprocess = np.array(times).T * 1e3
    return {
        "device": device.type,
        "dtype": str(dtype).removeprefix("torch."),
        "batch": 1,
        "image_size": image_size,
        "fused": True,
        "warmup": warmup,
        "repeats": repeats,
        "threads": torch.get_num_threads(),
        **describe_kernels(device),
        "confidence": confidence,
        "nms_iou": nms_iou,
        "forward_ms": spread(forward),
        "postprocess_ms": spread(postprocess),
        "total_ms": spread(forward + postprocess),
    }


def _time_once(
    model: Detector, image: Tensor, device: torch.device, confidence: float, nms_iou: float
) -> tuple[float, float]:
    """Seconds of the forward pass and of the post-processing."""
    _synchronise(device)
    start = time.perf_counter()
    prediction = model(image)
    _synchronise(device)
    middle = time.perf_counter()
    assert isinstance(prediction, Prediction)
    model.postprocess(prediction, confidence, nms_iou)
    _synchronise(device)
    return middle - start, time.perf_counter() - middle


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _noise(image_size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, image_size, image_size, generator=generator) * 255


def spread(values: np.ndarray) -> dict[str, float]:
    """Median, mean and the percentiles between which nine values of ten lie."""
    low, middle, high = np.percentile(values, (5, 50, 95))
    return {"median": float(middle), "mean": float(values.mean()), "p5": float(low), "p95": float(high)}
