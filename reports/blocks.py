"""A page as data, before it becomes HTML, Markdown, LaTeX or text: what a grid is to a table.

A page is a sequence of blocks, built once; every format in ``reports/pages/`` has one renderer, which
says what each kind of block looks like there. Text is plain Unicode, escaped by the renderer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from reports.grid import Grid


@dataclass(frozen=True)
class Strong:
    """Words that stand out."""

    text: str


@dataclass(frozen=True)
class Code:
    """A command, an option or a name, as it is typed."""

    text: str


Span = str | Strong | Code
#: A sentence, with or without emphasis.
Text = str | tuple[Span, ...]


def spans(text: Text) -> tuple[Span, ...]:
    """The parts of a text."""
    return (text,) if isinstance(text, str) else text


def plain(text: Text) -> str:
    """A text without its emphasis."""
    return "".join(span if isinstance(span, str) else span.text for span in spans(text))


@dataclass(frozen=True)
class Heading:
    """level: 1 is the page's title, 2 its parts. anchor: makes it an entry of the contents."""

    kind: ClassVar[str] = "heading"
    text: str
    level: int = 2
    anchor: str = ""


@dataclass(frozen=True)
class Contents:
    """A list of what follows. entries: (text, anchor) of the headings that have one."""

    kind: ClassVar[str] = "contents"
    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Prose:
    """A paragraph."""

    kind: ClassVar[str] = "prose"
    text: Text


@dataclass(frozen=True)
class Warn:
    """Something a reader must know before reading on."""

    kind: ClassVar[str] = "warn"
    text: str


@dataclass(frozen=True)
class Caption:
    """headline: what the table is. mark: why it is not the paper's experiment, empty when it is.

    sentences: conditions, in a fixed order. below: what is too long for above the table.
    """

    headline: str
    mark: str
    sentences: tuple[str, ...]
    below: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A grid with its footnotes below it.

    title: a short heading. parts: (title, headings of columns), for formats too narrow for the whole grid.
    anchor: makes the links to its footnotes unique on a page. caption: everything a reader must know about
    its figures; a table that has one can stand alone. label: what LaTeX refers to it by. brief: the same
    table cut to what fits on a sheet of paper.
    """

    kind: ClassVar[str] = "table"
    grid: Grid
    title: str = ""
    parts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    anchor: str = ""
    caption: Caption | None = None
    label: str = ""
    brief: Grid | None = None

    def pieces(self, grid: Grid | None = None) -> tuple[tuple[str, Grid], ...]:
        """(title, grid) of every part; the whole where there are none."""
        grid = grid or self.grid
        return tuple((title, grid.only(headings)) for title, headings in self.parts) or ((self.title, grid),)


@dataclass(frozen=True)
class Items:
    """A list."""

    kind: ClassVar[str] = "items"
    items: tuple[Text, ...]


@dataclass(frozen=True)
class Terms:
    """Terms, each with what it means."""

    kind: ClassVar[str] = "terms"
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Details:
    """What only some readers want: folded on a screen, never on paper."""

    kind: ClassVar[str] = "details"
    summary: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Figure:
    """A picture in one or several formats; ``name`` is unique on a page.

    text: what it shows. conditions: what it was measured under.
    """

    kind: ClassVar[str] = "figure"
    name: str
    title: str
    text: str
    conditions: str
    files: tuple[Path, ...]

    def file(self, *suffixes: str) -> Path:
        """Its file of the first of these formats (``svg``) that it has."""
        return next(path for suffix in suffixes for path in self.files if path.suffix == f".{suffix}")


@dataclass(frozen=True)
class Gallery:
    """Figures of column width, side by side where there is room."""

    kind: ClassVar[str] = "gallery"
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Files:
    """Files beside the page, for formats that have links to files."""

    kind: ClassVar[str] = "files"
    text: str
    files: tuple[tuple[str, Path], ...]


Block = Heading | Contents | Prose | Warn | Table | Items | Terms | Details | Figure | Gallery | Files
Blocks = Sequence[Block]


def with_contents(blocks: Blocks, place: int) -> list[Block]:
    """The blocks with a list of contents at a place among them, where any heading has an anchor."""
    entries = tuple((b.text, b.anchor) for b in blocks if isinstance(b, Heading) and b.anchor)
    return [*blocks[:place], *([Contents(entries)] if entries else []), *blocks[place:]]
