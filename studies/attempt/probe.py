"""How many training TFLOP/s does this machine sustain? A minute of real training, then one JSON figure.

    python -m slurm probe --site my-cluster.toml --data /data/coco     on a compute node
    python -m studies.attempt.probe --stage simota --seconds 60                here

The real recipe with its data loading, on as many processes as a training job has; nothing is kept. FLOPs
are 2 × multiply-adds of three forward passes per image at the input sides that were drawn
(roadmap/cost.py), so that the estimate of GPU-hours and this figure use one convention.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadmap.cost import TRAINING_FACTOR, cost
from roadmap.datasets import describe_dataset, resolve_dataset
from roadmap.recipe import Recipe
from roadmap.record import now, write_json
from roadmap.settings import choose_protocol, with_settings
from roadmap.stages import STAGE_NAMES, stage_recipe
from yolox_core.config import needs_masks

if TYPE_CHECKING:
    from yolox_core.training.distributed import World

#: Iterations before any is counted: memory pools, a filled queue of batches.
WARM_UP = 5


@dataclass
class Stopwatch:
    """Adds up what the trainer timed, from one moment when the device was done to the next.

    seconds: how long to measure. elapsed: seconds counted so far. done: FLOPs, images and iterations in
    them. Not counted are the first iterations, and the first at every input side, in which the kernels for
    its shapes are chosen by timing them.
    """

    recipe: Recipe
    seconds: float
    elapsed: float = 0.0
    done: dict[str, float] = field(default_factory=lambda: {"flops": 0.0, "images": 0.0, "iterations": 0.0})
    seen: int = 0
    warm_sides: set[int] = field(default_factory=set)

    def settled(self, sides: Sequence[int], seconds: float) -> None:
        """Iterations at these input sides took so long together."""
        warm = self.seen >= WARM_UP and self.warm_sides.issuperset(sides)
        self.seen += len(sides)
        self.warm_sides.update(sides)
        if not warm:
            return
        batch = self.recipe.training.batch_size
        for side in sides:
            forward = 2 * cost(self.recipe.model, self.recipe.ingredients, side).macs
            self.done["flops"] += TRAINING_FACTOR * forward * batch
        self.done["images"] += batch * len(sides)
        self.done["iterations"] += len(sides)
        self.elapsed += seconds

    def is_over(self) -> bool:
        return self.done["iterations"] > 0 and self.elapsed >= self.seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, or 2 for a wrong call."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        root = resolve_dataset(options.data)
        protocol = choose_protocol(options.protocol or ("demo" if root is None else "paper"))
        recipe = with_settings(
            stage_recipe(options.stage, protocol, describe_dataset(root)), protocol.settings
        )
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    from yolox_core.training.distributed import join_world

    with join_world(options.device) as world:
        measured = measure(recipe, root, options.seconds, options.workers, world)
        if world.is_main:
            measured |= {"stage": options.stage, "protocol": protocol.name, "time": now()}
            print(json.dumps(measured, indent=1))
            if options.output is not None:
                options.output.parent.mkdir(parents=True, exist_ok=True)
                write_json(options.output, measured)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.attempt.probe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stage", choices=STAGE_NAMES, default="simota", help="default: simota")
    parser.add_argument("--data", metavar="DIR", help="dataset; default: $COCO_DIR, else the embedded one")
    parser.add_argument("--protocol", metavar="NAME|FILE", help="default: paper with a dataset, else demo")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="to measure (default 60)")
    parser.add_argument("--workers", type=int, metavar="N", help="data processes per training process")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the JSON here too")
    return parser


def measure(
    recipe: Recipe, root: Path | None, seconds: float, workers: int | None, world: World
) -> dict[str, Any]:
    """Train for a while and say how fast: tflops_per_gpu (sustained, data loading included)."""
    import torch

    from studies.attempt.data import open_data
    from studies.attempt.process import prepare_process
    from studies.attempt.training import wired_trainer
    from yolox_core.build import build_detector
    from yolox_core.data.loader import training_side
    from yolox_core.training.loop import InterruptedTraining

    prepare_process(0, world)
    images = open_data(root, None, world, masks=needs_masks(recipe.ingredients, recipe.training)).train
    config = recipe.training
    per_epoch = config.iterations_per_epoch(len(images))
    watch = Stopwatch(recipe, seconds)

    def on_settled(positions: Sequence[tuple[int, int]], took: float) -> None:
        watch.settled([training_side(config, 0, *position, per_epoch) for position in positions], took)

    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="yolox-probe-")))
        trainer = stack.enter_context(
            wired_trainer(
                build_detector(recipe.model, recipe.ingredients),
                recipe.ingredients,
                config,
                images,
                seed=0,
                world=world,
                checkpoints=scratch,
                workers=workers,
                should_stop=watch.is_over,
                on_settled=on_settled,
            )
        )
        # a side lasts ten iterations; so half of them warm it up and the other half count
        trainer.check_every = min(trainer.check_every, config.multiscale_interval // 2 or 1)
        with suppress(InterruptedTraining):  # the watch stops it: that is how a probe ends
            trainer.run()
    if not watch.elapsed:
        raise ValueError("the training ended before it was warm; probe with more data")
    flops = watch.done["flops"] / watch.elapsed
    device = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "cpu"
    return {
        "tflops_per_gpu": flops / world.size / 1e12,
        "images_per_second": watch.done["images"] / watch.elapsed,
        "iterations": int(watch.done["iterations"]),
        "seconds": watch.elapsed,
        "processes": world.size,
        "device": device,
    }


if __name__ == "__main__":
    sys.exit(main())
