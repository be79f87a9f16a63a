"""What the machine did during an epoch: one line of ``system.jsonl`` per epoch, averages over it.

Written to the record like everything else, so that ``studies.sync`` can replay it, and once per epoch:
MLflow's own sampling gives thousands of points on a long run, which slow its pages down.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import psutil

from roadmap.record import RunFolder, append_line, read_lines, write_atomic

#: Seconds between two looks at the machine.
INTERVAL = 10.0


class SystemSampler:
    """Samples the machine now and then; :meth:`write` stores the averages of an epoch.

    process: id of the training process, whose memory (with its data workers) is followed.
    Names are MLflow's own where it has one; megabytes are 1e6 bytes.
    """

    def __init__(self, folder: RunFolder, process: int) -> None:
        self._path = folder.path / "system.jsonl"
        self._folder, self._process = folder.path, process
        self._samples: dict[str, list[float]] = defaultdict(list)
        self._written = self._drop_other_training()
        self._gpus = _gpu_handles()
        self._next = 0.0
        psutil.cpu_percent()  # the first call has no interval to average over

    def sample(self) -> None:
        """Take a sample if the last one is :data:`INTERVAL` ago."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + INTERVAL
            self._take()

    def write(self, epoch: int) -> None:
        """Append the averages since the last call as this epoch's line, unless it has one already."""
        if not self._samples:
            self._take()
        averages = {key: round(sum(values) / len(values), 1) for key, values in self._samples.items()}
        self._samples.clear()
        if epoch not in self._written:
            append_line(self._path, {"epoch": epoch, **averages})
            self._written.add(epoch)

    def _drop_other_training(self) -> set[int]:
        """Forget lines without an epoch in metrics.jsonl: a run that was started anew begins at epoch 1."""
        epochs = {row["epoch"] for row in RunFolder(self._folder).metrics()}
        lines = read_lines(self._path)
        kept = [row for row in lines if row["epoch"] in epochs]
        if len(kept) < len(lines):
            write_atomic(self._path, "".join(json.dumps(row) + "\n" for row in kept).encode())
        return {row["epoch"] for row in kept}

    def _take(self) -> None:
        for key, value in self._figures():
            self._samples[key].append(value)

    def _figures(self) -> Iterator[tuple[str, float]]:
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(self._folder))
        yield "cpu_utilization_percentage", psutil.cpu_percent()
        yield "system_memory_usage_megabytes", memory.used / 1e6
        yield "system_memory_usage_percentage", memory.percent
        yield "disk_usage_percentage", disk.percent
        yield "disk_available_megabytes", disk.free / 1e6
        yield "training_memory_usage_megabytes", _resident(self._process) / 1e6
        for number, handle in enumerate(self._gpus):
            yield from _gpu_figures(number, handle)


def _resident(process: int) -> int:
    """Resident bytes of a process and its children, without our own."""
    total = 0
    try:
        parent = psutil.Process(process)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss if member.pid != psutil.Process().pid else 0
        except psutil.NoSuchProcess:
            continue  # a data worker that ended between the two calls
    return total


def _gpu_handles() -> list[Any]:
    """NVML handles of the GPUs; none without nvidia-ml-py or a driver."""
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return []
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    return [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]


def _gpu_figures(number: int, handle: Any) -> Iterator[tuple[str, float]]:
    nvml = import_module("pynvml")
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    yield f"gpu_{number}_memory_usage_megabytes", memory.used / 1e6
    yield f"gpu_{number}_memory_usage_percentage", 100 * memory.used / memory.total
    yield f"gpu_{number}_utilization_percentage", nvml.nvmlDeviceGetUtilizationRates(handle).gpu
    yield f"gpu_{number}_power_usage_watts", nvml.nvmlDeviceGetPowerUsage(handle) / 1000
