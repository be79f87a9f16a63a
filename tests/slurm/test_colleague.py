"""A colleague of another account looks at, and steers, runs that are not hers: no traceback, and a refusal
says whose folder it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from slurm.__main__ import main
from slurm.overview import overview
from slurm.site import Site
from slurm.submission import Submission, read_submissions
from slurm.submit import submit
from studies.command.cli import main as study_main
from studies.roadmap import STUDY
from tests.slurm.colleague import NOBODY, call_as_nobody
from tests.slurm.conftest import make_task, start_run
from tests.slurm.fakes import FakeSlurm

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else"),
    pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="no Python that everybody can run"),
]


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeSlurm, Path]]:
    """A runs folder made with umask 022 where everybody sees it, and a Slurm that everybody may ask."""
    before = os.umask(0o022)
    try:
        with tempfile.TemporaryDirectory(prefix="yolox-colleague-") as name:
            Path(name).chmod(0o755)
            fake = FakeSlurm(Path(name) / "slurm")
            fake.open_to_all()
            monkeypatch.setenv("PATH", f"{fake.bin}:{os.environ['PATH']}")
            yield fake, Path(name) / "runs"
    finally:
        os.umask(before)


roadmap = partial(study_main, STUDY)


def submitted(runs: Path) -> Submission:
    """Two runs of root's: one started, with a checkpoint's worth of record, one pending."""
    tasks = [make_task("simota", 0), make_task("simota", 1)]
    sent = submit("roadmap", tasks, Site("test"), runs, ("-m", "reports")).submission
    assert sent is not None
    folder = start_run(runs)
    with folder.lock():  # leaves the lock file
        pass
    (sent.folder / "logs" / "101_0.log").write_text("a line\n")
    return sent


def test_looking_needs_no_right_to_write(shared: tuple[FakeSlurm, Path]) -> None:
    fake, runs = shared
    sent = submitted(runs)
    fake.queue(f"{sent.job_name}|101|1|PENDING||Resources")
    told = call_as_nobody(["status", "--runs", str(runs), "--json"])
    assert (told.status, told.err) == (0, "")
    assert [row["state"] for row in json.loads(told.out)] == ["interrupted", "pending"]
    assert call_as_nobody(["logs", "--runs", str(runs)]).out.endswith("a line\n")


@pytest.mark.parametrize("arguments", [["retry"], ["resubmit"], ["probe"], ["check"]])
def test_what_needs_the_right_says_whose_folder_it_is(
    shared: tuple[FakeSlurm, Path], arguments: list[str]
) -> None:
    fake, runs = shared
    submitted(runs)
    (runs / "preflight").mkdir()
    (runs / "probe").mkdir()
    told = call_as_nobody([*arguments, "--runs", str(runs)])
    assert (told.status, told.out) == (2, "")
    assert "belongs to root" in told.err
    assert "--runs" in told.err
    assert len(fake.calls("sbatch")) == 2, "nothing was submitted"


def test_a_study_submitted_into_a_colleagues_folder(shared: tuple[FakeSlurm, Path]) -> None:
    fake, runs = shared
    submitted(runs)
    common = ["--embedded", "--protocol", "smoke", "--launcher", "slurm", "--runs", str(runs)]
    told = call_as_nobody([*common, "--dry-run"], roadmap)
    assert told.status == 0, told.err
    assert "#SBATCH --array=0-6" in told.out
    told = call_as_nobody(common, roadmap)
    assert told.status == 2
    assert "Traceback" not in told.err
    assert "belongs to root" in told.err
    assert "--runs" in told.err
    assert len(fake.calls("sbatch")) == 2, "nothing was submitted"


def test_a_folder_shared_with_a_group(shared: tuple[FakeSlurm, Path]) -> None:
    """A common group, chmod g+ws, umask 002: colleagues go on with each other's studies."""
    fake, runs = shared
    runs.mkdir()
    os.chown(runs, 0, NOBODY)
    runs.chmod(0o2775)
    os.umask(0o002)
    sent = submitted(runs)
    told = call_as_nobody(["resubmit", "--seed", "1", "--runs", str(runs)], umask=0o002)
    assert (told.status, told.err) == (0, "")
    assert "submitted 1 run" in told.out
    (theirs,) = [each for each in read_submissions(runs) if each.id != sent.id]
    assert theirs.user != sent.user
    fake.queue(f"{theirs.job_name}|{theirs.job}|0|PENDING||Resources")
    assert main(["cancel", "--seed", "1", "--runs", str(runs)]) == 0
    fake.queue()
    assert [row.state for row in overview("roadmap", runs).runs] == ["interrupted", "cancelled"]


def test_cancelling_is_slurms_decision(shared: tuple[FakeSlurm, Path]) -> None:
    """An administrator may, though the runs folder stays as it is."""
    fake, runs = shared
    sent = submitted(runs)
    fake.queue(f"{sent.job_name}|101|1|PENDING||Resources")
    assert call_as_nobody(["cancel", "--runs", str(runs)]).status == 0
    fake.answer("scancel", err="scancel: error: Kill job error on job id 101_1: Access denied\n", status=1)
    told = call_as_nobody(["cancel", "--runs", str(runs)])
    assert (told.status, "Access denied" in told.err) == (2, True)


def test_a_closed_folder_says_whose_it_is(shared: tuple[FakeSlurm, Path]) -> None:
    """umask 077: nothing can be read."""
    _, runs = shared
    sent = submitted(runs)
    (sent.folder / "submission.json").chmod(0o600)
    for command in ("status", "logs", "cancel", "retry"):
        told = call_as_nobody([command, "--runs", str(runs)])
        assert told.status == 2, (command, told)
        assert "submission.json" in told.err
        assert "belongs to root" in told.err


def test_a_run_that_cannot_be_read_hides_no_other(shared: tuple[FakeSlurm, Path]) -> None:
    _, runs = shared
    submitted(runs)
    subprocess.run(["chmod", "600", str(runs / "roadmap" / make_task("simota", 0).run / "lock")], check=True)
    told = call_as_nobody(["status", "--runs", str(runs), "--json"])
    assert told.status == 0
    assert [row["state"] for row in json.loads(told.out)] == ["unknown", "missing"]
    assert "Permission denied" in told.err
    assert "belongs to root" in told.err


def test_a_read_only_file_system(shared: tuple[FakeSlurm, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A snapshot, or a server in trouble: one can look, and nothing is submitted."""
    fake, runs = shared
    sent = submitted(runs)
    subprocess.run(["mount", "--bind", str(runs), str(runs)], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", str(runs)], check=True)
    try:
        fake.queue(f"{sent.job_name}|101|1|CANCELLED||")
        assert main(["status", "--runs", str(runs), "--json"]) == 0
        assert [row["state"] for row in json.loads(capsys.readouterr().out)] == ["interrupted", "cancelled"]
        assert main(["retry", "--runs", str(runs)]) == 2
        assert "Read-only file system; choose another --runs" in capsys.readouterr().err
    finally:
        subprocess.run(["umount", str(runs)], check=True)
