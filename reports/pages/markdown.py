"""Grids and sections as Markdown (GitHub flavour)."""

from __future__ import annotations

import re

from reports.grid import Grid
from reports.tables.caption import Caption


def table(grid: Grid) -> str:
    """A pipe table with superscript footnote letters; the notes follow it."""
    lines = [
        _row([escape(column.heading) for column in grid.columns]),
        _row([":--" if column.align == "l" else "--:" for column in grid.columns]),
    ]
    for row in grid.rows:
        cells = [escape(c.text) + (f"<sup>{escape(c.note)}</sup>" if c.note else "") for c in row]
        lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def notes(grid: Grid) -> str:
    """Footnotes of a grid: the run ids."""
    if not grid.notes:
        return ""
    lines = [f"- <sup>{letter}</sup> {code(text)}" for letter, text in grid.notes]
    return "Run ids of the measured cells (a gain carries both rows'):\n\n" + "\n".join(lines) + "\n"


def caption(caption: Caption) -> str:
    """Headline in bold, the mark as a quoted warning, then one bullet per condition."""
    text = f"**{escape(caption.headline)}.**\n\n"
    if caption.mark:
        text += f"> **{escape(caption.mark)}**\n\n"
    return text + "".join(f"- {escape(sentence)}\n" for sentence in caption.sentences)


def escape(text: str) -> str:
    """Text that Markdown shows as it is, in a table cell too."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text).replace("\n", " ")


def code(text: str) -> str:
    """Text as code; a backtick in it cannot end it."""
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("\n", " ")


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
