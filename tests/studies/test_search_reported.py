"""A search from its first step to its report: what the folders say is what a reader is told."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from reports.build import build_report
from roadmap.recipe import Recipe
from tests.studies.search_bench import Bench, hill, new_search


def noisy(recipe: Recipe, seed: int) -> float:
    """The bench's hill with noise that belongs to recipe and seed."""
    return hill(recipe) + (zlib.crc32(f"{recipe.hash}{seed}".encode()) % 1000 - 500) / 250


def test_a_search_that_took_results_of_another_study_reports_them_as_its_own(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first, second = Bench(runs, noisy), Bench(runs, noisy)
    first.steps(runs / "one", new_search("one"))
    record = second.steps(runs / "two", new_search("two", best=1))
    taken = [c.arm for c in record.confirmations if c.run.startswith("one/")]
    assert "base" in taken
    report = build_report(runs, "two", figures=False)
    base = [noisy(record.base("simota").recipe, seed) for seed in (1000, 1001, 1002)]
    (group,) = report.data["groups"]
    row = next(row for row in group["rows"] if row["arm"] == "base")
    assert row["ap_best"] == pytest.approx(sum(base) / 3)
    (claim,) = report.data["search"]["claims"]
    best = next(trial for trial in record.trials if trial.number == claim["trial"])
    again = [noisy(record.recipe("simota", best.parameters), seed) for seed in (1000, 1001, 1002)]
    assert best.values == (pytest.approx(claim["claimed"]),)
    assert claim["mean"] == pytest.approx(sum(again) / 3)
    assert claim["gain"] == pytest.approx(sum(again) / 3 - sum(base) / 3)
