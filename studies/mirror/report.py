"""A study's tables and figures as artifacts of a run named ``report`` in its experiment."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from roadmap.record import find_runs as find_records
from roadmap.redaction import public_uri
from studies.mirror.groups import find_or_create_experiment, find_runs
from studies.mirror.store import OFF, client_process, resolve_uri, store_lock


def mirror_study(runs: Path, study: str, uri: str | None = None, timeout: float = 120.0) -> str | None:
    """Send a study's report, and whatever of its records is still pending; never raises.

    Works in a second process, like the tracker, for at most ``timeout`` seconds. Returns a line that says
    what went wrong, None when all is well or tracking is off.
    """
    target = resolve_uri(uri, runs)
    if target == OFF or not find_records(runs, study):
        return None
    command = [sys.executable, "-m", "studies.sync", "--runs", str(runs), "--study", study]
    try:
        done = subprocess.run(
            command,
            env=client_process(target),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"report not sent to {public_uri(target)}: {error}; python -m studies.sync sends it later"
    if done.returncode == 0:
        return None
    return (
        f"not everything was sent to {public_uri(target)}; python -m studies.sync says what and tries again"
    )


def attach_report(client: Any, uri: str, runs: Path, study: str, folder: Path) -> bool:
    """Upload a report's files unless the server has them; returns whether anything was sent.

    Raises ValueError when the folder is missing or empty, and mlflow's errors.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise ValueError(f"no files in {folder}; python -m reports --study {study} makes a report")
    digest = _digest(folder, files)
    with store_lock(runs):
        experiment = find_or_create_experiment(client, uri, runs, study)
        found = find_runs(client, experiment, kind="report")
        if found:
            run, *copies = found
            for copy in copies:
                client.delete_run(copy.info.run_id)
        else:
            tags = {"kind": "report", "study": study}
            run = client.create_run(experiment, round(1000 * time.time()), tags, "report")
    if run.data.tags.get("mirrored") == digest:
        return False
    client.log_artifacts(run.info.run_id, str(folder))
    client.set_terminated(run.info.run_id, "FINISHED")
    client.set_tag(run.info.run_id, "mirrored", digest)
    return True


def _digest(folder: Path, files: list[Path]) -> str:
    total = hashlib.sha256()
    for path in files:
        total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()[:16]
