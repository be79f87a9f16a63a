"""The job that takes a search's next step: behind any one of its runs, and never two."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm.client import SlurmError
from slurm.follow import follow
from slurm.script import Surroundings
from slurm.site import Site
from slurm.submission import Submission, read_submissions
from slurm.submit import submit
from tests.slurm.conftest import make_task
from tests.slurm.fakes import FakeSlurm

COMMAND = ("-m", "studies.search", "--step", "runs/roadmap")


@pytest.fixture
def sent(fake: FakeSlurm, site: Site, runs: Path) -> Submission:
    """Three runs, without a report job."""
    outcome = submit("roadmap", [make_task("simota", seed) for seed in range(3)], site, runs, ())
    assert outcome.submission is not None
    assert outcome.submission.report_job is None
    return outcome.submission


def step(runs: Path, after: float = 0) -> int | None:
    return follow("roadmap", runs, COMMAND, Surroundings("/work", "python", ""), after)


def test_it_starts_when_any_run_is_over(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    fake.queue(
        f"{sent.job_name}|101|0|COMPLETED|n|",
        f"{sent.job_name}|101|1|RUNNING|n|",
        f"{sent.job_name}|101|2|PENDING||Resources",
    )
    assert step(runs) == 102
    script = str(sent.folder / "report.sh")
    assert fake.calls("sbatch")[-1] == ["--parsable", "--dependency=afterany:101_1?afterany:101_2", script]
    assert Path(script).read_text().splitlines()[-6].endswith("-m studies.search --step runs/roadmap")
    (kept,) = read_submissions(runs)
    assert (kept.report_job, kept.report) == (
        102,
        COMMAND,
    )  # retry submits it behind the runs that it takes up


def test_one_that_waits_is_enough_but_one_that_runs_may_be_past_its_step(
    fake: FakeSlurm, sent: Submission, runs: Path
) -> None:
    at_work = f"{sent.job_name}|101|1|RUNNING|n|"
    fake.queue(at_work, f"{sent.report_name}|102||PENDING||Dependency")
    assert step(runs) == 102
    assert len(fake.calls("sbatch")) == 1
    fake.queue(at_work, f"{sent.report_name}|102||RUNNING|n|")
    step(runs)
    assert len(fake.calls("sbatch")) == 2


def test_nothing_under_way_leaves_nothing_to_follow(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    fake.queue(f"{sent.job_name}|101|1|CANCELLED||")
    assert step(runs) is None
    assert follow("other", runs, COMMAND, Surroundings.here()) is None


def test_a_pruner_looks_after_a_while(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    fake.queue(f"{sent.job_name}|101|1|RUNNING|n|")
    step(runs, after=300)
    assert fake.calls("sbatch")[-1] == ["--parsable", str(sent.folder / "report.sh")]
    assert "#SBATCH --begin=now+300" in (sent.folder / "report.sh").read_text()


def test_slurms_reason_is_passed_on(fake: FakeSlurm, sent: Submission, runs: Path) -> None:
    fake.queue(f"{sent.job_name}|101|1|RUNNING|n|")
    fake.answer("sbatch", err="sbatch: error: Access denied\n", status=1)
    with pytest.raises(SlurmError, match="Access denied"):
        step(runs)
