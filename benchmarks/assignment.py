"""Label assignment: SimOTA on a batch of 8 at 640 px, 5 to 40 objects per image, 80 classes.

    make peer                                                  once
    python -m benchmarks.assignment [--rounds 15] [--profile]

Ours and the official code (0.3.0) in turn on the same predictions; both must give the same positives.
Goals: at least 8 times faster on two cores, and no more memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.crowd import CLASSES, CODING, STRIDES, make_priors, make_raw, make_targets, on_device
from benchmarks.in_turn import official, report, run_in_turn
from yolox_core.assigners.simota import SimOTAAssigner
from yolox_core.structures import Prediction, Priors, Targets

GOAL = 8.0


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(options.seed)
    priors = make_priors(options.size)
    targets = make_targets(generator, options.batch, options.size)
    made = make_raw(generator, priors, targets)
    priors, targets, (raw, objectness, classes) = on_device(priors, targets, made, options.device)
    prediction = Prediction(CODING.decode(raw, priors), raw, objectness, classes)
    assigner = SimOTAAssigner()

    def ours() -> Tensor:
        return assigner(priors, prediction, targets).matched

    if options.profile:
        print_profile(ours)
        return
    theirs = prepare_official(priors, prediction, targets)
    mine, reference = ours(), theirs()
    different = int((mine != reference).sum())
    if different:
        sys.exit(f"{different} of {int((reference >= 0).sum())} priors are assigned differently")
    counts = targets.valid.sum(1).tolist()
    positives = int((mine >= 0).sum())
    title = f"SimOTA, batch {options.batch} at {options.size}, objects {counts}, {positives} positives"
    report(
        title, run_in_turn({"ours": ours, "official": theirs}, options.rounds, device=options.device), GOAL
    )


def prepare_official(priors: Priors, prediction: Prediction, targets: Targets) -> Callable[[], Tensor]:
    """The official assigner on the same batch: matched object of each prior, -1 for none."""
    head = official("yolox.models").YOLOXHead(CLASSES, strides=list(STRIDES))
    labels = torch.cat((targets.labels[..., None].float(), targets.boxes_cxcywh), -1)
    labels = labels * targets.valid[..., None]
    counts = targets.valid.sum(1).tolist()
    x, y = (priors.cells[None, :, axis] for axis in (0, 1))
    objectness = prediction.objectness[..., None]

    def run() -> Tensor:
        matched = torch.full(prediction.objectness.shape, -1, device=labels.device)
        for image, count in enumerate(counts):
            _, foreground, _, objects, _ = head.get_assignments(
                image,
                count,
                len(priors.strides),
                labels[image, :count, 1:5],
                labels[image, :count, 0],
                prediction.boxes_cxcywh[image],
                priors.strides[None],
                x,
                y,
                prediction.classes,
                prediction.boxes_cxcywh,
                objectness,
                labels,
                None,
            )
            matched[image, foreground] = objects
        return matched

    return run


def print_profile(call: Callable[[], object]) -> None:
    """Where the time goes, by operator."""
    call()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(5):
            call()
    print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=20))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.assignment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=640, help="image side in pixels")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", action="store_true", help="where our time goes, instead of comparing")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser


if __name__ == "__main__":
    main()
