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
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadmap.cost import TRAINING_FACTOR, cost
from roadmap.datasets import describe_dataset, resolve_dataset
from roadmap.protocols import PROTOCOLS, find_protocol, stage_recipe
from roadmap.recipe import Recipe
from roadmap.record import now, write_json
from roadmap.stages import STAGE_NAMES

if TYPE_CHECKING:
    from yolox_core.training.distributed import World

#: Iterations before the clock starts: memory pools, kernel choices, a filled queue of batches.
WARM_UP = 5


@dataclass
class Stopwatch:
    """Counts what happens after the warm-up.

    seconds: how long to measure. done: FLOPs, images and iterations since the clock started.
    """

    recipe: Recipe
    seconds: float
    started: float | None = None
    ended: float = 0.0
    seen: int = 0
    done: dict[str, float] = field(default_factory=lambda: {"flops": 0.0, "images": 0.0, "iterations": 0.0})

    def tick(self, side: int, moment: float) -> None:
        """An iteration at this input side has ended."""
        self.seen += 1
        if self.seen == WARM_UP:
            self.started = self.ended = moment
        if self.started is None or self.seen <= WARM_UP:
            return
        batch = self.recipe.training.batch_size
        forward = 2 * cost(self.recipe.model, self.recipe.ingredients, side).macs
        self.done["flops"] += TRAINING_FACTOR * forward * batch
        self.done["images"] += batch
        self.done["iterations"] += 1
        self.ended = moment

    @property
    def elapsed(self) -> float:
        return 0.0 if self.started is None else self.ended - self.started

    def is_over(self) -> bool:
        return self.done["iterations"] > 0 and self.elapsed >= self.seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0, or 2 for a wrong call."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        root = resolve_dataset(options.data)
        protocol = find_protocol(options.protocol or ("demo" if root is None else "paper"))
        recipe = stage_recipe(options.stage, protocol, describe_dataset(root))
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
    parser.add_argument(
        "--protocol", choices=list(PROTOCOLS), help="default: paper with a dataset, else demo"
    )
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

    from roadmap.datasets import embedded_folder
    from studies.attempt.process import data_workers, prepare_process
    from yolox_core.build import build_detector, build_pipelines
    from yolox_core.data.coco import open_splits
    from yolox_core.data.loader import TrainStream, training_side
    from yolox_core.data.shapes import ensure_shapes_dataset
    from yolox_core.training.checkpoint import CheckpointStore
    from yolox_core.training.loop import Hooks, InterruptedTraining, Trainer

    prepare_process(0, world)
    if root is None:
        if world.is_main:
            ensure_shapes_dataset(embedded_folder())
        world.barrier()
        root = ensure_shapes_dataset(embedded_folder())
    images, _ = open_splits(root)
    config = recipe.training
    per_epoch = config.iterations_per_epoch(len(images))
    main_pipeline, closing = build_pipelines(recipe.ingredients, config)
    watch = Stopwatch(recipe, seconds)

    def side(epoch: int, iteration: int) -> int:
        return training_side(config, 0, epoch, iteration, per_epoch)

    def on_iteration(epoch: int, iteration: int, loss: float) -> None:
        if world.device.type == "cuda":
            torch.cuda.synchronize()
        watch.tick(side(epoch, iteration), time.perf_counter())

    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="yolox-probe-")))
        trainer = Trainer(
            build_detector(recipe.model, recipe.ingredients),
            config,
            images=len(images),
            world=world,
            store=CheckpointStore(scratch),
            hooks=Hooks(
                batches=lambda epoch, iteration: stack.enter_context(
                    TrainStream(
                        images,
                        main_pipeline,
                        closing,
                        config,
                        0,
                        epoch,
                        iteration,
                        world.rank,
                        world.size,
                        data_workers(workers, world),
                        pin_memory=world.device.type == "cuda",
                    )
                ),
                side=side,
                evaluate=lambda model, epoch: {"AP": None},
                should_stop=watch.is_over,
                on_iteration=on_iteration,
            ),
        )
        with suppress(InterruptedTraining):  # the watch stops it: that is how a probe ends
            trainer.run()
    if not watch.elapsed:
        raise ValueError(f"the training ended before {WARM_UP + 1} iterations; probe with more data")
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
