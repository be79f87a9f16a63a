"""Training throughput with real data loading, and the share of it spent waiting for data.

    make peer                                                                       once
    python -m benchmarks.throughput --data DIR [--model yolox-s] [--batch 16] [--device cuda]

DIR holds COCO's layout. Ours and the official code (0.3.0), one after the other in a process each, on the
same images at the same side, Mosaic and MixUp on, the same number of data processes; mixed precision on
CUDA, single precision on a CPU. Without --model: YOLOX-DarkNet53 and YOLOX-S. For the latency of the seven
stages in half precision see ``python -m studies.profile --latency --device cuda``, beside the official code
``python -m benchmarks.inference --device cuda --model yolox-darknet53``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from benchmarks.in_turn import official, official_name, synchronise
from benchmarks.photographs import DATA, need_photographs
from benchmarks.processes import run_in_process
from studies.attempt.process import prepare_process
from studies.attempt.training import wired_trainer
from yolox_core.build import build_detector
from yolox_core.config import YOLOX_INGREDIENTS, TrainConfig, model_config
from yolox_core.data.coco import open_splits
from yolox_core.training.distributed import join_world

#: Iterations before the clock starts, for memory pools and kernel choices, and batches per data process that
#: lie ready or in its hands by then: taken for nothing, they would flatter a loader that does not keep up.
WARM_UP, QUEUED = 10, 5


def measure(
    batches: Iterator[Any], step: Callable[[Any], object], options: argparse.Namespace
) -> dict[str, float]:
    """Images per second, and the share of the time that ``next(batches)`` took."""
    iterations, batch, device = options.iterations, options.batch, options.device
    warm_up = WARM_UP + QUEUED * options.workers
    started = waited = 0.0
    for iteration in range(warm_up + iterations):
        if iteration == warm_up:
            synchronise(device)
            started, waited = time.perf_counter(), 0.0
        before = time.perf_counter()
        data = next(batches)
        waited += time.perf_counter() - before
        step(data)
    synchronise(device)
    seconds = time.perf_counter() - started
    return {"images_per_second": iterations * batch / seconds, "waiting": waited / seconds}


def run_ours(options: argparse.Namespace, model: str) -> dict[str, float]:
    """Our data stream and our trainer's step."""
    images, _ = open_splits(options.data)
    config = TrainConfig(
        batch_size=options.batch, image_size=options.size, multiscale=(options.size, options.size)
    )
    with ExitStack() as stack:
        world = stack.enter_context(join_world(options.device))
        prepare_process(0, world)
        torch.use_deterministic_algorithms(False)  # as the official code
        trainer = stack.enter_context(
            wired_trainer(
                build_detector(model_config(model), YOLOX_INGREDIENTS),
                YOLOX_INGREDIENTS,
                config,
                images,
                seed=0,
                world=world,
                checkpoints=Path(stack.enter_context(tempfile.TemporaryDirectory())),
                workers=options.workers,
            )
        )
        trainer.model.train()

        def step(data: Any) -> None:
            trainer.step(data, 10, 0)

        stream = trainer.hooks.batches(0, 0)
        return measure(stream, step, options)


def run_official(options: argparse.Namespace, model: str) -> dict[str, float]:
    """The official loader, prefetcher and training iteration (yolox/core/trainer.py, train_one_iter)."""
    warnings.filterwarnings("ignore", message=".*pin_memory.*", category=UserWarning)
    on_cuda = options.device == "cuda"
    torch.backends.cudnn.benchmark = on_cuda
    experiment = official("yolox.exp").get_exp(None, official_name(model))
    experiment.data_dir, experiment.input_size = str(options.data), (options.size, options.size)
    experiment.data_num_workers = options.workers
    network = experiment.get_model().to(options.device).train()
    optimizer = experiment.get_optimizer(options.batch)
    average = official("yolox.utils").ModelEMA(network, 0.9998)
    scaler = torch.amp.GradScaler("cuda", enabled=on_cuda)
    with contextlib.redirect_stdout(io.StringIO()):
        loader = experiment.get_data_loader(options.batch, False)
    batches = _prefetched(loader) if on_cuda else ((images, labels) for images, labels, *_ in loader)

    def step(data: Any) -> None:
        images, labels = data
        with torch.autocast(options.device, torch.float16, enabled=on_cuda):
            outputs = network(images.float(), labels.float())
        optimizer.zero_grad()
        scaler.scale(outputs["total_loss"]).backward()
        scaler.step(optimizer)
        scaler.update()
        average.update(network)

    return measure(batches, step, options)


def _prefetched(loader: Any) -> Iterator[Any]:
    prefetcher = official("yolox.data").DataPrefetcher(loader)
    while True:
        yield prefetcher.next()


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no CUDA device here; --device cpu measures without one")
    need_photographs(options.data)
    name = torch.cuda.get_device_name() if options.device == "cuda" else f"cpu, {options.threads} threads"
    for model in [options.model] if options.model else ["yolox-darknet53", "yolox-s"]:
        print(
            f"training of {model}, batch {options.batch} at {options.size} px, {options.iterations} "
            f"iterations, {options.workers} data processes, {name}, torch {torch.__version__}"
        )
        speeds = {}
        for side, run in {"ours": run_ours, "official": run_official}.items():
            found = run_in_process(run, (options, model), options.threads)
            speeds[side] = found["images_per_second"]
            print(
                f"  {side:<10} {found['images_per_second']:8.1f} images/s, "
                f"{100 * found['waiting']:.0f} % of the time waiting for data"
            )
        print(f"  ours / official: {speeds['ours'] / speeds['official']:.2f}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder in COCO's layout")
    parser.add_argument("--model", help="a named model")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=640, help="input side in pixels")
    parser.add_argument("--iterations", type=int, default=50)
    parser.add_argument("--workers", type=int, default=4, help="data processes, of both")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch's threads, of both")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")
    return parser


if __name__ == "__main__":
    main()
