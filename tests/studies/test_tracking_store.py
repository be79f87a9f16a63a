"""Where MLflow keeps its data, and that credentials stay out of records."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from studies.mirror.store import (
    artifact_location,
    client_process,
    client_settings,
    default_uri,
    public_message,
    resolve_uri,
)


def test_the_argument_wins_over_the_environment_and_the_environment_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert resolve_uri(None, tmp_path) == "http://tracking:5000"
    assert resolve_uri("http://other", tmp_path) == "http://other"


def test_the_default_does_not_depend_on_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_uri(Path("runs")) == f"sqlite:///{tmp_path}/runs/mlflow.db"


def test_messages_lose_credentials_and_line_breaks() -> None:
    uri = "https://me:hunter2@tracking.example/?token=abc"
    error = ConnectionError(f"cannot reach {uri}\n (password hunter2, token=abc)")
    message = public_message(error, uri)
    assert message.startswith("ConnectionError: cannot reach https://tracking.example/")
    assert "hunter2" not in message
    assert "abc" not in message
    assert "\n" not in message


def test_the_cause_below_the_layers_of_clients_is_what_counts() -> None:
    error = RuntimeError("API request failed with exception HTTPConnectionPool(host='x')…")
    error.__context__ = requests.exceptions.ConnectionError("HTTPConnectionPool(host='x'): Max retries…")
    error.__context__.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert public_message(error, "http://x") == "ConnectionRefusedError: [Errno 111] Connection refused"
    assert public_message(RuntimeError("no disk"), "http://x") == "RuntimeError: no disk"


def test_artifacts_are_left_to_a_server_and_else_lie_beside_the_runs(tmp_path: Path) -> None:
    assert artifact_location("http://tracking:5000", tmp_path, "roadmap") is None
    assert (
        artifact_location(default_uri(tmp_path), tmp_path, "roadmap")
        == f"file://{tmp_path}/mlartifacts/roadmap"
    )


def test_the_users_settings_are_kept_but_nothing_is_reported_to_outsiders() -> None:
    mine = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "99", "MLFLOW_DISABLE_TELEMETRY": "false"}
    settings = client_settings(mine)
    assert settings["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "99"
    assert settings["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert settings["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert settings["DO_NOT_TRACK"] == "true"


def test_a_second_process_finds_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    environment = client_process("http://x")
    assert environment["MLFLOW_TRACKING_URI"] == "http://x"
    first, second = environment["PYTHONPATH"].split(":")
    assert (Path(first) / "studies" / "mirror" / "tracker.py").exists()
    assert second == "/somewhere"
