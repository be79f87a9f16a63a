"""What Slurm's commands answer, and how we read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm import client
from slurm.launch import choose_launcher
from tests.slurm.fakes import FakeSlurm


def test_jobs_of_an_array_as_squeue_tells_them(fake: FakeSlurm) -> None:
    fake.queue(
        "roadmap.1|12|0|RUNNING|node1|None",
        "roadmap.1|12|7|PENDING||Resources",
        "roadmap-report.1|13|N/A|PENDING||Dependency",
        "roadmap.1|12|3|WARP_SPEED|node[1-2]|a|b",
    )
    running, pending, report, strange = client.queue(["roadmap.1", "roadmap-report.1"])
    assert (running.id, running.state, running.node, running.reason) == ("12_0", "RUNNING", "node1", "")
    assert (pending.id, pending.reason) == ("12_7", "Resources")
    assert (report.id, report.index) == ("13", None)
    assert (strange.known, strange.ended, strange.reason) == (False, False, "a|b")
    assert "--name=roadmap.1,roadmap-report.1" in fake.calls("squeue")[0]


def test_nothing_is_asked_about_no_jobs(fake: FakeSlurm) -> None:
    assert client.queue([]) == []
    assert fake.calls("squeue") == []


def test_a_silent_slurm_is_an_error_and_not_an_empty_queue(fake: FakeSlurm) -> None:
    fake.answer("squeue", err="slurm_load_jobs error: Unable to contact slurm controller\n", status=1)
    with pytest.raises(client.SlurmError, match="Unable to contact slurm controller"):
        client.queue(["a"])


def test_accounting(fake: FakeSlurm) -> None:
    assert client.accounting(["a"], "2025-01-01T00:00:00") is None  # it says that it is disabled
    fake.answer(
        "sacct",
        out="a|12_0|CANCELLED by 1000|node1|0:15\na|12_1|FAILED|node1|1:0\n"
        "a|12_[2-9]|PENDING|None assigned|0:0\na|13|OUT_OF_MEMORY|node2|0:125\n",
    )
    found = client.accounting(["a"], "2025-01-01T00:00:00")
    assert found is not None
    assert [(job.id, job.state, job.exit_status) for job in found] == [
        ("12_0", "CANCELLED", 143),
        ("12_1", "FAILED", 1),
        ("13", "OUT_OF_MEMORY", 253),
    ]
    fake.answer("sacct", err="sacct: error: connection refused\n", status=1)
    with pytest.raises(client.SlurmError, match="connection refused"):
        client.accounting(["a"], "2025-01-01T00:00:00")


def test_sbatch_gives_a_job_id(fake: FakeSlurm, tmp_path: Path) -> None:
    assert client.sbatch(tmp_path / "a.sh", "afterany:7") == 101
    assert fake.calls("sbatch") == [["--parsable", "--dependency=afterany:7", str(tmp_path / "a.sh")]]
    fake.answer("sbatch", out="55;cluster\n")
    assert client.sbatch(tmp_path / "a.sh") == 55
    fake.answer("sbatch", out="welcome to our cluster\n")
    with pytest.raises(client.SlurmError, match="instead of a job id"):
        client.sbatch(tmp_path / "a.sh")


def test_a_refusal_is_told_apart_from_a_lost_answer(fake: FakeSlurm, tmp_path: Path) -> None:
    fake.answer("sbatch", err="sbatch: error: Batch job submission failed: Invalid account\n", status=1)
    with pytest.raises(client.SlurmError, match="Invalid account") as caught:
        client.sbatch(tmp_path / "a.sh")
    assert not caught.value.unclear
    fake.answer("sbatch", err="sbatch: error: Socket timed out on send/recv operation\n", status=1)
    with pytest.raises(client.SlurmError) as caught:
        client.sbatch(tmp_path / "a.sh")
    assert caught.value.unclear


def test_a_missing_command_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(client.SlurmError, match="sbatch is not on PATH"):
        client.sbatch(tmp_path / "a.sh")


def test_no_state_is_both_active_and_ended() -> None:
    assert not client.ACTIVE & client.ENDED


def test_the_launcher(fake: FakeSlurm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert choose_launcher() == "slurm"
    assert choose_launcher("local") == "local"
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert choose_launcher() == "local"
    assert choose_launcher("slurm") == "slurm"
    monkeypatch.delenv("SLURM_JOB_ID")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_launcher() == "local"
    with pytest.raises(ValueError, match="unknown launcher 'pbs'; choose one of: local, slurm"):
        choose_launcher("pbs")
