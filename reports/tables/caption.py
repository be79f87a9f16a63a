"""What a table or figure was measured on, in sentences: no figure leaves the report without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.blocks import Caption
from reports.records.groups import Group
from reports.tables.conditions import code_sentence, dropped_sentence, load_sentence
from reports.tables.steps import LatencyConditions, Table2
from roadmap.layout import Layout
from roadmap.words import counted

#: Set by the data, not by a choice: the paper's fingerprint is unknown.
_NOT_A_CHOICE = ("dataset.fingerprint",)


@dataclass(frozen=True)
class DeviationRow:
    """A setting that differs from the paper's protocol. arms: where, empty for all of them."""

    field: str
    paper: str
    here: str
    arms: tuple[str, ...]


def table_caption(table: Table2, title: str = "") -> Caption:
    """The caption of one of a group's tables. title: as the study has it, empty where it has none."""
    said = (
        "AP is the best evaluated epoch's, which is also what the paper's Table 2 prints (its Figure 3 "
        "shows it); the last epoch's is given beside it. Gains compare best epochs with those of the arm "
        "compared against, paired by seed.",
        cost_sentence(table),
        latency_sentence(table.latency_conditions),
        load_sentence(table),
    )
    title = title or f"Study {table.group.study}: AP, size and speed"
    return _caption(table, f"{title}, measured beside published", said)


def printed_caption(table: Table2, layout: Layout) -> Caption:
    """The caption of a table in the paper's own layout: what its columns need, and no more."""
    figures = {entry.figure for entry in layout.entries}
    brackets = any(entry.against for entry in layout.entries)
    said = (
        "AP is the best evaluated epoch's, as the paper prints it.",
        "In brackets: the gain over the row that the paper's own brackets are counted from, paired by seed "
        "where that row was trained."
        if brackets
        else "",
        cost_sentence(table) if figures & {"params_m", "gflops"} else "",
        latency_sentence(table.latency_conditions) if "latency_ms" in figures else "",
        load_sentence(table) if "latency_ms" in figures else "",
    )
    headline = f"{layout.source} in the layout of the paper (arXiv 2107.08430), measured beside published"
    return _caption(table, headline, said)


def _caption(table: Table2, headline: str, said: tuple[str, ...]) -> Caption:
    """said: what is about this table's columns."""
    group = table.group
    return Caption(
        headline,
        mark_sentence(group),
        _said(
            dataset_sentence(group.dataset),
            dropped_sentence(group),
            protocol_sentence(group),
            hardware_sentence(group),
            code_sentence(group),
            seeds_sentence(group),
            *said,
            "Paper figures: COCO val2017, one run each; latency on a V100, FP16, batch 1, without "
            "post-processing.",
            deviation_count(group),
        ),
        deviation_list(group),
    )


def further_caption(table: Table2, headline: str) -> Caption:
    """The caption of a table that stands on a page behind another of the same group."""
    mark = table.group.mark
    short = f"{mark.upper()}: not comparable with the paper's COCO figures." if mark else ""
    return Caption(headline, short, ("Conditions are those of the group's first table.",))


def _said(*sentences: str) -> tuple[str, ...]:
    return tuple(filter(None, sentences))


def short_caption(group: Group) -> str:
    """Conditions in a line, for below a figure."""
    mark = f" ({group.mark.upper()})" if group.mark else ""
    text = f"Measured on {group.dataset['name']}, {group.protocol} protocol{mark}, {_seed_counts(group)}."
    return " ".join(_said(text, hardware_sentence(group), code_sentence(group)))


def stamp_line(group: Group) -> str:
    """Conditions in a picture itself, which says elsewhere that it is not COCO.

    Of many kinds of hardware the first is named; the caption has all of them.
    """
    first, *more = _hardware(group)
    others = f" and {len(more)} more" if more else ""
    return (
        f"measured: {group.dataset['name']}, {group.protocol} protocol, {_seed_counts(group)}, "
        f"trained on {first}{others}"
    )


def _seed_counts(group: Group) -> str:
    counts = sorted({len(arm.seeds) for arm in group.arms})
    return counted(" to ".join(map(str, dict.fromkeys((counts[0], counts[-1])))), "seed")


def mark_sentence(group: Group) -> str:
    """Why the measured figures are not the paper's; empty when they are comparable."""
    if not group.mark:
        return ""
    return (
        f"{group.mark.upper()}: the measured figures come from {group.dataset['name']} under the "
        f"{group.protocol} protocol. They are not comparable with the paper's COCO figures; at most the "
        "direction of a step is, where its gain is more than noise."
    )


def dataset_sentence(dataset: Mapping[str, Any]) -> str:
    text = (
        f"Dataset: {dataset['name']} (fingerprint {dataset['fingerprint'][:12]}, "
        f"{counted(dataset.get('num_classes', '?'), 'class')}, "
        f"{dataset.get('train_images', '?')} training and "
        f"{counted(dataset.get('val_images', '?'), 'validation image')})."
    )
    skipped = {split: n for split, n in (dataset.get("skipped") or {}).items() if n}
    if skipped:
        text += " Unusable images left out: " + ", ".join(f"{n} of {s}" for s, n in skipped.items()) + "."
    return text


def protocol_sentence(group: Group) -> str:
    def setting(name: str) -> str:
        return _values(run.recipe.get(f"training.{name}") for run in group.runs)

    return (
        f"Protocol: {group.protocol} ({counted(setting('epochs'), 'epoch')}, batch {setting('batch_size')}, "
        f"tested at {setting('image_size')} px, evaluated every {_every(setting('evaluate_every'))})."
    )


def curve_conditions(group: Group) -> str:
    """Where curves and tables count detections from different confidences on, both, in a line; else empty."""
    while_training, at_the_end = _confidences(group)
    return f"curves: confidence ≥ {while_training}; tables: ≥ {at_the_end}" if while_training else ""


def curve_sentence(group: Group) -> str:
    """Why a curve need not end at the table's figure; empty where it does. Begins with a space."""
    while_training, at_the_end = _confidences(group)
    if not while_training:
        return ""
    return (
        f" While training, evaluations count detections from confidence {while_training} on; the figures of "
        f"tables were evaluated again from {at_the_end} on, so a curve need not end at its table's figure."
    )


def _confidences(group: Group) -> tuple[str, str]:
    """Those of records from before there was one for all evaluations; empty where it is one."""
    names = ("training.confidence", "training.final_confidence")
    pairs = [tuple(run.recipe.get(name) for name in names) for run in group.runs]
    differ = [pair for pair in pairs if pair[0] is not None and pair[0] != pair[1]]
    return _values(pair[0] for pair in differ), _values(pair[1] for pair in differ)


def _every(number: str) -> str:
    return counted(number, "epoch").removeprefix("1 ")


def hardware_sentence(group: Group) -> str:
    return f"Trained on: {'; '.join(_hardware(group))}."


def _hardware(group: Group) -> tuple[str, ...]:
    """Each kind once: processes, device, precision."""
    names: dict[str, None] = {}
    for run in group.runs:
        hardware = run.hardware
        world, name = hardware.get("world_size") or 1, hardware.get("name", "unknown")
        processes = f"{world} processes on " if world > 1 else ""
        precision = run.environment.get("precision")
        names[f"{processes}{name}" + (f", {precision}" if precision else "")] = None
    return tuple(names)


def seeds_sentence(group: Group) -> str:
    by_seeds: dict[tuple[int, ...], list[str]] = {}
    for arm in group.arms:
        by_seeds.setdefault(arm.seeds, []).append(arm.arm)
    if len(by_seeds) == 1:
        (seeds,) = by_seeds
        text = _seeds(seeds)
    else:
        text = "; ".join(f"{_seeds(seeds)} ({', '.join(names)})" for seeds, names in by_seeds.items())
    if all(len(seeds) == 1 for seeds in by_seeds):
        return f"{text[0].upper()}{text[1:]}: no spread can be given, and gains of a point may be noise."
    return f"{text[0].upper()}{text[1:]}; ± is the standard deviation over seeds."


def cost_sentence(table: Table2) -> str:
    text = (
        "Parameters and GFLOPs are counted, the same for every seed; GFLOPs in the paper's convention "
        "(2 × (convolutions + batch norms), per image at the test size)."
    )
    if any(r.params and r.params_full and r.params.mean != r.params_full.mean for r in table.rows):
        text += (
            " “Trained” is the model that was trained here, “full size” the paper's model of the same arm "
            "(at its test size, 80 classes), counted with the same code. Latency and FPS are the trained "
            "model's."
        )
    return text


def latency_sentence(conditions: LatencyConditions | None) -> str:
    if conditions is None:
        return "Latency was not measured."
    c = conditions
    dtype = {"float16": "FP16", "float32": "FP32", "bfloat16": "BF16"}.get(c.dtype, c.dtype)
    fused = "conv and BN fused" if c.fused else "not fused"
    threads = f", {counted(c.threads, 'thread')}" if c.device == "cpu" and c.threads else ""
    return (
        f"Latency: forward pass only, without post-processing, {c.hardware}, {dtype}, batch {c.batch}, "
        f"{c.image_size} px, {fused}{threads}, median of {c.repeats} after {c.warmup} warm-ups; "
        "FPS = 1000 / latency."
    )


def deviation_count(group: Group) -> str:
    """How far the runs are from the paper's protocol."""
    number = len(deviation_rows(group))
    if not number:
        return "No setting deviates from the paper's protocol."
    return f"Deviations from the paper's protocol: {counted(number, 'setting')}, listed below the table."


def deviation_list(group: Group) -> tuple[str, ...]:
    """Every deviation, in one sentence; nothing when there is none."""
    rows = deviation_rows(group)
    return (
        ("Deviations from the paper's protocol: " + "; ".join(map(_deviation, rows)) + ".",) if rows else ()
    )


def deviation_rows(group: Group) -> tuple[DeviationRow, ...]:
    """Deviations of all shown runs, each once, with the arms it holds for."""
    rows = [
        (item["field"], _show(item.get("paper")), _show(item.get("here")), run.arm)
        for run in group.runs
        for item in run.deviations
        if item["field"] not in _NOT_A_CHOICE
    ]
    found = pd.DataFrame(rows, columns=["field", "paper", "here", "arm"]).drop_duplicates()
    result = []
    for (field, paper, here), item in found.groupby(["field", "paper", "here"]):
        arms = tuple(item["arm"]) if len(item) < len(group.arms) else ()
        result.append(DeviationRow(str(field), str(paper), str(here), arms))
    return tuple(result)


def _deviation(row: DeviationRow) -> str:
    where = f", {', '.join(row.arms)} only" if row.arms else ""
    return f"{row.field} {row.here} (paper: {row.paper}{where})"


def _seeds(seeds: tuple[int, ...]) -> str:
    if len(seeds) == 1:
        return f"one seed ({seeds[0]})"
    if len(seeds) > 3 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{len(seeds)} seeds ({seeds[0]}–{seeds[-1]})"
    return f"{len(seeds)} seeds ({', '.join(map(str, seeds))})"


def _show(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "–".join(map(str, value)) if len(value) == 2 else str(list(value))
    return "none" if value in ("", None) else str(value)


def _values(values: Iterable[object]) -> str:
    return "/".join(dict.fromkeys(str(v) for v in values))
