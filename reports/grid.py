"""A table as data, before it becomes Markdown, LaTeX, HTML or text.

Text in a grid is plain Unicode; every renderer escapes it for its own format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from roadmap.text_table import aligned, column_widths

#: What an empty cell shows.
NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    """text: what is printed. note: a footnote letter, empty for none. kind: label, measured, paper."""

    text: str = NOTHING
    note: str = ""
    kind: str = "measured"


@dataclass(frozen=True)
class Column:
    """group: the heading above (empty for none). title: the column's own heading.

    align: ``r`` for figures, ``l`` for names, ``p`` for text that may wrap.
    """

    group: str
    title: str
    align: str = "r"

    @property
    def heading(self) -> str:
        """One line for formats that have one header row."""
        return f"{self.group}: {self.title}" if self.group else self.title


@dataclass(frozen=True)
class Grid:
    """A table: columns, rows of as many cells, and footnotes as (letter, text)."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row) == len(self.columns), (len(row), len(self.columns))

    def only(self, groups: tuple[str, ...]) -> Grid:
        """The columns below these headings."""
        keep = [i for i, column in enumerate(self.columns) if column.group in groups]
        rows = tuple(tuple(row[i] for i in keep) for row in self.rows)
        return Grid(tuple(self.columns[i] for i in keep), rows, self.notes)

    def spans(self) -> tuple[tuple[str, int], ...]:
        """Headings of the upper header row with the number of neighbouring columns below each."""
        result: list[tuple[str, int]] = []
        for column in self.columns:
            if result and result[-1][0] == column.group:
                result[-1] = (column.group, result[-1][1] + 1)
            else:
                result.append((column.group, 1))
        return tuple(result)


def plain_grid(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], long: Sequence[str] = ()) -> Grid:
    """A grid of left-aligned text. long: titles of columns whose text may wrap."""
    cells = tuple(tuple(Cell(text, kind="label") for text in row) for row in rows)
    return Grid(tuple(Column("", title, "p" if title in long else "l") for title in titles), cells)


def text_table(grid: Grid) -> str:
    """Aligned text for a terminal, with both header rows."""
    body = [[cell.text for cell in row] for row in grid.rows]
    titles = [column.title for column in grid.columns]
    widths = column_widths([titles, *body])
    start = 0
    for heading, count in grid.spans():
        room = sum(widths[start : start + count]) + 2 * (count - 1)
        widths[start + count - 1] += max(0, len(heading) - room)
        start += count
    right = [i for i, column in enumerate(grid.columns) if column.align == "r"]
    lines = [_heading_line(grid, widths)] if any(column.group for column in grid.columns) else []
    heading, *rest = aligned([titles, *body], right, widths)
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([line.rstrip() for line in lines] + [heading, rule, *rest])


def _heading_line(grid: Grid, widths: list[int]) -> str:
    parts, start = [], 0
    for heading, count in grid.spans():
        room = sum(widths[start : start + count]) + 2 * (count - 1)
        parts.append(heading.center(room))
        start += count
    return "  ".join(parts)
