"""What a report says about one group of comparable runs, before it becomes a page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reports.grid import Grid
from reports.records.groups import Group
from reports.tables.caption import Caption, DeviationRow
from reports.tables.steps import Table2

if TYPE_CHECKING:  # matplotlib stays unloaded until something is drawn
    from reports.figures.catalogue import Drawn
    from reports.tables.images import OverImages


@dataclass(frozen=True)
class Section:
    """A group's table, in numbers and in text, its caption and deviations, and its figures' files.

    over_images: gains over validation images, None unless asked for.
    """

    group: Group
    table: Table2
    grid: Grid
    caption: Caption
    deviations: tuple[DeviationRow, ...]
    folder: Path
    figures: tuple[Drawn, ...]
    over_images: OverImages | None = None

    @property
    def table_name(self) -> str:
        """File name of the main table without its suffix."""
        return "table2" if any(row.arm is None for row in self.table.rows) else "table"
