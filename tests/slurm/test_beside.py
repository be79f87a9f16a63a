"""Beside a run: its log as it grows, a shell on its node, and a lock that outlives its holder."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadmap.record import RunFolder
from slurm import attach, logs
from slurm.__main__ import main
from slurm.overview import overview
from slurm.site import Site
from slurm.submission import Submission
from slurm.submit import submit
from tests.slurm.conftest import make_task, start_run
from tests.slurm.fakes import FakeSlurm


@pytest.fixture
def sent(fake: FakeSlurm, site: Site, runs: Path) -> Submission:
    """A submitted study: simota with seeds 0 and 1."""
    submission = submit(
        "roadmap", [make_task("simota", 0), make_task("simota", 1)], site, runs, ()
    ).submission
    assert submission is not None
    return submission


# ---------------------------------------------------------------- logs


def test_a_log_is_followed_until_the_run_is_over(
    fake: FakeSlurm, sent: Submission, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole lines only, none twice, of both runs; the second run's log appears while we look."""
    first, second = (sent.folder / "logs" / f"101_{i}.log" for i in range(2))
    first.write_text("one\ntwo\n")
    fake.queue(f"{sent.job_name}|101|0|RUNNING|n|", f"{sent.job_name}|101|1|RUNNING|n|")

    def steps() -> Iterator[None]:
        first.write_text("one\ntwo\nthree\nhalf a ")
        yield
        first.write_text("one\ntwo\nthree\nhalf a line\n")
        second.write_text("hello\n")
        yield
        fake.queue()
        yield

    happens = steps()
    monkeypatch.setattr(logs, "sleep", lambda seconds: next(happens))
    monkeypatch.setattr(logs, "_LOOKS", 3)
    out = io.StringIO()
    logs.follow(lambda: [("roadmap", row) for row in overview("roadmap", runs).runs], runs, 1, out)
    names = [make_task("simota", seed).run for seed in range(2)]
    assert out.getvalue().splitlines() == [
        f"{names[0]}: two",
        f"{names[0]}: three",
        f"{names[0]}: half a line",
        f"{names[1]}: hello",
    ]


def test_following_what_is_over_ends_at_once(
    fake: FakeSlurm, sent: Submission, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sent.folder / "logs" / "101_0.log").write_text("one\ntwo\n")
    assert main(["logs", "--follow", "--seed", "0", "--lines", "1", "--runs", str(runs)]) == 0
    assert capsys.readouterr().out == "two\n"
    assert main(["logs", "--follow", "--json", "--runs", str(runs)]) == 2


# ---------------------------------------------------------------- attach


def test_a_shell_on_the_node_of_a_run(
    fake: FakeSlurm, sent: Submission, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(attach.os, "execvpe", lambda file, words, env: ran.append(words))
    monkeypatch.setenv("SHELL", "/bin/zsh")
    fake.queue(f"{sent.job_name}|101|0|PENDING||", f"{sent.job_name}|101|1|RUNNING|n|")
    fake.answer("squeue --jobs=101_1", out="777\n")
    assert main(["attach", "--runs", str(runs)]) == 0
    assert main(["attach", "--runs", str(runs), "--seed", "1", "--", "nvidia-smi", "-L"]) == 0
    common = ["srun", "--nodes=1", "--ntasks=1", "--jobid=777", "--overlap"]
    assert ran == [[*common, "--pty", "/bin/zsh", "-i"], [*common, "nvidia-smi", "-L"]]


def test_attach_wants_one_running_run(
    fake: FakeSlurm, sent: Submission, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attach", "--runs", str(runs)]) == 2
    assert "attach needs one running run, chosen are: none" in capsys.readouterr().err
    fake.queue(f"{sent.job_name}|101|0|RUNNING|n|", f"{sent.job_name}|101|1|RUNNING|n|")
    assert main(["attach", "--runs", str(runs)]) == 2
    assert "say which with --only and --seed" in capsys.readouterr().err


# ---------------------------------------------------------------- rescue

RESCUE = ["rescue", "--json"]


@pytest.fixture
def locked(sent: Submission, runs: Path) -> Iterator[RunFolder]:
    """Seed 0 is locked by somebody who says that she is process 5 on node3, job 777."""
    folder = start_run(runs)
    with folder.lock():
        (folder.path / "lock").write_text("process 5 on node3.cluster, job 777")
        yield folder


def rescue(runs: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, str]:
    assert main([*RESCUE, "--runs", str(runs), *more]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    return dict(answer)


@pytest.mark.parametrize(
    ("line", "left_alone"),
    [
        ("x|101|0|RUNNING|node3|None", "Slurm calls job 777 RUNNING"),
        ("x|101|0|COMPLETING|node3|None", "Slurm calls job 777 COMPLETING"),
        ("x|101|0|WARP_SPEED||None", "Slurm calls job 777 WARP_SPEED"),
        ("x|101|0|RUNNING|node[3-4]|None", "Slurm calls job 777 RUNNING"),
        ("x|101|0|NODE_FAIL|node3|None", ""),
        ("x|101|0|PENDING||BeginTime", ""),  # requeued: Slurm has given the node up
        ("x|101|0|RUNNING|node9|None", ""),
    ],
)
def test_a_lock_is_set_aside_only_when_slurm_says_that_its_holder_is_over(
    fake: FakeSlurm,
    locked: RunFolder,
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    line: str,
    left_alone: str,
) -> None:
    fake.answer("squeue --jobs=777", out=f"{line}\n")
    hosts = {"node[3-4]": "node3\nnode4\n"}.get(line.split("|")[4], line.split("|")[4] + "\n")
    fake.answer("scontrol hostnames", out=hosts)
    answer = rescue(runs, capsys)
    assert (answer["holder"], answer["left_alone"]) == ("process 5 on node3.cluster, job 777", left_alone)
    assert locked.is_locked() == bool(left_alone)
    if not left_alone:
        assert Path(answer["lock"]).read_text().startswith("process 5")
        with locked.lock():  # another process can have it now
            assert locked.is_locked()


def test_a_job_that_slurm_has_forgotten_is_over(
    fake: FakeSlurm, locked: RunFolder, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert overview("roadmap", runs).runs[0].last_end == "locked by process 5 on node3.cluster, job 777"
    fake.answer("squeue --jobs=777", err="slurm_load_jobs error: Invalid job id specified", status=1)
    assert rescue(runs, capsys, "--dry-run")["lock"] is None
    assert locked.is_locked()
    rescue(runs, capsys)
    assert not locked.is_locked()


def test_while_slurm_is_silent_no_lock_is_touched(
    fake: FakeSlurm, locked: RunFolder, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.answer("squeue --jobs=777", err="Unable to contact slurm controller", status=1)
    assert main([*RESCUE, "--runs", str(runs)]) == 2
    assert locked.is_locked()


@pytest.mark.parametrize(
    ("text", "left_alone"),
    [
        ("process 5 on node3", "process 5 on node3 belongs to no job: end it there"),
        (f"process {os.getpid()} on {os.uname().nodename}, job 777", "is alive, on this machine"),
        ("", "its lock does not say who holds it"),
    ],
    ids=["elsewhere", "here", "nobody"],  # a process id in a name would differ between test processes
)
def test_a_holder_that_slurm_does_not_know_is_left_alone(
    fake: FakeSlurm,
    locked: RunFolder,
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    left_alone: str,
) -> None:
    (locked.path / "lock").write_text(text)
    assert left_alone in rescue(runs, capsys)["left_alone"]
    assert locked.is_locked()


def test_nothing_is_locked(
    fake: FakeSlurm, sent: Submission, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rescue", "--runs", str(runs)]) == 0
    assert capsys.readouterr().out == "no run is locked\n"
