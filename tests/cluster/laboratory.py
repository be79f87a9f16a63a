"""What a drill needs: submit to the test cluster, wait, disturb, and compare with an undisturbed run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from roadmap.record import RunFolder
from slurm import client
from slurm.overview import Overview, RunStatus, overview
from slurm.site import Limits, Site
from slurm.submission import Submission, Task
from slurm.submit import Outcome, submit
from tests.cluster.cluster import GPUS_PER_NODE, Cluster
from tests.cluster.counter import counter_arguments, counter_run, expected_ap
from tests.cluster.processes import wait_until

ROOT = Path(__file__).parents[2]


def cluster_site() -> Site:
    """The test cluster's profile."""
    return Site(
        "test",
        partition="batch",
        time_limit="10:00",
        signal_lead=20,
        variables={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        limits=Limits(GPUS_PER_NODE, 2, "1:00:00"),
    )


def counters(study: str, seeds: int, runs: Path, *more: str, pause: float = 0.05) -> list[Task]:
    """Stand-ins for training, one per seed. pause: seconds per iteration, of which there are 80."""
    made = [counter_run(study, seed) for seed in range(seeds)]
    return [Task.of(run, counter_arguments(run, runs, pause, *more)) for run in made]


def report_command(study: str, runs: Path) -> tuple[str, ...]:
    """A report job that writes ``<study>/report.txt``."""
    code = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('made')"
    return ("-c", code, str((runs / study / "report.txt").absolute()))


def fill_up(path: Path) -> None:
    """Write a file until its disk is full."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            os.fsync(file.fileno())


class Laboratory:
    """The cluster, and a ``runs/`` folder that all its nodes see."""

    def __init__(self, cluster: Cluster, runs: Path) -> None:
        self.cluster = cluster
        self.runs = runs
        self.site = cluster_site()

    def beside(self, name: str) -> Laboratory:
        """The same cluster with another runs folder."""
        return Laboratory(self.cluster, self.runs.parent / name)

    def write_profile(self, name: str, **keys: object) -> Path:
        """A site file for command lines: the test cluster's profile with other keys."""
        values = {"partition": "batch", "time_limit": "10:00", "signal_lead": 20, **keys}
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        lines += ["[variables]", 'OMP_NUM_THREADS = "1"']
        lines += ["[limits]", f"gpus_per_node = {GPUS_PER_NODE}", "nodes = 2"]
        self.runs.mkdir(parents=True, exist_ok=True)
        path = self.runs / name
        path.write_text("\n".join(lines) + "\n")
        return path

    def outrank(self, node: int) -> None:
        """A short job that needs all of this node, from a partition that preempts."""
        where = ("--partition=urgent", f"--nodelist={self.cluster.node(node)}", "--gres=gpu:4")
        self.slurm("sbatch", *where, "--time=1", "--output=/dev/null", "--wrap=sleep 1")

    def on(self, partition: str, **changes: object) -> Site:
        """The site with another partition, and other changes."""
        return replace(self.site, partition=partition, **changes)  # type: ignore[arg-type]

    def tasks(self, study: str, seeds: int, *more: str, pause: float = 0.05) -> list[Task]:
        return counters(study, seeds, self.runs, *more, pause=pause)

    def offer(self, study: str, tasks: Sequence[Task], site: Site | None = None) -> Outcome:
        """Submit a study."""
        return submit(study, tasks, site or self.site, self.runs, report_command(study, self.runs))

    def submit(
        self, study: str, seeds: int = 1, *more: str, site: Site | None = None, pause: float = 0.05
    ) -> Submission:
        """Submit a study of counters."""
        outcome = self.offer(study, self.tasks(study, seeds, *more, pause=pause), site)
        assert outcome.submission is not None, outcome
        return outcome.submission

    def folder(self, study: str, seed: int = 0) -> RunFolder:
        return RunFolder(self.runs / study / counter_run(study, seed).name)

    def overview(self, study: str) -> Overview:
        return overview(study, self.runs)

    def row(self, study: str, seed: int = 0) -> RunStatus:
        """The run's line in ``python -m slurm status``."""
        return next(row for row in self.overview(study).runs if row.seed == seed)

    def wait_for_epoch(self, study: str, epoch: int = 1, seed: int = 0, seconds: float = 300) -> None:
        """Until the run has finished this many epochs."""
        folder = self.folder(study, seed)
        self.wait(study, lambda: len(folder.metrics()) >= epoch, f"epoch {epoch}", seconds)

    def wait_until_over(self, study: str, seconds: float = 600) -> None:
        """Until Slurm has none of the study's jobs, the report included."""

        def over() -> bool:
            found = self.overview(study)
            return not found.notes and not found.report_jobs and not any(row.active_job for row in found.runs)

        self.wait(study, over, "the end of all jobs", seconds, every=1.0)

    def wait(
        self, study: str, condition: Callable[[], object], what: str, seconds: float = 300, every: float = 0.2
    ) -> None:
        """Poll; a failure shows the queue and the logs."""
        try:
            wait_until(f"{what} of {study}", condition, seconds, every)
        except TimeoutError as error:
            logs = (self.runs / study).glob("submissions/*/logs/*.log")
            shown = "\n".join(f"--- {path.name}\n{path.read_text()[-2000:]}" for path in sorted(logs))
            raise AssertionError(f"{error}\n{self.slurm('squeue', '--states=all')}\n{shown}") from error

    def assert_finished(self, study: str, seeds: int = 1) -> None:
        """Every run has the result of an undisturbed one, and the report was made."""
        for seed in range(seeds):
            folder = self.folder(study, seed)
            result = folder.result()
            assert result is not None
            assert expected_ap(seed) == result.best.AP
            assert [row["epoch"] for row in folder.metrics()] == list(range(1, 9))
            assert self.row(study, seed).state == "finished"
        assert (self.runs / study / "report.txt").read_text() == "made"

    def starts(self, study: str, seed: int = 0) -> int:
        """How often the run was started."""
        return sum(event["event"] == "start" for event in self.folder(study, seed).attempts())

    def requeues(self, submission: Submission, index: int = 0) -> list[str]:
        """Why the script requeued the task, each time."""
        return [event.why for event in submission.history(index) if event.event == "requeue"]

    def training_process(self, study: str, seed: int = 0) -> int:
        """Process id of the latest attempt."""
        starts = [event for event in self.folder(study, seed).attempts() if event["event"] == "start"]
        return int(starts[-1]["pid"])

    def kill(self, study: str, seed: int = 0) -> None:
        """``kill -9`` the training process."""
        os.kill(self.training_process(study, seed), signal.SIGKILL)

    def hold(self, study: str, seed: int = 0) -> None:
        """Stop the training process where it is, so that the run cannot end before what comes next has
        reached it. Whatever ends a job continues its processes first.
        """
        os.kill(self.training_process(study, seed), signal.SIGSTOP)

    def job(self, submission: Submission, index: int = 0) -> client.Job | None:
        """The task as squeue shows it."""
        found = client.queue([submission.job_name])
        return next((job for job in found if job.index == index), None)

    def slurm(self, *command: str) -> str:
        """A Slurm command's output. Raises CalledProcessError."""
        done = subprocess.run(
            command, env=self.cluster.env, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout
