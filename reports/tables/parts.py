"""The tables of a group, one by one: a study may replay several of the paper's, and each has its own rows.

Gains are those of the whole; the conditions that latencies share are each table's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from reports.tables.published import shown_tables
from reports.tables.steps import Table2, with_own_latency
from roadmap.study import Table


@dataclass(frozen=True)
class Part:
    """One table of a group. planned: how the study has it; name: of its files, without a suffix."""

    planned: Table
    table: Table2
    name: str


def split(table: Table2) -> tuple[Part, ...]:
    """The tables of a group in order; arms that stand in none have one of their own behind them."""
    group = table.group
    found: list[Part] = []
    start = 0
    for planned in shown_tables(group.plan, [arm.arm for arm in group.arms]):
        rows = table.rows[start : start + len(planned.rows)]
        start += len(planned.rows)
        part = with_own_latency(replace(table, rows=rows))
        name = _name(part)
        taken = sum(re.sub(r"-\d+$", "", other.name) == name for other in found)
        found.append(Part(planned, part, f"{name}-{taken + 1}" if taken else name))
    return tuple(found)


def _name(part: Table2) -> str:
    """That of the paper's table which it replays: ``table2``; ``table`` where it replays none."""
    sources = {row.published.source if row.published else "" for row in part.rows if row.arm}
    return (re.sub("[^a-z0-9]", "", sources.pop().lower()) if len(sources) == 1 else "") or "table"
