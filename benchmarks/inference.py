"""Inference: one image at a time, conv and BN fused, with post-processing.

    make peer                                                         once
    python -m benchmarks.inference [--model yolox-s] [--rounds 30]

Ours and the official code (0.3.0) in turn with the same weights on the same noise, each in
its own process; single precision on a CPU, half on CUDA (--device). Without --model: YOLOX-S at 640 px and
YOLOX-Nano at 416 px.
Goal: at least 1.1 times faster.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.in_turn import official, official_name, report, synchronise
from benchmarks.processes import run_processes_in_turn
from yolox_core.build import build_detector
from yolox_core.config import YOLOX_INGREDIENTS, input_size, model_config
from yolox_core.deploy.fusion import inference_copy
from yolox_core.deploy.weights import load_official, save_official
from yolox_core.training.allocator import keep_freed_memory

GOAL = 1.1
CONFIDENCE, NMS_IOU = 0.01, 0.65


def make_images(size: int, device: str) -> list[torch.Tensor]:
    """A few inputs, the same for both sides; half precision on CUDA."""
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(1, 3, size, size, generator=generator) * 255 for _ in range(4)]
    return [image.to(device, torch.float16 if device == "cuda" else torch.float32) for image in images]


def make_ours(model: str, size: int, weights: str, device: str) -> Callable[[], object]:
    """Our fused detector, channels innermost, as studies.profile measures it."""
    keep_freed_memory()
    detector = build_detector(model_config(model), YOLOX_INGREDIENTS)
    load_official(detector, weights)
    detector = inference_copy(detector, device)
    images = [image.contiguous(memory_format=torch.channels_last) for image in make_images(size, device)]

    def run() -> None:
        with torch.inference_mode():
            for image in images:
                detector.detect(image, CONFIDENCE, NMS_IOU)
        synchronise(device)

    return run


def make_official(model: str, size: int, weights: str, device: str) -> Callable[[], object]:
    """The official fused model and post-processing, as its demo runs them."""
    network = official("yolox.exp").get_exp(None, official_name(model)).get_model().eval()
    network.load_state_dict(torch.load(weights, weights_only=True)["model"])
    network = official("yolox.utils").fuse_model(network).to(device)
    if device == "cuda":
        network = network.half()
    postprocess = official("yolox.utils").postprocess
    images = make_images(size, device)

    def run() -> None:
        with torch.no_grad():
            for image in images:
                postprocess(network(image), 80, CONFIDENCE, NMS_IOU)
        synchronise(device)

    return run


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    for model in [options.model] if options.model else ["yolox-s", "yolox-nano"]:
        size = options.size or input_size(model)
        with TemporaryDirectory() as folder:
            weights = str(Path(folder) / "weights.pth")
            torch.manual_seed(0)
            save_official(build_detector(model_config(model), YOLOX_INGREDIENTS), weights)
            arguments = (model, size, weights, options.device)
            sides = {"ours": (make_ours, arguments), "official": (make_official, arguments)}
            results = run_processes_in_turn(sides, options.rounds, 3, options.threads)
        report(
            f"4 × inference of {model}, batch 1 at {size} px, fused, with NMS, {options.device}",
            results,
            GOAL,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", help="a named model")
    parser.add_argument("--size", type=int, help="input side in pixels")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: half precision")
    return parser


if __name__ == "__main__":
    main()
