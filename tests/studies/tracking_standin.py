"""A training that trains nothing but writes a real record and talks to the tracker like the runner.

python -m tests.studies.tracking_standin RUNS --stage simota --seed 0 --epochs 20 --seconds 0.5
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import socket
import time
from functools import cache
from pathlib import Path
from typing import Any

from roadmap.protocols import DEMO
from roadmap.recipe import DatasetConfig, Run, to_json
from roadmap.record import RunFolder, append_line, now, write_json
from roadmap.stages import STAGE_NAMES, stage_arm, stage_recipe
from roadmap.study import Study, write_study
from studies.mirror.tracker import start_tracking

SHAPES = DatasetConfig("embedded-shapes", "0123456789abcdef0123456789abcdef", 8, 480, 120)


#: The roadmap's arms as planning leaves them in study.json.
ROADMAP = Study(
    "roadmap",
    "Which ingredient gave which AP?",
    tuple(
        stage_arm(name, against) for name, against in zip(STAGE_NAMES, ("", *STAGE_NAMES[:-1]), strict=True)
    ),
)


def write_start(runs: Path, stage: str, seed: int, time: str | None = None, **facts: Any) -> RunFolder:
    """Start an attempt: recipe.json, environment.json and a line in attempts.jsonl."""
    run = Run("roadmap", stage, seed, stage_recipe(stage, DEMO, SHAPES))
    folder = RunFolder(runs / run.study / run.name)
    folder.path.mkdir(parents=True, exist_ok=True)
    write_study(folder.path.parent, ROADMAP)
    identity = {
        "schema": 1,
        "study": run.study,
        "arm": stage,
        "seed": seed,
        "protocol": "demo",
        "recipe_hash": run.recipe.hash,
        "recipe": to_json(run.recipe),
        "deviations": [{"field": "training.epochs", "paper": 300, "here": 24}],
    }
    write_json(folder.path / "recipe.json", identity)
    environment = {
        "commit": "a" * 40,
        "dirty": False,
        "hardware": {"device": "cpu", "name": "a stand-in", "cores": 2},
        "dataset": {**to_json(run.recipe)["dataset"], "path": "data/embedded-shapes"},
        "command": ["python", "-m", "studies.roadmap", "--stage", stage],
    }
    write_json(folder.path / "environment.json", environment)
    attempt = 1 + sum(event["event"] == "start" for event in folder.attempts())
    start = {"event": "start", "attempt": attempt, "time": time or now(), "host": socket.gethostname()}
    append_line(folder.path / "attempts.jsonl", {**start, "pid": os.getpid(), "slurm_job": None, **facts})
    return folder


def epoch_row(epoch: int, stage: str = "simota", seconds: float = 0.5) -> dict[str, Any]:
    """A plausible row of metrics.jsonl; evaluated every fourth epoch."""
    row = {
        "epoch": epoch,
        "iteration": 30 * epoch,
        "loss": 10 * math.exp(-epoch / 8),
        "loss_box": 5 * math.exp(-epoch / 8),
        "loss_l1": None,
        "learning_rate": 0.02 * (1 - epoch / 100),
        "seconds": seconds,
        "images_per_second": 480 / seconds,
        "data_wait": 0.03,
        "memory_mb": 900.0,
        "positives": 6.5,
    }
    if epoch % 4 == 0:
        row |= average_precision(epoch, stage)
    return row


def average_precision(epoch: int, stage: str) -> dict[str, float | None]:
    """AP figures that grow with the epoch and the stage; no small objects, so APs is undefined."""
    ap = (20.0 + 2 * len(stage)) * (1 - math.exp(-epoch / 6))
    figures = {"AP": ap, "AP50": ap + 15, "AP75": ap + 2, "APs": None, "APm": ap - 1, "APl": ap + 4}
    rest = dict.fromkeys(("AR10", "AR100", "ARs", "ARm", "ARl"))
    return {**figures, "AR1": ap / 2, **rest}


def write_result(folder: RunFolder, epochs: int, finished: str | None = None) -> dict[str, Any]:
    """result.json as the runner writes it, with figures that differ by stage."""
    identity = folder.identity()
    assert identity is not None
    stage, evaluated = identity["arm"], max(4, epochs // 4 * 4)
    figures = {"epoch": evaluated, **average_precision(evaluated, stage)}
    profile = {
        "name": stage,
        "image_size": 160,
        "params": 1_500_000 + 10_000 * len(stage),
        "macs": 400_000_000,
        "gflops": 0.80,
        "gflops_paper": 0.81,
    }
    spread = {"median": 8.0 + len(stage), "mean": 8.2, "p5": 7.5, "p95": 9.9}
    conditions = {"batch": 1, "image_size": 160, "fused": True, "confidence": 0.001, "nms_iou": 0.65}
    times = {"forward_ms": spread, "postprocess_ms": spread, "total_ms": spread}
    taken = {"iterations": 30 * epochs, "images_per_second": 240.0, "data_wait": 0.03, "memory_mb": 900.0}
    processor = {"name": "a stand-in", "cpu": "a stand-in", "cores": 2, "gpus": 0, "world_size": 1}
    result = {
        "schema": 1,
        **{key: identity[key] for key in ("study", "arm", "seed", "recipe_hash", "protocol")},
        "run": folder.name,
        "finished": finished or now(),
        "best": figures,
        "last": figures,
        "profile": profile,
        "full_size_profile": {**profile, "image_size": 640, "params": 63_724_767, "gflops_paper": 185.273},
        "latency": {"device": "cpu", "dtype": "float32", **conditions, **times},
        "training": {"epochs": epochs, "seconds": 12.0, "attempts": len(folder.attempts()), **taken},
        "dataset": identity["recipe"]["dataset"],
        "hardware": {"device": "cpu", **processor, "threads": 1, "host": "here"},
        "deviations": identity["deviations"],
    }
    write_json(folder.path / "result.json", result)
    return result


def train(
    runs: Path, stage: str, seed: int, epochs: int, seconds: float, uri: str | None, idle: bool = False
) -> dict[str, Any]:
    """One attempt from where the record stands to the end.

    seconds: of an epoch. idle: sleep through it, as the host does while a device computes; else compute.
    Returns ``training`` (wall seconds of all epochs), ``calls`` (of them in the tracker), ``starting`` and
    ``closing`` (wall seconds of these calls), ``mirror_cpu`` (processor seconds of the mirroring process) and
    ``left_over`` (what is not mirrored).
    """
    folder = write_start(runs, stage, seed)
    with folder.lock():
        began = time.perf_counter()
        tracker = start_tracking(folder, uri)
        starting = time.perf_counter() - began
        done = max((row["epoch"] for row in folder.metrics()), default=0)
        began, calls = time.perf_counter(), 0.0
        for epoch in range(done + 1, epochs + 1):
            time.sleep(seconds) if idle else _compute(seconds)
            row = epoch_row(epoch, stage, seconds)
            append_line(folder.path / "metrics.jsonl", row)
            before = time.perf_counter()
            tracker.epoch(row)
            calls += time.perf_counter() - before
        training = time.perf_counter() - began
        tracker.finish(write_result(folder, epochs))
        attempt = {"attempt": len(folder.attempts()), "time": now(), "reason": "finished", "epoch": epochs}
        append_line(folder.path / "attempts.jsonl", {"event": "end", **attempt})
        began = time.perf_counter()
        left_over = tracker.close()
        closing = time.perf_counter() - began
    times = {"training": training, "calls": calls, "starting": starting, "closing": closing}
    mirror = resource.getrusage(resource.RUSAGE_CHILDREN)
    times["mirror_cpu"] = mirror.ru_utime + mirror.ru_stime
    return {"run": folder.name, **times, "left_over": left_over}


def _compute(seconds: float) -> None:
    """A fixed amount of work: about ``seconds`` on this machine when it is idle."""
    for _ in range(round(seconds * _loops_per_second())):
        _loop()


def _loop() -> float:
    return math.fsum(1 / k for k in range(1, 2000))


@cache
def _loops_per_second() -> float:
    """How fast this machine is; from the environment when several processes must do the same work."""
    given = os.environ.get("STANDIN_LOOPS_PER_SECOND")
    if given is not None:
        return float(given)
    began = time.process_time()
    for _ in range(200):
        _loop()
    return 200 / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--stage", default="simota")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--uri")
    parser.add_argument("--idle", action="store_true")
    print(json.dumps(train(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
