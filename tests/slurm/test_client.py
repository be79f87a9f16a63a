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


def test_the_users_own_formats_and_filters_do_not_reach_slurms_commands(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With SQUEUE_USERS naming another account, a run of ours looked as if it were not in the queue."""
    seen = tmp_path / "environment"
    for name in ("squeue", "sbatch", "sacct", "scancel"):
        path = fake.bin / name
        path.write_text(path.read_text().replace("import json", f"import os; open({str(seen)!r}, 'a')"
                        ".write(' '.join(os.environ) + '\\n')\nimport json", 1))  # fmt: skip
    for name in ("SQUEUE_USERS", "SQUEUE_FORMAT", "SACCT_FORMAT", "SCANCEL_USER", "SBATCH_JOB_NAME"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("SBATCH_PARTITION", "gpu")
    monkeypatch.setenv("SBATCH_QOS", "long")
    script = tmp_path / "a.sh"
    script.write_text("#!/bin/bash\n#SBATCH --partition=cpu\n")
    client.queue(["a"])
    client.accounting(["a"], "2025-01-01T00:00:00")
    client.cancel(["1"])
    client.sbatch(script)
    lines = [line.split() for line in seen.read_text().splitlines()]
    assert len(lines) == 4
    assert not any(name.startswith(("SQUEUE_", "SACCT_", "SCANCEL_")) for line in lines for name in line)
    assert [name for name in lines[3] if name.startswith("SBATCH_")] == ["SBATCH_QOS"]  # left open


def test_accounting_tells_of_all_accounts(fake: FakeSlurm) -> None:
    client.accounting(["a"], "2025-01-01T00:00:00")
    assert "--allusers" in fake.calls("sacct")[0]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([], []),
        (["13"], ["13"]),
        (["12_4"], ["12_4"]),
        (["12_0", "12_1", "12_2", "12_5", "13"], ["12_[0-2,5]", "13"]),
        (["12_3", "14_0", "12_1", "14_1", "12_3"], ["12_[1,3]", "14_[0-1]"]),
    ],
)
def test_tasks_are_named_by_ranges(ids: list[str], words: list[str]) -> None:
    assert client.as_ranges(ids) == words


def test_seven_hundred_tasks_are_one_request(fake: FakeSlurm) -> None:
    client.cancel([f"12_{index}" for index in range(700)] + ["13"])
    assert fake.calls("scancel") == [["12_[0-699]", "13"]]


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
