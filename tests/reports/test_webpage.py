"""The self-contained page: its content, and in a real browser its layout."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reports.build import Report, build_report
from tests.reports.factory import CPU, SHAPES, write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Checker(HTMLParser):
    """Collects ids, links, resources and nesting errors."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.resources: list[str] = []
        self.open: list[str] = []
        self.errors: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(values["id"] or "")
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        self.resources += [values[k] or "" for k in ("src", "srcset", "data", "poster") if k in values]
        if tag == "link":
            self.resources.append(values.get("href") or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.errors.append(f"unexpected </{tag}> at {self.getpos()}")


def parsed(report: Report) -> Checker:
    checker = Checker()
    checker.feed((report.out / "report.html").read_text())
    checker.close()
    return checker


@pytest.mark.parametrize("name", ["demo_report", "paper_report"])
def test_it_is_well_formed_and_loads_nothing(name: str, request: pytest.FixtureRequest) -> None:
    report: Report = request.getfixturevalue(name)
    page = parsed(report)
    assert page.errors == []
    assert page.open == []
    assert page.resources == []
    assert not page.tags & {"script", "iframe", "object", "embed", "link", "img"}
    text = (report.out / "report.html").read_text()
    assert "@import" not in text
    assert not re.search(r"url\(\s*['\"]?(?!#)", text)
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)


def test_it_holds_tables_figures_verdicts_assumptions_deviations_environment_and_run_ids(
    demo_report: Report,
) -> None:
    text = (demo_report.out / "report.html").read_text()
    words = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())
    for part in (
        "DEMO, NOT COCO", "Accuracy (demo, not COCO)", "Size and speed", "AP step by step",
        "Verdicts on the paper's claims", "The rules", "Assumptions", "Deviations from the paper's protocol",
        "training.epochs 24 300 all", "Environment", "torch 2.14.1", "0123456789ab",
        "bitwise for the same number", "Unfinished and left out", "interrupted", "not valid JSON",
    ):  # fmt: skip
        assert part in words, part
    assert text.count("<svg") == 5
    for run in demo_report.data["groups"][0]["rows"]:
        for name in run["runs"].split():
            assert name in text


def test_every_measured_cell_links_to_its_run_ids(demo_report: Report) -> None:
    text = (demo_report.out / "report.html").read_text()
    cells = re.findall(r'<td class="measured">(.*?)</td>', text)
    # Nine measured columns, the baseline without a gain, and seven in the paper's layout.
    assert len(cells) == 7 * 9 - 1 + 7 * 7
    assert all('<sup><a href="#embedded-shapes-demo-5ba9e5-' in cell for cell in cells)


def test_names_cannot_break_out_of_the_page(runs: Path) -> None:
    evil = "<script>alert(1)</script>\"'&"
    write_run(runs, "simota", hardware={**CPU, "name": evil})
    report = build_report(runs, figures=False)
    page = parsed(report)
    assert page.errors == []
    assert "script" not in page.tags
    assert "&lt;script&gt;" in (report.out / "report.html").read_text()


def test_many_runs_are_folded(runs: Path) -> None:
    for seed in range(45):
        write_run(runs, "simota", seed)
    text = (build_report(runs, figures=False).out / "report.html").read_text()
    assert "<summary>45 runs</summary>" in text
    assert SHAPES.name in text


# --- in a browser --------------------------------------------------------------------------------------

MEASURE = """<script>
const frame = document.querySelector('iframe');
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement;
  const wide = [...page.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && !e.closest('svg')
    && e.getBoundingClientRect().right > root.clientWidth + 1).map(e => e.tagName + '.' + e.className);
  const svgs = [...page.querySelectorAll('figure svg')].map(e => e.getBoundingClientRect().width);
  const boxes = [...page.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 60);
  const kept = boxes.map(e => { e.scrollLeft = 60; const row = e.querySelector('tbody tr');
    return Math.round(row.children[0].getBoundingClientRect().left - e.getBoundingClientRect().left); });
  const narrowest = Math.min(...[...page.querySelectorAll('tbody th')].filter(e => e.getClientRects().length)
    .map(e => e.getBoundingClientRect().width));
  const hints = boxes.map(e => frame.contentWindow.getComputedStyle(e).backgroundAttachment);
  const ends = [...page.querySelectorAll('.figures > div')]
    .map(e => e.lastElementChild.getBoundingClientRect().bottom);
  const small = [...page.querySelectorAll('td, p, li')].filter(e => e.getClientRects().length &&
    parseFloat(frame.contentWindow.getComputedStyle(e).fontSize) < 11).length;
  const pre = document.createElement('pre');
  pre.id = 'measured';
  pre.textContent = JSON.stringify({client: root.clientWidth, scroll: root.scrollWidth, wide, svgs, small,
    kept, hints, ends, narrowest,
    ink: frame.contentWindow.getComputedStyle(page.body).color,
    page: frame.contentWindow.getComputedStyle(page.body).backgroundColor,
    tables: page.querySelectorAll('table').length});
  document.body.append(pre);
};
</script>"""

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")


@pytest.fixture
def chromium(tmp_path: Path) -> Iterator[list[str]]:
    """Command line of a headless browser with a profile of its own and no network of its own."""
    profile = tmp_path / "profile"
    yield [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--hide-scrollbars", f"--user-data-dir={profile}",
    ]  # fmt: skip
    shutil.rmtree(profile, ignore_errors=True)


def measured(
    report: Report, width: int, chromium: list[str], tmp_path: Path, *extra: str
) -> dict[str, object]:
    """What a browser makes of the page in a window of a width (a frame: windows cannot be that narrow)."""
    page = html.escape((report.out / "report.html").read_text(), quote=True)
    harness = tmp_path / "harness.html"
    harness.write_text(
        f"<!DOCTYPE html><meta charset='utf-8'><body>"
        f'<iframe width="{width}" height="900" style="border:0" srcdoc="{page}"></iframe>{MEASURE}',
        encoding="utf-8",
    )
    done = subprocess.run(
        [*chromium, *extra, "--virtual-time-budget=5000", "--dump-dom", harness.as_uri()],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found = re.search(r'<pre id="measured">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    result: dict[str, object] = json.loads(html.unescape(found.group(1)))
    return result


@pytest.mark.parametrize("width", [360, 390, 1280])
@pytest.mark.browser
@needs_browser
def test_nothing_sticks_out_on_a_phone_or_a_desktop(
    demo_report: Report, width: int, chromium: list[str], tmp_path: Path
) -> None:
    found = measured(demo_report, width, chromium, tmp_path)
    assert found["client"] == width
    assert found["scroll"] == width
    assert found["wide"] == []
    assert found["small"] == 0
    svgs = found["svgs"]
    assert isinstance(svgs, list)
    assert len(svgs) == 5
    assert all(300 <= w <= width for w in svgs)


@pytest.mark.browser
@needs_browser
def test_a_table_cut_off_on_a_phone_says_so_and_keeps_its_first_column(
    demo_report: Report, chromium: list[str], tmp_path: Path
) -> None:
    found = measured(demo_report, 390, chromium, tmp_path)
    kept, hints = found["kept"], found["hints"]
    assert isinstance(kept, list)
    assert len(kept) >= 2
    assert set(kept) == {0}
    assert hints == ["local, scroll"] * len(kept)  # a shadow, and what covers it at the end
    assert isinstance(found["narrowest"], float | int)
    assert found["narrowest"] > 80


@pytest.mark.browser
@needs_browser
def test_figures_leave_no_hole_below_a_column(
    demo_report: Report, paper_report: Report, chromium: list[str], tmp_path: Path
) -> None:
    for report in (demo_report, paper_report):
        ends = measured(report, 1280, chromium, tmp_path)["ends"]
        assert isinstance(ends, list)
        for left, right in zip(ends[::2], ends[1::2], strict=True):
            assert abs(left - right) < 250


def test_pictures_lie_in_the_page_itself(runs: Path) -> None:
    jpeg = b"\xff\xd8 not really a picture"
    write_run(runs, "baseline", ap=20.0)
    best = write_run(runs, "simota", ap=30.0)
    (best / "validation.jpg").write_bytes(jpeg)
    report = build_report(runs)
    (image,) = parsed(report).resources
    assert image == "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
    text = (report.out / "report.html").read_text()
    assert f"Run {best.name}, the arm of the highest AP (+SimOTA), seed 0" in html.unescape(text)
    assert "DEMO, NOT COCO), 1 seed." in text
    copy = report.out / "embedded-shapes-demo-5ba9e5" / "validation.jpg"
    assert copy.read_bytes() == jpeg
    assert copy in report.files
    for name in ("report.md", "report.tex"):
        assert "embedded-shapes-demo-5ba9e5/validation.jpg" in (report.out / name).read_text(), name


@pytest.mark.parametrize("content", [None, b"", b"<svg onload=x>"])
def test_a_missing_or_broken_picture_is_left_out(runs: Path, content: bytes | None) -> None:
    folder = write_run(runs, "simota")
    if content is not None:
        (folder / "validation.jpg").write_bytes(content)
    report = build_report(runs)
    assert "Validation images" not in (report.out / "report.html").read_text()


@pytest.mark.browser
@needs_browser
def test_a_dark_desktop_gets_a_dark_page(demo_report: Report, chromium: list[str], tmp_path: Path) -> None:
    light = measured(demo_report, 1000, chromium, tmp_path, "--blink-settings=preferredColorScheme=1")
    dark = measured(demo_report, 1000, chromium, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert (light["page"], light["ink"]) == ("rgb(255, 255, 255)", "rgb(27, 27, 31)")
    assert (dark["page"], dark["ink"]) == ("rgb(23, 23, 26)", "rgb(236, 236, 241)")


@pytest.mark.browser
@needs_browser
def test_it_prints_on_a_few_pages(demo_report: Report, chromium: list[str], tmp_path: Path) -> None:
    target, source = tmp_path / "page.pdf", demo_report.out / "report.html"
    subprocess.run(
        [*chromium, "--no-pdf-header-footer", f"--print-to-pdf={target}", source.as_uri()],
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    pages = len(re.findall(rb"/Type\s*/Page\b", target.read_bytes()))
    assert 3 <= pages <= 9


@pytest.mark.browser
@needs_browser
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext")
def test_paper_shows_what_a_screen_folds_and_keeps_run_ids_with_their_heading(
    demo_report: Report, chromium: list[str], tmp_path: Path
) -> None:
    target, source = tmp_path / "page.pdf", demo_report.out / "report.html"
    subprocess.run(
        [*chromium, "--no-pdf-header-footer", f"--print-to-pdf={target}", source.as_uri()],
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    done = subprocess.run(["pdftotext", "-layout", target, "-"], capture_output=True, text=True, check=True)
    text = " ".join(done.stdout.split())
    folded = re.findall(r"<details>.*?<(?:dd|li)>(.*?)</(?:dd|li)>", source.read_text(), re.DOTALL)
    assert len(folded) == 2
    for words in folded:
        assert " ".join(html.unescape(words).split())[:60] in text
    sheets = [page for page in done.stdout.split("\f") if "Run ids of the measured cells" in page]
    assert len(sheets) == 2  # the table in full, and as the paper prints it
    for sheet in sheets:
        for name in demo_report.data["groups"][0]["rows"][1]["runs"].split():
            assert name in sheet


@pytest.mark.browser
@needs_browser
def test_a_screenshot_is_neither_blank_nor_one_colour(
    demo_report: Report, chromium: list[str], tmp_path: Path
) -> None:
    from matplotlib.image import imread

    target, source = tmp_path / "shot.png", demo_report.out / "report.html"
    subprocess.run(
        [*chromium, "--window-size=1280,2400", f"--screenshot={target}", source.as_uri()],
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    pixels = imread(target)[..., :3].reshape(-1, 3)
    ink = (pixels.max(axis=1) < 0.4).mean()
    colourful = ((pixels.max(axis=1) - pixels.min(axis=1)) > 0.3).mean()
    assert 0.01 < ink < 0.3
    assert colourful > 0.001
