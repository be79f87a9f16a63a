"""Latency of an untrained detector in engines side by side, for studies.profile."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadmap.text_table import format_table
from yolox_core.config import TrainConfig
from yolox_core.deploy.card import ENGINES, FORMAT_OF

if TYPE_CHECKING:
    from studies.profile import Subject
    from yolox_core.deploy.engine_detector import EngineDetector
    from yolox_core.detector import Detector

COLUMNS = {
    "forward (ms)": "forward_ms",
    "post-processing (ms)": "postprocess_ms",
    "sum (ms)": "total_ms",
}
NOTE = """\
Median and 5th to 95th percentile of single images on {processor} ({precision}, {threads} threads;
{versions}), batch norms folded, {warmup} warm-up and {repeats} measured rounds, one image to
every engine in turn; others kept up to {busy:.1f} cores busy. Weights are untrained and images noise, so
post-processing meets next to no boxes (confidence {confidence:g}, NMS IoU {nms_iou:g});
python -m studies.deploy measures trained ones on photographs."""


def profile_in_engines(
    subject: Subject, names: Sequence[str], threads: int | None, repeats: int, warmup: int
) -> dict[str, Any]:
    """One subject's latency in every engine that was asked for, in turn, with the conditions.

    threads: of every engine, default PyTorch's. Raises ValueError without an engine's packages.
    """
    import torch

    from studies.attempt.environment import processor_name
    from studies.attempt.load import others_load, read_clock
    from yolox_core.build import build_detector
    from yolox_core.deploy.latency import measure_in_turn

    torch.manual_seed(0)
    detector = build_detector(subject.model, subject.ingredients)
    threads = threads or torch.get_num_threads()
    names = tuple(dict.fromkeys(names))
    engines = exported_engines(detector, subject.name, subject.image_size, names, threads)
    noise = torch.rand(
        1, 3, subject.image_size, subject.image_size, generator=torch.Generator().manual_seed(0)
    )
    confidence, nms_iou = TrainConfig.final_confidence, TrainConfig.nms_iou
    before = read_clock()
    times = measure_in_turn(engines, noise * 255, confidence, nms_iou, repeats, warmup)
    conditions = {
        "processor": processor_name(),
        "threads": threads,
        "precision": "fp32",
        "repeats": repeats,
        "warmup": warmup,
        "confidence": confidence,
        "nms_iou": nms_iou,
        "others_load": others_load(before, read_clock()),
    }
    facts = {
        name: {"version": opened.engine.version, "provider": opened.engine.provider} | times[name]
        for name, opened in engines.items()
    }
    return {"name": subject.name, "image_size": subject.image_size, "engines": facts, **conditions}


def format_engines(rows: list[dict[str, Any]]) -> str:
    """A line per subject and engine, and the conditions below."""
    cells = [
        {"name": row["name"], "px": row["image_size"], "engine": engine}
        | {
            title: f"{facts[key]['median']:.2f} ({facts[key]['p5']:.2f}–{facts[key]['p95']:.2f})"
            for title, key in COLUMNS.items()
        }
        for row in rows
        for engine, facts in row["engines"].items()
    ]
    versions = ", ".join(f"{f['version']} ({f['provider']})" for f in rows[0]["engines"].values())
    busy = max(row["others_load"] for row in rows)
    note = NOTE.format(**(rows[0] | {"versions": versions, "busy": busy}))
    return "\n".join([format_table(cells), "", note])


def exported_engines(
    detector: Detector, name: str, image_size: int, engines: Sequence[str], threads: int
) -> dict[str, EngineDetector]:
    """A detector in several engines, in float32, with decoded outputs of single images."""
    from yolox_core.deploy.engine_detector import EngineDetector
    from yolox_core.deploy.engines import open_engine, pytorch_engine
    from yolox_core.deploy.export import export_file, make_card, trace
    from yolox_core.deploy.graph import Graph

    names = [f"class {number}" for number in range(detector.config.num_classes)]
    card = make_card(detector, name, names, image_size)
    traced = trace(detector, card) if {"onnxruntime", "openvino"} & set(engines) else None
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for engine in engines:
            if engine == "pytorch":
                opened = pytorch_engine(Graph(detector, image_size, "decoded"), card, threads)
            else:
                file = Path(folder, f"model{ENGINES[engine]}")
                export_file(detector, card, FORMAT_OF[engine], file, traced=traced)
                opened = open_engine(file, threads)
            found[engine] = EngineDetector(opened)
    return found
