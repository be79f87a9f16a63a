"""The paper's figures for the rows of a report, kept apart from anything measured."""

from __future__ import annotations

from dataclasses import dataclass

from roadmap.paper import roadmap_row, table
from roadmap.stages import STAGE_NAMES, find_stage, previous_stage

#: Published in Table 2 but not a stage: the paper's starting point by other authors.
ULTRALYTICS = "YOLOv3-ultralytics"


@dataclass(frozen=True)
class Published:
    """A row the paper prints: AP and gain in percent, parameters in millions, latency in ms on a V100."""

    source: str
    ap: float | None
    gain: float | None
    params_m: float | None
    gflops: float | None
    latency_ms: float | None
    fps: float | None


@dataclass(frozen=True)
class RowPlan:
    """A row of a report's main table.

    stage: None for a row that is published only. previous: the stage that its gain is counted from.
    """

    stage: str | None
    label: str
    published: Published | None
    previous: str | None


def plan_rows(stages: tuple[str, ...]) -> tuple[RowPlan, ...]:
    """Rows for the measured stages.

    A study of roadmap stages gets the paper's whole Table 2, measured or not; any other study gets its
    own stages, with the paper's figures where the stage is one of its named models.
    """
    if stages and not set(stages) <= set(STAGE_NAMES):
        return tuple(RowPlan(name, name, published_model(name), None) for name in stages)
    rows = [RowPlan(None, ULTRALYTICS, _table2(ULTRALYTICS), None)]
    for name in STAGE_NAMES:
        stage = find_stage(name)
        before = previous_stage(stage)
        rows.append(RowPlan(name, stage.row, _table2(stage.row), before.name if before else None))
    return tuple(rows)


def published_model(name: str) -> Published | None:
    """Tables 3 and 4 for a named model (``yolox-s``), Table 2 for the DarkNet53 one; else None."""
    if name == "yolox-darknet53":
        return _table2(find_stage("simota").row)
    for source, file in (("Table 3", "table3_yolov5"), ("Table 4", "table4_tiny_nano")):
        for row in table(file):
            if str(row["model"]).lower() == name:
                figures = {k: v for k, v in row.items() if not isinstance(v, str)}
                latency = figures.get("latency_ms")
                return Published(
                    source, figures["ap"], None, figures["params_m"], figures["gflops"], latency,
                    1000 / latency if latency else None,
                )  # fmt: skip
    return None


def _table2(name: str) -> Published:
    row = roadmap_row(name)
    return Published(
        "Table 2", row["ap"], row["ap_delta"], row["params_m"], row["gflops"], row["latency_ms"], row["fps"]
    )
