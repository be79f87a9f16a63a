"""python -m studies.search: what it shows, what it refuses, and a search here that is disturbed."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadmap.record import RunFolder
from roadmap.search import read_search
from roadmap.search_space import kept_spaces
from studies import search
from studies.attempt.stopping import INTERRUPTED
from tests.cluster.trial import SITECUSTOMIZE
from tests.studies.small_runs import make_data

SPACE = """
base = "simota"
trials = 3
at_once = 2
best = 1
fresh_seeds = 1
training.learning_rate = {low = 1e-3, high = 5e-2, log = true}
"""


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert search.main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        search.main(words)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_the_kept_searches_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert [row["search"] for row in told(capsys, "--list")] == list(kept_spaces())


@pytest.mark.parametrize("name", list(kept_spaces()))
def test_a_dry_run_says_what_is_tuned_and_writes_nothing(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = (name, "--embedded", "--launcher", "local", "--runs", str(tmp_path), "--dry-run")
    assert search.main([*words, "--trials", "5"]) == 0
    shown = capsys.readouterr().out
    assert "5 trials each" in shown
    assert "with the fresh seeds 1000 … 1002" in shown
    assert told(capsys, *words, "--trials", "5")["runs"] == 5 + 4 * 3
    assert list(tmp_path.iterdir()) == []


def test_each_stage_gets_the_whole_budget(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("simota-lr", "--embedded", "--launcher", "local", "--runs", str(tmp_path), "--dry-run")
    shown = told(capsys, *words, "--each-stage", "decoupled-head", "simota")
    assert shown["search"] == "simota-lr-decoupled-head-simota"
    assert shown["runs"] == 2 * (32 + 4 * 3)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "name a space's file, or one of: ap-latency, simota-constants, simota-lr"),
        (("simota-rl",), "unknown search 'simota-rl'; choose one of: ap-latency"),
        (("nowhere.toml",), "space nowhere.toml: No such file"),
        (("simota-lr", "--each-stage", "simoto"), "choose a stage or a model: baseline"),
        (("simota-lr", "--again"), "give the search another --name"),
        (("--step", "nowhere"), "holds no search; start it with its space"),
        (("simota-lr", "--embedded", "--storage", "postgresql://a:b@db/x"), "export OPTUNA_STORAGE"),
        (("simota-lr", "--embedded", "--storage", "here.db"), "must be an address as sqlite:///"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_can(
    words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert reason in refused(capsys, *words, "--launcher", "local", "--runs", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_search_here_survives_what_happens_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped and started again; kill -9 of a trial. The runs are stand-ins with the runner's contract."""
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    runs, space, data = tmp_path / "runs", tmp_path / "mine.toml", make_data(tmp_path / "data")
    space.write_text(SPACE)
    runs.mkdir()
    (runs / "hold").write_text("100")
    words = [str(space), "--data", str(data), "--protocol", "smoke", "--launcher", "local"]
    words += ["--runs", str(runs), "--tracking", "off", "--no-report", "--storage", "off"]

    def first_two() -> list[RunFolder]:
        found = [RunFolder(path) for path in sorted(runs.glob("mine/trial-000[01]-*"))]
        return found if len(found) == 2 and all(one.metrics() for one in found) else []

    with when(first_two, lambda _: os.kill(os.getpid(), signal.SIGTERM)):
        assert search.main(words) == INTERRUPTED

    def again() -> list[RunFolder]:
        return [one for one in first_two() if len(one.attempts()) == 3]

    def kill(found: list[RunFolder]) -> None:
        os.kill(found[0].attempts()[-1]["pid"], signal.SIGKILL)
        (runs / "hold").unlink()

    with when(lambda: len(again()) == 2 and again(), kill):
        assert search.main(words) == 0
    record = read_search(runs / "mine")
    assert record is not None
    assert record.phase == "finished"
    assert [(trial.state, trial.attempts) for trial in record.trials] == [
        ("finished", 3),
        ("finished", 2),
        ("finished", 1),
    ]
    assert [each.state for each in record.confirmations] == ["finished"] * 2
    shown = capsys.readouterr().out
    assert "the search's own, optimistic" in shown
    assert search.main(words) == 0  # nothing is left to do


class when:
    """Beside what a test does: wait for something, then act on it."""

    def __init__(self, condition: Callable[[], Any], act: Callable[[Any], None]) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(condition, act))

    def _watch(self, condition: Callable[[], Any], act: Callable[[Any], None]) -> None:
        while not self._over.is_set():
            if found := condition():
                return act(found)
            time.sleep(0.02)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
