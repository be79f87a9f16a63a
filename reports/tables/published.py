"""The rows of a report: a study's arms and the paper's figures for them, apart from anything measured."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from roadmap.paper import Published
from roadmap.study import ArmRecord, PublishedRow, StudyRecord, Table


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


def shown_tables(plan: StudyRecord, measured: Collection[str]) -> tuple[Table, ...]:
    """The study's tables with a measured arm, whole, and one of the measured arms that are in none."""
    tables = plan.tables or (Table("", tuple(a.name for a in plan.arms if a.paper or a.name in measured)),)
    shown = [table for table in tables if any(row in measured for row in table.rows)]
    listed = {row for table in shown for row in table.rows if isinstance(row, str)}
    others = tuple(plan.order(name for name in measured if name not in listed))
    return (*shown, Table("", others)) if others else tuple(shown)


def plan_rows(plan: StudyRecord, measured: Collection[str]) -> tuple[RowPlan, ...]:
    """Rows of a study with these measured arms. Arms in a table of the paper have a row, measured or not."""
    rows: list[RowPlan] = []
    for table in shown_tables(plan, measured):
        for row in table.rows:
            if isinstance(row, PublishedRow):
                rows.append(RowPlan(None, row.label, row.paper, None))
            else:
                rows.append(_arm_row(plan, plan.find(row) or ArmRecord(row, row)))
    return tuple(rows)


def _arm_row(plan: StudyRecord, arm: ArmRecord) -> RowPlan:
    training = (arm.reference or {}).get("training", {})
    return RowPlan(arm.name, arm.label, published(plan, arm), arm.against or None, training.get("pretrained"))


def published(plan: StudyRecord, arm: ArmRecord) -> Published | None:
    """What the paper prints for an arm; the gain over the arm it is compared with, where it prints both."""
    before = plan.find(arm.against)
    ours, theirs = arm.paper, before.paper if before else None
    if ours is None or ours.gain is not None or theirs is None:
        return ours
    if ours.ap is None or theirs.ap is None or ours.source != theirs.source:
        return ours
    return replace(ours, gain=round(ours.ap - theirs.ap, 4))
