"""Experiments and the parent run of each arm: created once, found by tag.

MLflow has no unique constraint on runs and no "create if absent". Processes that share the folder of runs
take turns (:func:`studies.mirror.store.store_lock`). Those that don't can still create an arm twice at
the same instant; everyone then agrees on the first of them, moves the seeds below it and deletes the
others, at the latest when the next run starts, ends or is synchronised.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from reports.judging.statistics import t_interval
from studies.mirror.layout import AP_KEYS, View, searched_keys
from studies.mirror.store import artifact_location
from studies.mirror.views import experiment_tags

#: Final figures whose mean over seeds an arm shows.
_MEANS = (
    *AP_KEYS,
    "AP_last",
    *("params_m", "gflops", "gflops_paper", "full_size_params_m", "full_size_gflops_paper"),
    *("latency_ms", "latency_total_ms"),
)
#: Figures that vary with the seed, and so get an interval when there are two seeds.
_INTERVALS = ("AP", "AP_last")


def find_or_create_experiment(client: Any, uri: str, runs: Path, name: str) -> str:
    """Id of the experiment of a study; its name is unique in MLflow."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    tags = experiment_tags(searched_keys(runs / name))
    if found is None:
        try:
            location = artifact_location(uri, runs, name)
            return client.create_experiment(name, artifact_location=location, tags=tags)
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise ValueError(
            f"experiment {name!r} was deleted in MLflow; restore it (mlflow experiments restore -x "
            f"{found.experiment_id}) or rename it"
        )
    for key, value in tags.items():
        if key not in found.tags:
            client.set_experiment_tag(found.experiment_id, key, value)
    return found.experiment_id


def find_or_create_arm(client: Any, experiment: str, view: View) -> str:
    """Run id of the parent of all seeds of a recipe at an arm; call it under the store's lock.

    A parent stands for one recipe: seeds of the demo and of the paper's protocol have no common mean.
    """
    found = find_runs(client, experiment, kind="stage", stage=view.arm, recipe_hash=view.tags["recipe_hash"])
    if not found:
        tags = {**view.arm_tags(), "kind": "stage"}
        found = [client.create_run(experiment, view.start, tags, view.arm)]
    first, *rest = found
    for key, value in view.arm_tags().items():
        if key not in first.data.tags:  # of an earlier version; what a user has changed stays
            client.set_tag(first.info.run_id, key, value)
    if first.info.status == "RUNNING":
        # A group has no process that would end it. Left for last, so that it is done after a crash too.
        log_params(client, first.info.run_id, {k: v for k, v in view.params.items() if k != "seed"})
        client.log_inputs(first.info.run_id, [dataset_input(view.dataset)])
        client.set_terminated(first.info.run_id, "FINISHED", end_time=view.start)
    for other in rest:
        for child in _children(client, experiment, other.info.run_id):
            client.set_tag(child.info.run_id, "mlflow.parentRunId", first.info.run_id)
        client.delete_run(other.info.run_id)
    return first.info.run_id


def summarise_arm(client: Any, experiment: str, arm: str) -> None:
    """Write the mean over the finished seeds, and a 95 % t interval of AP, to an arm's run.

    The step is the number of seeds, so the newest mean is the one that MLflow shows.
    """
    from mlflow.entities import Metric

    seeds = _finished_by_seed(_children(client, experiment, arm))
    if not seeds:
        return
    end = max(run.info.end_time for run in seeds.values())
    known = client.get_run(arm).data.metrics
    figures = {key: value for key, value in _means(seeds).items() if known.get(key) != value}
    if figures:
        metrics = [Metric(key, value, end, len(seeds)) for key, value in figures.items()]
        client.log_batch(arm, metrics=metrics)
        client.set_terminated(arm, "FINISHED", end_time=end)


def find_runs(client: Any, experiment: str, **tags: str) -> list[Any]:
    """All active runs with these tags, the oldest first; ties are broken by run id, the same for everyone."""
    conditions = " and ".join(f"tags.`{key}` = {_quoted(value)}" for key, value in tags.items())
    runs: list[Any] = []
    token = None
    while True:
        page = client.search_runs([experiment], conditions, max_results=1000, page_token=token)
        runs += page
        token = page.token
        if not token:
            return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def log_params(client: Any, run_id: str, params: Mapping[str, str]) -> None:
    """Log parameters, in as many requests as MLflow's limit of 100 asks for."""
    from mlflow.entities import Param

    items = [Param(key, value) for key, value in params.items()]
    for first in range(0, len(items), 100):
        client.log_batch(run_id, params=items[first : first + 100])


def dataset_input(dataset: Mapping[str, Any]) -> Any:
    """The dataset as MLflow's run input; the fingerprint is its digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    images = {key: dataset[key] for key in ("num_classes", "train_images", "val_images") if key in dataset}
    source = {"path": str(dataset.get("path") or dataset["name"])}
    entity = Dataset(
        name=dataset["name"],
        digest=dataset["fingerprint"][:36],
        source_type="local",
        source=json.dumps(source),
        profile=json.dumps(images),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])


def _children(client: Any, experiment: str, arm: str) -> list[Any]:
    return find_runs(client, experiment, **{"mlflow.parentRunId": arm})


def _finished_by_seed(runs: list[Any]) -> dict[str, Any]:
    """The finished run of each seed; of a seed that was trained twice, the one that ended last."""
    finished = [run for run in runs if run.info.status == "FINISHED"]
    return {run.data.tags["seed"]: run for run in sorted(finished, key=lambda run: run.info.end_time)}


def _means(seeds: Mapping[str, Any]) -> dict[str, float]:
    values = {key: [run.data.metrics.get(key) for run in seeds.values()] for key in _MEANS}
    known = {key: [v for v in column if v is not None] for key, column in values.items()}
    figures = {key: fmean(column) for key, column in known.items() if column}
    for key in _INTERVALS:
        interval = t_interval(known[key]) if known[key] else None
        if interval is not None:
            figures[f"{key}_low"], figures[f"{key}_high"] = interval.low, interval.high
    return {**figures, "seeds": float(len(seeds))}


def _quoted(text: str) -> str:
    """A value in MLflow's search language, which knows no escapes."""
    quote = '"' if "'" in text else "'"
    return f"{quote}{text}{quote}"
