"""A whole training step: images to the network, losses, gradients, optimiser, average of the weights.

    make peer                                                                 once
    python -m benchmarks.training_step [--model yolox-s] [--batch 4] [--size 640] [--rounds 5]

Ours and the official code (0.3.0) in turn on the same images and objects, each in its own process, single
precision on the CPU. Without --model: YOLOX-S at 640 px and YOLOX-Nano at 416 px. Goals: at least 1.2 times
faster, and no more memory. --profile says instead where both sides' time goes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.crowd import make_targets
from benchmarks.in_turn import official, official_name, report
from benchmarks.processes import run_in_process, run_processes_in_turn
from yolox_core.build import build_detector
from yolox_core.config import YOLOX_INGREDIENTS, ModelConfig, TrainConfig, input_size, model_config
from yolox_core.structures import Targets
from yolox_core.training.allocator import keep_freed_memory
from yolox_core.training.checkpoint import CheckpointStore
from yolox_core.training.distributed import World
from yolox_core.training.loop import Hooks, Trainer

GOAL = 1.2
#: Kinds of work by the beginnings of PyTorch's operator names; the first that fits counts.
KINDS = {
    "convolutions": ("aten::mkldnn_convolution", "aten::convolution_backward", "aten::_slow_conv2d"),
    "batch norms": ("aten::native_batch_norm",),
    "activations": ("aten::silu", "aten::leaky_relu"),
    "copies": ("aten::copy_",),
    "everything else": ("",),
}
#: Steps that a profile averages.
PROFILED = 5


@dataclass(frozen=True)
class _Batch:
    images: Tensor
    targets: Targets


def make_batch(batch: int, size: int) -> _Batch:
    """Noise and made-up objects, the same for both sides."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=generator)
    return _Batch(images, make_targets(generator, batch, size, 3, 15))


def make_ours(model: str, batch: int, size: int) -> Callable[[], object]:
    """Our trainer's own step."""
    keep_freed_memory()
    return trainer_step(model_config(model), batch, size)


def trainer_step(config: ModelConfig, batch: int, size: int, device: str = "cpu") -> Callable[[], object]:
    """A step of our trainer on :func:`make_batch`, without the stream of samples that a run has."""
    data = make_batch(batch, size)
    torch.manual_seed(0)
    trainer = Trainer(
        build_detector(config, YOLOX_INGREDIENTS),
        TrainConfig(batch_size=batch, image_size=size),
        images=1000 * batch,
        world=World(0, 1, 0, torch.device("cuda", 0)) if device == "cuda" else World(),
        store=CheckpointStore(Path(tempfile.gettempdir())),
        hooks=Hooks(
            batches=lambda epoch, iteration: iter(()), side=lambda e, i: size, evaluate=lambda m, e: {}
        ),
    )
    trainer.model.train()
    return lambda: trainer.step(data, 10, 0)


def make_official(model: str, batch: int, size: int) -> Callable[[], object]:
    """What the official trainer does in one iteration (yolox/core/trainer.py, train_one_iter)."""
    experiment = official("yolox.exp").get_exp(None, official_name(model))
    experiment.basic_lr_per_img = 0.01 / 64
    torch.manual_seed(0)
    network = experiment.get_model()
    network.train()
    optimizer = experiment.get_optimizer(batch)
    average = official("yolox.utils").ModelEMA(network, 0.9998)
    schedule = experiment.get_lr_scheduler(0.01, 1000)
    data = make_batch(batch, size)
    pixels = data.images.float()
    valid = data.targets.valid[..., None]
    labels = torch.cat((data.targets.labels[..., None].float(), data.targets.boxes_cxcywh), -1) * valid
    scaler = torch.amp.GradScaler("cuda", enabled=False)

    def step() -> None:
        outputs = network(pixels, labels)
        optimizer.zero_grad()
        scaler.scale(outputs["total_loss"]).backward()
        scaler.step(optimizer)
        scaler.update()
        average.update(network)
        for group in optimizer.param_groups:
            group["lr"] = schedule.update_lr(10_000)

    return step


def profile_of(maker: Callable[..., Callable[[], object]], *arguments: object) -> dict[str, float]:
    """Milliseconds per step for each of KINDS, of the operators' own time."""
    step = maker(*arguments)
    for _ in range(3):
        step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(PROFILED):
            step()
    found = dict.fromkeys(KINDS, 0.0)
    for event in profile.key_averages():
        kind = next(kind for kind, names in KINDS.items() if event.key.startswith(names))
        found[kind] += event.self_cpu_time_total / 1000 / PROFILED
    return found


def print_profiles(title: str, profiles: dict[str, dict[str, float]]) -> None:
    """A line per kind of work: milliseconds of each side."""
    print(f"{title}: ms per step under the profiler, {torch.get_num_threads()} threads")
    for kind in KINDS:
        print(f"  {kind:<16}" + "".join(f"{side:>10} {found[kind]:7.1f}" for side, found in profiles.items()))
    whole = {side: sum(found.values()) for side, found in profiles.items()}
    print(f"  {'whole step':<16}" + "".join(f"{side:>10} {value:7.1f}" for side, value in whole.items()))


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    plans = [("yolox-s", 640, 4), ("yolox-nano", 416, 8)]
    if options.model:
        plans = [(options.model, options.size or input_size(options.model), options.batch or 4)]
    for model, size, batch in plans:
        size, batch = options.size or size, options.batch or batch
        arguments = (model, batch, size)
        sides = {"ours": (make_ours, arguments), "official": (make_official, arguments)}
        if options.profile:
            profiles = {
                side: run_in_process(profile_of, (maker, *arguments), options.threads)
                for side, (maker, _) in sides.items()
            }
            print_profiles(f"training step of {model}, batch {batch} at {size} px", profiles)
            continue
        results = run_processes_in_turn(sides, options.rounds, 2, options.threads)
        report(f"training step of {model}, batch {batch} at {size} px", results, GOAL)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", help="a named model")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--size", type=int, help="input side in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--profile", action="store_true", help="where the time goes, instead of how long it is"
    )
    return parser


if __name__ == "__main__":
    main()
