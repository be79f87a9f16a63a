"""Valid run records (docs/record.md) without training anything.

Recipes and deviations come from the project's own code; the figures are simple functions of stage and
seed, so that a test can work out by hand what a table must show.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from roadmap.paper import roadmap_row
from roadmap.protocols import COCO_2017, DEMO, Protocol, deviations, find_protocol
from roadmap.recipe import DatasetConfig, Recipe, Run, to_json
from roadmap.reproduction import paper_studies
from roadmap.stages import STAGE_NAMES, find_stage, stage_recipe
from roadmap.study import Setting
from roadmap.study import write_study as plan_study
from studies.roadmap import STUDY
from yolox_core.config import AugmentationConfig

SHAPES = DatasetConfig("embedded-shapes", "5ba9e5f0c0ffee00", 6, 600, 150)
COCO = replace(COCO_2017, fingerprint="c0c02017c0c02017")

#: The demo protocol with settings of its own, so that its tuning moves no hand-worked figure here.
DEMO_HERE = replace(
    DEMO,
    training=replace(
        DEMO.training,
        epochs=24, warmup_epochs=2, closing_epochs=4, batch_size=16, learning_rate=0.02, image_size=160,
        multiscale=(128, 192), evaluate_every=4, final_confidence=0.01,
        augmentation=AugmentationConfig(mosaic_scale=(0.5, 1.5), mixup=0.5),
    ),
)  # fmt: skip


def protocol_of(name: str) -> Protocol:
    """A protocol by name; the demo's is the factory's own."""
    return DEMO_HERE if name == "demo" else find_protocol(name)


#: What the factory's runs "measure" with seed 0 on the embedded shapes, percent.
DEMO_AP = {
    "baseline": 21.0,
    "decoupled-head": 23.5,
    "strong-augmentation": 22.0,
    "anchor-free": 24.5,
    "multi-positives": 30.0,
    "simota": 36.5,
    "nms-free": 35.0,
}
#: (params, macs, gflops_paper) of the shrunk demo model; any plausible figures do.
DEMO_PROFILE = {
    "baseline": (1_600_000, 190_000_000, 0.384),
    "decoupled-head": (1_650_000, 230_000_000, 0.466),
}
CPU = {
    "device": "cpu", "name": "Example CPU_2 @ 2.5 GHz & more", "cpu": "Example CPU_2 @ 2.5 GHz & more",
    "cores": 2, "gpus": 0, "world_size": 1, "threads": 2, "host": "laptop",
}  # fmt: skip
V100 = {
    "device": "cuda", "name": "Tesla V100-SXM2-32GB", "cpu": "Example CPU", "cores": 40,
    "gpus": 8, "world_size": 8, "threads": 4, "host": "node1",
}  # fmt: skip


def write_run(
    runs: Path,
    stage: str,
    seed: int = 0,
    protocol: str = "demo",
    dataset: DatasetConfig = SHAPES,
    study: str = "roadmap",
    ap: float | None = None,
    last: float | None = None,
    latency: float | None = None,
    hardware: dict[str, Any] | None = None,
    finished: str | None = "2026-01-02T03:04:05+00:00",
    recipe: Recipe | None = None,
    state: str = "finished",
) -> Path:
    """Write one run's folder and return it.

    ap: best AP in percent (default: DEMO_AP or the paper's figure, plus a seed-dependent shift).
    latency: forward median in ms. state: ``finished``, ``interrupted`` or ``failed``.
    """
    known = stage if stage in STAGE_NAMES else "simota"
    recipe = recipe or stage_recipe(known, protocol_of(protocol), dataset)
    run = Run(study, stage, seed, recipe)
    path = runs / study / run.name
    path.mkdir(parents=True)
    if study == STUDY.name and not (path.parent / "study.json").exists():
        plan_study(path.parent, STUDY)
    ap = ap if ap is not None else _ap(stage, seed, protocol)
    last = last if last is not None else ap - 0.5
    hardware = hardware or (CPU if protocol == "demo" else V100)
    _write(path / "recipe.json", _identity(run))
    _write(path / "environment.json", _environment(run, hardware))
    rows = _metrics(recipe, ap, last, stage)
    if state != "finished":
        rows = rows[: len(rows) // 2]
    _lines(path / "metrics.jsonl", rows)
    start = {"event": "start", "attempt": 1, "time": "2026-01-02T02:00:00+00:00", "host": "laptop",
             "pid": 77, "slurm_job": None, "slurm_restart": None}  # fmt: skip
    _lines(path / "attempts.jsonl", [start])
    if state == "failed":
        _write(
            path / "failure.json",
            {"kind": "non-finite-loss", "message": "loss is nan", "epoch": rows[-1]["epoch"] + 1,
             "iteration": 400, "attempt": 1, "time": "2026-01-02T03:00:00+00:00"},
        )  # fmt: skip
    if state == "finished":
        _write(path / "result.json", result_json(run, ap, last, latency, hardware, finished or ""))
    return path


def write_study(
    runs: Path, seeds: int = 1, stages: tuple[str, ...] = STAGE_NAMES, **options: Any
) -> list[Path]:
    """A whole roadmap: every stage with seeds 0 … seeds-1."""
    return [write_run(runs, stage, seed, **options) for stage in stages for seed in range(seeds)]


def write_arms(
    runs: Path,
    study: str,
    arms: tuple[str, ...],
    seeds: int = 1,
    protocol: str = "demo",
    dataset: DatasetConfig = SHAPES,
    ap: float | None = None,
) -> list[Path]:
    """Arms of a study that measures what the paper prints, planned as its command would plan them.

    ap: best AP in percent (default: the paper's), plus a fifth per seed.
    """
    planned = next(each for each in paper_studies() if each.name == study)
    setting = Setting(protocol_of(protocol), dataset, imagenet="imagenet:0123456789ab")
    plan_study(runs / study, planned, f"python -m studies.{study}", setting)
    found = []
    for arm in map(planned.find, arms):
        best = ap if ap is not None else arm.paper.ap if arm.paper and arm.paper.ap else 20.0
        for seed in range(seeds):
            recipe, own = arm.resolve(setting), best + 0.2 * seed
            found.append(write_run(runs, arm.name, seed, protocol, dataset, study, own, recipe=recipe))
    return found


def result_json(
    run: Run, ap: float, last: float, latency: float | None, hardware: dict[str, Any], finished: str
) -> dict[str, Any]:
    """The content of result.json."""
    recipe = run.recipe
    full = full_size_profile(run.arm)
    own = full if recipe.protocol == "paper" else _demo_profile(run.arm)
    milliseconds = latency if latency is not None else _latency(run.arm, run.seed, recipe.protocol)
    final = recipe.training.epochs
    return {
        "schema": 1, "study": run.study, "arm": run.arm, "seed": run.seed, "run": run.name,
        "recipe_hash": recipe.hash, "protocol": recipe.protocol, "finished": finished,
        "best": _figures(ap, final - recipe.training.evaluate_every),
        "last": _figures(last, final),
        "profile": own, "full_size_profile": full,
        "latency": {
            "device": hardware["device"], "dtype": "float16" if hardware["device"] == "cuda" else "float32",
            "batch": 1, "image_size": recipe.training.image_size, "fused": True, "warmup": 50,
            "repeats": 200, "threads": hardware["threads"], "confidence": 0.01, "nms_iou": 0.65,
            "forward_ms": _spread(milliseconds), "postprocess_ms": _spread(1.5),
            "total_ms": _spread(milliseconds + 1.5),
        },
        "training": {"epochs": final, "iterations": final * 38, "seconds": 95.0, "images_per_second": 151.0,
                     "data_wait": 0.04, "memory_mb": 612.0, "attempts": 1},
        "dataset": {**to_json(recipe.dataset), "skipped": {"train": 0, "val": 0}},
        "hardware": hardware,
        "deviations": _deviations(recipe, run.arm),
    }  # fmt: skip


def full_size_profile(stage: str) -> dict[str, Any]:
    """The paper's model, as the paper's own table has it (the figures here are not measured)."""
    row = roadmap_row(find_stage(stage).row) if stage in STAGE_NAMES else {"params_m": 9.0, "gflops": 26.8}
    gflops = row["gflops"] or 0.0
    return {
        "name": "yolox-darknet53", "image_size": 640, "params": int((row["params_m"] or 0.0) * 1e6),
        "macs": int(gflops / 2 * 1e9), "gflops": gflops, "gflops_paper": gflops,
    }  # fmt: skip


def _demo_profile(stage: str) -> dict[str, Any]:
    params, macs, gflops = DEMO_PROFILE.get(stage, (1_640_000, 228_000_000, 0.462))
    return {
        "name": "yolox-darknet53", "image_size": 160, "params": params, "macs": macs,
        "gflops": 2 * macs / 1e9, "gflops_paper": gflops,
    }  # fmt: skip


def _ap(stage: str, seed: int, protocol: str) -> float:
    shifts = (0.0, 0.4, -0.2, 0.3, -0.1)
    place = STAGE_NAMES.index(stage) if stage in STAGE_NAMES else 0
    shift = shifts[(seed * (place + 1)) % 5] if seed else 0.0
    if protocol == "demo":
        return DEMO_AP.get(stage, 20.0) + shift
    return (roadmap_row(find_stage(stage).row)["ap"] or 0.0) + shift


def _latency(stage: str, seed: int, protocol: str) -> float:
    row = roadmap_row(find_stage(stage).row) if stage in STAGE_NAMES else {"latency_ms": 9.8}
    return (row["latency_ms"] or 0.0) * (1.1 if protocol == "paper" else 2.0) + 0.1 * (seed % 3)


def _deviations(recipe: Recipe, name: str) -> list[dict[str, Any]]:
    if name in STAGE_NAMES:
        reference = stage_recipe(name, find_protocol("paper"), COCO)
    else:
        arms = [arm for study in paper_studies() for arm in study.arms if arm.name == name]
        if not arms:
            return []
        reference = replace(arms[0].reference(), dataset=COCO)
    found = deviations(recipe, reference)
    return [{"field": d.field, "paper": d.paper, "here": d.here} for d in found]


def _identity(run: Run) -> dict[str, Any]:
    return {
        "schema": 1, "study": run.study, "arm": run.arm, "seed": run.seed,
        "protocol": run.recipe.protocol, "recipe_hash": run.recipe.hash, "recipe": to_json(run.recipe),
        "deviations": _deviations(run.recipe, run.arm),
    }  # fmt: skip


def _environment(run: Run, hardware: dict[str, Any]) -> dict[str, Any]:
    return {
        "packages": {"torch": "2.14.1", "torchvision": "0.29.1", "numpy": "2.4.6"}, "python": "3.11.9",
        "commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False, "hardware": hardware,
        "precision": "fp32", "determinism": "bitwise for the same number of threads and processes",
        "dataset": {**to_json(run.recipe.dataset), "path": "data", "train": {"skipped": []},
                    "val": {"skipped": []}},
        "command": ["python", "-m", "studies.roadmap", "--stage", run.arm],
    }  # fmt: skip


def _metrics(recipe: Recipe, ap: float, last: float, stage: str) -> list[dict[str, Any]]:
    training = recipe.training
    rows = []
    for epoch in range(1, training.epochs + 1):
        share = epoch / training.epochs
        box = 2.0 * math.exp(-2 * share) + 1.0
        row: dict[str, Any] = {
            "epoch": epoch, "iteration": epoch * 38, "loss": 2 * box + 1.0, "loss_box": box,
            "loss_objectness": box / 2, "loss_classification": box / 2 + 1.0,
            "loss_l1": 0.3 if share > 0.9 else 0.0, "loss_one_to_one": 0.8 if stage == "nms-free" else 0.0,
            "learning_rate": 0.02 * (1 - share), "seconds": 4.0, "images_per_second": 150.0,
            "data_wait": 0.04, "memory_mb": 600.0, "positives": 7.5,
        }  # fmt: skip
        if epoch % training.evaluate_every == 0 or epoch == training.epochs:
            value = ap * (1 - math.exp(-5 * share)) / (1 - math.exp(-5 * (1 - 1 / training.epochs)))
            row |= {k: v for k, v in _figures(min(value, ap), epoch).items() if k != "epoch"}
        rows.append(row)
    rows[-1] |= {k: v for k, v in _figures(last, training.epochs).items() if k != "epoch"}
    return rows


def _figures(ap: float, epoch: int) -> dict[str, Any]:
    shares = {
        "AP": 1.0, "AP50": 1.4, "AP75": 1.05, "APs": 0.5, "APm": 1.1, "APl": None, "AR1": 0.7, "AR10": 1.2,
        "AR100": 1.3, "ARs": 0.6, "ARm": 1.2, "ARl": None,
    }  # fmt: skip
    percent = {name: None if share is None else min(ap * share, 100.0) for name, share in shares.items()}
    return {"epoch": epoch, **percent}


def _spread(median: float) -> dict[str, float]:
    return {"median": median, "mean": median * 1.01, "p5": median * 0.97, "p95": median * 1.08}


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
