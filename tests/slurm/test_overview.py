"""States of runs, from records, queue and accounting; and what cancel, retry and resubmit make of them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from roadmap.record import STOP, append_line, write_json
from roadmap.stages import stage_arm
from roadmap.study import Study, write_study
from slurm import client, states, steer
from slurm.__main__ import main
from slurm.announce import status_table
from slurm.history import LAUNCH
from slurm.overview import RunStatus, overview, studies
from slurm.ownership import account
from slurm.places import never_started
from slurm.progress import duration
from slurm.site import Site
from slurm.submission import Submission
from slurm.submit import submit
from tests.roadmap.records import finish
from tests.slurm.conftest import make_run, make_task, start_run
from tests.slurm.fakes import FakeSlurm


@pytest.fixture
def sent(fake: FakeSlurm, site: Site, runs: Path) -> Submission:
    """A submitted study: simota with seeds 0 and 1."""
    outcome = submit(
        "roadmap", [make_task("simota", 0), make_task("simota", 1)], site, runs, ("-m", "reports")
    )
    assert outcome.submission is not None
    return outcome.submission


def row(runs: Path, seed: int = 0) -> RunStatus:
    return next(row for row in overview("roadmap", runs).runs if row.seed == seed)


def history(sent: Submission, *events: tuple[str, int], restart: int = 0, index: int = 0) -> None:
    with (sent.folder / "history" / f"{index}.tsv").open("a") as file:
        for event, status in events:
            file.write(f"2025-01-01T00:00:00Z\t101_{index}\tnode1\t{restart}\t{event}\t{status}\t\n")


def test_a_pending_run_says_why_it_waits(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    fake.queue(f"{sent.job_name}|101|0|PENDING||Resources")
    assert (row(runs).state, row(runs).job, row(runs).last_end) == ("pending", "101_0", "waits: Resources")
    assert row(runs, 1).state == "missing"


def test_a_running_run_shows_its_progress(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    """24 epochs of a minute, 10 done: 14 minutes left."""
    start_run(runs, epochs=10)
    fake.queue(f"{sent.job_name}|101|0|RUNNING|node7|")
    found = row(runs)
    assert (found.state, found.node, found.attempts) == ("running", "node7", 1)
    assert (found.progress.epoch, found.progress.epochs) == (10, 24)
    assert (found.progress.ap, found.progress.seconds_left) == (10.0, 14 * 60.0)


def test_a_run_that_a_search_stopped_says_why_and_is_left_alone(
    fake: FakeSlurm, sent: Submission, runs: Path
) -> None:
    write_json(start_run(runs).path / STOP, {"kind": "pruned", "message": "below the median at epoch 4"})
    assert (row(runs).state, row(runs).last_end) == ("stopped", "below the median at epoch 4")
    for command in ("retry", "resubmit"):
        outcome, left = steer.again(command, "roadmap", runs, seeds=[0])
        assert (outcome, left) == (None, ())
    again = submit("roadmap", [make_task("simota", 0)], sent.site, runs, ())
    assert again.submission is None
    assert "stopped for good: below the median" in again.skipped[0].why


def test_a_finished_run_is_finished_whatever_slurm_says(
    fake: FakeSlurm, sent: Submission, runs: Path
) -> None:
    finish(start_run(runs), make_run())
    fake.queue(f"{sent.job_name}|101|0|FAILED|n|NonZeroExitCode")
    assert row(runs).state == "finished"
    fake.answer("squeue", err="down", status=1)
    assert row(runs).state == "finished"


def test_a_broken_result_is_said_and_never_finished(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    folder = start_run(runs)
    finish(folder, make_run())
    (folder.path / "result.json").write_text("{")
    found = row(runs)
    assert found.state == "unreadable"
    assert "is not valid JSON" in found.last_end


def test_records_from_before_are_shown(fake: FakeSlurm) -> None:
    """Written by the code of commit d9e44bb, which called an arm a stage."""
    found = overview("roadmap", Path(__file__).parents[1] / "roadmap" / "fixtures").runs
    assert {(row.arm, row.state) for row in found} == {
        ("baseline", "finished"), ("simota", "finished"), ("nms-free", "finished"),
    }  # fmt: skip


def test_an_unknown_word_is_unknown_and_never_dead(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    start_run(runs)
    fake.queue(f"{sent.job_name}|101|0|WARP_SPEED|n|", f"{sent.job_name}|101|1|WARP_SPEED|n|")
    assert row(runs).state == "unknown (WARP_SPEED)"
    for command in ("retry", "resubmit"):
        assert steer.again(command, "roadmap", runs) == (None, ())


def test_a_silent_slurm_makes_states_unknown(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    start_run(runs)
    fake.answer("squeue", err="Unable to contact slurm controller", status=1)
    found = overview("roadmap", runs)
    assert [r.state for r in found.runs] == ["unknown", "unknown"]
    assert "Unable to contact" in found.notes[0]
    for command in ("retry", "resubmit"):
        assert steer.again(command, "roadmap", runs) == (None, ())


def test_a_locked_run_is_running_though_slurm_forgot_it(
    fake: FakeSlurm, sent: Submission, runs: Path
) -> None:
    with start_run(runs).lock():
        assert row(runs).state == "running"
    assert row(runs).state == "interrupted"


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("CANCELLED", "cancelled"),
        ("TIMEOUT", "timeout"),
        ("NODE_FAIL", "node-fail"),
        ("OUT_OF_MEMORY", "out-of-memory"),
        ("DEADLINE", "timeout"),
        ("REVOKED", "cancelled"),
        ("FAILED", "failed"),
    ],
)
def test_how_slurm_ended_a_run(fake: FakeSlurm, sent: Submission, runs: Path, word: str, state: str) -> None:
    start_run(runs)
    fake.queue(f"{sent.job_name}|101|0|{word}|n|Because")
    assert row(runs).state == state
    assert row(runs).last_end == f"{word.lower()} (Because)"
    outcome, _ = steer.again("retry", "roadmap", runs)
    assert outcome is not None
    assert outcome.submission is not None
    assert [t.seed for t in outcome.submission.tasks] == [0]


def test_every_ending_has_a_word_of_ours() -> None:
    assert set(states._ENDINGS) == client.ENDED - {"COMPLETED", "FAILED"}


def test_accounting_remembers_what_the_queue_forgot(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    start_run(runs)
    fake.answer("sacct", out=f"{sent.job_name}|101_0|TIMEOUT|node3|0:0\n")
    assert (row(runs).state, row(runs).node) == ("timeout", "node3")
    fake.queue(f"{sent.job_name}|101|0|PENDING||BeginTime")  # the queue knows better
    assert row(runs).state == "pending"


def test_a_kill_is_told_by_the_scripts_own_notes(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    start_run(runs)
    history(sent, ("start", 0), ("end", 137))
    fake.queue(f"{sent.job_name}|101|0|FAILED|n|NonZeroExitCode")
    assert (row(runs).state, row(runs).last_end) == ("killed", "killed by signal 9")


def test_a_run_that_was_killed_too_often_is_killed(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    start_run(runs)
    history(sent, ("start", 0), ("end", 137), ("requeue", 137))  # counted, and then not requeued
    fake.queue(f"{sent.job_name}|101|0|FAILED|n|NonZeroExitCode")
    assert row(runs).state == "killed"


def test_a_checkpointed_run_at_its_cap_is_interrupted(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    folder = start_run(runs)
    append_line(folder.path / "attempts.jsonl", {"event": "end", "attempt": 1, "reason": "signal"})
    history(sent, ("start", 0), ("end", 75))
    fake.queue(f"{sent.job_name}|101|0|FAILED|n|NonZeroExitCode")
    assert (row(runs).state, row(runs).last_end) == ("interrupted", "signal")


def test_a_failure_of_the_last_attempt_counts_and_an_older_one_does_not(
    fake: FakeSlurm, sent: Submission, runs: Path
) -> None:
    folder = start_run(runs)
    failure = {"kind": "non-finite-loss", "message": "loss is nan", "attempt": 1}
    write_json(folder.path / "failure.json", failure)
    assert (row(runs).state, row(runs).last_end) == ("failed", "non-finite-loss: loss is nan")
    outcome, failed = steer.again("resubmit", "roadmap", runs)
    assert [r.seed for r in failed] == [0]
    assert outcome is not None
    assert outcome.submission is not None
    assert [t.seed for t in outcome.submission.tasks] == [1]
    append_line(folder.path / "attempts.jsonl", {"event": "start", "attempt": 2, "pid": 1})
    assert row(runs).state == "interrupted"


def test_a_changed_recipe_hides_what_was_never_started(fake: FakeSlurm, site: Site, runs: Path) -> None:
    """The same command line, another run: the recipe changed between the submissions."""
    old = dataclasses.replace(make_task("simota", 0), run="simota-s0-00000000")
    submit("roadmap", [old], site, runs, ())
    submit("roadmap", [make_task("simota", 0)], site, runs, ())
    found = overview("roadmap", runs)
    assert [r.run for r in found.runs] == [make_task("simota", 0).run]
    outcome, _ = steer.again("resubmit", "roadmap", runs)
    assert outcome is not None
    assert [s.run for s in (outcome.submission.tasks if outcome.submission else ())] == [found.runs[0].run]


def test_runs_without_a_submission_are_shown(fake: FakeSlurm, runs: Path) -> None:
    start_run(runs, "baseline")
    assert studies(runs) == ("roadmap",)
    (only,) = overview("roadmap", runs).runs
    assert (only.arm, only.state, only.submission) == ("baseline", "interrupted", None)


def test_cancel_takes_the_report_only_with_the_last_run(
    fake: FakeSlurm, sent: Submission, runs: Path
) -> None:
    fake.queue(
        f"{sent.job_name}|101|0|RUNNING|n|",
        f"{sent.job_name}|101|1|PENDING||",
        f"{sent.report_name}|102|N/A|PENDING||Dependency",
    )
    found = overview("roadmap", runs)
    assert found.report_jobs == ("102",)
    assert steer.cancel(found, steer.select(found, seeds=[0])) == ("101_0",)
    assert steer.cancel(found, found.runs) == ("101_0", "101_1", "102")
    assert fake.calls("scancel") == [["101_0"], ["101_[0-1]", "102"]]


def test_a_cancelled_pending_run_stays_cancelled(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    """Slurm forgets it after minutes; the submission does not. Only retry takes it up again."""
    fake.queue(f"{sent.job_name}|101|0|PENDING||Resources", f"{sent.job_name}|101|1|PENDING||Resources")
    found = overview("roadmap", runs)
    steer.cancel(found, steer.select(found, seeds=[0]))
    fake.queue()
    assert [(r.state, r.last_end) for r in overview("roadmap", runs).runs] == [
        ("cancelled", f"cancelled by {account()}"),
        ("missing", ""),
    ]
    outcome, left = steer.again("resubmit", "roadmap", runs, dry_run=True)
    assert outcome is not None
    assert "--seed 0" not in outcome.scripts["tasks.txt"]
    assert [r.seed for r in left] == [0]
    outcome, _ = steer.again("retry", "roadmap", runs, dry_run=True)
    assert outcome is not None
    assert "--seed 0" in outcome.scripts["tasks.txt"]
    assert "--seed 1" not in outcome.scripts["tasks.txt"]


def test_a_cancellation_by_hand_is_remembered_once_seen(
    fake: FakeSlurm, sent: Submission, runs: Path
) -> None:
    fake.queue(f"{sent.job_name}|101|0|CANCELLED||")
    assert row(runs).state == "cancelled"
    fake.queue()
    assert row(runs).state == "cancelled"
    history(sent, ("start", 0), restart=0)  # array.sh was submitted again by hand
    assert row(runs).state == "interrupted"


def test_a_failed_launch_is_not_the_runs_own_failure(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    """resubmit takes it up again, from cron too; a failure of the run's own it leaves to a person."""
    history(sent, ("start", 0))
    history_line = f"2025-01-01T00:00:00Z\t101_0\tnode1\t0\tend\t67\t{LAUNCH}\n"
    with (sent.folder / "history" / "0.tsv").open("a") as file:
        file.write(history_line)
    fake.queue(f"{sent.job_name}|101|0|FAILED|n|NonZeroExitCode")
    assert (row(runs).state, row(runs).last_end) == (
        "launch-failed",
        "did not start: module load failed; see its log",
    )
    outcome, left = steer.again("resubmit", "roadmap", runs, seeds=[0])
    assert (outcome is not None, left) == (True, ())


def test_why_a_run_was_not_requeued(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    history(sent, ("start", 0), ("end", 137), ("idle", 137))
    with (sent.folder / "history" / "0.tsv").open("a") as file:
        file.write("2025-01-01T00:00:00Z\t101_0\tnode1\t0\tover\t137\tno progress\n")
    assert (row(runs).state, row(runs).last_end) == (
        "killed",
        "killed by signal 9; not requeued: no progress",
    )


def test_an_unreadable_record_blocks_no_other_run(
    fake: FakeSlurm, sent: Submission, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = start_run(runs)
    (folder.path / "metrics.jsonl").write_text("no JSON\n{}\n")
    fake.queue(f"{sent.job_name}|101|0|RUNNING|n|", f"{sent.job_name}|101|1|RUNNING|n|")
    found = overview("roadmap", runs)
    assert [r.state for r in found.runs] == ["running", "running"]
    assert "metrics.jsonl, line 1 is not valid JSON" in found.notes[0]
    assert main(["cancel", "--runs", str(runs)]) == 0
    assert fake.calls("scancel") == [["101_[0-1]"]]
    fake.queue()
    assert row(runs).state == "unknown"  # and nothing is done to it
    assert steer.again("retry", "roadmap", runs, seeds=[0])[0] is None


def test_jobs_that_slurm_hides_are_unknown_and_not_missing(
    fake: FakeSlurm, sent: Submission, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PrivateData=jobs, and a colleague's submission: nothing is submitted twice."""
    dataclasses.replace(sent, user="alice").save()
    monkeypatch.setattr(client.os, "geteuid", lambda: 1234)
    fake.answer("scontrol", out="PrivateData             = none\n")
    assert row(runs).state == "missing"
    fake.answer("scontrol", out="PrivateData             = jobs,usage\n")
    assert (row(runs).state, row(runs).last_end) == ("unknown", "Slurm hides the jobs of alice")
    outcome = submit("roadmap", [make_task("simota", 0)], sent.site, runs, ())
    assert [s.why for s in outcome.skipped] == [
        "perhaps in the queue: Slurm hides the jobs of alice, who submitted it"
    ]
    history(sent, ("start", 0), ("end", 1), ("over", 1))  # its own notes say that it is over
    assert row(runs).state == "failed"
    assert submit("roadmap", [make_task("simota", 0)], sent.site, runs, ()).submission is not None


def test_a_report_that_failed_is_shown(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    assert overview("roadmap", runs).report_failure == ""
    fake.queue(f"{sent.report_name}|102|N/A|OUT_OF_MEMORY|n|OutOfMemory")
    assert overview("roadmap", runs).report_failure == "out_of_memory; it left no log"
    line = "2025-01-01T00:00:00Z\t102\tnode1\t0\t{}\t{}\t\n"
    log = sent.folder / "logs" / "report_102.log"
    log.write_text("")
    (sent.folder / "history" / "report.tsv").write_text(line.format("start", 0) + line.format("end", 137))
    fake.queue()
    found = overview("roadmap", runs)
    assert found.report_failure == f"killed by signal 9; its log: {log}"
    assert f"report: FAILED: killed by signal 9; its log: {log}" in status_table(found, found.runs)
    fake.queue(f"{sent.report_name}|103|N/A|PENDING||Dependency")  # of a later submission by hand
    assert overview("roadmap", runs).report_failure == ""
    fake.queue()
    (sent.folder / "history" / "report.tsv").write_text(line.format("start", 0) + line.format("end", 0))
    assert overview("roadmap", runs).report_failure == ""


def test_runs_that_never_started_have_names(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    start_run(runs)
    assert never_started(runs, "roadmap") == (make_task("simota", 1).run,)


def test_a_wrong_selection_names_the_right_ones(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    with pytest.raises(ValueError, match="has no arm 'simoto'; it has: simota"):
        steer.select(overview("roadmap", runs), ["simoto"])
    with pytest.raises(ValueError, match="has no seed 7; it has: 0, 1"):
        steer.select(overview("roadmap", runs), (), [7])


def test_a_study_that_was_never_submitted(fake: FakeSlurm, runs: Path) -> None:
    start_run(runs)
    with pytest.raises(ValueError, match="was never submitted"):
        steer.again("retry", "roadmap", runs)


@pytest.mark.parametrize(
    ("left", "text"),
    [(None, ""), (40, "40s"), (720, "12m"), (3900, "1h 05m"), (183600, "2d 3h")],
)
def test_durations(left: float | None, text: str) -> None:
    assert duration(left) == text


# ---------------------------------------------------------------- the command line


def test_status_as_table_and_json(
    fake: FakeSlurm, sent: Submission, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start_run(runs, epochs=10)
    fake.queue(f"{sent.job_name}|101|0|RUNNING|node7|", f"{sent.job_name}|101|1|PENDING||Resources")
    assert main(["status", "--runs", str(runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "study roadmap: 1 running, 1 pending"
    assert re.split("  +", lines[1]) == [
        *["run", "state", "epoch", "AP", "left", "GPU-h", "job", "node", "attempts", "last end"]
    ]
    assert lines[2].split() == [make_task().run, "running", "10/24", "10.0", "14m", "101_0", "node7", "1"]
    assert main(["status", "--runs", str(runs), "--seed", "0", "--json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)
    assert only["study"] == "roadmap"
    assert (only["epoch"], only["epochs"], only["seconds_left"], only["job"]) == (10, 24, 840.0, "101_0")


def test_when_a_pending_run_may_start(
    fake: FakeSlurm, sent: Submission, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.queue(f"{sent.job_name}|101|0|PENDING||Resources", f"{sent.job_name}|101|1|PENDING||Priority")
    fake.answer("squeue --states=PENDING", out="101|0|2031-05-06T07:08:09\n101|1|N/A\n102|N/A|N/A\n")
    first, second = overview("roadmap", runs).runs
    assert first.expected_start.startswith("2031-05-06T07:08:09")
    assert datetime.fromisoformat(first.expected_start).tzinfo is not None
    assert second.expected_start == ""
    assert main(["status", "--runs", str(runs)]) == 0
    assert "waits: Resources; expected to start 06 May 07:08\n" in capsys.readouterr().out


def test_gpu_hours_by_hand(
    fake: FakeSlurm, site: Site, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On four GPUs: half an hour that ended, an hour until Slurm started it anew (its node had died), and a
    quarter of an hour of a later submission: seven GPU-hours.
    """
    four = dataclasses.replace(site, gpus_per_node=2, nodes=2)
    first = [("start", "10:00"), ("end", "10:30"), ("idle", "10:30"), ("start", "11:00"), ("start", "12:00")]
    for moments in (
        [*first, ("end", "12:00")],
        [("start", "20:00"), ("cancel", "20:15"), ("end", "20:16")],
    ):
        submission = submit("roadmap", [make_task("simota", 0)], four, runs, ()).submission
        assert submission is not None
        with (submission.folder / "history" / "0.tsv").open("a") as file:
            for event, time in moments:
                file.write(f"2025-01-01T{time}:00Z\t101_0\tnode1\t0\t{event}\t0\t\n")
    assert row(runs).gpu_hours == pytest.approx(4 * (0.5 + 1 + 0.25))
    submit("roadmap", [make_task("simota", 1)], four, runs, ())
    assert row(runs, 1).gpu_hours is None
    assert main(["status", "--runs", str(runs)]) == 0
    assert "study roadmap: 1 cancelled, 1 missing; 7.0 GPU-hours used\n" in capsys.readouterr().out


def test_an_attempt_under_way_counts_until_now(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    start_run(runs)
    began = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    (sent.folder / "history" / "0.tsv").write_text(f"{began}\t101_0\tnode1\t0\tstart\t0\t\n")
    fake.queue(f"{sent.job_name}|101|0|RUNNING|node7|")
    assert row(runs).gpu_hours == pytest.approx(2, abs=0.05)
    log = sent.folder / "logs" / "101_0.log"
    log.write_text("")
    written = (datetime.now(UTC) - timedelta(hours=1)).timestamp()
    os.utime(log, (written, written))
    fake.queue()  # its node died an hour ago
    assert row(runs).gpu_hours == pytest.approx(1, abs=0.05)


def test_logs_show_the_tail_of_the_latest_job(
    fake: FakeSlurm, sent: Submission, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", "--runs", str(runs)]) == 1
    (sent.folder / "logs" / "101_1.log").write_text("one\ntwo\nthree\n")
    capsys.readouterr()
    assert main(["logs", "--runs", str(runs), "--seed", "1", "--lines", "2"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].endswith("101_1.log")
    assert shown[1:] == ["two", "three"]


def test_a_reader_that_leaves_early_is_no_error(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    """status | head -1"""
    command = f"{sys.executable} -m slurm status --runs {runs} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_wrong_calls_say_what_is_right(
    fake: FakeSlurm, sent: Submission, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--study", "raodmap", "--runs", str(runs)]) == 2
    assert "no study 'raodmap'" in capsys.readouterr().err
    assert main(["retry", "--stage", "x", "--runs", str(runs)]) == 2
    assert "has no arm 'x'; it has: simota" in capsys.readouterr().err


def test_retry_dry_run_prints_the_script(
    fake: FakeSlurm, sent: Submission, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = len(fake.calls("sbatch"))
    assert main(["resubmit", "--runs", str(runs), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "----- array.sh\n#!/bin/bash" in out
    assert "#SBATCH --array=0-1" in out
    assert len(fake.calls("sbatch")) == calls


@pytest.mark.parametrize("status", [0, 70])
def test_a_job_that_ended_well_without_a_result_is_no_finished_run(
    fake: FakeSlurm, sent: Submission, runs: Path, status: int
) -> None:
    """Code drift: it did something, but not this run. Retry takes it up, resubmit does not."""
    history(sent, ("start", 0), ("end", status), ("over", status))
    fake.queue(f"{sent.job_name}|101|0|COMPLETED||")
    assert (row(runs).state, row(runs).last_end) == ("failed", "ended without the run's result.json")


def test_runs_stand_in_the_studys_order(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    """Arm by arm, however they were submitted; what the study does not have comes last."""
    for arm in ("nms-free", "baseline"):
        start_run(runs, arm)
    start_run(runs, "baseline", 1)
    write_study(runs / "roadmap", Study("roadmap", "?", (stage_arm("baseline"), stage_arm("nms-free"))))
    fake.queue()
    found = [(r.arm, r.seed) for r in overview("roadmap", runs).runs]
    assert found == [
        ("baseline", 0), ("baseline", 1), ("nms-free", 0), ("simota", 0), ("simota", 1)
    ]  # fmt: skip
