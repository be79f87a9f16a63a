"""Tracking stores for tests: SQLite files, and real MLflow servers on localhost."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from studies.mirror.server import server_command, server_environment, wait_until_up
from studies.mirror.store import connect, default_uri


@cache
def _empty_store() -> Path:
    """A SQLite file with mlflow's tables, which take a second to create."""
    folder = Path(tempfile.mkdtemp(prefix="mlflow-template-"))
    connect(default_uri(folder), folder)
    return folder / "mlflow.db"


def new_store(runs: Path) -> str:
    """URI of an empty default store in a folder of runs."""
    runs.mkdir(parents=True, exist_ok=True)
    shutil.copy(_empty_store(), runs / "mlflow.db")
    return default_uri(runs)


def open_store(runs: Path) -> tuple[Any, str]:
    """(client, uri) of an empty default store."""
    uri = new_store(runs)
    return connect(uri, runs), uri


def a_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[str]:
    """A real server over ``folder/mlflow.db``; gives its address, killed at the end."""
    if not (folder / "mlflow.db").exists():
        new_store(folder)
    address = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(
            server_command(default_uri(folder), folder / "mlartifacts", port),
            env=server_environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        assert wait_until_up(address, server), (folder / "server.log").read_text()
        yield address
    finally:
        # The whole group that was started here: mlflow's server runs in a child process.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def experiment_id(client: Any, study: str = "roadmap") -> str:
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None, f"no experiment {study}"
    return experiment.experiment_id


def runs_of(client: Any, kind: str, study: str = "roadmap") -> list[Any]:
    """Active runs of a kind (``run``, ``stage``, ``report``), by name."""
    found = client.search_runs([experiment_id(client, study)], f"tags.kind = '{kind}'", max_results=1000)
    return sorted(found, key=lambda run: run.info.run_name)


def points_of(client: Any, run: Any) -> Counter[tuple[str, int, float]]:
    """Every (key, step, value) of a run with how often it is there."""
    keys = client.get_run(run.info.run_id).data.metrics
    history = [m for key in keys for m in client.get_metric_history(run.info.run_id, key)]
    return Counter((m.key, m.step, m.value) for m in history)


def everything(client: Any) -> dict[str, Any]:
    """All that a sync could change: runs with tags, parameters, status, metrics and artifacts."""
    found = {}
    for kind in ("run", "stage", "report"):
        for run in runs_of(client, kind):
            artifacts = sorted((f.path, f.file_size) for f in client.list_artifacts(run.info.run_id))
            content = (run.data.tags, run.data.params, run.info.status, run.info.end_time, artifacts)
            found[run.info.run_id] = (*content, points_of(client, run))
    return found
