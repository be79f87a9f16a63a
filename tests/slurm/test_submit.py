"""Submitting: one array, one report job, nothing twice, nothing above budget or limits."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from roadmap.cost import training_flops
from roadmap.record import RunFolder, write_json
from slurm import budget
from slurm.client import SlurmError
from slurm.site import Limits, Site
from slurm.submission import Task, read_submissions
from slurm.submit import submit
from tests.roadmap.records import finish
from tests.slurm.conftest import make_run, make_task, start_run
from tests.slurm.fakes import FakeSlurm

REPORT = ("-m", "reports", "--study", "roadmap")
TASKS = [make_task("baseline"), make_task("simota"), make_task("simota", 1)]


def test_one_array_and_a_dependent_report(fake: FakeSlurm, site: Site, runs: Path) -> None:
    outcome = submit("roadmap", TASKS, site, runs, REPORT)
    sent = outcome.submission
    assert sent is not None
    assert (sent.job, sent.report_job) == (101, 102)
    array, report = fake.calls("sbatch")
    assert array == ["--parsable", str(sent.folder / "array.sh")]
    assert report == ["--parsable", "--dependency=afterany:101", str(sent.folder / "report.sh")]
    assert sent.folder.parent == runs / "roadmap" / "submissions"
    assert (sent.folder / "array.sh").read_text() == outcome.scripts["array.sh"]
    lines = (sent.folder / "tasks.txt").read_text().splitlines()
    assert lines[1] == f"1 {TASKS[1].run} -m studies.roadmap --stage simota --seed 0 --launcher local"
    assert len(lines) == 3
    assert read_submissions(runs) == [sent]


def test_a_second_submission_starts_nothing_twice(fake: FakeSlurm, site: Site, runs: Path) -> None:
    first = submit("roadmap", TASKS, site, runs, REPORT).submission
    assert first is not None
    fake.queue(
        f"{first.job_name}|101|0|PENDING||Resources",
        f"{first.job_name}|101|1|WARP_SPEED||",  # not known, so not taken for dead
        f"{first.job_name}|101|2|CANCELLED||",
    )
    second = submit("roadmap", [*TASKS, make_task("nms-free")], site, runs, REPORT)
    assert second.submission is not None
    assert [(t.arm, t.seed) for t in second.submission.tasks] == [("simota", 1), ("nms-free", 0)]
    assert [s.why for s in second.skipped] == [
        "already in the queue as job 101_0 (PENDING)",
        "already in the queue as job 101_1 (WARP_SPEED)",
    ]


def test_finished_and_running_runs_are_left_alone(fake: FakeSlurm, site: Site, runs: Path) -> None:
    finish(start_run(runs, "baseline"), make_run("baseline"))
    with RunFolder(runs / "roadmap" / TASKS[1].run).lock():
        outcome = submit("roadmap", TASKS[:2], site, runs, REPORT)
    assert outcome.submission is None
    assert [s.why for s in outcome.skipped] == ["finished", "a process works on it"]
    assert fake.calls("sbatch") == []


def test_a_run_with_a_broken_result_is_named_and_left_alone(fake: FakeSlurm, site: Site, runs: Path) -> None:
    (start_run(runs, "baseline").path / "result.json").write_text('{"schema": 9}')
    outcome = submit("roadmap", TASKS[:1], site, runs, REPORT)
    assert outcome.submission is None
    (skipped,) = outcome.skipped
    assert skipped.why == (
        "its result can't be used: result.json has schema 9, newer than 2: update the project"
    )


def test_nothing_is_submitted_while_slurm_is_silent(fake: FakeSlurm, site: Site, runs: Path) -> None:
    submit("roadmap", TASKS, site, runs, REPORT)
    fake.answer("squeue", err="Unable to contact slurm controller\n", status=1)
    with pytest.raises(SlurmError, match="Unable to contact"):
        submit("roadmap", TASKS, site, runs, REPORT)
    assert len(fake.calls("sbatch")) == 2


def test_a_refused_job_leaves_nothing_behind(fake: FakeSlurm, site: Site, runs: Path) -> None:
    fake.answer("sbatch", err="sbatch: error: Invalid qos specification\n", status=1)
    fake.answer("sinfo", out="gpu 4 nodes, 16 CPUs\n")
    with pytest.raises(SlurmError, match=r"(?s)Invalid qos specification.*the cluster offers:.*4 nodes"):
        submit("roadmap", TASKS, site, runs, REPORT)
    assert read_submissions(runs) == []
    assert [p.name for p in (runs / "roadmap" / "submissions").iterdir()] == [".lock"]


def test_after_a_lost_answer_the_job_is_found_by_its_name(fake: FakeSlurm, site: Site, runs: Path) -> None:
    fake.answer("sbatch", err="sbatch: error: Socket timed out on send/recv operation\n", status=1)
    with pytest.raises(SlurmError, match="may have taken the job all the same"):
        submit("roadmap", TASKS, site, runs, REPORT)
    (lost,) = read_submissions(runs)
    assert lost.job is None
    fake.answer("sbatch")
    fake.queue(*(f"{lost.job_name}|77|{i}|RUNNING|n|" for i in range(3)))
    again = submit("roadmap", TASKS, site, runs, REPORT)
    assert again.submission is None
    assert len(again.skipped) == 3


def test_a_refused_report_does_not_undo_the_runs(fake: FakeSlurm, site: Site, runs: Path) -> None:
    text = (fake.bin / "sbatch").read_text()
    (fake.bin / "sbatch").write_text(
        text.replace(
            "answers =", "if '--dependency' in str(sys.argv): sys.exit('no dependencies here')\nanswers ="
        )
    )
    outcome = submit("roadmap", TASKS, site, runs, REPORT)
    assert outcome.submission is not None
    assert (outcome.submission.job, outcome.submission.report_job) == (101, None)
    assert "no dependencies here" in outcome.notes[0]
    assert "sbatch --dependency=afterany:101" in outcome.notes[0]


def test_a_dry_run_changes_nothing(fake: FakeSlurm, site: Site, runs: Path) -> None:
    fake.answer("squeue", err="Unable to contact slurm controller\n", status=1)
    outcome = submit("roadmap", TASKS, site, runs, REPORT, dry_run=True)
    assert set(outcome.scripts) == {"array.sh", "tasks.txt", "report.sh"}
    assert "#SBATCH --array=0-2" in outcome.scripts["array.sh"]
    assert not runs.exists()
    assert fake.calls("sbatch") == []


def test_an_over_request_is_refused_before_slurm_is_asked(fake: FakeSlurm, site: Site, runs: Path) -> None:
    greedy = replace(site, gpus_per_node=8, limits=Limits(gpus_per_node=4))
    with pytest.raises(ValueError, match="but a node has 4 GPUs"):
        submit("roadmap", TASKS, greedy, runs, REPORT)
    assert fake.calls("sbatch") == []


def test_two_at_once_are_one_after_the_other(fake: FakeSlurm, site: Site, runs: Path) -> None:
    """sbatch is slow; the second submission must wait for the first, and then see its jobs."""
    text = (fake.bin / "sbatch").read_text()
    queue = (
        "import re, time; time.sleep(0.3)\n"
        "text = Path(sys.argv[-1]).read_text()\n"
        "job = re.search('--job-name=(.*)', text).group(1)\n"
        "answers = {'squeue': {'status': 0, 'err': '', 'out': ''.join(\n"
        "    f'{job}|101|{i}|PENDING||\\n' for i in range(3))}}\n"
        "if 'array.sh' in sys.argv[-1]: (folder / 'answers.json').write_text(json.dumps(answers))\n"
        "answers = "
    )
    (fake.bin / "sbatch").write_text(text.replace("answers = ", queue, 1))
    sent = []
    both = [
        threading.Thread(target=lambda: sent.append(submit("roadmap", TASKS, site, runs, REPORT)))
        for _ in range(2)
    ]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted(len(outcome.skipped) for outcome in sent) == [0, 3]
    assert len(fake.calls("sbatch")) == 2  # one array and its report


@pytest.mark.parametrize("name", ["a b", "../x", "a/b", "", "-x", "a\nb"])
def test_a_study_is_a_plain_name(fake: FakeSlurm, site: Site, runs: Path, name: str) -> None:
    with pytest.raises(ValueError, match="study must be letters"):
        submit(name, TASKS, site, runs, REPORT)
    assert fake.calls("sbatch") == []


# ---------------------------------------------------------------- cost


def hand_tasks() -> list[Task]:
    """Two runs of 3.6e18 FLOPs and one of 7.2e18."""
    return [
        Task("a-s0", "a", 0, ("x",), 3.6e18),
        Task("a-s1", "a", 1, ("x",), 3.6e18),
        Task("b-s0", "b", 0, ("x",), 7.2e18),
    ]


def test_gpu_hours_by_hand(runs: Path) -> None:
    """At 1 TFLOP/s, 3.6e18 FLOPs take 3.6e6 s, which is 1000 h."""
    site = Site("x", gpus_per_node=4, tflops_per_gpu=1.0, time_limit="100:00:00")
    cost = budget.estimate(hand_tasks(), site, budget.known_throughput(site, runs))
    assert [(s.arm, s.runs, s.gpu_hours) for s in cost.arms] == [("a", 2, 2000.0), ("b", 1, 2000.0)]
    assert cost.gpu_hours == 4000.0
    assert cost.longest_hours == 500.0  # 2000 GPU-hours on four GPUs
    text = budget.describe(cost)
    assert "4e+03" in text
    assert "requeued about 5 times" in text


def test_the_probe_is_used_where_the_profile_says_nothing(runs: Path) -> None:
    site = Site("x")
    assert budget.known_throughput(site, runs) is None
    path = budget.probe_file(runs, site)
    path.parent.mkdir(parents=True)
    write_json(path, {"tflops_per_gpu": 2.5, "time": "today"})
    assert budget.known_throughput(site, runs) == budget.Throughput(2.5, "the probe of today")
    stated = budget.known_throughput(replace(site, tflops_per_gpu=9.0), runs)
    assert stated is not None
    assert stated.tflops == 9.0
    write_json(path, {"speed": 1})
    with pytest.raises(ValueError, match="is no probe result"):
        budget.known_throughput(site, runs)


def test_above_the_budget_nothing_is_submitted(fake: FakeSlurm, runs: Path) -> None:
    site = Site("x", tflops_per_gpu=1.0)
    with pytest.raises(ValueError, match=r"an estimated 4e\+03 GPU-hours is above 3999"):
        submit("roadmap", hand_tasks(), site, runs, REPORT, max_gpu_hours=3999)
    with pytest.raises(ValueError, match="the cost is unknown; set tflops_per_gpu"):
        submit("roadmap", hand_tasks(), Site("x"), runs, REPORT, max_gpu_hours=1e9)
    assert fake.calls("sbatch") == []
    assert submit("roadmap", hand_tasks(), site, runs, REPORT, max_gpu_hours=4000).submission is not None


def test_a_probe_of_something_else_is_doubted(runs: Path) -> None:
    """A minute of smoke on a processor says little about weeks of the paper's protocol on GPUs."""
    site = Site("x")
    path = budget.probe_file(runs, site)
    path.parent.mkdir(parents=True)
    measured = {"tflops_per_gpu": 2.5, "time": "noon", "protocol": "smoke", "device": "cpu"}
    write_json(path, measured)
    tasks = [replace(task, protocol="paper") for task in hand_tasks()]
    text = budget.describe(budget.estimate(tasks, site, budget.known_throughput(site, runs)))
    assert "the probe of noon: smoke protocol, on cpu" in text
    assert "doubtful: the probe trained the smoke protocol, these runs train paper" in text
    assert "doubtful: the probe ran on a processor" in text
    write_json(path, measured | {"protocol": "paper", "device": "A100"})
    assert "doubtful" not in budget.describe(
        budget.estimate(tasks, site, budget.known_throughput(site, runs))
    )


def test_more_requeues_than_allowed_are_said(runs: Path) -> None:
    """2000 hours in jobs of half an hour are 4000 requeues; 100 are allowed."""
    site = Site("x", tflops_per_gpu=1.0, time_limit="30:00")
    text = budget.describe(budget.estimate(hand_tasks(), site, budget.known_throughput(site, runs)))
    assert "would be requeued about 4000 times and stops after max_requeues = 100; raise that" in text


def test_unknown_flops_make_an_unknown_total() -> None:
    tasks = [*hand_tasks(), Task("c-s0", "c", 0, ("x",), None)]
    cost = budget.estimate(tasks, Site("x"), budget.Throughput(1.0, "here"))
    assert cost.gpu_hours is None
    assert "unknown" in budget.describe(cost)


def test_a_task_knows_its_training_flops() -> None:
    recipe = make_run("baseline").recipe
    assert TASKS[0].flops == training_flops(recipe) > 0
