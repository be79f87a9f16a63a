"""What of the paper's tables is still to be measured, by which command, and what that would cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reports.grid import NOTHING, Cell, Column, Grid
from reports.records.everything import reference_hash
from reports.records.groups import Group
from reports.tables.spent import Speed, hours_text
from roadmap.cost import training_flops
from roadmap.recipe import recipe_from_json
from roadmap.reproduction import PaperTable
from roadmap.study import ArmRecord, StudyRecord

#: What the table says below itself.
REMAINING_NOTE = (
    "One seed each, on COCO (in DIR) under the paper's protocol. A verdict needs three seeds: add --seeds 3. "
    "With --dry-run a command says what it would run; stopped, it goes on where it was. Training: 2 × "
    "multiply-adds of three forward passes per image; evaluation comes on top."
)


@dataclass(frozen=True)
class Remaining:
    """Rows of a paper's table that were not measured under its conditions, and the command that would."""

    source: str
    arms: tuple[ArmRecord, ...]
    command: str

    @property
    def costs(self) -> dict[str, float]:
        """Training FLOPs of each row by the identity of its recipe, which other tables may share."""
        return {
            reference_hash(arm): training_flops(recipe_from_json(arm.reference))
            for arm in self.arms
            if reference_hash(arm)
        }


def remaining(table: PaperTable, study: StudyRecord, plan: StudyRecord, groups: Iterable[Group]) -> Remaining:
    """What is left of a table. study: the whole one that measures it. plan: its part that the table shows."""
    done = {arm.arm for group in groups if group.papers_conditions for arm in group.arms}
    arms = tuple(arm for arm in plan.arms if arm.name not in done)
    return Remaining(table.source, arms, measuring_command(study, arms))


def measuring_command(study: StudyRecord, arms: Sequence[ArmRecord]) -> str:
    """What the user types to measure some arms of a study on COCO."""
    names = [arm.name for arm in arms]
    only = "" if set(names) >= set(study.names) else "".join(f" --only {name}" for name in names)
    return f"{study.command}{only} --data DIR"


def cost_text(flops: float, speed: Speed | None) -> str:
    """``12.3 EFLOP``; with GPU-hours where a speed is known."""
    text = f"{flops / 1e18:.3g} EFLOP"
    return text if speed is None else f"{text}, {hours_text(flops / speed.flops / 3600)} GPU-hours"


def remaining_grid(rows: Sequence[Remaining], speed: Speed | None) -> Grid:
    """One row per table with something left, and what all of it costs: a recipe that two tables show once."""
    columns = (Column("", "Table", "l"), Column("", "Rows left", "p"), Column("", "Command", "p"),
               Column("", "Training", "l"))  # fmt: skip
    cells = [
        (
            Cell(row.source, kind="label"),
            Cell(", ".join(arm.name for arm in row.arms), kind="label"),
            Cell(row.command, kind="label"),
            Cell(cost_text(sum(row.costs.values()), speed) if row.costs else NOTHING, kind="label"),
        )
        for row in rows
    ]
    all_costs = {key: flops for row in rows for key, flops in row.costs.items()}
    if len(rows) > 1 and all_costs:
        total = cost_text(sum(all_costs.values()), speed)
        cells.append((Cell("all", kind="label"), Cell("shared recipes once", kind="label"),
                      Cell("", kind="label"), Cell(total, kind="label")))  # fmt: skip
    return Grid(columns, tuple(cells))
