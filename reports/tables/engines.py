"""What engines make of models, as a page: size, AP, difference from PyTorch and latency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.tables.conditions import BUSY
from roadmap.words import counted

_HEAD = (
    "| model | engine | file | size (MB) | AP | AP − PyTorch | boxes | scores | forward (ms) | "
    "post-processing (ms) | sum (ms) |\n| --- | --- | --- | --: | --: | --: | --: | --: | --: | --: | --: |"
)


def page(record: Mapping[str, Any]) -> str:
    """The Markdown page of a record of ``studies.deploy``."""
    rows = record["rows"]
    base = {row["model"]: row["ap"] for row in rows if row["engine"] == "pytorch"}
    lines = ["# Engines", "", conditions(record), "", _HEAD]
    lines += [_row(row, base[row["model"]]) for row in rows]
    lines += [
        "",
        "Latency: median and, in brackets, 5th and 95th percentile of single images; sum: of one image. "
        "Boxes and scores: largest difference from PyTorch over all priors of "
        f"{rows[0]['parity']['images']} photographs, boxes as a share of their longer side. fp16 is how "
        "weights are kept, a processor computes in float32; int8 is computed in. Batch norms are folded.",
        "",
        "![AP against latency, engine by engine](engines.png)",
        "",
        "TensorRT was not run: no GPU with it was at hand.",
        "",
    ]
    return "\n".join(lines)


def conditions(record: Mapping[str, Any]) -> str:
    """Under which conditions the figures hold, in one paragraph."""
    given, rows = record["conditions"], record["rows"]
    versions = ", ".join(dict.fromkeys(row["version"] for row in rows))
    images = ", ".join(dict.fromkeys(f"{row['images']} images of {row['split']}" for row in rows))
    return (
        f"{given['processor']}, {counted(given['threads'], 'thread')}; {versions}; {images}, "
        f"confidence {given['confidence']:g}, NMS IoU {given['nms_iou']:g}; {given['repeats']} rounds after "
        f"{given['warmup']}, one image per engine and round; int8 calibrated on "
        f"{given['calibration_images']} training images; measured {given['measured'][:10]}. {load(given)}"
    )


def load(given: Mapping[str, Any]) -> str:
    """How busy others kept the machine, and what that means for latency."""
    others = given["others_load"]
    if others < BUSY:
        return f"Other processes kept {others:.1f} cores busy."
    return (
        f"Other processes kept {others:.1f} cores busy meanwhile: latencies are too high by an unknown "
        "amount, and compare only with each other."
    )


def _row(row: Mapping[str, Any], base: float) -> str:
    size = f"{row['bytes'] / 1e6:.2f}" if row["bytes"] else "–"
    is_base = row["engine"] == "pytorch"
    gap = "–" if is_base else f"{row['ap'] - base:+.2f}".replace("-", "−")
    apart = ["–", "–"] if is_base else [f"{row['parity'][key]:.0e}" for key in ("boxes", "scores")]
    cells = [
        row["model"], row["engine"], row["precision"], size, f"{row['ap']:.2f}", gap, *apart,
        *(_spread(row[key]) for key in ("forward_ms", "postprocess_ms", "total_ms")),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _spread(found: Mapping[str, float]) -> str:
    return f"{found['median']:.1f} ({found['p5']:.1f}–{found['p95']:.1f})"
