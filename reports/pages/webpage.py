"""Blocks as one self-contained HTML page: no script, no external resource.

What each block looks like is ``page.html``, a Jinja2 template in which everything is escaped unless it says
otherwise; ``style.css`` is its style sheet.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from typing import TYPE_CHECKING

from reports.blocks import Block, Blocks, Details, Figure, Gallery, Heading, spans
from reports.grid import Cell, Column
from reports.pages.svg import colors, inline_svg, on_dark, variable

if TYPE_CHECKING:
    from markupsafe import Markup

HERE = Path(__file__).parent
#: Characters of a caption in a line below a figure, and its line height as a share of the figure's width.
_LINE, _LINE_HEIGHT = 66, 0.038
#: How narrow the narrower column of figures may be, as a share of both.
_NARROWEST = 0.4


def render(blocks: Blocks) -> str:
    """The page. Figures are read from the files that were drawn before."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"spans": spans, "columns": columns}
    numbers = count()
    environment.globals |= {
        "cell_class": cell_class,
        "picture": lambda figure: picture(figure, f"f{next(numbers)}"),
    }
    headings = [block for block in blocks if isinstance(block, Heading)]
    title = next((h.text for h in headings if h.level == 1), "")
    return environment.get_template("page.html").render(blocks=blocks, title=title, style=_style(blocks))


def _style(blocks: Blocks) -> Markup:
    """The style sheet, with the figures' colours as variables that follow a light or dark page."""
    from markupsafe import Markup

    files = [path for figure in _figures(blocks) for path in figure.files if path.suffix == ".svg"]
    found = colors(path.read_text(encoding="utf-8") for path in files)
    light = " ".join(f"{variable(color)}: {color};" for color in found)
    dark = " ".join(f"{variable(color)}: {on_dark(color)};" for color in found)
    sheet = (HERE / "style.css").read_text(encoding="utf-8").strip()
    on_dark_page = f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return Markup(f"{sheet}\n:root {{ {light} }}\n{on_dark_page}")


def picture(figure: Figure, prefix: str) -> Markup:
    """A figure as an element that needs no other file. prefix: makes the ids inside it unique."""
    from markupsafe import Markup, escape

    path, label = figure.file("svg", "jpg", "png"), f"{figure.title}. {figure.text}"
    if path.suffix == ".svg":
        return Markup(inline_svg(path.read_text(encoding="utf-8"), prefix, label))
    kind = "jpeg" if path.suffix == ".jpg" else path.suffix[1:]
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return Markup('<img src="data:image/{};base64,{}" alt="{}">').format(kind, data, escape(label))


@dataclass(frozen=True)
class Columns:
    """Figures side by side: those of each column, and how wide it is compared with the other."""

    figures: tuple[tuple[Figure, ...], ...]
    widths: tuple[float, ...]


def columns(figures: Sequence[Figure]) -> Columns:
    """Figures in two columns that end at about the same height, in their order.

    Flowing them one after the other leaves a hole below the shorter column. Here they are shared out evenly,
    and the column that is taller all the same is made the narrower one.
    """
    heights = [_height(figure) for figure in figures]
    sides: tuple[int, ...] = ()
    if len(figures) > 12:  # too many to try every way: each into the column that is shorter so far
        for _ in heights:
            sides = (*sides, int(_balance(heights, sides) > 0))
    elif figures:
        choices = product((0, 1), repeat=len(figures) - 1)
        sides = min(((0, *choice) for choice in choices), key=lambda s: abs(_balance(heights, s)))
    found = [tuple(f for f, side in zip(figures, sides, strict=True) if side == c) for c in (0, 1)]
    left = sum(height for height, side in zip(heights, sides, strict=True) if not side)
    share = min(max(1 - left / sum(heights), _NARROWEST), 1 - _NARROWEST) if all(found) else 0.5
    return Columns(tuple(filter(None, found)), (round(share, 3), round(1 - share, 3)))


def _balance(heights: Sequence[float], sides: Sequence[int]) -> float:
    """How much taller the first column is, counting the figures that have a side."""
    return sum(-height if side else height for height, side in zip(heights, sides, strict=False))


def _height(figure: Figure) -> float:
    """Height of a figure with its caption, as a share of its width."""
    lines = len(f"{figure.title}. {figure.text} {figure.conditions}") / _LINE + 1.5
    shape = 1.0
    path = figure.file("svg", "jpg", "png")
    if path.suffix == ".svg":
        head = path.read_text(encoding="utf-8")[:4000]
        box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
        shape = float(box[2]) / float(box[1]) if box else shape
    return shape + _LINE_HEIGHT * lines


def cell_class(cell: Cell, column: Column) -> str:
    """Classes of a table cell: how it is aligned, and what colours it."""
    plain = cell.kind == "label" or (cell.kind == "measured" and not cell.note)
    return " ".join(filter(None, (column.align if column.align != "r" else "", "" if plain else cell.kind)))


def _figures(blocks: Sequence[Block]) -> Iterator[Figure]:
    for block in blocks:
        match block:
            case Figure():
                yield block
            case Gallery():
                yield from block.figures
            case Details():
                yield from _figures(block.blocks)
