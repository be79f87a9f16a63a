"""Which settings decided: by hand what must come first, and that chance is told from a finding."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadmap.importances import Importance, read_importances
from roadmap.search import SearchRecord, Trial, write_search
from studies.searching.importances import LEAST, compute, refresh, update_importances
from tests.studies.search_bench import DECAY, RATE, new_search


def searched(figure: Any, trials: int = 32, seed: int = 5) -> SearchRecord:
    """Random trials of learning rate and weight decay, whose AP is a function of both and a generator."""
    rng = np.random.default_rng(seed)
    record, found = new_search(), []
    for number in range(trials):
        values = {RATE.key: float(10 ** rng.uniform(-3, -1)), DECAY.key: float(10 ** rng.uniform(-5, -2))}
        ap = float(figure(values[RATE.key], values[DECAY.key], rng))
        found.append(
            Trial(number, "simota", f"trial-{number:04d}", values, "finished", f"s/{number}", values=(ap,))
        )
    return replace(record, trials=tuple(found))


def by_setting(record: SearchRecord) -> dict[str, Importance]:
    found = compute(record, np.random.default_rng(0), shuffles=39)
    return {importance.key: importance for importance in found.of("simota", "AP")}


def near(rate: float) -> float:
    return 30.0 - 10.0 * (math.log10(rate) + 2) ** 2


def test_the_setting_that_decides_comes_first_and_the_other_is_no_more_than_chance() -> None:
    found = by_setting(searched(lambda rate, decay, rng: near(rate)))
    assert list(found) == [RATE.key, DECAY.key]
    assert found[RATE.key].value > max(0.7, found[RATE.key].chance)
    assert found[DECAY.key].value < found[DECAY.key].chance
    assert sum(each.value for each in found.values()) == pytest.approx(1.0)


def test_noise_is_rarely_more_than_chance() -> None:
    found = [
        each
        for seed in range(100, 112)
        for each in by_setting(searched(lambda rate, decay, rng: rng.normal(), seed=seed)).values()
    ]
    # Of 24 about one is; more than four hardly ever.
    assert sum(each.value > each.chance for each in found) <= 4


def test_a_stopped_trial_counts_as_worse_than_every_finished_one() -> None:
    record = searched(lambda rate, decay, rng: rng.normal())
    stopped = tuple(
        replace(t, state="stopped", values=None) if t.parameters[RATE.key] < 0.01 else t
        for t in record.trials
    )
    found = by_setting(replace(record, trials=stopped))
    assert found[RATE.key].value > found[RATE.key].chance


def test_a_few_trials_say_nothing() -> None:
    record = searched(lambda rate, decay, rng: near(rate), trials=LEAST - 1)
    found = compute(record, np.random.default_rng(0))
    assert (found.found, found.trials) == ((), {"simota": LEAST - 1})


def test_they_lie_beside_the_record_and_can_be_read_without_optuna(tmp_path: Path) -> None:
    assert update_importances(tmp_path) is None
    write_search(tmp_path, searched(lambda rate, decay, rng: near(rate), trials=12))
    assert read_importances(tmp_path) is None
    assert refresh(tmp_path) == ""
    found = read_importances(tmp_path)
    assert found is not None
    assert [each.key for each in found.of("simota", "AP")] == [RATE.key, DECAY.key]
    (tmp_path / "search.json").write_text("{")
    assert refresh(tmp_path).startswith("importances not computed: ")
