"""What a group's runs miss, as a part of the page."""

from __future__ import annotations

from collections.abc import Collection

from reports.blocks import Block, Details, Heading, Prose, Table, Terms, Warn
from reports.images.errors import ERRORS
from reports.tables.errors import (
    ERRORS_NOTE,
    GroupErrors,
    categories_grid,
    changes_grid,
    errors_grid,
    sizes_grid,
)
from roadmap.words import counted

#: What AP by category says above itself.
BY_CATEGORY = "AP over IoU 0.50 to 0.95; those first whose AP differs most between arms."


def errors_blocks(found: GroupErrors, told: Collection[str] = ()) -> list[Block]:
    """The tables of errors, and why runs are missing from them. told: problems already named on the page."""
    blocks: list[Block] = [Warn(f"not judged: {each}") for each in found.problems if each not in told]
    if found.arms:
        changes, by_category = changes_grid(found), categories_grid(found)
        mark = f" ({found.mark})" if found.mark else ""
        blocks += [Table(errors_grid(found), f"What each kind of error costs{mark}")]
        blocks += [Table(changes, f"Which errors a step removed{mark}")] if changes is not None else []
        blocks += [Prose(ERRORS_NOTE), Terms(tuple(ERRORS.items()))]
        blocks += [Table(sizes_grid(found), f"AP by object size{mark}")]
        inside: tuple[Block, ...] = (Prose(BY_CATEGORY), Table(by_category))
        categories = counted(len(by_category.rows), "category", "categories")
        blocks.append(Details(f"AP by category{mark}, {categories}", inside))
    return [Heading("What is missed", 3), *blocks] if blocks else []
