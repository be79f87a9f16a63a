"""Markdown, LaTeX and terminal text of the same grid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.blocks import Caption, Table
from reports.grid import Cell, Column, Grid, plain_grid, text_table
from reports.pages import latex, markdown

GRID = Grid(
    (Column("", "Stage", "l"), Column("AP (%)", "demo"), Column("AP (%)", "paper"), Column("FPS", "paper")),
    (
        (Cell("a_b & c", kind="label"), Cell("36.5 ± 0.3", "a"), Cell("47.3", kind="paper"), Cell()),
        (Cell("x", kind="label"), Cell("−1.0", "a,b"), Cell(), Cell("90.1", kind="paper")),
    ),
    (("a", "run_1, run_2"), ("b", "run-3")),
)
CAPTION = Caption("Head_line", "DEMO, NOT COCO: 100 %", ("On a CPU & more.",), ("Below: #1.",))


def test_text_aligns_both_header_rows() -> None:
    assert text_table(GRID) == "\n".join(
        [
            "               AP (%)        FPS",
            "Stage          demo  paper  paper",
            "---------------------------------",
            "a_b & c  36.5 ± 0.3   47.3      –",
            "x              −1.0      –   90.1",
        ]
    )


def test_text_makes_room_for_a_long_heading() -> None:
    grid = Grid((Column("a very long heading", "x"), Column("b", "y")), ((Cell("1"), Cell("2")),))
    lines = text_table(grid).splitlines()
    assert lines[0].startswith("a very long heading")
    assert lines[1].index("x") == lines[3].index("1")


def test_markdown_rows_have_equal_cells_and_superscripts() -> None:
    lines = markdown.table(GRID).splitlines()
    assert lines[0] == "| Stage | AP (%): demo | AP (%): paper | FPS: paper |"
    assert lines[1] == "| :-- | --: | --: | --: |"
    assert lines[2] == "| a\\_b & c | 36.5 ± 0.3<sup>a</sup> | 47.3 | – |"
    assert "- <sup>a</sup> `run_1, run_2`" in markdown.notes(GRID)


def test_markdown_caption_starts_with_the_mark() -> None:
    text = markdown.caption(CAPTION)
    assert text.index("DEMO, NOT COCO") < text.index("On a CPU")


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=30))
def test_no_text_can_break_a_markdown_row(text: str) -> None:
    (row,) = markdown.table(plain_grid(("t",), [(text,)])).splitlines()[2:]
    assert len(re.findall(r"(?<!\\)\|", re.sub(r"\\\\", "", row))) == 2


@given(st.text("`a b", min_size=1, max_size=12).filter(lambda t: "```" not in t))
def test_backticks_do_not_end_code(text: str) -> None:
    shown = markdown.code(text)
    assert text in shown
    if "`" in text:
        assert shown.startswith("`` ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b", r"a\_b"),
        ("50 % & $5 #1", r"50 \% \& \$5 \#1"),
        ("{x}\\y", r"\{x\}\textbackslash{}y"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("1.0 ± 0.2", r"1.0 $\pm$ 0.2"),
        ("−0.8", "$-$0.8"),
        ("a--b---c-", "a-{}-b-{}-{}-c-"),
        ("1–2", r"1\textendash{}2"),
        ("é", "é"),
        ("中", r"\texttt{U+4E2D}"),
        ("ð", r"\texttt{U+00F0}"),
    ],
)
def test_latex_escapes(text: str, expected: str) -> None:
    assert latex.escape(text) == expected


def test_latex_spans_groups_with_rules() -> None:
    text = latex.tabular(GRID)
    assert r"\multicolumn{2}{c}{AP (\%)}" in text
    assert r"\cmidrule(lr){2-3}\cmidrule(lr){4-4}" in text
    assert r"a\_b \& c & 36.5 $\pm$ 0.3\rlap{\textsuperscript{a}} & 47.3 & \textendash{} \\" in text


def test_latex_groups_stand_above_their_columns_behind_several_without_a_group() -> None:
    columns = (Column("", "a", "l"), Column("", "b", "l"), Column("G", "c"), Column("G", "d"))
    text = latex.tabular(Grid(columns, ()))
    assert r"\multicolumn{2}{c}{} & \multicolumn{2}{c}{G} \\" in text
    assert r"\cmidrule(lr){3-4}" in text


def test_latex_cuts_a_grid_that_is_wider_than_the_text_between_its_groups() -> None:
    def grid(groups: int) -> Grid:
        columns = [Column(f"G{i}", "x" * 40) for i in range(groups)]
        return Grid((Column("", "name", "l"), *columns), ())

    assert latex.fitting(grid(2)) == [grid(2)]
    assert [[column.group for column in piece.columns] for piece in latex.fitting(grid(5))] == [
        ["", "G0", "G1"], ["", "G2", "G3"], ["", "G4"],
    ]  # fmt: skip
    block = Table(grid(5), caption=CAPTION)
    assert latex.table(block).count(r"\begin{tabular}") == 3
    page = latex.render([block], Path())
    assert page.count(r"\begin{tabular}") == 3
    assert "table*" not in page


def test_latex_table_holds_caption_mark_run_ids_and_deviations() -> None:
    text = latex.table(
        Table(GRID, parts=(("", ("", "AP (%)")), ("", ("", "FPS"))), caption=CAPTION, label="tab:x")
    )
    assert r"\textbf{Head\_line.} \textbf{DEMO, NOT COCO: 100 \%} On a CPU \& more." in text
    assert text.count(r"\begin{tabular}") == 2
    assert r"run\_1, run\_2" in text
    assert r"Below: \#1." in text


def test_a_grid_refuses_ragged_rows() -> None:
    with pytest.raises(AssertionError):
        Grid((Column("", "a"),), ((Cell("1"), Cell("2")),))
