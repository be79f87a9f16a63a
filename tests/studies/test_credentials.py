"""A password or token in the tracking server's address stays with the user who gave it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.announce import outcome_json, outcome_text
from slurm.budget import Estimate
from slurm.site import Site
from slurm.submit import Outcome
from studies.attempt import preflight
from studies.command.cluster import submit_study
from tests.studies.tracking_servers import a_port, mlflow_server, runs_of
from tests.studies.tracking_standin import train

# mlflow itself still calls what SQLAlchemy, alembic and others have deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

REPOSITORY = Path(__file__).resolve().parents[2]
SECRETS = ("anna-k", "hunter2", "abc123")


def files_with_secrets(folder: Path) -> list[str]:
    """Files below a folder, a database among them, in which a secret stands."""
    return [
        f"{path.relative_to(folder)}: {secret}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for secret in SECRETS
        if secret.encode() in path.read_bytes()
    ]


@pytest.mark.slow
def test_a_mirrored_run(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    port, runs = a_port(), tmp_path / "runs"
    with mlflow_server(tmp_path / "server", port):
        command = [sys.executable, "-m", "studies.roadmap", "--stage", "baseline", "--protocol", "smoke"]
        command += ["--embedded", "--launcher", "local", "--runs", str(runs), "--no-report"]
        command += ["--tracking", f"http://anna-k:hunter2@127.0.0.1:{port}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        client = MlflowClient(f"http://127.0.0.1:{port}")
        (run,) = runs_of(client, "run")
        assert run.info.status == "FINISHED"
        assert "environment.json" in {file.path for file in client.list_artifacts(run.info.run_id)}
    (environment_json,) = runs.glob("roadmap/*/environment.json")
    assert f"http://127.0.0.1:{port}" in environment_json.read_text()  # the command, but not its secrets
    # The server's own files are below the same folder: every tag, parameter and artifact.
    assert files_with_secrets(tmp_path) == []
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:{port}/?token=abc123", "postgresql+nosuch://anna-k:hunter2@db/mlflow?password=abc123"],
)
def test_a_mirror_that_fails(tmp_path: Path, address: str, capfd: pytest.CaptureFixture[str]) -> None:
    outcome = train(tmp_path, "simota", 0, 2, 0.01, address.format(port=a_port()), idle=True)
    assert "not mirrored to" in outcome["left_over"]
    assert (tmp_path / "roadmap" / outcome["run"] / "tracking.log").stat().st_size > 0
    assert files_with_secrets(tmp_path) == []
    assert not [secret for secret in SECRETS if secret in str(outcome) + "".join(capfd.readouterr())]


@pytest.mark.parametrize("given", ["option", "site"])
def test_a_job_script_never_gets_credentials(tmp_path: Path, given: str) -> None:
    uri = "https://anna-k:hunter2@tracking.example"
    site = Site("x", tracking_uri=uri if given == "site" else "")
    options = argparse.Namespace(
        again=False, runs=str(tmp_path), tracking=uri if given == "option" else None, dry_run=True, json=False
    )
    with pytest.raises(ValueError, match="export MLFLOW_TRACKING_URI") as refusal:
        submit_study(None, site, options)  # type: ignore[arg-type]
    assert "hunter2" not in str(refusal.value)


def test_printed_job_scripts() -> None:
    script = "export HTTPS_PROXY=http://anna-k:hunter2@proxy:3128\n"
    outcome = Outcome((), (), Estimate(None, (), None, None, None), {"array.sh": script})
    printed = outcome_text(outcome, dry_run=True) + str(outcome_json(outcome))
    assert "http://proxy:3128" in printed
    assert "hunter2" not in printed


@pytest.mark.parametrize(
    "uri", ["http://anna-k:hunter2@127.0.0.1:9/", "http://127.0.0.1:9?token=abc123", "odd://x:hunter2@y"]
)
def test_the_check_of_a_cluster(uri: str) -> None:
    found = preflight._check_tracker(uri)
    assert not [secret for secret in SECRETS if secret in found.detail + found.fix]
    assert found.ok == uri.startswith("odd")
