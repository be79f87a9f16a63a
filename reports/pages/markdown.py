"""Blocks as Markdown (GitHub flavour)."""

from __future__ import annotations

import os.path
import re
from pathlib import Path

from reports.blocks import (
    Block,
    Blocks,
    Caption,
    Code,
    Contents,
    Details,
    Figure,
    Files,
    Gallery,
    Heading,
    Items,
    Prose,
    Strong,
    Table,
    Terms,
    Text,
    Warn,
    spans,
)
from reports.grid import Grid


def render(blocks: Blocks, folder: Path) -> str:
    """The blocks as a Markdown file in ``folder``, from which links to files are relative."""
    return "\n".join(part for block in blocks for part in _block(block, folder)).rstrip() + "\n"


def table(grid: Grid) -> str:
    """A pipe table with superscript footnote letters; the notes follow it."""
    lines = [
        _row([escape(column.heading) for column in grid.columns]),
        _row([":--" if column.align in "lp" else "--:" for column in grid.columns]),
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


def _block(block: Block, folder: Path) -> list[str]:
    """The lines of a block; an empty one ends it."""
    match block:
        case Heading():
            place = [f'<a id="{block.anchor}"></a>', ""] if block.anchor else []
            return [*place, f"{'#' * block.level} {escape(block.text)}", ""]
        case Contents():
            return [*(f"- [{escape(text)}](#{anchor})" for text, anchor in block.entries), ""]
        case Prose():
            return [_text(block.text), ""]
        case Warn():
            return [f"> **Warning:** {escape(block.text)}", ""]
        case Table():
            return _table(block)
        case Items():
            return [*(f"- {_text(item)}" for item in block.items), ""]
        case Terms():
            return [*(f"- *{escape(term)}*: {escape(text)}" for term, text in block.pairs), ""]
        case Details():
            inside = [part for inner in block.blocks for part in _block(inner, folder)]
            return ["<details>", f"<summary>{_html(block.summary)}</summary>", "", *inside, "</details>", ""]
        case Figure():
            return _figure(block, folder)
        case Gallery():
            return [line for figure in block.figures for line in _figure(figure, folder)]
        case Files():
            links = ", ".join(f"[{escape(name)}]({_link(path, folder)})" for name, path in block.files)
            return [f"{escape(block.text)} {links}.", ""]


def _table(block: Table) -> list[str]:
    parts = [] if block.caption is None else [caption(block.caption)]
    parts += [f"**{escape(block.title)}**\n"] if block.title else []
    parts.append(table(block.grid))
    parts += [notes(block.grid)] if block.grid.notes else []
    if block.caption is not None:
        parts += [f"{escape(sentence)}\n" for sentence in block.caption.below]
    return parts


def _figure(figure: Figure, folder: Path) -> list[str]:
    shown = figure.file("png", "jpg")
    others = ", ".join(
        f"[{path.suffix[1:].upper()}]({_link(path, folder)})" for path in figure.files if path != shown
    )
    text = f"{escape(figure.text)} {escape(figure.conditions)}" + (f" ({others})" if others else "")
    alt = escape(f"{figure.title}; {figure.conditions}")
    return [f"### {escape(figure.title)}", "", f"![{alt}]({_link(shown, folder)})", "", text, ""]


def _link(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix().replace(" ", "%20")


def _text(text: Text) -> str:
    parts = []
    for span in spans(text):
        match span:
            case Strong():
                parts.append(f"**{escape(span.text)}**")
            case Code():
                parts.append(code(span.text))
            case _:
                parts.append(escape(span))
    return "".join(parts)


def _html(text: str) -> str:
    """Text inside an HTML element of a Markdown file."""
    return escape(text).replace("&", "&amp;").replace("\\<", "&lt;").replace("\\>", "&gt;")


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
