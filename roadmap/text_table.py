"""Tables for a terminal: columns of equal width, numbers flush right; and how they are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any


def aligned(
    rows: Sequence[Sequence[str]], right: Collection[int] = (), widths: Sequence[int] | None = None
) -> list[str]:
    """Rows as lines, two blanks between columns. right: numbers of the columns that are flush right.

    widths: of the columns, default those of their longest cells.
    """
    widths = column_widths(rows) if widths is None else widths
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Characters of the longest cell of every column."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys below a heading; columns of numbers flush right, None as nothing."""
    if not rows:
        return "(nothing)"
    columns = list(rows[0])
    cells = [["" if row.get(c) is None else str(row.get(c)) for c in columns] for row in rows]
    right = [i for i, c in enumerate(columns) if all(_is_number(row.get(c)) for row in rows)]
    rule = ["-" * width for width in column_widths([columns, *cells])]
    return "\n".join(aligned([columns, rule, *cells], right))


def say(text: str) -> None:
    """Print to stdout; where its reader, head perhaps, has seen enough, this and the rest go nowhere."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _is_number(value: Any) -> bool:
    try:
        float(value if value is not None else 0)
    except (TypeError, ValueError):
        return False
    return True
