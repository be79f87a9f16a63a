"""A page as blocks: every format shows every kind, and escapes what it shows."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from reports.blocks import (
    Block,
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
    Warn,
    plain,
    with_contents,
)
from reports.grid import Cell, Column, Grid
from reports.pages import latex, markdown, text, webpage

GRID = Grid(
    (Column("", "arm", "l"), Column("AP", "here")), ((Cell("one"), Cell("1.5", "a")),), (("a", "run-1"),)
)


@pytest.fixture
def blocks(tmp_path: Path) -> list[Block]:
    drawing, photograph = tmp_path / "x.svg", tmp_path / "x.jpg"
    drawing.write_text('<svg viewBox="0 0 4 3"><path style="fill: #0072b2"/></svg>')
    (tmp_path / "x.png").write_bytes(b"png")
    (tmp_path / "x.pdf").write_bytes(b"pdf")
    photograph.write_bytes(b"\xff\xd8jpg")
    drawn = (tmp_path / "x.png", drawing, tmp_path / "x.pdf")
    return [
        Heading("the title", 1),
        Contents((("an entry", "part"),)),
        Heading("a part", anchor="part"),
        Prose(("some prose with ", Strong("weight"), " and ", Code("--option"))),
        Warn("some warning"),
        Table(
            GRID, "a title", anchor="t", caption=Caption("headline", "some mark", ("a condition",), ("more",))
        ),
        Items(("an item",)),
        Terms((("a term", "its meaning"),)),
        Details("folded words", (Prose("what is inside"),)),
        Figure("photo", "a photograph", "shows things", "on some data", (photograph,)),
        Gallery((Figure("drawing", "a drawing", "shows more", "on other data", drawn),)),
        Files("the same as", (("CSV", tmp_path / "table.csv"),)),
    ]


RENDERERS: dict[str, Callable[[list[Block], Path], str]] = {
    "html": lambda blocks, folder: webpage.render(blocks),
    "markdown": markdown.render,
    "latex": latex.render,
    "text": lambda blocks, folder: text.render(blocks),
}
#: What a format leaves out: a page that holds everything has no files beside it, a terminal no captions
#: and no contents; LaTeX makes its own from the headings.
LEFT_OUT = {
    "html": {"the same as"},
    "latex": {"the same as", "an entry"},
    "text": {
        "an entry",
        "headline",
        "a condition",
        "more",
        "shows things",
        "on some data",
        "shows more",
        "on other data",
        "run-1",
    },
}


def test_the_fixture_has_every_kind_of_block(blocks: list[Block]) -> None:
    assert {type(block) for block in blocks} == set(get_args(Block))


@pytest.mark.parametrize("name", RENDERERS)
def test_every_format_shows_every_kind_of_block(name: str, blocks: list[Block], tmp_path: Path) -> None:
    shown = RENDERERS[name](blocks, tmp_path).replace(r"run-\allowbreak{}1", "run-1")
    words = [
        "the title", "an entry", "a part", "some warning", "one", "1.5", "run-1", "headline", "some mark",
        "a condition", "more", "an item", "a term", "its meaning", "folded words", "what is inside",
        "a photograph",
        "shows things", "on some data", "a drawing", "shows more", "on other data", "the same as",
    ]  # fmt: skip
    missing = {word for word in words if word not in shown}
    assert missing == LEFT_OUT.get(name, set())


@pytest.mark.parametrize(
    ("name", "link", "place"),
    [
        ("html", '<a href="#part">an entry</a>', '<h2 id="part">'),
        ("markdown", "- [an entry](#part)", '<a id="part"></a>'),
        ("latex", r"\tableofcontents", r"\addcontentsline{toc}{subsection}{a part}"),
    ],
)
def test_contents_lead_to_the_headings(
    name: str, link: str, place: str, blocks: list[Block], tmp_path: Path
) -> None:
    shown = RENDERERS[name](blocks, tmp_path)
    assert 0 <= shown.index(link) < shown.index(place)


def test_contents_are_made_of_the_headings_with_an_anchor() -> None:
    title, part, rest = Heading("t", 1), Heading("p", anchor="a"), Heading("q")
    assert with_contents([title, part, rest], 1) == [title, Contents((("p", "a"),)), part, rest]
    assert with_contents([title, rest], 1) == [title, rest]


@pytest.mark.parametrize("name", ["html", "markdown", "latex"])
def test_emphasis_survives(name: str, blocks: list[Block], tmp_path: Path) -> None:
    expected = {
        "html": "some prose with <strong>weight</strong> and <code>--option</code>",
        "markdown": "some prose with **weight** and `--option`",
        "latex": r"some prose with \textbf{weight} and \texttt{-{}-option}",
    }
    assert expected[name] in RENDERERS[name](blocks, tmp_path)


def test_a_page_needs_no_other_file_and_others_name_those_they_need(
    blocks: list[Block], tmp_path: Path
) -> None:
    page = webpage.render(blocks)
    assert "data:image/jpeg;base64,/9hqcGc=" in page
    assert page.count("<svg") == 1
    assert str(tmp_path) not in page
    assert "![a photograph; on some data](x.jpg)" in markdown.render(blocks, tmp_path)
    assert "[PDF](x.pdf)" in markdown.render(blocks, tmp_path)
    assert "](../x.png)" in markdown.render(blocks, tmp_path / "below")
    document = latex.render(blocks, tmp_path)
    assert r"\includegraphics[width=\linewidth]{x.jpg}" in document
    assert r"\includegraphics[width=\linewidth]{x.pdf}" in document


def test_no_text_of_any_block_gets_into_the_page_as_it_is(tmp_path: Path) -> None:
    evil = "</style><script>alert('&')</script>\""
    path = tmp_path / "x.jpg"
    path.write_bytes(b"\xff\xd8")
    grid = Grid(
        (Column(evil, evil, "l"), Column(evil, evil)), ((Cell(evil), Cell(evil, "a")),), (("a", evil),)
    )
    caption = Caption(evil, evil, (evil,), (evil,))
    page = webpage.render(
        [
            *(
                Heading(evil, 1),
                Heading(evil, anchor="x"),
                Prose((evil, Strong(evil), Code(evil))),
                Warn(evil),
            ),
            *(Table(grid, evil, anchor="t", caption=caption), Items((evil,)), Terms(((evil, evil),))),
            *(Details(evil, (Prose(evil),)), Figure("f", evil, evil, evil, (path,))),
        ]
    )
    assert "<script" not in page
    assert page.count("</style>") == 1
    assert html.unescape(page).count(evil) >= 24


def test_a_drawing_is_shared_out_so_that_both_columns_end_together(tmp_path: Path) -> None:
    heights = (120, 170, 170, 120, 120)
    figures = []
    for number, height in enumerate(heights):
        path = tmp_path / f"{number}.svg"
        path.write_text(f'<svg viewBox="0 0 100 {height}"></svg>')
        figures.append(Figure(str(number), "", "", "", (path,)))
    found = webpage.columns(figures)
    assert [[figure.name for figure in column] for column in found.figures] == [["0", "3", "4"], ["1", "2"]]
    tall = [sum(heights[int(f.name)] for f in column) for column in found.figures]
    narrow, wide = found.widths
    assert narrow * tall[0] == pytest.approx(wide * tall[1], rel=0.05)
    assert sum(found.widths) == pytest.approx(1)
    assert webpage.columns([]).figures == ()
    assert len(webpage.columns(figures * 4).figures) == 2


def test_the_plain_words_of_a_text() -> None:
    assert plain(("a ", Strong("b"), " ", Code("c"))) == "a b c"
    assert plain("a") == "a"
