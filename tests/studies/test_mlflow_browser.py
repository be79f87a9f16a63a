"""MLflow's pages over our records, in a real headless Chromium.

Seven stages with two seeds each are mirrored to a store, a server is started over it, and a browser does
what a user would: opens the experiment, reads the columns, draws the charts, selects all stages and compares.
Screenshots are left in pytest's temporary folder.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from roadmap.record import append_line
from roadmap.stages import STAGE_NAMES
from studies.mirror.store import connect
from studies.mirror.views import view_address
from studies.sync import sync
from tests.reports.searches import write_searched
from tests.studies.tracking_servers import a_port, experiment_id, mlflow_server, new_store, runs_of
from tests.studies.tracking_standin import epoch_row, write_result, write_start

selenium = pytest.importorskip("selenium", reason="pip install selenium")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="apt-get install chromium chromium-driver"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.timeout(600),
]

SEARCH = "a-search"
FIGURES = ("AP", "params_m", "gflops", "latency_ms")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1600,1200"),
)


class Page(NamedTuple):
    """A browser on a server. metrics: of the stages' runs, by name. search: the experiment of a search."""

    browser: Any
    server: str
    experiment: str
    metrics: dict[str, dict[str, float]]
    a_seed: str
    screenshots: Path
    search: str

    def open(self, address: str) -> None:
        self.browser.get("about:blank")  # else only the fragment changes, and the page keeps its state
        self.browser.get(address)

    def script(self, code: str) -> Any:
        return self.browser.execute_script(code)

    def until(self, what: str, condition: Callable[[], Any], seconds: float = 120.0) -> Any:
        """Wait until a page that is drawn by JavaScript shows something; a screenshot says what it shows."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > end:
                self.browser.save_screenshot(str(self.screenshots / "timeout.png"))
                text = self.script("return document.body.innerText")
                pytest.fail(
                    f"no {what} on {self.browser.current_url}; {self.screenshots}/timeout.png:\n{text}"
                )
            time.sleep(0.3)
        return found

    def screenshot(self, name: str) -> None:
        self.browser.save_screenshot(str(self.screenshots / f"{name}.png"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    from selenium import webdriver

    folder = tmp_path_factory.mktemp("mlflow-browser")
    uri = _fill(folder)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    with mlflow_server(folder, a_port()) as server:
        client = connect(uri, folder)
        stages = {run.info.run_name: run.data.metrics for run in runs_of(client, "stage")}
        seed = next(run.info.run_id for run in runs_of(client, "run") if run.data.tags["stage"] == "simota")
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        browser.set_script_timeout(200)  # drawing charts blocks the page
        try:
            searched = experiment_id(client, SEARCH)
            yield Page(browser, server, experiment_id(client), stages, seed, folder, searched)
        finally:
            browser.quit()


def _fill(runs: Path) -> str:
    """Records of seven stages and two seeds, mirrored to the folder's store."""
    for stage in reversed(STAGE_NAMES):  # so that the order of creation is not the order shown
        for seed in range(2):
            folder = write_start(runs, stage, seed)
            for epoch in range(1, 9):
                append_line(folder.path / "metrics.jsonl", epoch_row(epoch, stage))
                append_line(
                    folder.path / "system.jsonl", {"epoch": epoch, "cpu_utilization_percentage": 90.0 + seed}
                )
            picture = np.full((60, 80, 3), (40 * seed, 120, 200), np.uint8)
            cv2.imwrite(str(folder.path / "validation.jpg"), picture)
            write_result(folder, 8)
    write_searched(runs, trials=4, fresh=1, study=SEARCH)
    uri = new_store(runs)
    assert {outcome.outcome for outcome in sync(runs, uri)} == {"mirrored"}
    return uri


def test_the_experiment_lists_the_seven_stages_with_their_figures(page: Page) -> None:
    page.open(view_address(page.server, page.experiment))
    page.until("seven rows", lambda: len(_names(page)) == 7)
    assert _names(page) == list(STAGE_NAMES)
    for figure in FIGURES:
        column = f"metrics.`{figure}`"
        header = page.until(f"column {figure}", lambda c=column: _box(page, f".ag-header-cell[col-id='{c}']"))
        assert header["right"] <= page.script("return window.innerWidth")
        shown = page.script(
            f"return [...document.querySelectorAll(\".ag-row [col-id='{column}']\")].map(e => e.innerText)"
        )
        expected = [page.metrics[stage][figure] for stage in STAGE_NAMES]
        assert [float(text) for text in shown] == pytest.approx(expected)
    page.screenshot("stages")


def test_the_charts_compare_the_stages(page: Page) -> None:
    page.open(view_address(page.server, page.experiment, chart=True))
    page.until("28 bars", lambda: _count(page, ".barlayer .point path") >= 7 * len(FIGURES))
    page.until("14 points", lambda: _count(page, ".scatterlayer .point") >= 14)
    text = page.script("return document.body.innerText")
    assert "Final figures" in text
    for figure in FIGURES:
        assert figure in text
    page.screenshot("charts")


def test_the_compare_page_draws_the_selected_stages(page: Page) -> None:
    page.open(view_address(page.server, page.experiment))
    page.until("seven rows", lambda: len(_names(page)) == 7)
    box = page.until("box that selects all", lambda: _find(page, "input[aria-label='Select all runs']"))
    box.click()
    button = page.until("button to compare", lambda: _find(page, "[data-testid='runs-compare-button']"))
    button.click()
    page.until("parallel coordinates", lambda: _count(page, ".parcoords") > 0)
    text = page.until("seven runs", lambda: _text_with(page, "Comparing 7 Runs"))
    for stage in STAGE_NAMES:
        assert stage in text
    axes = page.script(
        "return [...document.querySelectorAll('.parcoords .axis-title')].map(e => e.textContent)"
    )
    assert "AP" in axes
    page.screenshot("compare")


def test_the_seeds_view(page: Page) -> None:
    page.open(view_address(page.server, page.experiment, "seeds"))
    page.until("fourteen runs", lambda: _text_with(page, "14 matching runs"))
    page.until("column AP75", lambda: _box(page, ".ag-header-cell[col-id='metrics.`AP75`']"))
    page.screenshot("seeds")


def test_the_ingredients_view_sorts_by_ap_and_draws_what_is_on(page: Page) -> None:
    page.open(view_address(page.server, page.experiment, "ingredients"))
    page.until("seven arms", lambda: _text_with(page, "7 matching runs"))
    page.until("column AP", lambda: _box(page, ".ag-header-cell[col-id='metrics.`AP`']"))
    assert _names(page) == sorted(STAGE_NAMES, key=lambda stage: -page.metrics[stage]["AP"])
    page.open(view_address(page.server, page.experiment, "ingredients", chart=True))
    page.until("lines of all arms", lambda: _text_with(page, "Showing all runs"))
    page.until("an axis per ingredient", lambda: _text_with(page, "ingred...simota"))
    page.screenshot("ingredients")


def test_the_trials_of_a_search_are_compared_by_what_was_searched(page: Page) -> None:
    page.open(view_address(page.server, page.search, "trials"))
    page.until("its trials, and no other run", lambda: _text_with(page, "3 matching runs"))
    page.until(
        "the learning rates", lambda: _box(page, ".ag-header-cell[col-id='params.`training.learning_rate`']")
    )
    assert all(name.startswith("trial-") for name in _names(page))
    page.screenshot("trials")
    page.open(view_address(page.server, page.search, "trials", chart=True))
    page.until("lines of all trials", lambda: _text_with(page, "Showing all runs"))
    page.until("points of AP over a setting", lambda: _count(page, ".scatterlayer .point") >= 2)
    page.screenshot("trials-charts")


def test_a_runs_page_has_curves_system_metrics_and_the_picture(page: Page) -> None:
    run = f"{page.server}/#/experiments/{page.experiment}/runs/{page.a_seed}"
    page.open(run)
    overview = page.until("dataset", lambda: _text_with(page, "embedded-shapes ("))
    for fact in ("study: roadmap", "protocol: demo", "recipe_hash:", "Deviations from the paper"):
        assert fact in " ".join(overview.split()).replace(" : ", ": ")
    page.screenshot("run")
    page.open(f"{run}/model-metrics")
    page.until("curves", lambda: _count(page, ".scatterlayer .trace") >= 2)
    page.screenshot("run-metrics")
    page.open(f"{run}/system-metrics")
    page.until("system curves", lambda: _text_with(page, "cpu_utilization_percentage"))
    page.open(f"{run}/artifacts/validation.jpg")
    page.until(
        "the picture", lambda: page.script("return [...document.images].some(i => i.naturalWidth === 80)")
    )
    page.screenshot("run-picture")


def _names(page: Page) -> list[str]:
    """Names in the table's first column, from top to bottom."""
    return page.script(
        "return [...document.querySelectorAll(\".ag-row [col-id='attributes.`Run Name`'] a\")]"
        ".sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top).map(e => e.innerText)"
    )


def _box(page: Page, selector: str) -> Any:
    return page.script(
        f'const e = document.querySelector("{selector}"); return e && e.getBoundingClientRect().toJSON()'
    )


def _find(page: Page, selector: str) -> Any:
    return page.script(f'return document.querySelector("{selector}")')


def _count(page: Page, selector: str) -> int:
    return page.script(f'return document.querySelectorAll("{selector}").length')


def _text_with(page: Page, wanted: str) -> str | None:
    text = page.script("return document.body.innerText")
    return text if wanted in text else None
