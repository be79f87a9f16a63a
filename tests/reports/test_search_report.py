"""The report of a search: what it claims stands beside what fresh seeds say, apart from it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from reports.build import Report, build_report
from reports.document import build_document
from reports.figures import search_history, search_results, search_space
from reports.figures.style import COLUMN, drawing
from reports.pages.search import WHICH_IS_WHICH
from reports.records.collect import collect
from reports.records.groups import Group, group_runs
from reports.records.keep import keep_records, unpack_records
from reports.records.search import BaseSearch, read_searches
from reports.tables.search import judge
from roadmap.importances import Importance, Importances, write_importances
from roadmap.search import SearchRecord, read_search
from tests.reports.searches import AP, LATENCY, PARAMETERS, write_searched
from tests.reports.test_figures import texts

#: Two objectives, so that every figure has something to show; no study of the project has this name.
NAME = "anything"
DRAW = {
    "history": search_history.draw,
    "front": search_results.draw_front,
    "importances": search_results.draw_importances,
    "slices": search_space.draw_slices,
    "parallel": search_space.draw_parallel,
}


class Searched(NamedTuple):
    runs: Path
    record: SearchRecord
    report: Report


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """Forty trials, failed, stopped, running and waiting ones among them, with all figures."""
    runs = tmp_path_factory.mktemp("search") / "runs"
    record = write_searched(runs, objectives=(AP, LATENCY), study=NAME)
    shares = [Importance("simota", o.name, p.key, 0.7 - 0.2 * i, 0.4)
              for o in (AP, LATENCY) for i, p in enumerate(PARAMETERS)]  # fmt: skip
    finished = sum(t.state == "finished" for t in record.trials)
    write_importances(runs / NAME, Importances("PED-ANOVA.", {"simota": finished}, tuple(shares)))
    return Searched(runs, record, build_report(runs, NAME))


def pages(report: Report) -> list[str]:
    """The three formats as running text."""
    found = [(report.out / f"report.{kind}").read_text() for kind in ("html", "md", "tex")]
    return [" ".join(page.replace(r"\allowbreak{}", "").split()) for page in found]


def test_the_claim_and_what_fresh_seeds_say_stand_in_one_row(searched: Searched) -> None:
    again = [c for c in searched.record.confirmations if c.rank == 1]
    base = {c.seed: c.values[0] for c in searched.record.confirmations if c.rank == 0 and c.values}
    trial = next(t for t in searched.record.trials if t.number == again[0].trial)
    assert trial.values is not None
    fresh = [c.values[0] for c in again if c.values]
    claim = searched.report.data["search"]["claims"][0]
    assert (claim["trial"], claim["claimed"]) == (trial.number, trial.values[0])
    assert claim["mean"] == pytest.approx(np.mean(fresh))
    assert claim["too_good_by"] == pytest.approx(trial.values[0] - np.mean(fresh))
    assert claim["gain"] == pytest.approx(np.mean(fresh) - np.mean(list(base.values())))
    row = next(
        line for line in searched.report.summary.splitlines() if line.startswith(f"trial {trial.number} ")
    )
    assert f"{trial.values[0]:.1f}" in row
    assert f"{np.mean(fresh):.1f}" in row


def test_every_page_says_which_is_which(searched: Searched) -> None:
    sentence = WHICH_IS_WHICH.split(". ")[1]
    assert "They are no result" in sentence
    for page in pages(searched.report):
        assert sentence in page
        assert "DEMO, NOT COCO" in page
        assert "fresh seeds: 1000, 1001, 1002" in page


def test_what_the_search_chose_by_is_in_no_table_of_results(searched: Searched) -> None:
    rows = [row["arm"] for group in searched.report.data["groups"] for row in group["rows"]]
    assert sorted(rows) == ["base", "best-1", "best-2", "best-3"]
    document = build_document(searched.runs, searched.runs.parent / "all", figures=False)
    rows = [row["arm"] for group in document.data["others"] for row in group["rows"]]
    assert sorted(rows) == ["base", "best-1", "best-2", "best-3"]


def test_every_trial_is_listed_with_its_state_and_why(searched: Searched) -> None:
    states = Counter(trial.state for trial in searched.record.trials)
    assert min(states.values()) >= 1
    assert set(states) == {"finished", "stopped", "failed", "running", "waiting"}
    with (searched.report.out / "search" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["state"] for row in rows) == states
    for page in pages(searched.report):
        assert "non-finite-loss: loss is nan (epoch 3)" in page
        assert "is below the median of the trials before it" in page
    unfinished = {item["arm"] for item in searched.report.data["unfinished"]}
    assert not unfinished & {trial.arm for trial in searched.record.trials}


def test_every_figure_is_there_in_three_formats_with_its_conditions(searched: Searched) -> None:
    for name in DRAW:
        for kind in ("png", "svg", "pdf"):
            assert (searched.report.out / "search" / f"search_{name}.{kind}").stat().st_size > 1000
    html = pages(searched.report)[0]
    assert html.count("40 trials, each one run with seed 0.") == len(DRAW)
    assert html.count("Measured on embedded-shapes, demo protocol (DEMO, NOT COCO)") >= len(DRAW)


@pytest.fixture(scope="module")
def shown(searched: Searched) -> tuple[BaseSearch, Group]:
    (search,) = read_searches(searched.runs, NAME)
    (group,) = group_runs(NAME, collect(searched.runs, NAME).runs)
    return search, group


@pytest.mark.parametrize("name", DRAW)
def test_a_demo_figure_cannot_be_taken_for_coco_and_can_be_read(
    shown: tuple[BaseSearch, Group], name: str
) -> None:
    with drawing():
        figure = DRAW[name](*shown)
        assert figure is not None
        assert figure.get_size_inches()[0] == COLUMN
        figure.draw_without_rendering()
        frame, margin = figure.bbox, figure.dpi / 60
        assert sum("NOT COCO" in t.get_text() for t in texts(figure)) == 1
        assert "embedded-shapes, demo protocol" in figure.get_suptitle()
        if name != "importances":  # shares of a whole, no AP
            assert any("demo, not COCO" in t.get_text() for t in texts(figure))
        for text in texts(figure):
            assert text.get_fontsize() >= 7, text.get_text()
            box = text.get_window_extent()
            assert box.x0 >= frame.x0 + margin, text.get_text()
            assert box.x1 <= frame.x1 - margin, text.get_text()


def test_the_history_shows_every_trial_and_the_fresh_seeds(shown: tuple[BaseSearch, Group]) -> None:
    with drawing():
        figure = search_history.draw(*shown)
    assert figure is not None
    left, right = figure.axes
    drawn = [line for line in left.lines if len(line.get_xdata()) == 1]
    assert {int(line.get_xdata()[0]) for line in drawn} == set(range(40))  # type: ignore[index]
    assert [label.get_text()[0] for label in right.get_xticklabels()] == ["b", "#", "#", "#"]


def test_before_any_fresh_run_the_claim_is_called_a_claim(tmp_path: Path) -> None:
    write_searched(tmp_path, trials=9, fresh=0, study=NAME)
    (search,) = read_searches(tmp_path, NAME)
    report = build_report(tmp_path, NAME, figures=False)
    assert report.data["groups"] == []
    best = judge(search).reruns[0]
    assert (
        f"{best.claimed:.1f}, too good as the best of many is on average; no fresh seed has said"
        in report.summary
    )
    assert "tuned is better" not in report.summary


def test_two_stages_are_compared_tuned_against_tuned(tmp_path: Path) -> None:
    record = write_searched(tmp_path, trials=12, bases=("anchor-free", "simota"), study=NAME)
    report = build_report(tmp_path, NAME, figures=False)
    (pair,) = report.data["search"]["tuned"]
    first = {b: {c.seed: c.values[0] for c in record.confirmations if (c.base, c.rank) == (b, 1) and c.values}
             for b in ("anchor-free", "simota")}  # fmt: skip
    gains = [first["simota"][seed] - first["anchor-free"][seed] for seed in (1000, 1001, 1002)]
    assert (pair["before"], pair["after"]) == ("anchor-free", "simota")
    assert pair["tuned"]["gain"] == pytest.approx(np.mean(gains))
    assert pair["untuned"]["word"] in report.summary
    html = pages(report)[0]
    assert "Tuned against tuned, fresh seeds" in html
    assert "it is no result" in html


def test_a_fresh_run_that_is_missing_is_not_made_up(tmp_path: Path) -> None:
    record = write_searched(tmp_path, trials=9, study=NAME)
    lost = [replace(c, state="failed", values=None) if c.rank == 1 and c.seed > 1000 else c
            for c in record.confirmations]  # fmt: skip
    (search,) = (BaseSearch(replace(record, confirmations=tuple(lost)), "simota"),)
    first = judge(search).reruns[0]
    assert first.fresh is not None
    assert list(first.fresh.values) == [1000]
    assert first.answer == "too few fresh seeds to say"


def test_a_broken_record_of_the_search_is_said_and_stops_nothing(tmp_path: Path) -> None:
    write_searched(tmp_path, trials=9, study=NAME)
    (tmp_path / NAME / "search.json").write_text('{"schema": 1, "name":')
    report = build_report(tmp_path, NAME, figures=False)
    assert "search" not in report.data
    assert any(item["run"] == "search.json" for item in report.data["left_out"])


def test_a_kept_search_is_still_a_search(searched: Searched, tmp_path: Path) -> None:
    keep_records(searched.runs, NAME, tmp_path / "kept")
    unpack_records(tmp_path / "kept", tmp_path / "runs")
    kept = read_search(tmp_path / "runs" / NAME)
    assert kept is not None
    assert kept.trials == searched.record.trials
    data = json.loads((tmp_path / "runs" / NAME / "search.json").read_text())
    assert (data["storage"], data["inputs"]) == ("", {})
    assert (tmp_path / "runs" / NAME / "importances.json").exists()
