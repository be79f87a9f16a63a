"""Where MLflow keeps its data, and how a process of ours talks to it.

``MLFLOW_TRACKING_URI`` decides; without it, one SQLite file for the project, ``<runs>/mlflow.db``, with
artifacts beside it. Nothing here imports mlflow before :func:`connect` is called: the import takes
more than a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from roadmap.redaction import without_secrets
from studies.mirror.own_store import follow_folder, make_store, store_file

#: Given as tracking URI: no tracking at all.
OFF = "off"

#: Below the folder of all runs: the artifacts of the project's own store.
ARTIFACTS = "mlartifacts"

#: Answers must come quickly: a request that hangs only delays the mirror, and it is tried again later.
#: mlflow alone would wait 120 s and retry seven times.
_CLIENT_SETTINGS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}

#: mlflow prints the address of every run that ends to standard output, where our JSON goes.
_QUIET = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}

#: mlflow reports usage to its makers unless told otherwise.
_NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


def resolve_uri(uri: str | None, runs: Path) -> str:
    """The tracking URI in force: the argument, else ``MLFLOW_TRACKING_URI``, else SQLite in ``runs``."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or default_uri(runs)


def default_uri(runs: Path) -> str:
    """The project's own store: a SQLite file in the folder of all runs."""
    return f"sqlite:///{runs.resolve()}/mlflow.db"


def report_folder(runs: Path, study: str) -> Path:
    """Where ``python -m studies.<study>`` leaves its report."""
    return runs / study / "report"


def artifact_location(uri: str, runs: Path, experiment: str) -> str | None:
    """Where an experiment's artifacts go; None leaves it to the server.

    Without a server mlflow would put them below the current directory, wherever that is.
    """
    if urlsplit(uri).scheme in ("http", "https"):
        return None
    return (runs.resolve() / ARTIFACTS / experiment).as_uri()


def public_message(error: BaseException, uri: str) -> str:
    """One line about an error, without the credentials of an address."""
    error = _root(error)
    text = without_secrets(f"{type(error).__name__}: {error}", uri)
    return " ".join(text.split())[:500]


def _root(error: BaseException) -> BaseException:
    """The operating system's error below the layers of clients, each of which repeats it; else the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionError | TimeoutError) and cause.errno is not None:
            return cause
        cause = cause.__cause__ or cause.__context__
    return error


def client_settings(base: Mapping[str, str]) -> dict[str, str]:
    """Environment variables of mlflow's client; what the user set himself is kept."""
    mine = {key: base.get(key, value) for key, value in _CLIENT_SETTINGS.items()}
    return {**mine, **_QUIET, **_NO_TELEMETRY}


def client_process(uri: str) -> dict[str, str]:
    """Environment of a second Python process of ours that talks to the store."""
    # The URI goes this way, because everybody on the machine can read a process's arguments.
    environment = {**os.environ, **client_settings(os.environ), "MLFLOW_TRACKING_URI": uri}
    here = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (here, environment.get("PYTHONPATH"))))
    # Its numeric libraries must not take the cores of training.
    environment["OMP_NUM_THREADS"] = "1"
    return environment


def connect(uri: str, runs: Path) -> Any:
    """An ``MlflowClient`` for the URI; creates the SQLite file when it is missing.

    Sets mlflow's time limits in this process's environment. Raises mlflow's and SQLAlchemy's errors.
    """
    os.environ.update(client_settings(os.environ))
    from mlflow import MlflowClient

    file = store_file(uri)
    if file is not None:
        prepare_store(file, runs)
    # Two processes that create the tables of one new database at the same time fail.
    with store_lock(runs):
        return MlflowClient(uri)


def prepare_store(file: Path, runs: Path) -> None:
    """Have a whole SQLite store at ``file``, whose artifact addresses are where it is.

    One process at a time: two that create the tables of one file fail. Raises mlflow's and SQLite's errors.
    """
    with store_lock(file.parent):
        make_store(file)
        if file == store_file(default_uri(runs)):
            follow_folder(file, runs.resolve() / ARTIFACTS)


@contextmanager
def store_lock(runs: Path) -> Iterator[None]:
    """One process at a time, among those that share the folder of runs, looks for or creates MLflow runs."""
    runs.mkdir(parents=True, exist_ok=True)
    with FileLock(runs / ".mlflow.lock"):
        yield
