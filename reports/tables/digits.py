"""A table of the paper digit by digit, from its data: what is shown of one that no study's layout prints."""

from __future__ import annotations

from reports.grid import NOTHING, Cell, Column, Grid
from roadmap.paper import printed
from roadmap.reproduction import PaperTable

#: Columns of words; all others hold figures.
_WORDS = ("model", "method", "backbone", "extra_augmentation")


def digits_grid(table: PaperTable) -> Grid:
    """The published figures below the table's headings."""
    columns = tuple(
        Column("", title, "l" if name in _WORDS else "r") for name, title in table.headings.items()
    )
    rows = tuple(
        tuple(
            Cell(row[name] or NOTHING, kind="paper" if place else "label")
            for place, name in enumerate(table.headings)
        )
        for row in printed(table.data)
    )
    return Grid(columns, rows)
