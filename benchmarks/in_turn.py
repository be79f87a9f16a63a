"""Ours and the official code in turn, in one run on the same inputs: time and peak memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

PEER = Path(__file__).resolve().parents[1] / ".peer"


def official(module: str) -> Any:
    """A module of the official code. Ends the program with what to do when it is not installed."""
    if not (PEER / "yolox").is_dir():
        sys.exit("the official code is not installed; run: make peer")
    if str(PEER) not in sys.path:
        sys.path.append(str(PEER))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its dependencies use deprecated parts of distutils
        imported = importlib.import_module(module)
    # it says at every call that this name is deprecated
    warnings.filterwarnings("ignore", message=r".*torch\.cuda\.amp\.autocast", category=FutureWarning)
    return imported


def official_name(model: str) -> str:
    """What the official code calls a named model."""
    return "yolov3" if model == "yolox-darknet53" else model


def synchronise(device: str) -> None:
    """Wait for what was given to the GPU."""
    if device == "cuda":
        torch.cuda.synchronize()


@dataclass
class Measured:
    """Seconds of every round, and the peak memory of one call in MB (None where it cannot be read)."""

    seconds: list[float] = field(default_factory=list)
    memory: float | None = None

    @property
    def median(self) -> float:
        return median(self.seconds)


def run_in_turn(
    sides: dict[str, Callable[[], object]],
    rounds: int,
    warmup: int = 2,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Measured]:
    """Call every side once per round, so that all see the same weather; memory in a round of its own.

    clock: ``time.process_time`` counts the process's own seconds on all cores, for a busy machine.
    """
    results = {name: Measured() for name in sides}
    for turn in range(-warmup, rounds):
        for name, call in sides.items():
            synchronise(device)
            start = clock()
            call()
            synchronise(device)
            if turn >= 0:
                results[name].seconds.append(clock() - start)
    for name, call in sides.items():
        results[name].memory = peak_memory(call) if device == "cpu" else peak_memory_on_gpu(call)
    return results


def peak_memory(call: Callable[[], object]) -> float | None:
    """MB that a call needs at its peak beyond what the process holds (resident memory, Linux)."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # no Linux or no glibc: not measured
        ctypes.CDLL(None).malloc_trim(0)
        before = _kilobytes(status, "VmRSS")
        reset.write_text("5")
        call()
        return (_kilobytes(status, "VmHWM") - before) / 1024
    return None


def peak_memory_on_gpu(call: Callable[[], object]) -> float:
    """MB of the GPU that a call's tensors need at their peak, beyond those that live already."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _kilobytes(status: Path, name: str) -> int:
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1])


def report(title: str, results: dict[str, Measured], goal: float, ours: str = "ours") -> None:
    """Print medians, spread and ratios; the goal is about the official code's time over ours."""
    print(f"{title}; {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name, result in results.items():
        memory = "not measured" if result.memory is None else f"{result.memory:.0f} MB"
        low, high = min(result.seconds), max(result.seconds)
        print(
            f"  {name:<10} median {1000 * result.median:8.1f} ms "
            f"({1000 * low:.1f}–{1000 * high:.1f})  peak memory {memory}"
        )
    mine = results[ours]
    for name, result in results.items():
        if not name.startswith("official"):
            continue
        line = f"  {name} / {ours}: time {result.median / mine.median:.2f} (goal {goal:g})"
        if result.memory is not None and mine.memory:
            line += f", memory {result.memory / mine.memory:.2f} (goal 1)"
        print(line)
