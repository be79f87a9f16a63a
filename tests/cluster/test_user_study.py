"""A user's own study, from a file outside the package, through a Slurm array, MLflow and the report."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import pytest

from roadmap.code import code_of, code_state
from roadmap.record import find_runs
from slurm.submission import read_submissions
from studies.mirror.store import default_uri
from tests.cluster.laboratory import ROOT, Laboratory
from tests.cluster.registry import names, training_drill
from tests.studies.user_study import ARMS, NAME, write_user_study


def mlflow_runs(store: Path) -> list[tuple[str, str, dict[str, str]]]:
    """Name, status and tags of every run; from the database, for mlflow's client warns."""
    with closing(sqlite3.connect(store)) as database:
        runs = database.execute("SELECT run_uuid, name, status FROM runs WHERE lifecycle_stage = 'active'")
        found = runs.fetchall()
        tags: dict[str, dict[str, str]] = {}
        for run, key, value in database.execute("SELECT run_uuid, key, value FROM tags"):
            tags.setdefault(run, {})[key] = value
    return [(name, status, tags[run]) for run, name, status in found]


@training_drill
def a_users_study(main_lab: Laboratory) -> None:
    """Planned elsewhere with relative paths; the tasks run frozen code, and need nothing of the user's."""
    lab = main_lab.beside("users")
    profile = lab.write_profile("site.toml", partition="train")
    file = write_user_study(lab.runs.parent / "mine")
    command = [sys.executable, "-m", "studies.run", file.name, "--embedded", "--protocol", "smoke"]
    command += [
        "--set",
        "training.epochs=2",
        "--workers",
        "1",
        "--runs",
        os.path.relpath(lab.runs, file.parent),
    ]
    env = lab.cluster.env | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--freeze", "--site", str(profile), "--tracking", default_uri(lab.runs)],
        cwd=file.parent, env=env, capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    file.unlink()
    (submission,) = read_submissions(lab.runs, NAME)
    assert [task.arm for task in submission.tasks] == list(ARMS)
    lab.wait_until_over(NAME, 800)

    folders = find_runs(lab.runs, NAME)
    log = "\n".join(path.read_text() for path in (submission.folder / "logs").iterdir())
    assert [folder.state() for folder in folders] == ["finished"] * 3, log
    assert Path(submission.code).resolve().parent == submission.folder.parent.resolve()
    assert {code_of(folder.environment() or {}) for folder in folders} == {code_state(Path(submission.code))}
    assert [row.arm for row in lab.overview(NAME).runs] == list(ARMS)

    shown = mlflow_runs(lab.runs / "mlflow.db")
    assert sorted((name, tags["stage_number"]) for name, _, tags in shown if tags["kind"] == "stage") == [
        ("baseline", "1"), ("decoupled-head", "2"), ("pointed", "3")
    ]  # fmt: skip
    assert [status for _, status, tags in shown if tags["kind"] == "run"] == ["FINISHED"] * 3
    assert sum(tags["kind"] == "report" for _, _, tags in shown) == 1

    report = (lab.runs / NAME / "report" / "report.md").read_text()
    places = [report.index(f"| {label} |") for label in ("YOLOv3 baseline", r"+decoupled head", "pointed")]
    assert places == sorted(places), report


@pytest.mark.cluster
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", names(__name__))
def test_drill(name: str, drills: dict[str, Future[None]]) -> None:
    drills[name].result()
