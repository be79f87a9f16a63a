"""The paper's figures for the rows of a report, kept apart from anything measured."""

from __future__ import annotations

from dataclasses import dataclass

from roadmap import paper
from roadmap.paper import Published, published_stage
from roadmap.stages import STAGE_NAMES, companions_at, find_stage, previous_stage

#: Published in Table 2 but not a stage: the paper's starting point by other authors.
ULTRALYTICS = "YOLOv3-ultralytics"


@dataclass(frozen=True)
class RowPlan:
    """A row of a report's main table.

    arm: None for a row that is published only. previous: the arm that its gain is counted from.
    start: the weights that the paper starts the arm from, None where it says nothing.
    """

    arm: str | None
    label: str
    published: Published | None
    previous: str | None
    start: str | None = None


def plan_rows(arms: tuple[str, ...]) -> tuple[RowPlan, ...]:
    """Rows for the measured arms.

    A study of roadmap stages gets the paper's whole Table 2, measured or not; any other study gets its
    own arms, with the paper's figures where the arm is one of its named models.
    """
    if arms and not set(arms) <= set(STAGE_NAMES):
        return tuple(RowPlan(name, name, published_model(name), None) for name in arms)
    rows = [RowPlan(None, ULTRALYTICS, published_stage(ULTRALYTICS), None)]
    for name in STAGE_NAMES:
        stage = find_stage(name)
        before = previous_stage(stage)
        rows.append(
            RowPlan(
                name,
                stage.row,
                published_stage(stage.row),
                before.name if before else None,
                str(companions_at(name).get("pretrained", "")),
            )
        )
    return tuple(rows)


def published_model(name: str) -> Published | None:
    """Tables 3 and 4 for a named model (``yolox-s``), Table 2 for the DarkNet53 one; else None."""
    if name == "yolox-darknet53":
        return published_stage(find_stage("simota").row)
    try:
        return paper.published_model(name)
    except ValueError:
        return None
