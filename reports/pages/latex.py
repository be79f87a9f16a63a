"""Blocks as LaTeX: tables that stand alone with booktabs, and a whole document.

A table of its own is a float that needs ``booktabs`` only (and UTF-8 input, LaTeX's default), for a paper. In
a document tables stand where they belong; those without a caption run over pages. Every name is escaped: run
ids, hardware and dataset names hold underscores, ampersands and percent signs.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Sequence
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
from reports.grid import Cell, Column, Grid

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
    "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "·": r"$\cdot$", "–": r"\textendash{}",
    "—": r"\textemdash{}", "…": r"\ldots{}",
    "“": "``", "”": "''", "‘": "`", "’": "'", "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\rightarrow$",
    "≈": r"$\approx$", "µ": r"\textmu{}", "°": r"\textdegree{}", "\u00a0": "~", "\n": " ", "\t": " ",
    "\r": " ",
}  # fmt: skip

#: A column of text that wraps, of a width that leaves room for a few others.
_PARAGRAPH = r"p{0.155\linewidth}"
#: Points: the width of the text, of an average character at the size of long tables, and of the narrowest
#: column of words.
_LINE, _CHARACTER, _NARROWEST = 493.0, 4.2, 60.0


def escape(text: str) -> str:
    """Text that LaTeX prints as it is; letters that its standard fonts lack become their code point."""
    return re.sub(r"-(?=-)", "-{}", "".join(_character(c) for c in text))  # -- would become a dash


def table(block: Table) -> str:
    """A floating ``table*``: a tabular per part, run ids and deviations below. The block has a caption.

    In one tabular the columns of the main table would be wider than a page.
    """
    assert block.caption is not None
    below = [
        rf"\par\smallskip\parbox{{\linewidth}}{{\scriptsize\raggedright {text}}}" for text in _below(block)
    ]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table*}[!htbp]",
        rf"\centering{_size(block)}",
        rf"\caption{{{_caption(block.caption)}}}",
        *([rf"\label{{{block.label}}}"] if block.label else []),
        r"\vspace{4pt}",
        _tabulars(block),
        *below,
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def standing(block: Table) -> list[str]:
    """The same where it stands, without a number: a document's tables are named after the paper's."""
    assert block.caption is not None
    return [
        rf"{{\small\raggedright {_caption(block.caption)}\par}}\nopagebreak\smallskip",
        rf"{{\centering{_size(block)}",
        _tabulars(block),
        r"\par}",
        *(rf"{{\scriptsize\raggedright {text}\par}}" for text in _below(block)),
        r"\medskip",
    ]


def _size(block: Table) -> str:
    if block.parts:
        return r"\footnotesize\setlength{\tabcolsep}{4.5pt}%"
    return r"\scriptsize\setlength{\tabcolsep}{3pt}%"


def _tabulars(block: Table) -> str:
    """A tabular per part; of a table without parts, as many as it takes not to be wider than the text."""
    grid = block.brief or block.grid
    pieces = [piece for _, piece in block.pieces(grid)] if block.parts else fitting(grid)
    return "\n\\par\\medskip\n".join(map(tabular, pieces))


def _below(block: Table) -> list[str]:
    """What is said below a table: run ids, what was left out, deviations."""
    assert block.caption is not None
    grid = block.brief or block.grid
    below = [rf"Run ids: {_run_ids(grid)}."] if grid.notes else []
    if block.brief is not None:
        below.append(
            f"Shown: the {len(block.brief.rows)} of {len(block.grid.rows)} rows with the highest AP; "
            "the CSV file holds all."
        )
    return below + [_breakable(sentence) for sentence in block.caption.below]


def fitting(grid: Grid) -> list[Grid]:
    """A grid in pieces that fit between the margins, cut between its groups of columns; the columns of no
    group stand in each. One piece where it fits, where words can wrap, or where nothing is grouped.
    """
    groups = list(dict.fromkeys(column.group for column in grid.columns if column.group))
    if _natural(grid) <= _LINE or not groups or any(column.align == "p" for column in grid.columns):
        return [grid]
    packed: list[tuple[str, ...]] = []
    for group in groups:
        wider = (*packed[-1], group) if packed else ("", group)
        if packed and _natural(grid.only(wider)) <= _LINE:
            packed[-1] = wider
        else:
            packed.append(("", group))
    return [grid.only(each) for each in packed]


def _natural(grid: Grid) -> float:
    """Points that a grid is wide when nothing wraps, at the size of long tables."""
    return sum(_column_widths(grid)) + 6 * len(grid.columns)


def tabular(grid: Grid) -> str:
    """The bare tabular; a gap separates the groups of columns."""
    start = rf"\begin{{tabular}}{{@{{}}{_alignment(grid)}@{{}}}}"
    roomy = r" \addlinespace" if "p" in _alignment(grid) else ""
    rows = [row + roomy for row in _rows(grid)]
    return "\n".join([start, r"\toprule", *_head(grid), r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"])


def long_table(grid: Grid) -> str:
    """A table that may run over pages, as wide as the text at most: columns of words share what is left."""
    widths = _widths(grid)
    aligns = [
        "p" if width else c.align.replace("p", "l") for c, width in zip(grid.columns, widths, strict=True)
    ]
    columns = tuple(Column(c.group, c.title, align) for c, align in zip(grid.columns, aligns, strict=True))
    letters = "".join(
        f"p{{{width:.1f}pt}}" if width else align for align, width in zip(aligns, widths, strict=True)
    )
    fitted = Grid(columns, grid.rows)
    lines = [
        r"{\scriptsize\setlength{\tabcolsep}{3pt}\setlength{\LTleft}{0pt}%",
        rf"\begin{{longtable}}{{@{{}}{letters}@{{}}}}",
        r"\toprule", *_head(fitted), r"\midrule", r"\endhead", *_rows(fitted), r"\bottomrule",
        r"\end{longtable}}",
    ]  # fmt: skip
    return "\n".join(lines)


def _widths(grid: Grid) -> list[float]:
    """Points that a column of words is wide; 0 for a column that is as wide as its content."""
    natural = _column_widths(grid)
    room = _LINE - 6 * len(natural)
    wrapped = {i for i, column in enumerate(grid.columns) if column.align == "p"}
    while sum(natural) > room:
        fixed = sum(width for i, width in enumerate(natural) if i not in wrapped)
        rest = [i for i, c in enumerate(grid.columns) if i not in wrapped and c.align == "l"]
        if (wrapped and fixed + _NARROWEST * len(wrapped) <= room) or not rest:
            break
        wrapped.add(max(rest, key=lambda i: natural[i]))
    if sum(natural) <= room:
        return [0.0] * len(natural)
    fixed = sum(width for i, width in enumerate(natural) if i not in wrapped)
    return _shares(natural, wrapped, max(room - fixed, _NARROWEST))


def _column_widths(grid: Grid) -> list[float]:
    return [
        _CHARACTER * max(len(text) for text in (column.title, *(row[i].text for row in grid.rows)))
        for i, column in enumerate(grid.columns)
    ]


def _shares(natural: list[float], wrapped: set[int], room: float) -> list[float]:
    """Room shared among columns of words: none gets more than it needs, the others the same."""
    widths = [0.0] * len(natural)
    left = sorted(wrapped, key=lambda i: natural[i])
    for place, i in enumerate(left):
        widths[i] = min(natural[i], room / (len(left) - place))
        room -= widths[i]
    return widths


def _head(grid: Grid) -> list[str]:
    lines: list[str] = []
    spans_ = grid.spans()
    if any(heading for heading, _ in spans_):
        heads, rules, start = [], [], 1
        for heading, count in spans_:
            heads.append(rf"\multicolumn{{{count}}}{{c}}{{{escape(heading)}}}")
            if heading:
                rules.append(rf"\cmidrule(lr){{{start}-{start + count - 1}}}")
            start += count
        lines += [" & ".join(heads) + r" \\", "".join(rules)]
    return [*lines, " & ".join(escape(column.title) for column in grid.columns) + r" \\"]


def _rows(grid: Grid) -> list[str]:
    rows = []
    for row in grid.rows:
        cells = [_cell(cell, column.align) for cell, column in zip(row, grid.columns, strict=True)]
        rows.append(" & ".join(cells) + r" \\")
    return rows


def _cell(cell: Cell, align: str) -> str:
    # Zero width keeps the digits of a column below each other.
    note = rf"\rlap{{\textsuperscript{{{cell.note}}}}}" if cell.note else ""
    # \raggedright redefines the \\ that ends a row.
    if align != "p":
        return escape(cell.text) + note
    return r"\raggedright\let\\\tabularnewline " + _breakable(cell.text) + note


def render(blocks: Blocks, folder: Path) -> str:
    """A document for pdflatex, to be compiled in ``folder``."""
    return "\n".join(
        [
            r"\documentclass[10pt]{article}",
            r"\usepackage[a4paper,margin=18mm]{geometry}",
            r"\usepackage{booktabs,longtable,graphicx}",
            r"\setlength{\parindent}{0pt}\setlength{\parskip}{4pt plus 2pt}\emergencystretch=3em",
            r"\begin{document}",
            *(line for block in blocks for line in _block(block, folder)),
            r"\end{document}",
            "",
        ]
    )


def _block(block: Block, folder: Path) -> list[str]:
    match block:
        case Heading():
            command = (r"\section*", r"\section*", r"\subsection*")[min(block.level, 3) - 1]
            listed = rf"\addcontentsline{{toc}}{{subsection}}{{{escape(block.text)}}}"
            return [rf"{command}{{\raggedright {escape(block.text)}}}", *([listed] if block.anchor else [])]
        case Contents():
            return [r"\tableofcontents"]
        case Prose():
            return [_text(block.text) + r"\par"]
        case Warn():
            return [rf"\textbf{{Warning:}} {_breakable(block.text)}\par"]
        case Table():
            title = [rf"\textbf{{{escape(block.title)}}}\par"] if block.title else []
            if block.caption:
                return standing(block)
            return [*title, *map(long_table, fitting(block.brief or block.grid))]
        case Items():
            return _list("itemize", [rf"\item {_text(item)}" for item in block.items])
        case Terms():
            pairs = [rf"\item[{{{escape(term)}}}] {_breakable(text)}" for term, text in block.pairs]
            return _list("description", pairs)
        case Details():
            inside = [part for inner in block.blocks for part in _block(inner, folder)]
            return [rf"\textbf{{{escape(block.summary)}}}\par", *inside]
        case Figure():
            return _figures([block], folder, 1.0)
        case Gallery():
            rows = [block.figures[i : i + 2] for i in range(0, len(block.figures), 2)]
            return [line for row in rows for line in _figures(row, folder, 0.48)]
        case Files():
            return []


def _figures(figures: Sequence[Figure], folder: Path, width: float) -> list[str]:
    """Figures side by side where they stand, each a share of the line wide, with their tops in line.

    They have no number: it would be taken for the paper's.
    """
    lines = [r"\par\medskip\noindent"]
    for figure in figures:
        path = Path(os.path.relpath(figure.file("pdf", "jpg", "png"), folder)).as_posix()
        conditions = _breakable(figure.conditions)
        text = rf"\textbf{{{escape(figure.title)}.}} {escape(figure.text)} \textbf{{{conditions}}}"
        lines += [
            rf"\begin{{minipage}}[t]{{{width}\linewidth}}\vspace{{0pt}}\small\raggedright",
            rf"\includegraphics[width=\linewidth]{{{path}}}\par\smallskip",
            rf"{text}\par",
            r"\end{minipage}\hfill",
        ]
    return [*lines, r"\par\medskip"]


def _list(name: str, items: list[str]) -> list[str]:
    return [rf"\begin{{{name}}}", *items, rf"\end{{{name}}}"] if items else []


def _text(text: Text) -> str:
    parts = []
    for span in spans(text):
        match span:
            case Strong():
                parts.append(rf"\textbf{{{escape(span.text)}}}")
            case Code():
                parts.append(rf"\texttt{{{_breakable(span.text)}}}")
            case _:
                parts.append(_breakable(span))
    return "".join(parts)


def _caption(caption: Caption) -> str:
    mark = rf" \textbf{{{escape(caption.mark)}}}" if caption.mark else ""
    sentences = " ".join(escape(sentence) for sentence in caption.sentences)
    return rf"\textbf{{{escape(caption.headline)}.}}{mark} {sentences}"


def _run_ids(grid: Grid) -> str:
    return "; ".join(rf"\textsuperscript{{{letter}}}\,{_breakable(text)}" for letter, text in grid.notes)


def _breakable(text: str) -> str:
    """Text in which long words (run ids, hashes, paths) may break, behind a hyphen, dot or slash first."""
    words = []
    for word in text.split(" "):
        pieces: list[str] = re.split(r"(?<=[-_./=,])", word) if len(word) > 12 else [word]
        pieces = [piece[i : i + 16] for piece in pieces for i in range(0, len(piece), 16)]
        words.append(r"\allowbreak{}".join(escape(piece) for piece in pieces))
    return " ".join(words)


def _alignment(grid: Grid) -> str:
    return "".join(_PARAGRAPH if column.align == "p" else column.align for column in grid.columns)


def _character(c: str) -> str:
    if c in _ESCAPES:
        return _ESCAPES[c]
    if c.isascii() and c.isprintable():
        return c
    if "\u00c0" <= c <= "\u00ff" and c not in "×÷ÐðÞþ":
        return c
    return rf"\texttt{{U+{ord(c):04X}}}"
