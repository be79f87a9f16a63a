"""What OTA costs beside SimOTA: per assignment and per training step, in turn, in one run.

    python -m benchmarks.transport [--model yolox-s] [--batch 4] [--size 640] [--rounds 10] [--device cuda]

The paper drops OTA because solving its transport problem takes 25 % more training time (§2.1). Here both are
ours (assigner.solver): the same predictions for the assignment; the same images, objects and first weights
for the step. What share of a step the assignment is depends on the device: a CPU is slow at convolutions, so
that its share is small there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from benchmarks.crowd import CODING, make_priors, make_raw, make_targets, on_device
from benchmarks.in_turn import Measured, run_in_turn
from benchmarks.training_step import trainer_step
from roadmap.paper import OTA_EXTRA_TIME
from yolox_core.assigners.ota import OTAAssigner
from yolox_core.assigners.simota import SimOTAAssigner
from yolox_core.config import AssignerConfig, CostSolver, model_config
from yolox_core.structures import Prediction
from yolox_core.training.allocator import keep_freed_memory


def make_assignments(batch: int, size: int, device: str) -> dict[str, Callable[[], object]]:
    """Both assigners on the same half-trained predictions."""
    generator = torch.Generator().manual_seed(0)
    priors = make_priors(size)
    targets = make_targets(generator, batch, size)
    made = make_raw(generator, priors, targets)
    priors, targets, (raw, objectness, classes) = on_device(priors, targets, made, device)
    prediction = Prediction(CODING.decode(raw, priors), raw, objectness, classes)
    sides = {"SimOTA": SimOTAAssigner(), "OTA": OTAAssigner()}
    return {name: lambda side=side: side(priors, prediction, targets) for name, side in sides.items()}  # type: ignore[misc]


def make_step(solver: CostSolver, model: str, batch: int, size: int, device: str) -> Callable[[], object]:
    """Our trainer's own step with one of the solvers."""
    config = replace(model_config(model), assigner=AssignerConfig(solver=solver))
    return trainer_step(config, batch, size, device)


def print_extra(title: str, results: dict[str, Measured]) -> None:
    """Medians of both, and the median over the rounds of what OTA takes longer in the same round."""
    print(f"{title}; {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, result in results.items():
        low, high = min(result.seconds), max(result.seconds)
        memory = "" if result.memory is None else f"  peak memory {result.memory:.0f} MB"
        spread = f"({1000 * low:.1f}–{1000 * high:.1f})"
        print(f"  {name:<7} median {1000 * result.median:8.1f} ms {spread}{memory}")
    pairs = zip(results["OTA"].seconds, results["SimOTA"].seconds, strict=True)
    ratios = Measured([ota / simota for ota, simota in pairs])
    print(f"  OTA / SimOTA: time {ratios.median:.3f}, {100 * (ratios.median - 1):+.1f} %")


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    where = f"batch {options.batch} at {options.size} px on {options.device}"
    clock = time.process_time if options.cpu_time else time.perf_counter
    keep_freed_memory()
    sides = make_assignments(options.batch, options.size, options.device)
    print_extra(
        f"assignment, {where}", run_in_turn(sides, options.rounds, device=options.device, clock=clock)
    )
    shape = (options.model, options.batch, options.size, options.device)
    steps = {"SimOTA": make_step("simota", *shape), "OTA": make_step("ota", *shape)}
    results = run_in_turn(steps, options.rounds, device=options.device, clock=clock)
    print_extra(f"training step of {options.model}, {where}", results)
    print(f"  the paper, on its GPUs: +{OTA_EXTRA_TIME:g} % of the training time")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transport",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="yolox-s", help="a named model")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=640, help="input side in pixels")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--cpu-time", action="store_true", help="seconds of this process on all cores, for a busy machine"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser


if __name__ == "__main__":
    main()
