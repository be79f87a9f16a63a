"""Grids as LaTeX with booktabs, and a whole document around them.

A fragment needs ``booktabs`` only (and UTF-8 input, LaTeX's default). Every name is escaped: run ids,
hardware and dataset names hold underscores, ampersands and percent signs.
"""

from __future__ import annotations

from collections.abc import Sequence

from reports.grid import Cell, Grid
from reports.tables.caption import Caption

_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
    "±": r"$\pm$", "−": "$-$", "×": r"$\times$", "·": r"$\cdot$", "–": "--", "—": "---", "…": r"\ldots{}",
    "“": "``", "”": "''", "‘": "`", "’": "'", "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\rightarrow$",
    "≈": r"$\approx$", "µ": r"\textmu{}", "°": r"\textdegree{}", "\u00a0": "~", "\n": " ", "\t": " ",
    "\r": " ",
}  # fmt: skip

#: A column of text that wraps, of a width that leaves room for a few others.
_PARAGRAPH = r"p{0.155\linewidth}"


def escape(text: str) -> str:
    """Text that LaTeX prints as it is; letters that its standard fonts lack become their code point."""
    return "".join(_character(c) for c in text)


def table(grid: Grid, halves: Sequence[tuple[str, ...]] | None, caption: Caption, label: str) -> str:
    """A floating ``table*``: a tabular per half (headings of columns), run ids and deviations below.

    In one tabular the columns of the main table would be wider than a page; None leaves a grid whole.
    """
    parts = [tabular(grid.only(headings)) for headings in halves] if halves else [tabular(grid)]
    below = [rf"Run ids: {_run_ids(grid)}."] if grid.notes else []
    below += [escape(sentence) for sentence in caption.below]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table*}[!htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4.5pt}%"
        if halves
        else r"\centering\scriptsize\setlength{\tabcolsep}{3pt}%",
        rf"\caption{{{_caption(caption)}}}",
        rf"\label{{{label}}}",
        r"\vspace{4pt}",
        "\n\\par\\medskip\n".join(parts),
        *(rf"\par\smallskip\parbox{{\linewidth}}{{\scriptsize\raggedright {text}}}" for text in below),
        r"\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def tabular(grid: Grid) -> str:
    """The bare tabular; a gap separates the groups of columns."""
    lines = [rf"\begin{{tabular}}{{@{{}}{_alignment(grid)}@{{}}}}", r"\toprule"]
    spans = grid.spans()
    if any(heading for heading, _ in spans):
        heads, rules, start = [], [], 1
        for heading, count in spans:
            heads.append(rf"\multicolumn{{{count}}}{{c}}{{{escape(heading)}}}" if heading else "")
            if heading:
                rules.append(rf"\cmidrule(lr){{{start}-{start + count - 1}}}")
            start += count
        lines += [" & ".join(heads) + r" \\", "".join(rules)]
    lines.append(" & ".join(escape(column.title) for column in grid.columns) + r" \\")
    lines.append(r"\midrule")
    for row in grid.rows:
        cells = [_cell(cell, column.align) for cell, column in zip(row, grid.columns, strict=True)]
        lines.append(" & ".join(cells) + r" \\" + (r" \addlinespace" if "p" in _alignment(grid) else ""))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _cell(cell: Cell, align: str) -> str:
    # Zero width keeps the digits of a column below each other.
    note = rf"\rlap{{\textsuperscript{{{cell.note}}}}}" if cell.note else ""
    # \raggedright redefines the \\ that ends a row.
    start = r"\raggedright\let\\\tabularnewline " if align == "p" else ""
    return start + escape(cell.text) + note


def document(fragments: Sequence[str], title: str) -> str:
    """A document that shows the fragments, for pdflatex."""
    body = "\n\\clearpage\n".join(fragments)
    return "\n".join(
        [
            r"\documentclass[10pt]{article}",
            r"\usepackage[a4paper,margin=18mm]{geometry}",
            r"\usepackage{booktabs}",
            r"\begin{document}",
            rf"\section*{{{escape(title)}}}",
            body,
            r"\end{document}",
            "",
        ]
    )


def _caption(caption: Caption) -> str:
    mark = rf" \textbf{{{escape(caption.mark)}}}" if caption.mark else ""
    sentences = " ".join(escape(sentence) for sentence in caption.sentences)
    return rf"\textbf{{{escape(caption.headline)}.}}{mark} {sentences}"


def _run_ids(grid: Grid) -> str:
    return "; ".join(rf"\textsuperscript{{{letter}}}\,{_breakable(text)}" for letter, text in grid.notes)


def _breakable(text: str) -> str:
    """Run ids may break after their hyphens."""
    return escape(text).replace("-", r"-\allowbreak{}")


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
