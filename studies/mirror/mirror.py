"""Make one MLflow run show one record. Doing it again adds nothing.

What is already in MLflow is asked of MLflow, not remembered: the live tracker, a resumed run on another
machine and ``studies.sync`` may all work on the same run, one after the other or at once.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadmap.record import RunFolder
from roadmap.redaction import public_text
from studies.mirror.groups import (
    dataset_input,
    find_or_create_arm,
    find_or_create_experiment,
    find_runs,
    log_params,
    summarise_arm,
)
from studies.mirror.layout import ATTEMPT_TAGS, View, artifacts, read_view
from studies.mirror.search import find_or_create_search
from studies.mirror.store import store_lock

#: Most metrics that MLflow takes in one request.
_METRICS_PER_REQUEST = 1000


class RecordMirror:
    """Keeps the MLflow run of one record up to date.

    client: an ``MlflowClient``. uri: its tracking URI.
    """

    def __init__(self, client: Any, uri: str, folder: RunFolder) -> None:
        self._client, self._uri, self._folder = client, uri, folder
        self._runs = folder.path.parent.parent
        self._open: _OpenRun | None = None

    def push(self, alive: bool | None = None, failed: bool = False) -> tuple[str, View]:
        """Send what is new; returns MLflow's run id and what the run shows now.

        alive, failed: see :func:`studies.mirror.layout.read_view`.
        Raises mlflow's errors; the next call starts from what the server has by then.
        """
        view = read_view(self._folder, alive, failed)
        current, self._open = self._open, None
        if current is None:
            current = self._find(view)
        current.send(view)
        if view.status != "RUNNING" and current.tags.get("mirrored") != view.digest:
            self._end(current, view)
        self._open = current
        return current.run_id, view

    def _find(self, view: View) -> _OpenRun:
        """This record's run, created if it is not there, below its arm or search."""
        client = self._client
        with store_lock(self._runs):
            experiment = find_or_create_experiment(client, self._uri, self._runs, view.study)
            parent = self._parent(experiment, view)
            found = find_runs(client, experiment, kind="run", run=view.run, record=view.record)
            if found:
                run, *copies = found
                for copy in copies:
                    client.delete_run(copy.info.run_id)
            else:
                own = {"kind": "run", "record": view.record, "mlflow.user": getpass.getuser()}
                tags = {**view.tags, **own, "mlflow.parentRunId": parent}
                run = client.create_run(experiment, view.start, tags, view.run)
            # Still under the lock: MLflow refuses an input that another process logs at the same moment.
            if not view.params.keys() <= run.data.params.keys():
                log_params(client, run.info.run_id, view.params)
            if not run.inputs.dataset_inputs:
                client.log_inputs(run.info.run_id, [dataset_input(view.dataset)])
        opened = _OpenRun(client, run, _steps(client, run, view) if found else set())
        opened.send_tags({"mlflow.parentRunId": parent})
        return opened

    def _parent(self, experiment: str, view: View) -> str:
        """What the run lies below: its arm, a trial its search; call it under the store's lock."""
        if view.search is None:
            return find_or_create_arm(self._client, experiment, view)
        return find_or_create_search(self._client, experiment, view.study, view.search[0], view.start)

    def _end(self, current: _OpenRun, view: View) -> None:
        client = self._client
        for path in artifacts(self._folder):
            _log_artifact(client, current.run_id, path)
        client.set_terminated(current.run_id, view.status, end_time=view.end)
        # Looked up again: processes that do not share a folder may have created an arm twice.
        with store_lock(self._runs):
            parent = self._parent(current.experiment, view)
            current.send_tags({"mlflow.parentRunId": parent})
            if view.search is None:
                summarise_arm(client, current.experiment, parent)
        # Last: its presence means that everything before it arrived.
        current.send_tags({"mirrored": view.digest})


def _log_artifact(client: Any, run_id: str, path: Path) -> None:
    """Upload a file of a record; one of an earlier version without the credentials that it may hold."""
    if path.suffix in (".json", ".jsonl"):
        text = path.read_text(encoding="utf-8")
        shown = public_text(text)
        if shown != text:
            client.log_text(run_id, shown, path.name)
            return
    client.log_artifact(run_id, str(path))


class _OpenRun:
    """An MLflow run and what is known to be in it: tags, and the steps of its metrics."""

    def __init__(self, client: Any, run: Any, steps: set[tuple[str, int]]) -> None:
        self._client, self._steps = client, steps
        self._status: str = run.info.status
        self.run_id: str = run.info.run_id
        self.experiment: str = run.info.experiment_id
        self.tags: dict[str, str] = dict(run.data.tags)

    def send(self, view: View) -> None:
        """Bring metrics and tags up to date, and show a run that goes on as running."""
        from mlflow.entities import Metric

        new = [point for point in view.points if (point.key, point.step) not in self._steps]
        for first in range(0, len(new), _METRICS_PER_REQUEST):
            batch = new[first : first + _METRICS_PER_REQUEST]
            metrics = [Metric(p.key, p.value, p.timestamp, p.step) for p in batch]
            self._client.log_batch(self.run_id, metrics=metrics)
            self._steps.update((p.key, p.step) for p in batch)
        self.send_tags(view.tags)
        # An attempt outside Slurm must not carry the job of the one before it.
        for key in self.tags.keys() & set(ATTEMPT_TAGS) - view.tags.keys():
            self._client.delete_tag(self.run_id, key)
            del self.tags[key]
        if view.status == "RUNNING" and self._status != "RUNNING":
            self._client.update_run(self.run_id, status="RUNNING")
        self._status = view.status

    def send_tags(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        changed = {key: value for key, value in tags.items() if self.tags.get(key) != value}
        if changed:
            self._client.log_batch(self.run_id, tags=[RunTag(*item) for item in changed.items()])
            self.tags |= changed


def _steps(client: Any, run: Any, view: View) -> set[tuple[str, int]]:
    """(key, step) of every metric that the run already has."""
    keys = {point.key for point in view.points} & run.data.metrics.keys()
    return {(key, m.step) for key in keys for m in client.get_metric_history(run.info.run_id, key)}
