"""The LaTeX in a real pdflatex."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from reports.blocks import Caption, Details, Heading, Items, Prose, Table, Terms, Warn
from reports.build import Report, build_report
from reports.document import build_document
from reports.grid import Cell, Column, Grid
from reports.pages import latex
from roadmap.reproduction import PAPER_FIGURES, PAPER_TABLES
from tests.reports.factory import COCO, write_arms
from tests.reports.searches import AP, LATENCY, write_searched
from tests.reports.searches import STUDY as SEARCH

pytestmark = [
    pytest.mark.latex,
    pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed"),
]


def compile_latex(source: Path) -> str:
    """Compile in the source's folder; the log. Fails on any LaTeX error."""
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", source.name],
        cwd=source.parent, capture_output=True, text=True, errors="replace", check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert source.with_suffix(".pdf").stat().st_size > 1000
    return done.stdout


def text_of(pdf: Path) -> str:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed")
    return subprocess.run(
        ["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("name", ["demo_report", "paper_report"])
def test_a_report_compiles_without_overfull_lines(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    report: Report = request.getfixturevalue(name)
    copy = tmp_path / "report"
    shutil.copytree(report.out, copy)
    log = compile_latex(copy / "report.tex")
    assert "Overfull" not in log
    text = text_of(copy / "report.pdf")
    assert "+SimOTA" in text
    assert "63.72" in text
    if name == "demo_report":
        assert "DEMO, NOT COCO" in " ".join(text.split())


def test_the_document_of_all_tables_compiles_without_overfull_lines(tmp_path: Path) -> None:
    """Measured under the paper's conditions and as a demo, whose tables are the widest, and not at all."""
    runs = tmp_path / "runs"
    write_arms(runs, "heads", ("vanilla-coupled", "vanilla-decoupled"), protocol="paper", dataset=COCO)
    write_arms(runs, "heads", ("vanilla-coupled", "end-to-end-coupled"), seeds=2)
    write_arms(runs, "roadmap", ("simota", "nms-free"), seeds=2)
    report = build_document(runs)
    for _ in range(2):  # the second time with page numbers in the contents
        log = compile_latex(report.out / "report.tex")
    assert "Overfull" not in log
    text = " ".join(text_of(report.out / "report.pdf").split())
    for each in (*PAPER_TABLES, *PAPER_FIGURES):
        assert text.count(f"{each.source}: {each.title[:20]}") >= 2, "in the contents, and above its part"
    assert "DEMO, NOT COCO" in text
    assert "python -m studies.scaling --only yolox-s" in text, "an option keeps both its hyphens"


def test_the_report_of_a_search_compiles_and_its_claims_fit_a_two_column_page(tmp_path: Path) -> None:
    """Two stages and two objectives: the widest tables that a search has."""
    stages = ("anchor-free", "simota")
    write_searched(tmp_path / "runs", trials=12, bases=stages, objectives=(AP, LATENCY))
    report = build_report(tmp_path / "runs", SEARCH, figures=False)
    assert "Overfull" not in compile_latex(report.out / "report.tex")
    text = " ".join(text_of(report.out / "report.pdf").split())
    assert "They are no result" in text
    assert "Tuned against tuned" in text
    assert "non-finite-loss: loss is nan" in text.replace("- ", "-")
    for name in ("claims-simota", "tuned"):
        _in_two_columns(report.out / "search" / f"{name}.tex", tmp_path)


def test_a_fragment_fits_a_two_column_page(paper_report: Report, tmp_path: Path) -> None:
    fragment = next(p for p in paper_report.files if p.name == "table2.tex" and "demo" in p.parent.name)
    _in_two_columns(fragment, tmp_path)


def _in_two_columns(fragment: Path, folder: Path) -> None:
    shutil.copy(fragment, folder / fragment.name)
    source = folder / "paper.tex"
    source.write_text(
        "\\documentclass[10pt,twocolumn,letterpaper]{article}\n"
        "\\usepackage[textwidth=6.875in,textheight=8.875in]{geometry}\n"
        f"\\usepackage{{booktabs}}\n\\begin{{document}}\nText.\n\\input{{{fragment.name}}}\n\\end{{document}}\n"
    )
    assert "Overfull" not in compile_latex(source)


def test_any_name_compiles_and_prints_as_it_is(tmp_path: Path) -> None:
    nasty = r"a_b & 100% $x$ #1 {y} \input{z} ~ ^ < > | ± − × é 中 “q” 'r' ``s`` -- `t`"
    grid = Grid(
        (Column("", nasty, "l"), Column("G_1", "x")), ((Cell(nasty), Cell("1", "a")),), (("a", nasty),)
    )
    caption = Caption(nasty, nasty, (nasty,), (nasty,))
    source = tmp_path / "nasty.tex"
    table = Table(grid, parts=((nasty, ("", "G_1")),), caption=caption, label="tab:x")
    blocks = [
        *(Heading(nasty, 1), Heading(nasty), Prose(nasty), Warn(nasty), Items((nasty,))),
        *(Terms(((nasty, nasty),)), Details(nasty, (Table(grid),)), table),
    ]
    source.write_text(latex.render(blocks, tmp_path), encoding="utf-8")
    compile_latex(source)
    text = text_of(tmp_path / "nasty.pdf")
    assert r"\input{z}" in text
    assert "100% $x$ #1 {y}" in text
