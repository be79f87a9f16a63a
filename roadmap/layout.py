"""How the paper prints a table: its columns, its lines, and which figure of which row stands in a cell.

A study's tables are lists of rows. The paper's need not be: Table 1 has the heads side by side. A layout says
where each figure goes; reports fill it with what was measured beside what is published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: What a cell may show: a field of ``roadmap.paper.Published``, and the paper's name of it with its unit.
FIGURES: dict[str, str] = {
    "ap": "AP (%)",
    "params_m": "Parameters (M)",
    "gflops": "GFLOPs",
    "latency_ms": "Latency (ms)",
    "fps": "FPS",
}


@dataclass(frozen=True)
class Entry:
    """A figure in a cell. row: the arm, or the label of the published row, that it is of. figure: a key of
    :data:`FIGURES`. against: the row that the gain in brackets is counted from, empty for no brackets.
    """

    row: str
    figure: str
    against: str = ""

    def __post_init__(self) -> None:
        if self.figure not in FIGURES:
            raise ValueError(f"a table prints one of {', '.join(FIGURES)}, not {self.figure!r}")


@dataclass(frozen=True)
class Line:
    """A line of a printed table: what its first columns say, and its figures."""

    heads: tuple[str, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Layout:
    """A table as the paper prints it.

    source: ``Table 1``. heads: titles of the columns of words; columns: of those of figures. Raises
    ValueError for a line that does not fit below them.
    """

    source: str
    heads: tuple[str, ...]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        for line in self.lines:
            if (len(line.heads), len(line.entries)) != (len(self.heads), len(self.columns)):
                raise ValueError(f"{self.source}: line {line.heads} does not fit its columns")

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every cell's, line by line."""
        return tuple(entry for line in self.lines for entry in line.entries)


def listed(
    source: str,
    heads: Sequence[str],
    rows: Mapping[str, Sequence[str]],
    figures: Sequence[str],
    against: Mapping[str, str] | None = None,
) -> Layout:
    """A layout with one line per row and one column per figure.

    heads: titles of the columns of words. rows: arm or published label -> what these say. against: row ->
    the row that the gain behind its AP is counted from.
    """
    before = against or {}
    lines = tuple(
        Line(tuple(words), tuple(Entry(row, f, before.get(row, "") if f == "ap" else "") for f in figures))
        for row, words in rows.items()
    )
    return Layout(source, tuple(heads), tuple(FIGURES[f] for f in figures), lines)
