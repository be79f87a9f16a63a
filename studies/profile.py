"""What does each ingredient and each model cost, before anything is trained?

    python -m studies.profile                                  every stage and every named model
    python -m studies.profile --stage baseline --stage simota
    python -m studies.profile --model yolox-nano --latency --device cpu
    python -m studies.profile --model yolox-nano --latency --engine onnxruntime --engine ncnn --threads 2
    python -m studies.profile --json
    python -m studies.profile --run runs/roadmap/simota-s0-1a2b3c4d --latency      once the machine is quiet

Counts the built detectors: parameters, multiply-adds, 2 × multiply-adds, and GFLOPs in the paper's
convention (roadmap/cost.py explains it), beside the paper's figures. Expected: every printed digit of
Tables 2 to 4, from 62.998749 M and 157.3 GFLOPs (baseline) to 67.267554 M and 205.1 (nms-free); L is
155.65, where the paper prints 155.6.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadmap.paper import roadmap_row, table
from roadmap.stages import STAGE_NAMES, find_stage, ingredients_at
from roadmap.text_table import format_table, say
from roadmap.typed import to_json
from studies.command.engine_latency import format_engines, profile_in_engines
from yolox_core.config import (
    MODELS,
    YOLOX_INGREDIENTS,
    Ingredients,
    ModelConfig,
    TrainConfig,
    input_size,
)
from yolox_core.deploy.card import ENGINES

#: Warm-up and measured passes of the latency protocol; a CPU has no clocks and caches that need 50.
WARMUP = {"cuda": 50, "cpu": 5}
REPEATS = {"cuda": 200, "cpu": 20}

LATENCY_NOTE = """\
Latency: median milliseconds of single {size} images on {device} ({dtype}, {threads} threads), batch norms
folded, {warmup} warm-up and {repeats} measured passes. Weights are untrained, so post-processing meets next
to no boxes (confidence {confidence:g}, NMS IoU {nms_iou:g}); a run's record has it for trained weights.
The paper's latency is FP16 on a V100, without post-processing."""


@dataclass(frozen=True)
class Subject:
    """What is profiled, and what the paper prints for it (None: nothing for this name and size)."""

    name: str
    model: ModelConfig
    ingredients: Ingredients
    image_size: int
    published: dict[str, float | None] | None


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.image_size is not None and (options.image_size < 32 or options.image_size % 32):
        parser.error(f"--image-size must be a positive multiple of 32, not {options.image_size}")
    if options.engine and not options.latency:
        parser.error("--engine NAME goes with --latency: counts are the same in every engine")
    if options.run is not None:
        if options.engine:
            parser.error("python -m studies.deploy --run FOLDER measures a run in engines")
        return _measure_run_again(parser, options)
    subjects = find_subjects(options.stage or [], options.model or [], options.image_size)
    form = format_engines if options.engine else format_rows
    measure = _in_engines if options.engine else profile
    try:
        rows = [measure(subject, options) for subject in _with_progress(subjects, options)]
    except ValueError as error:
        parser.error(str(error))
    say(json.dumps(rows, indent=1) if options.json else form(rows))
    return 0


def _measure_run_again(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """A finished run's latency once more, into its record; 1 when the machine or the record is not ready."""
    if not options.latency or options.stage or options.model or options.image_size or options.repeats:
        parser.error("--run FOLDER goes with --latency (and --data, --device), nothing else")
    from roadmap.record import RunFolder, RunLockedError
    from studies.evaluate import choose_device, find_subject, recipe_of, usual_val_split

    folder = RunFolder(options.run)
    try:
        recipe = recipe_of(folder)
        result = folder.result()
        former_device = result.latency.device if result is not None and result.latency else None
        device = choose_device(options.device or former_device)
        nothing = {"weights": None, "image_size": None}
        subject = find_subject(argparse.Namespace(run=options.run, data=options.data, **nothing))

        from studies.attempt.latency import measure_again
        from yolox_core.build import build_detector
        from yolox_core.data.coco import CocoDataset
        from yolox_core.deploy.weights import load_official

        detector = build_detector(subject.model, subject.ingredients)
        load_official(detector, subject.weights)
        images = CocoDataset(subject.data, subject.split or usual_val_split(subject.data))
        found, former = measure_again(folder, detector, recipe.training, images, device)
    except (ValueError, OSError, RunLockedError) as error:
        print(f"profile: {error}", file=sys.stderr)
        return 1
    if options.json:
        say(json.dumps(to_json(found), indent=1))
        return 0
    before = f", before {former.forward_ms.median:.2f} ms" if former else ""
    elsewhere = (
        f"\nIt was {former.name} then: compare with other runs only once they are measured here too."
        if former and former.name not in (None, found.name)
        else ""
    )
    say(f"{folder.name}: {found.forward_ms.median:.2f} ms on {found.name}{before}{elsewhere}")
    return 0


def find_subjects(stages: list[str], models: list[str], image_size: int | None) -> list[Subject]:
    """Stages and models by name, each once; all of them when none is named.

    image_size: instead of the size that the paper tests at; the paper's figures then do not apply.
    """
    if not stages and not models:
        stages, models = list(STAGE_NAMES), list(MODELS)
    darknet = MODELS["yolox-darknet53"]
    found = [
        Subject(name, darknet, ingredients_at(name), 640, roadmap_row(find_stage(name).row))
        for name in dict.fromkeys(stages)
    ] + [
        Subject(name, MODELS[name], YOLOX_INGREDIENTS, input_size(name), published_model(name))
        for name in dict.fromkeys(models)
    ]
    if image_size is None:
        return found
    return [
        Subject(
            s.name, s.model, s.ingredients, image_size, s.published if s.image_size == image_size else None
        )
        for s in found
    ]


def published_model(name: str) -> dict[str, float | None]:
    """What the paper prints for a named model (Tables 3 and 4; DarkNet53: Table 2 up to SimOTA)."""
    if name == "yolox-darknet53":
        return roadmap_row(find_stage("simota").row)
    for row in (*table("table3_yolov5"), *table("table4_tiny_nano")):
        if str(row["model"]).lower() == name:
            return {key: value for key, value in row.items() if not isinstance(value, str)}
    raise ValueError(f"the paper prints nothing for {name!r}")


def profile(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    """One row: the counts, the paper's figures, and the latency when it is asked for.

    Raises ValueError when the device is not there.
    """
    import torch

    from yolox_core.build import build_detector
    from yolox_core.profiling import measure_latency, profile_detector

    with torch.device("meta"):
        detector = build_detector(subject.model, subject.ingredients)
    row = profile_detector(detector, subject.image_size, subject.name).to_json()
    row["published"] = subject.published
    if options.latency:
        device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("--device cuda: PyTorch finds no CUDA device here; use --device cpu")
        torch.manual_seed(0)
        row["latency"] = measure_latency(
            build_detector(subject.model, subject.ingredients),
            subject.image_size,
            device,
            TrainConfig.final_confidence,
            TrainConfig.nms_iou,
            options.repeats or REPEATS[device],
            WARMUP[device],
        )
    return row


def _in_engines(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    if options.device == "cuda":
        raise ValueError("--engine runs on the CPU here: leave out --device cuda")
    repeats = options.repeats or REPEATS["cpu"]
    return profile_in_engines(subject, options.engine, options.threads, repeats, WARMUP["cpu"])


def format_rows(rows: list[dict[str, Any]]) -> str:
    """The rows as a table, every convention named, the paper's figures beside ours."""
    text = format_table([_cells(row) for row in rows])
    notes = [
        "Three conventions of the same arithmetic; only the last compares with the paper's GFLOPs: it adds\n"
        "biases, batch norms and LeakyReLU (roadmap/cost.py)."
    ]
    latency = rows[0].get("latency")
    if latency is not None:
        sizes = sorted({row["image_size"] for row in rows})
        shown = " or ".join(f"{size}×{size}" for size in sizes)
        notes.append(LATENCY_NOTE.format(**(latency | {"size": shown})))
    return "\n".join([text, "", *notes])


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    published = row["published"] or {}
    cells = {
        "name": row["name"],
        "px": row["image_size"],
        "params (M)": f"{row['params'] / 1e6:.6f}",
        "paper's params": published.get("params_m"),
        "multiply-adds (G)": f"{row['macs'] / 1e9:.4f}",
        "2 × multiply-adds (G)": f"{row['gflops']:.4f}",
        "GFLOPs (paper's way)": f"{row['gflops_paper']:.4f}",
        "paper's GFLOPs": published.get("gflops"),
    }
    latency = row.get("latency")
    if latency is not None:
        cells |= {
            "forward (ms)": f"{latency['forward_ms']['median']:.2f}",
            "post-processing (ms)": f"{latency['postprocess_ms']['median']:.2f}",
            "total (ms)": f"{latency['total_ms']['median']:.2f}",
            "paper's latency": published.get("latency_ms"),
        }
    return cells


def _with_progress(subjects: list[Subject], options: argparse.Namespace) -> Any:
    if not options.latency:
        return subjects
    from tqdm import tqdm

    return tqdm(subjects, desc="latency", unit="model", disable=None, leave=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = parser.add_argument_group("what to profile (default: all)")
    names.add_argument(
        "--stage",
        action="append",
        choices=STAGE_NAMES,
        metavar="NAME",
        help=f"a stage of the roadmap; may be repeated: {', '.join(STAGE_NAMES)}",
    )
    names.add_argument(
        "--model",
        action="append",
        choices=tuple(MODELS),
        metavar="NAME",
        help=f"a named model; may be repeated: {', '.join(MODELS)}",
    )
    parser.add_argument(
        "--run",
        type=Path,
        metavar="FOLDER",
        help="with --latency: measure a finished run again, into its record; the former figure is kept there",
    )
    parser.add_argument("--data", metavar="DIR", help="with --run: where its dataset lies now")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help="default: the paper's, 640 or 416")
    parser.add_argument("--latency", action="store_true", help="also measure latency (minutes on a CPU)")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="for latency; default: cuda if there is one"
    )
    parser.add_argument(
        "--engine",
        action="append",
        choices=tuple(ENGINES),
        help="with --latency: in an engine instead (pip install '.[deploy]'); may be repeated",
    )
    parser.add_argument("--threads", type=_positive, metavar="N", help="of an engine (default: PyTorch's)")
    parser.add_argument(
        "--repeats",
        type=_positive,
        metavar="N",
        help=f"measured passes (default: {REPEATS['cuda']} on cuda, {REPEATS['cpu']} on cpu)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
