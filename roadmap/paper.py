"""Every figure the paper prints, as data (arXiv 2107.08430v2).

Published figures are read from ``roadmap/data`` and never mixed with measured ones.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

#: file name without .csv -> what it is and under which conditions
TABLES: dict[str, str] = {
    "table1_end_to_end": "COCO val AP of coupled and decoupled heads, vanilla and end-to-end",
    "table2_roadmap": "COCO val, 640, latency FP16 batch 1 on V100 without post-processing",
    "table3_yolov5": "COCO val, 640, latency FP16 batch 1 on V100",
    "table4_tiny_nano": "COCO val, 416",
    "table5_augmentation": "COCO val, augmentation by model size",
    "table6_sota": "COCO test-dev, speed FP16 batch 1 on V100",
    "figure3_training_curves": "COCO val AP every 10 epochs of the coupled and the decoupled head",
}

Row = dict[str, str | float | None]

#: Training time that OTA takes beyond SimOTA, in percent: §2.1, in the text alone.
OTA_EXTRA_TIME = 25.0


@dataclass(frozen=True)
class Published:
    """What the paper prints for a row: AP and gain in percent, parameters in millions, latency in ms (V100).

    source: the table it stands in, as ``Table 2``. gain: over the row before it, where the paper prints one.
    curve: (epoch, AP) along the training of 300 epochs, of the two rows that Figure 3 shows. extra_time: of
    training, in percent of that of the arm it is compared with.
    """

    source: str
    ap: float | None = None
    gain: float | None = None
    params_m: float | None = None
    gflops: float | None = None
    latency_ms: float | None = None
    fps: float | None = None
    curve: tuple[tuple[int, float], ...] = ()
    extra_time: float | None = None


@cache
def table(name: str) -> tuple[Row, ...]:
    """Rows of a published table; numbers as float, empty cells as None.

    Raises ValueError with the valid names.
    """
    return tuple({key: _cell(value) for key, value in row.items()} for row in printed(name))


@cache
def printed(name: str) -> tuple[dict[str, str], ...]:
    """Rows of a published table with every digit as it is printed; as :func:`table` otherwise."""
    if name not in TABLES:
        raise ValueError(f"unknown table {name!r}; choose one of: {', '.join(TABLES)}")
    path = Path(__file__).parent / "data" / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


def roadmap_row(name: str) -> dict[str, float | None]:
    """Published figures of a Table 2 row: ap, ap_delta, params_m, gflops, latency_ms, fps."""
    for row in table("table2_roadmap"):
        if row["method"] == name:
            return {k: v for k, v in row.items() if not isinstance(v, str)}
    raise ValueError(f"no row {name!r} in Table 2")


def published_stage(name: str) -> Published:
    """Figures of a Table 2 row. Raises ValueError for a row that is not there."""
    row = roadmap_row(name)
    return Published(
        "Table 2", row["ap"], row["ap_delta"], row["params_m"], row["gflops"], row["latency_ms"], row["fps"]
    )


#: Columns of Figure 3's data by the head that they are of.
_CURVES = {"coupled": "yolo_head_ap", "decoupled": "decoupled_head_ap"}


def published_head(variant: str, head: str) -> Published:
    """A cell of Table 1: ``vanilla`` or ``end_to_end``, ``coupled`` or ``decoupled``.

    The vanilla ones with their curves in Figure 3, the others with their distance to the vanilla one.
    Raises ValueError for a cell that is not there.
    """
    ap = {(row["variant"], row["head"]): row["ap"] for row in table("table1_end_to_end")}
    ours, vanilla = ap.get((variant, head)), ap.get(("vanilla", head))
    if not isinstance(ours, float) or not isinstance(vanilla, float):
        raise ValueError(f"no {variant!r} with head {head!r} in Table 1")
    if variant != "vanilla":
        return Published("Table 1", ours, round(ours - vanilla, 4))
    points = ((row["epoch"], row[_CURVES[head]]) for row in table("figure3_training_curves"))
    curve = tuple(
        (int(epoch), ap) for epoch, ap in points if isinstance(epoch, float) and isinstance(ap, float)
    )
    return Published("Table 1", ours, curve=curve)


#: Models whose AP on COCO val stands in Table 2 alone, by its rows.
_OF_TABLE_2 = {"YOLOX-DarkNet53": "+SimOTA", "YOLOv3-ultralytics": "YOLOv3-ultralytics"}


def published_model(name: str) -> Published:
    """Figures on COCO val of a model of Tables 2 to 4, upper or lower case. Raises ValueError with the valid
    names.
    """
    known = {
        str(row["model"]): (source, row)
        for source, file in (("Table 3", "table3_yolov5"), ("Table 4", "table4_tiny_nano"))
        for row in table(file)
    }
    for printed, (source, row) in known.items():
        if printed.lower() == name.lower():
            figures = {key: value for key, value in row.items() if not isinstance(value, str)}
            latency = figures.get("latency_ms")
            return Published(
                source, figures["ap"], None, figures["params_m"], figures["gflops"], latency,
                1000 / latency if latency else None,
            )  # fmt: skip
    for printed, stage in _OF_TABLE_2.items():
        if printed.lower() == name.lower():
            return replace(published_stage(stage), gain=None)
    names = ", ".join((*known, *_OF_TABLE_2))
    raise ValueError(f"no model {name!r} in Tables 2 to 4; choose one of: {names}")


def published_augmentation(model: str, scale: tuple[float, float], extra: str) -> Published:
    """A row of Table 5, by what its first columns print. Raises ValueError for a row that is not there."""
    for row in table("table5_augmentation"):
        jitter = row["scale_jitter_min"], row["scale_jitter_max"]
        if (row["model"], jitter, row["extra_augmentation"] or "") == (model, scale, extra):
            assert isinstance(row["ap"], float)
            return Published("Table 5", row["ap"])
    raise ValueError(f"no row {model!r}, {scale}, {extra!r} in Table 5")


def _cell(text: str) -> str | float | None:
    if text == "":
        return None
    try:
        return float(text)
    except ValueError:
        return text
