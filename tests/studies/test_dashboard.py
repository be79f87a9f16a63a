"""optuna-dashboard over a search: which storage it opens, and that a real browser shows the trials in it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roadmap.search import SearchRecord, read_search
from studies.dashboard import chosen, main, storage_of
from studies.searching.storage import VARIABLE
from tests.reports.searches import write_searched
from tests.studies.search_bench import Bench, new_search
from tests.studies.test_mlflow_browser import FLAGS

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
browser_test = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="apt-get install chromium chromium-driver"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_a_search_is_chosen_by_name_or_because_it_is_the_only_one(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(ValueError, match=r"no search below .*; start one: python -m studies\.search --help"):
        chosen(tmp_path, None)
    write_searched(tmp_path, trials=2, fresh=0, study="one")
    assert chosen(tmp_path, None)[1].name == "one"
    write_searched(tmp_path, trials=2, fresh=0, study="two")
    with pytest.raises(ValueError, match="choose one with --study: one, two"):
        chosen(tmp_path, None)
    assert main(["--runs", str(tmp_path), "--study", "three"]) == 2
    assert "choose one of: one, two" in capsys.readouterr().err


def trials_in(url: str) -> list[Any]:
    import optuna

    (name,) = optuna.get_all_study_names(url)
    return optuna.load_study(study_name=name, storage=url).get_trials(deepcopy=False)


def test_a_storage_that_was_lost_or_never_kept_is_made_from_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    record = write_searched(tmp_path, trials=9, fresh=0, study="one")
    url = storage_of(*chosen(tmp_path, None))
    assert url == f"sqlite:///{tmp_path}/one/optuna.db"
    states = [trial.state.name for trial in trials_in(url)]
    assert states.count("COMPLETE") == sum(trial.state == "finished" for trial in record.trials)
    assert states.count("FAIL") == sum(trial.state == "failed" for trial in record.trials)
    shutil.move(tmp_path / "one", tmp_path / "moved")
    assert storage_of(*chosen(tmp_path, None)) == f"sqlite:///{tmp_path}/moved/optuna.db"


@pytest.fixture
def search(tmp_path: Path) -> SearchRecord:
    """Eight trials that ended and four that have not, in the storage of a search's own steps."""
    folder, bench = tmp_path / "bench", Bench(tmp_path)
    url = f"sqlite:///{folder}/optuna.db"
    bench.step(folder, new_search(trials=12, at_once=4), url)
    for _ in range(2):
        for run in list(bench.waiting):
            bench.carry_out(run)
        bench.step(folder, storage=url)
    record = read_search(folder)
    assert record is not None
    return record


@pytest.fixture
def address(tmp_path: Path, search: SearchRecord) -> Iterator[str]:
    pytest.importorskip("optuna_dashboard", reason="pip install -c constraints.txt '.[dashboard]'")
    command = [sys.executable, "-m", "studies.dashboard", "--runs", str(tmp_path), "--port", "0"]
    env = {name: value for name, value in os.environ.items() if name != VARIABLE}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    assert server.stdout is not None
    try:
        found = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
        assert found is not None
        yield found.group()
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        server.stdout.close()


class TestInABrowser:
    pytestmark = browser_test

    def test_the_trials_of_a_search_are_seen(
        self, address: str, search: SearchRecord, tmp_path: Path
    ) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        try:
            browser.get(f"{address}/dashboard")
            _until(browser, "bench")
            browser.get(f"{address}/dashboard/studies/1/trials?numbers=0")
            first = search.trials[0]
            assert first.values is not None
            shown = (f"training.learning_rate {first.parameters['training.learning_rate']}"[:-3], first.run)
            text = _until(browser, "12 Trials", str(first.values[0])[:-3], *shown)
            states = Counter(trial.state for trial in search.trials)
            # one line per trial in the list, and once more for the trial that is open
            assert text.count("Complete\n") == states["finished"] + 1 == 9
            assert text.count("Running\n") == states["running"] + states["waiting"] == 4
            browser.save_screenshot(str(tmp_path / "trials.png"))
            browser.get(f"{address}/dashboard/studies/1")
            _until(browser, "History", "Hyperparameter Importance", "Best Trial", "too good on average")
            browser.save_screenshot(str(tmp_path / "history.png"))
        finally:
            browser.quit()


def _until(browser: Any, *wanted: str, seconds: float = 90.0) -> str:
    """The page's text once it holds all of these: it is drawn by JavaScript."""
    end = time.monotonic() + seconds
    while True:
        text = str(browser.execute_script("return document.body.innerText"))
        if all(word in text for word in wanted):
            return text
        assert time.monotonic() < end, text
        time.sleep(0.3)
