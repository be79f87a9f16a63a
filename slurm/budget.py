"""GPU-hours before they are spent: training FLOPs over the measured throughput of a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadmap.record import read_json
from roadmap.text_table import aligned
from roadmap.words import counted
from slurm.site import Site, seconds
from slurm.submission import Task


@dataclass(frozen=True)
class Throughput:
    """Sustained training TFLOP/s (2 × multiply-adds, 10¹²) of one GPU, and where the figure is from.

    protocol, device: what the probe trained, and on what; empty when not known.
    """

    tflops: float
    source: str
    protocol: str = ""
    device: str = ""


@dataclass(frozen=True)
class ArmCost:
    """GPU-hours of an arm's runs together; None when the throughput or the FLOPs are unknown."""

    arm: str
    runs: int
    flops: float | None
    gpu_hours: float | None


@dataclass(frozen=True)
class Estimate:
    """GPU-hours per arm and in total. longest_hours: of the longest run, on all its GPUs. job_hours: of one
    job at most. doubts: why the throughput may not be that of these runs.
    """

    throughput: Throughput | None
    arms: tuple[ArmCost, ...]
    gpu_hours: float | None
    longest_hours: float | None
    job_hours: float | None
    max_requeues: int = 0
    doubts: tuple[str, ...] = ()


def probe_file(runs: Path, site: Site) -> Path:
    """Where the probe job leaves what it measured."""
    return runs / "probes" / f"{site.name}.json"


def known_throughput(site: Site, runs: Path) -> Throughput | None:
    """The site profile's figure, else the probe's, else None.

    Raises ValueError naming a broken probe file.
    """
    if site.tflops_per_gpu:
        return Throughput(site.tflops_per_gpu, f"the profile of site {site.name}")
    path = probe_file(runs, site)
    measured = read_json(path)
    if measured is None:
        return None
    try:
        protocol, device = str(measured.get("protocol", "")), str(measured.get("device", ""))
        what = ", ".join(
            part
            for part in (f"{protocol} protocol" if protocol else "", f"on {device}" if device else "")
            if part
        )
        source = f"the probe of {measured['time']}{f': {what}' if what else ''}"
        return Throughput(float(measured["tflops_per_gpu"]), source, protocol, device)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no probe result ({error!r}); run python -m slurm probe again") from error


def estimate(tasks: Sequence[Task], site: Site, throughput: Throughput | None) -> Estimate:
    """What the tasks will cost. Without a throughput the hours are None."""
    arms = []
    for arm in dict.fromkeys(task.arm for task in tasks):
        mine = [task for task in tasks if task.arm == arm]
        flops = _total([task.flops for task in mine])
        arms.append(ArmCost(arm, len(mine), flops, _hours(flops, _of(site.for_arm(arm), throughput))))
    longest, job = _longest(tasks, site, throughput)
    return Estimate(
        throughput,
        tuple(arms),
        _total([arm.gpu_hours for arm in arms]),
        longest,
        job,
        site.max_requeues,
        _doubts(tasks, site, throughput),
    )


def _longest(
    tasks: Sequence[Task], site: Site, throughput: Throughput | None
) -> tuple[float | None, float | None]:
    """Hours of the run that takes the most jobs one after the other, and of one such job; None: unknown."""
    found: list[tuple[float, float | None]] = []
    for task in tasks:
        request = site.for_arm(task.arm)
        hours = _hours(task.flops, _of(request, throughput))
        if hours is not None:
            limit = seconds(request.time_limit) / 3600 if request.time_limit else None
            found.append((hours / max(1, request.tasks), limit))
    return max(found, key=lambda pair: pair[0] / (pair[1] or 1e9), default=(None, None))


def _of(request: Site, throughput: Throughput | None) -> Throughput | None:
    """The throughput of the GPUs that an arm asks for: its own figure where the profile has one."""
    if request.tflops_per_gpu and throughput and throughput.tflops != request.tflops_per_gpu:
        return Throughput(request.tflops_per_gpu, f"the profile of site {request.name}")
    return throughput


def _doubts(tasks: Sequence[Task], site: Site, throughput: Throughput | None) -> tuple[str, ...]:
    """Why a probe's figure may not be that of these runs."""
    if throughput is None:
        return ()
    doubts = []
    others = sorted({task.protocol for task in tasks} - {"", throughput.protocol})
    if throughput.protocol and others:
        doubts.append(
            f"the probe trained the {throughput.protocol} protocol, these runs train {', '.join(others)}: "
            f"measure again with python -m slurm probe --protocol {others[0]}"
        )
    if throughput.device == "cpu" and site.gpus:
        doubts.append("the probe ran on a processor, these runs ask for GPUs: measure again where they run")
    return tuple(doubts)


def check_budget(cost: Estimate, max_gpu_hours: float | None) -> None:
    """Raises ValueError when the estimate is above the budget, or when there is none to compare."""
    if max_gpu_hours is None:
        return
    if cost.gpu_hours is None:
        raise ValueError(
            "--max-gpu-hours: the cost is unknown; set tflops_per_gpu in the site profile, or measure it "
            "with python -m slurm probe"
        )
    if cost.gpu_hours > max_gpu_hours:
        raise ValueError(
            f"--max-gpu-hours: an estimated {cost.gpu_hours:.3g} GPU-hours is above {max_gpu_hours:g}; "
            "submit fewer arms or seeds, or raise it"
        )


def describe(cost: Estimate) -> str:
    """The estimate as a table for people."""
    rows = [("arm", "runs", "training FLOPs", "GPU-hours")]
    rows += [(s.arm, str(s.runs), _number(s.flops), _number(s.gpu_hours)) for s in cost.arms]
    total_runs = sum(s.runs for s in cost.arms)
    rows.append(
        ("total", str(total_runs), _number(_total([s.flops for s in cost.arms])), _number(cost.gpu_hours))
    )
    lines = aligned(rows, right=(1, 2, 3))
    if cost.throughput is None:
        lines.append(
            "GPU-hours unknown: set tflops_per_gpu in the site profile, or run python -m slurm probe"
        )
    else:
        lines.append(
            f"at {cost.throughput.tflops:g} TFLOP/s per GPU ({cost.throughput.source}); training only"
        )
    if cost.longest_hours is not None and cost.job_hours is not None and cost.longest_hours > cost.job_hours:
        times = cost.longest_hours / cost.job_hours
        about = counted(f"{times:.0f}", "time")
        outcome = (
            f"it will be requeued about {about}"
            if times <= cost.max_requeues
            else f"it would be requeued about {about} and stops after max_requeues = "
            f"{cost.max_requeues}; raise that, or give runs more time or GPUs"
        )
        lines.append(
            f"the longest run takes about {cost.longest_hours:.3g} h, jobs last {cost.job_hours:.3g} h: "
            f"{outcome}"
        )
    lines += [f"doubtful: {doubt}" for doubt in cost.doubts]
    return "\n".join(lines)


def to_json(cost: Estimate) -> dict[str, Any]:
    """Plain JSON for the user."""
    return {
        "tflops_per_gpu": cost.throughput.tflops if cost.throughput else None,
        "throughput_source": cost.throughput.source if cost.throughput else None,
        "gpu_hours": cost.gpu_hours,
        "doubts": list(cost.doubts),
        "arms": [
            {"arm": s.arm, "runs": s.runs, "training_flops": s.flops, "gpu_hours": s.gpu_hours}
            for s in cost.arms
        ],
    }


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _hours(flops: float | None, throughput: Throughput | None) -> float | None:
    if flops is None or throughput is None:
        return None
    return flops / (throughput.tflops * 1e12) / 3600


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
