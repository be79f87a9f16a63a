"""A search on a cluster, as far as Slurm's commands show it: what is submitted, waited for and given up."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest

from roadmap.record import RunFolder
from roadmap.search import SearchRecord
from slurm import steer
from slurm.site import Site
from slurm.submission import Submission, read_submissions
from studies import search
from studies.searching import cluster
from studies.searching.cluster import Cluster
from studies.searching.controller import Step, step
from tests.slurm.fakes import FakeSlurm
from tests.studies.search_bench import Bench, new_search


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    slurm = FakeSlurm(tmp_path / "fake-slurm")
    monkeypatch.setenv("PATH", f"{slurm.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "no-such-slurm.conf"))
    return slurm


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "bench"


def take(folder: Path, given: SearchRecord | None = None) -> Step:
    how = argparse.Namespace(freeze=False, look_every=None)
    site = Site("test", partition="batch")
    return step(
        folder, Cluster(folder, site, lambda run: ("-m", "studies.run", str(run.path)), how), "", given
    )


def queue(fake: FakeSlurm, sent: Submission, *states: str) -> None:
    fake.queue(*(f"{sent.job_name}|{sent.job}|{i}|{state}|n|" for i, state in enumerate(states)))


def test_trials_are_one_array_and_the_next_step_follows(fake: FakeSlurm, folder: Path) -> None:
    fake.answer("scontrol show", out="")
    done = take(folder, new_search(at_once=3))
    (sent,) = read_submissions(folder.parent)
    assert [task.arm for task in sent.tasks] == ["trial-0000", "trial-0001", "trial-0002"]
    assert done.said == ("submitted 3 runs as job 101",)
    queue(fake, sent, "RUNNING", "RUNNING", "RUNNING")
    assert take(folder).said == ()
    assert len(read_submissions(folder.parent)) == 1  # nothing twice
    assert fake.calls("sbatch")[-1][1].startswith("--dependency=afterany:101_0?afterany:101_1?")


def test_trials_that_all_end_while_a_step_looks_leave_no_search_behind(
    fake: FakeSlurm, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look at them and its search for a job to follow."""
    record = take(folder, new_search(trials=4)).record
    (sent,) = read_submissions(folder.parent)
    bench = Bench(folder.parent)

    def end_first(*_: Any) -> None:
        for trial in record.trials:
            bench.waiting.append(trial.run)
            bench.carry_out(trial.run)
        fake.queue()
        monkeypatch.setattr(cluster, "follow", lambda *_: 200)

    queue(fake, sent, "RUNNING", "RUNNING")
    monkeypatch.setattr(cluster, "follow", end_first)
    search._one_step(folder, None, Site("test", partition="batch"), "", True)
    later = read_submissions(folder.parent)[1:]
    assert [task.arm for each in later for task in each.tasks] == ["trial-0002", "trial-0003"]


def test_what_slurm_has_lost_is_not_looked_for_for_ever(
    fake: FakeSlurm, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    take(folder, new_search())
    (sent,) = read_submissions(folder.parent)
    queue(fake, sent, "RUNNING", "RUNNING")
    monkeypatch.setattr(cluster, "follow", lambda *_: None)
    with caplog.at_level("INFO"):
        assert search._one_step(folder, None, Site("test", partition="batch"), "", True) == search.FAILED
    assert f"on a login node type: python -m studies.search --step {folder}" in caplog.text


def test_the_place_of_a_trial_that_is_over_is_taken_at_once(fake: FakeSlurm, folder: Path) -> None:
    record = take(folder, new_search()).record
    first, second = read_submissions(folder.parent)[0], record.trials[0].run
    bench = Bench(folder.parent)
    bench.waiting.append(second)
    bench.carry_out(second)
    queue(fake, first, "COMPLETED", "RUNNING")
    done = take(folder)
    assert [trial.state for trial in done.record.trials] == ["finished", "running", "waiting"]
    assert [task.arm for task in read_submissions(folder.parent)[-1].tasks] == ["trial-0002"]


def test_a_cancelled_trial_is_not_waited_for_and_a_lost_one_is_submitted_again(
    fake: FakeSlurm, folder: Path
) -> None:
    take(folder, new_search())
    (sent,) = read_submissions(folder.parent)
    queue(fake, sent, "CANCELLED", "NODE_FAIL")
    done = take(folder)
    cancelled, lost, new = done.record.trials
    assert (cancelled.state, cancelled.reason) == ("failed", "cancelled")
    assert [task.run for task in read_submissions(folder.parent)[-1].tasks] == [
        lost.run.split("/")[1],
        new.run.split("/")[1],
    ]


def test_a_trial_that_never_gets_anywhere_is_given_up(fake: FakeSlurm, folder: Path) -> None:
    for _ in range(3):
        take(folder, new_search(trials=1, at_once=1))
        queue(fake, read_submissions(folder.parent)[-1], "NODE_FAIL")
    (trial,) = take(folder).record.trials
    assert trial.state == "failed"
    assert "node-fail, 3 submissions in a row without progress" in trial.reason
    assert "python -m slurm retry brings it back" in trial.reason


def test_a_trial_that_gets_on_is_never_given_up(fake: FakeSlurm, folder: Path) -> None:
    """A cluster that preempts by cancelling requeues nothing: every time it is submitted again."""
    for _ in range(5):
        done = take(folder, new_search(trials=1, at_once=1))
        assert [trial.state for trial in done.record.trials] == ["waiting"]
        sent = read_submissions(folder.parent)[-1]
        sent.history_file(0).write_text(f"2026-01-01T00:00:00Z\t{sent.job}_0\tn\t0\tprogress\t75\t\n")
        queue(fake, sent, "PREEMPTED")
    assert len(read_submissions(folder.parent)) == 5


def test_retry_takes_up_a_cancelled_trial_and_a_step_follows(fake: FakeSlurm, folder: Path) -> None:
    take(folder, new_search(trials=2))
    (sent,) = read_submissions(folder.parent)
    queue(fake, sent, "CANCELLED", "RUNNING")
    assert [trial.state for trial in take(folder).record.trials] == ["failed", "running"]
    outcome, _ = steer.again("resubmit", "bench", folder.parent)
    assert outcome is None
    outcome, _ = steer.again("retry", "bench", folder.parent)
    assert outcome is not None
    assert outcome.submission is not None
    assert [task.arm for task in outcome.submission.tasks] == ["trial-0000"]
    assert f"studies.search --step {folder}" in outcome.scripts["report.sh"]


def test_an_account_that_is_full_is_asked_again_by_the_next_step(fake: FakeSlurm, folder: Path) -> None:
    fake.answer("sbatch", err="error: AssocMaxSubmitJobLimit\n", status=1)
    said = take(folder, new_search()).said
    assert "2 runs must wait" in said[0]
    assert said[1].startswith("on a login node type:")  # for no job of this search will
    fake.answer("sbatch")
    assert take(folder).said == ("submitted 2 runs as job 101",)


def test_a_silent_slurm_makes_nobody_dead(fake: FakeSlurm, folder: Path) -> None:
    take(folder, new_search())
    fake.answer("squeue", err="slurm_load_jobs error\n", status=1)
    done = take(folder)
    assert [trial.state for trial in done.record.trials] == ["waiting", "waiting"]
    assert len(read_submissions(folder.parent)) == 1


def test_where_nodes_cannot_submit_it_says_what_to_type(fake: FakeSlurm, folder: Path) -> None:
    fake.answer("sbatch", err="sbatch: error: Access denied\n", status=1)
    said = take(folder, new_search()).said
    assert "Access denied" in said[0]
    assert said[1] == f"on a login node type: python -m studies.search --step {folder}"
    fake.answer("sbatch")
    assert take(folder).said == ("submitted 2 runs as job 101",)
    assert RunFolder(folder.parent / take(folder).record.trials[0].run).state() == "planned"
