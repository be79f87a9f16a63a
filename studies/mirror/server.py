"""Look at the runs: an MLflow server on this machine over the project's store.

    python -m studies.mirror.server                  http://127.0.0.1:5000 over runs/mlflow.db
    python -m studies.mirror.server --runs /data/runs --port 5001

It answers on this machine only. docs/mlflow.md says how a team runs a server.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from studies.mirror.store import ARTIFACTS, default_uri, prepare_store
from studies.mirror.views import view_address

_HOST = "127.0.0.1"
#: Seconds that a server may take until it answers; the first one creates the tables.
_PATIENCE = 120.0


def server_command(uri: str, artifacts: Path, port: int, workers: int = 1) -> list[str]:
    """Command line of an MLflow server on localhost that serves artifacts."""
    store = ["--backend-store-uri", uri, "--artifacts-destination", artifacts.resolve().as_uri()]
    network = ["--host", _HOST, "--port", str(port), "--workers", str(workers)]
    return [sys.executable, "-m", "mlflow", "server", "--serve-artifacts", *store, *network]


def server_environment() -> dict[str, str]:
    """Without mlflow's reports to its makers, and without its job queues, which nothing here uses."""
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    return {**os.environ, **quiet, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def wait_until_up(address: str, server: subprocess.Popen[bytes], seconds: float = _PATIENCE) -> bool:
    """Whether the server answers before it ends or the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False


def free_port(wanted: int) -> int:
    """``wanted`` when it is free on localhost, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((_HOST, port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise OSError(f"no free port on {_HOST}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; runs until it is stopped."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the server would outlive us
    runs: Path = options.runs
    runs.mkdir(parents=True, exist_ok=True)
    uri, port = default_uri(runs), free_port(options.port)
    prepare_store(runs.resolve() / "mlflow.db", runs)
    address = f"http://{_HOST}:{port}"
    server = subprocess.Popen(
        server_command(uri, runs / ARTIFACTS, port),
        env=server_environment(),
        stdout=None if options.verbose else subprocess.DEVNULL,
        stderr=None if options.verbose else subprocess.DEVNULL,
    )
    try:
        if not wait_until_up(address, server):
            print("error: the server did not start; --verbose shows what it says", file=sys.stderr)
            return 1
        print(f"MLflow: {address}   (store {uri}; Ctrl-C stops it)")
        for study, experiment in _experiments(runs / "mlflow.db"):
            print(f"  {study:<14} {view_address(address, experiment)}")
            print(f"  {'':<14} {view_address(address, experiment, chart=True)}")
        sys.stdout.flush()
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.terminate()
        server.wait()


def _experiments(store: Path) -> list[tuple[str, str]]:
    """(name, id) of the studies in a SQLite store; read directly, because importing mlflow takes seconds."""
    query = (
        "SELECT name, experiment_id FROM experiments WHERE lifecycle_stage = 'active' AND experiment_id > 0"
    )
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
        return [(name, str(number)) for name, number in connection.execute(query)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.mirror.server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    parser.add_argument("--port", type=int, default=5000, help="default: 5000, or a free one if it is taken")
    parser.add_argument("--verbose", action="store_true", help="show the server's own messages")
    return parser


if __name__ == "__main__":
    sys.exit(main())
