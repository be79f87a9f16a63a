"""--freeze: all tasks of a submission, its report and their retries run one copy of the code."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from slurm import steer
from slurm import submit as submit_module
from slurm.script import Surroundings, array_script
from slurm.site import Site
from slurm.submission import read_submissions
from slurm.submit import submit
from tests.slurm.conftest import make_task
from tests.slurm.fakes import FakeSlurm

REPORT = ("-m", "reports")


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the code is copied to."""
    folder = tmp_path / "copies" / "code-0123"

    def freeze(where: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    monkeypatch.setattr(submit_module, "freeze_code", freeze)
    return folder


def exported(script: str) -> list[str]:
    return [line for line in script.splitlines() if line.startswith("export PYTHON")]


def test_every_script_of_a_submission_runs_the_copy(
    fake: FakeSlurm, site: Site, runs: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/home/me/project")
    outcome = submit("roadmap", [make_task()], site, runs, REPORT, freeze=True)
    assert outcome.submission is not None
    for name in ("array.sh", "report.sh"):
        lines = exported((outcome.submission.folder / name).read_text())
        assert f"export PYTHONPATH={copy}:/home/me/project" in lines
        assert "export PYTHONSAFEPATH=1" in lines
    assert read_submissions(runs, "roadmap")[0].code == str(copy)


def test_without_it_tasks_run_what_they_find(fake: FakeSlurm, site: Site, runs: Path, copy: Path) -> None:
    outcome = submit("roadmap", [make_task()], site, runs, REPORT)
    assert outcome.submission is not None
    assert "PYTHONSAFEPATH" not in (outcome.submission.folder / "array.sh").read_text()
    assert outcome.submission.code == ""
    assert not copy.exists()


def test_a_rehearsal_copies_nothing(fake: FakeSlurm, site: Site, runs: Path, copy: Path) -> None:
    submit("roadmap", [make_task()], site, runs, REPORT, freeze=True, dry_run=True)
    assert not copy.exists()


def test_a_retry_runs_the_same_copy(fake: FakeSlurm, site: Site, runs: Path, copy: Path) -> None:
    submit("roadmap", [make_task()], site, runs, REPORT, freeze=True)
    fake.queue()
    outcome, _ = steer.again("resubmit", "roadmap", runs)
    assert outcome is not None
    assert outcome.submission is not None
    assert outcome.submission.code == str(copy)
    assert str(copy) in (outcome.submission.folder / "array.sh").read_text()


def test_a_copy_that_is_gone_is_not_insisted_on(fake: FakeSlurm, site: Site, runs: Path, copy: Path) -> None:
    submit("roadmap", [make_task()], site, runs, REPORT, freeze=True)
    copy.rmdir()
    fake.queue()
    outcome, _ = steer.again("resubmit", "roadmap", runs)
    assert outcome is not None
    assert outcome.submission is not None
    assert outcome.submission.code == ""


def test_the_sites_own_path_comes_behind_the_copy() -> None:
    site = Site("x", variables={"PYTHONPATH": "/site/packages"})
    here = Surroundings("/here", "python", "").running("/copy")
    text = array_script("s.1", "t", 1, Path("/runs/s/submissions/1"), Path("/runs/s"), site, here)
    assert "export PYTHONPATH=/copy:/site/packages" in exported(text)


def test_python_takes_the_copy_and_not_the_working_directory(tmp_path: Path) -> None:
    """What the variables are for: a job starts in the checkout, where a module of the same name lies."""
    for place, value in (("checkout", 1), ("copy", 2)):
        (tmp_path / place).mkdir()
        (tmp_path / place / "thing.py").write_text(f"print({value})")
    here = replace(Surroundings("", "", ""), python_path=str(tmp_path / "checkout"))
    frozen = here.running(str(tmp_path / "copy"))
    done = subprocess.run(
        [sys.executable, "-m", "thing"],
        cwd=tmp_path / "checkout",
        env={"PYTHONPATH": frozen.python_path, "PYTHONSAFEPATH": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "2\n"
