"""Where there is accounting, states that the queue has forgotten come from sacct."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slurm import client
from tests.cluster.accounting import why_no_accounting
from tests.cluster.cluster import Cluster, why_unavailable
from tests.cluster.laboratory import Laboratory


@pytest.fixture
def accounted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    """A cluster with slurmdbd, which forgets ended jobs at once."""
    reason = why_unavailable() or why_no_accounting()
    if reason is not None:
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="yolox-slurm-") as name:
        Path(name).chmod(0o755)
        cluster = Cluster(Path(name) / "cluster", accounting=True, remembers=2)
        monkeypatch.setenv("SLURM_CONF", cluster.env["SLURM_CONF"])
        try:
            cluster.start()
            (Path(name) / "runs").mkdir()
            yield Laboratory(cluster, Path(name) / "runs")
        finally:
            cluster.stop()


@pytest.mark.cluster
@pytest.mark.timeout(300)
def test_sacct_remembers(accounted: Laboratory) -> None:
    lab = accounted
    submission = lab.submit("told", 2, pause=0.02)
    lab.wait_for_epoch("told", seed=1)
    lab.slurm("scancel", f"{submission.job}_1")
    lab.wait_until_over("told")
    lab.wait("told", lambda: not client.queue([submission.job_name]), "the queue to forget the jobs")
    told = client.accounting([submission.job_name], "2020-01-01T00:00:00")
    assert told is not None
    assert {(job.id, job.state) for job in told} == {
        (f"{submission.job}_0", "COMPLETED"),
        (f"{submission.job}_1", "CANCELLED"),
    }
    assert lab.row("told", 0).state == "finished"
    assert (lab.row("told", 1).state, lab.row("told", 1).node) == ("cancelled", lab.cluster.node(1))
    more_jobs_than_the_account_may_have(lab)


def more_jobs_than_the_account_may_have(lab: Laboratory) -> None:
    """MaxSubmitJobs is three: two runs and the report, which submits the others; in the end all are there."""
    assert lab.cluster.accounting is not None
    lab.cluster.accounting.limit_jobs(3)
    site = replace(lab.site, python=sys.executable)
    outcome = lab.offer("crowd", lab.tasks("crowd", 4, pause=0.01), site)
    assert outcome.submission is not None
    assert sum(len(each.tasks) for each in outcome.submissions) == 2
    assert outcome.submission.report_job is not None
    assert [task.seed for task in outcome.submission.waiting] == [2, 3]
    assert "2 runs wait" in outcome.notes[0]
    lab.wait("crowd", lambda: all(lab.folder("crowd", seed).result() for seed in range(4)), "four results")
    lab.wait_until_over("crowd")
    lab.assert_finished("crowd", 4)
