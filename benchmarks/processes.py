"""Ours and the official code in turn, each in a process of its own, so that neither the memory allocator's
settings nor cached memory of one side reach the other.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from typing import TypeVar

import torch

from benchmarks.in_turn import Measured

#: Makes a side in its process: called with the side's arguments, returns what is timed.
Maker = Callable[..., Callable[[], object]]
T = TypeVar("T")


def run_processes_in_turn(
    sides: dict[str, tuple[Maker, tuple[object, ...]]], rounds: int, warmup: int, threads: int
) -> dict[str, Measured]:
    """Time every side once per round, one at a time; peak memory is that of the side's whole process beyond
    what it had before its first call.

    sides: name -> (module-level maker, its arguments).
    """
    context = multiprocessing.get_context("spawn")
    ends, processes = {}, []
    for name, (maker, arguments) in sides.items():
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, maker, arguments, threads), daemon=True)
        process.start()
        processes.append(process)
        ends[name] = here
    results = {name: Measured() for name in sides}
    for turn in range(-warmup, rounds):
        for name, end in ends.items():
            end.send("run")
            seconds, memory = end.recv()
            if turn >= 0:
                results[name].seconds.append(seconds)
                results[name].memory = memory
    for end in ends.values():
        end.send("stop")
    for process in processes:
        process.join()
    return results


def run_in_process(call: Callable[..., T], arguments: tuple[object, ...], threads: int) -> T:
    """What a module-level function returns, from a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, torch.set_num_threads, (threads,)) as pool:
        return pool.submit(call, *arguments).result()


def _serve(end: Connection, maker: Maker, arguments: tuple[object, ...], threads: int) -> None:
    torch.set_num_threads(threads)
    call = maker(*arguments)
    before = _memory("VmRSS")
    while end.recv() == "run":
        start = time.perf_counter()
        call()
        seconds = time.perf_counter() - start
        peak = _memory("VmHWM")
        end.send((seconds, None if peak is None or before is None else peak - before))


def _memory(field: str) -> float | None:
    """A line of this process's memory figures in MB; None without Linux's /proc."""
    try:
        with open("/proc/self/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith(field + ":"))
    except OSError:
        return None
