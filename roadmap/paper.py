"""Every figure the paper prints, as data (arXiv 2107.08430v2).

Published figures are read from ``roadmap/data`` and never mixed with measured ones.
"""

from __future__ import annotations

import csv
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


@cache
def table(name: str) -> tuple[Row, ...]:
    """Rows of a published table; numbers as float, empty cells as None.

    Raises ValueError with the valid names.
    """
    if name not in TABLES:
        raise ValueError(f"unknown table {name!r}; choose one of: {', '.join(TABLES)}")
    path = Path(__file__).parent / "data" / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return tuple({key: _cell(value) for key, value in row.items()} for row in csv.DictReader(file))


def roadmap_row(name: str) -> dict[str, float | None]:
    """Published figures of a Table 2 row: ap, ap_delta, params_m, gflops, latency_ms, fps."""
    for row in table("table2_roadmap"):
        if row["method"] == name:
            return {k: v for k, v in row.items() if not isinstance(v, str)}
    raise ValueError(f"no row {name!r} in Table 2")


def _cell(text: str) -> str | float | None:
    if text == "":
        return None
    try:
        return float(text)
    except ValueError:
        return text
