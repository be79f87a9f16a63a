"""A search in MLflow: its trials lie below one run, which says what is claimed and what measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from reports.records.search import read_searches
from reports.tables.search import judge
from roadmap.search import SearchRecord
from studies.sync import sync
from tests.reports.searches import PARAMETERS, write_searched
from tests.studies.tracking_servers import experiment_id, open_store, runs_of

# mlflow itself still calls what SQLAlchemy, alembic and others have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

STUDY = "anything"


class Mirrored(NamedTuple):
    runs: Path
    record: SearchRecord
    client: Any
    uri: str


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Mirrored:
    runs = tmp_path_factory.mktemp("search")
    client, uri = open_store(runs)
    record = write_searched(runs, trials=7, study=STUDY)
    outcomes = list(sync(runs, uri))
    assert {outcome.outcome for outcome in outcomes} == {"mirrored"}, outcomes
    return Mirrored(runs, record, client, uri)


def test_the_trials_lie_below_their_search_and_the_fresh_runs_below_their_arms(mirrored: Mirrored) -> None:
    (parent,) = runs_of(mirrored.client, "search", STUDY)
    runs = runs_of(mirrored.client, "run", STUDY)
    below = {r.data.tags["arm"] for r in runs if r.data.tags["mlflow.parentRunId"] == parent.info.run_id}
    assert below == {trial.arm for trial in mirrored.record.trials if trial.run}
    arms = {run.data.tags["arm"]: run for run in runs_of(mirrored.client, "stage", STUDY)}
    assert set(arms) == {"base", "best-1", "best-2", "best-3"}
    fresh = [c.values[0] for c in mirrored.record.confirmations if c.arm == "best-1" and c.values]
    assert arms["best-1"].data.metrics["AP"] == pytest.approx(sum(fresh) / 3)


def test_the_search_says_what_it_claims_and_what_fresh_seeds_say(mirrored: Mirrored) -> None:
    (parent,) = runs_of(mirrored.client, "search", STUDY)
    first = judge(read_searches(mirrored.runs, STUDY)[0]).reruns[0]
    assert first.fresh is not None
    metrics = parent.data.metrics
    assert metrics["AP_search"] == pytest.approx(first.claimed)
    assert metrics["AP_fresh"] == pytest.approx(first.fresh.mean)
    assert metrics["too_good_by"] == pytest.approx(first.claimed - first.fresh.mean)
    assert metrics["trials_failed"] == 1.0
    assert "AP" not in metrics  # a column that holds results holds no claim
    assert parent.data.tags["answer"] == first.answer
    assert "They are no result" in parent.data.tags["mlflow.note.content"]
    assert parent.data.params["space.training.learning_rate"] == "0.001 to 0.05 (log)"


def test_trials_can_be_compared_by_what_was_searched(mirrored: Mirrored) -> None:
    experiment = mirrored.client.get_experiment(experiment_id(mirrored.client, STUDY))
    view = json.loads(json.loads(experiment.tags["mlflow.sharedViewState.trials"])["state"])
    found = mirrored.client.search_runs([experiment.experiment_id], view["searchFilter"])
    assert {run.data.tags["arm"] for run in found} == {t.arm for t in mirrored.record.trials if t.run}
    parallel = next(chart for chart in view["compareRunCharts"] if chart["type"] == "PARALLEL")
    assert parallel["selectedParams"] == [parameter.key for parameter in PARAMETERS]
    trial = next(t for t in mirrored.record.trials if t.state == "finished")
    run = next(run for run in found if run.data.tags["trial"] == str(trial.number))
    for key, value in trial.parameters.items():
        assert run.data.params[key] == str(value)


def test_sending_it_again_adds_nothing(mirrored: Mirrored) -> None:
    assert {outcome.outcome for outcome in sync(mirrored.runs, mirrored.uri)} == {"up to date"}


def test_a_broken_record_of_the_search_is_said_and_the_runs_arrive(tmp_path: Path) -> None:
    client, uri = open_store(tmp_path)
    write_searched(tmp_path, trials=2, fresh=0, study=STUDY)
    (tmp_path / STUDY / "search.json").write_text("{")
    outcomes = {outcome.run: outcome for outcome in sync(tmp_path, uri)}
    assert outcomes.pop("search").outcome == "failed"
    assert {outcome.outcome for outcome in outcomes.values()} == {"mirrored"}
    assert runs_of(client, "search", STUDY) == []
