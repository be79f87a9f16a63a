"""SVG inside the page, and the two tables that feed it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.build import Report
from reports.pages.assumptions import DECISIONS, read_assumptions
from reports.pages.svg import colors, inline_svg, on_dark
from reports.pages.webpage import HERE

SVG = (
    '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="10pt" '
    'height="5pt" viewBox="0 0 10 5" xmlns="http://www.w3.org/2000/svg" version="1.1">\n'
    ' <metadata><a href="http://example.org"/></metadata>\n <defs><path id="p" d="M0 0"/></defs>\n'
    ' <g clip-path="url(#p)"><use xlink:href="#p" style="fill: #0072B2"/></g>\n</svg>\n'
)


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_ids_get_a_prefix_and_colours_become_variables() -> None:
    text = inline_svg(SVG, "x", "a & b")
    assert text.startswith("<svg")
    assert 'id="x-p"' in text
    assert "url(#x-p)" in text
    assert 'href="#x-p"' in text
    assert "var(--c-0072b2)" in text
    assert 'aria-label="a &amp; b"' in text
    assert "http" not in text
    assert "width=" not in text.split(">")[0]
    ET.fromstring(text)


def test_colors_are_collected_once() -> None:
    assert colors([SVG, SVG]) == ("#0072b2",)


@given(st.from_regex(r"#[0-9a-f]{6}", fullmatch=True))
def test_every_colour_has_a_valid_counterpart_on_dark(color: str) -> None:
    assert re.fullmatch(r"#[0-9a-f]{6}", on_dark(color))


@pytest.mark.parametrize(
    "color", ["#1b1b1f", "#6b6b76", "#0072b2", "#d55e00", "#009e73", "#aa4499", "#e69f00"]
)
def test_ink_and_lines_can_be_seen_on_dark(color: str) -> None:
    assert contrast(on_dark(color), on_dark("#ffffff")) >= 3.0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["--ink", "--faint", "--link", "--warn", "--good", "--bad"])
def test_text_has_the_contrast_that_accessibility_asks_for(scheme: str, name: str) -> None:
    blocks = re.findall(r":root \{([^}]*)\}", (HERE / "style.css").read_text(encoding="utf-8"))
    values = dict(re.findall(r"(--[a-z-]+): ([^;]+);", blocks[0 if scheme == "light" else 1]))
    page = values["--page"]
    for background in (page, blended(values["--stripe"], page)):
        assert contrast(values[name], background) >= 4.5, background


def blended(color: str, below: str) -> str:
    """``rgb(r g b / p%)`` over an opaque colour."""
    *channels, percent = (float(number) for number in re.findall(r"[\d.]+", color))
    under = (int(below[i : i + 2], 16) for i in (1, 3, 5))
    mixed = (c * percent / 100 + u * (1 - percent / 100) for c, u in zip(channels, under, strict=True))
    return "#" + "".join(f"{round(c):02x}" for c in mixed)


def test_every_variable_in_use_is_defined(demo_report: Report) -> None:
    text = (demo_report.out / "report.html").read_text()
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", text))
    light = re.findall(r"^:root \{([^}]*)\}", text, re.MULTILINE)
    assert len(light) == 2  # the style sheet's, and the figures' colours
    in_place = re.findall(r'style="(--[a-z]+):', text)
    assert used <= {*re.findall(r"(--[a-z0-9-]+):", "".join(light)), *in_place}


def test_assumptions_are_the_open_choices_of_the_paper_with_what_was_chosen(tmp_path: Path) -> None:
    (tmp_path / "0002-second.md").write_text(
        "# 0002 Second\n\n**Open in the paper:** Which `k`\nis meant? **Chosen:** The *smallest*\none.\n\n"
        "**Context.** x"
    )
    (tmp_path / "0001-first.md").write_text("# 1\n\n**Open in the paper:** Where? **Chosen:** Here.")
    (tmp_path / "0003-engineering.md").write_text("# 0003 A plain script\n\n**Choice.** One script.\n")
    (tmp_path / "README.md").write_text("**Open in the paper:** Why? **Chosen:** So.\n")
    assert [(a.number, a.question, a.chosen) for a in read_assumptions(tmp_path)] == [
        ("0001", "Where", "Here."),
        ("0002", "Which k is meant", "The *smallest* one."),
    ]
    assert read_assumptions(tmp_path / "absent") == ()


def test_notes_that_say_what_the_paper_leaves_open_also_say_what_was_chosen() -> None:
    marked = [
        n for n in DECISIONS.glob("[0-9]*.md") if "**Open in the paper:**" in n.read_text(encoding="utf-8")
    ]
    assert len(marked) > 10
    assert {n.name[:4] for n in marked} == {a.number for a in read_assumptions()}
