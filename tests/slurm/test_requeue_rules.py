"""The job script's decisions: bash runs the real script, with srun, squeue and scontrol that do as told."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from roadmap.record import append_line
from slurm.script import Surroundings, array_script, tasks_file
from slurm.site import Site
from slurm.submission import Submission, new_submission
from tests.slurm.conftest import make_task

END_OF_SIGNAL = '{"event": "end", "attempt": 1, "time": "t", "reason": "signal", "epoch": 3}'
END_OF_ERROR = '{"event": "end", "attempt": 1, "time": "t", "reason": "error", "epoch": 3}'
START = '{"event": "start", "attempt": 1, "pid": 7}'


@dataclass
class Stage:
    """A submission of one run, and the programs that its script calls."""

    folder: Path
    submission: Submission
    site: Site
    environment: dict[str, str] = field(default_factory=dict)

    def program(self, name: str, code: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{code}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run(self, restarts: int = 0) -> subprocess.CompletedProcess[str]:
        submission = self.submission
        runs = submission.folder.parent.parent
        here = Surroundings(str(self.folder), "python", "")
        text = array_script("s.1", "t", 1, submission.folder, runs, self.site, here)
        env = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "SLURM_ARRAY_JOB_ID": "12",
            "SLURM_ARRAY_TASK_ID": "0",
            "SLURM_JOB_ID": "12",
            "SLURM_CPUS_PER_TASK": "1",
            "SLURMD_NODENAME": "node1",
        }
        if restarts:
            env["SLURM_RESTART_COUNT"] = str(restarts)
        return subprocess.run(
            ["bash"],
            input=text,
            env=env | self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @property
    def requeued(self) -> list[str]:
        """What scontrol was asked."""
        path = self.folder / "scontrol.log"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def attempts(self) -> Path:
        return self.submission.folder.parent.parent / self.submission.tasks[0].run / "attempts.jsonl"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    submission = new_submission("s", Site("x"), (make_task(),), (), tmp_path / "runs")
    for name in ("logs", "history"):
        (submission.folder / name).mkdir(parents=True)
    (submission.folder / "tasks.txt").write_text(tasks_file(submission.tasks))
    made = Stage(tmp_path, submission, Site("x", max_requeues=5))
    made.attempts.parent.mkdir(parents=True)
    made.program("squeue", "echo RUNNING")
    made.program("scontrol", f'echo "$@" >> {tmp_path}/scontrol.log')
    made.program("sleep", ":")
    return made


def ends_with(stage: Stage, status: int, *lines: str, progress: bool = False) -> None:
    """The run adds these lines to its record, perhaps a checkpoint too, and ends with this status."""
    added = "".join(f"echo '{line}' >> '{stage.attempts}'\n" for line in lines)
    if progress:
        folder = stage.attempts.parent / "checkpoints"
        added += f"mkdir -p '{folder}'; mktemp '{folder}/iteration-XXXXXX' > /dev/null\n"
    if status == 0 or any('"finished"' in line for line in lines):
        added += f"touch '{stage.attempts.parent}/result.json'\n"
    stage.program("srun", f"{added}exit {status}")


def test_a_command_that_ends_well_without_a_result_is_not_finished(stage: Stage) -> None:
    """It may have worked on another run than the one that was queued."""
    stage.program("srun", "exit 0")
    done = stage.run()
    assert done.returncode == 70
    assert "result.json: this run is not finished" in done.stdout
    assert "slurm: finished" not in done.stdout
    assert stage.requeued == []
    (end,) = (event for event in stage.submission.history(0) if event.event == "end")
    assert (end.status, end.why) == (70, "no-result")


@pytest.mark.parametrize(
    ("status", "lines", "requeued"),
    [
        (0, (START,), False),
        (75, (START, END_OF_SIGNAL), True),
        (75, (), True),
        (1, (START, END_OF_ERROR), False),
        (1, (), False),
        (2, (), False),
        (73, (), True),
        (137, (START,), True),  # killed in the middle
        (143, (), True),  # before it could heed a warning
        (143, (START, END_OF_SIGNAL), True),  # one of several processes; the others were ended by srun
        (143, (START, END_OF_ERROR), False),  # one failed, the others were ended by srun
        (66, (), False),
    ],
)
def test_which_ends_are_requeued(stage: Stage, status: int, lines: tuple[str, ...], requeued: bool) -> None:
    ends_with(stage, status, *lines)
    done = stage.run()
    assert stage.requeued == (["requeue 12_0"] if requeued else [])
    assert done.returncode == (0 if requeued else status)
    (start, end, *_) = stage.submission.history(0)
    assert (start.event, end.event, end.status, end.node, end.job) == (
        "start",
        "end",
        status,
        "node1",
        "12_0",
    )


@pytest.mark.parametrize("state", ["COMPLETING", "CANCELLED", "PENDING", "", "WARP_SPEED"])
def test_only_a_running_task_is_requeued(stage: Stage, state: str) -> None:
    stage.program("squeue", f"echo '{state}'")
    ends_with(stage, 75, START, END_OF_SIGNAL)
    assert stage.run().returncode == 75
    assert stage.requeued == []


def test_the_cap(stage: Stage) -> None:
    ends_with(stage, 75)
    assert stage.run(restarts=4).returncode == 0
    done = stage.run(restarts=5)
    assert done.returncode == 75
    assert "max_requeues of the site" in done.stdout
    assert stage.requeued == ["requeue 12_0"]


def test_locks_have_a_cap_of_their_own(stage: Stage) -> None:
    stage.site = replace(stage.site, max_requeues=100)
    ends_with(stage, 73)
    for restart in range(10):
        assert stage.run(restart).returncode == 0
    assert stage.run(10).returncode == 73
    assert len(stage.requeued) == 10


@pytest.mark.parametrize(("status", "lines"), [(137, (START,)), (75, (START, END_OF_SIGNAL))])
def test_two_attempts_in_a_row_without_progress_are_enough(
    stage: Stage, status: int, lines: tuple[str, ...]
) -> None:
    """Killed, or warned before the first iteration, again and again: the queue is not kept busy with it."""
    stage.site = replace(stage.site, max_requeues=100)
    ends_with(stage, status, *lines)
    assert stage.run(0).returncode == 0
    done = stage.run(1)
    assert done.returncode == status
    assert "two attempts in a row made no progress: no epoch, no checkpoint" in done.stdout
    over = stage.submission.history(0)[-1]
    assert (over.event, over.why.split(":")[0]) == ("over", "two attempts in a row made no progress")


def test_progress_starts_the_count_anew(stage: Stage) -> None:
    """Killed six times, a checkpoint or an epoch written every other time: it goes on; a look at a lock
    between is no attempt.
    """
    stage.site = replace(stage.site, max_requeues=100)
    for restart in range(0, 9, 3):
        ends_with(stage, 137, START)
        assert stage.run(restart).returncode == 0
        ends_with(stage, 73)
        assert stage.run(restart + 1).returncode == 0
        if restart == 3:
            with (stage.attempts.parent / "metrics.jsonl").open("a") as file:
                stage.program("srun", f"echo '{{}}' >> '{file.name}'; exit 137")
        else:
            ends_with(stage, 137, START, progress=True)
        assert stage.run(restart + 2).returncode == 0
    assert len(stage.requeued) == 9


def test_a_signal_on_the_way_out_does_not_unmake_a_finished_run(stage: Stage) -> None:
    """Slurm's warning comes while the interpreter shuts down, its handlers gone already."""
    end = '{"event": "end", "attempt": 1, "time": "t", "reason": "finished", "epoch": 3}'
    ends_with(stage, 138, START, end)
    done = stage.run()
    assert done.returncode == 0
    assert "slurm: finished" in done.stdout
    assert stage.requeued == []


@pytest.mark.parametrize(
    ("status", "lines", "why"),
    [
        (1, (START, END_OF_ERROR), "error"),
        (1, (START,), ""),
        (1, (), "launch"),  # srun, the container, an import
        (127, (), "launch"),
        (2, (), ""),  # a wrong command line
        (73, (), ""),
        (137, (), ""),
    ],
)
def test_a_run_that_never_began_is_told_apart(
    stage: Stage, status: int, lines: tuple[str, ...], why: str
) -> None:
    ends_with(stage, status, *lines)
    stage.run()
    (end,) = [event for event in stage.submission.history(0) if event.event == "end"]
    assert (end.status, end.why) == (status, why)


def test_a_site_whose_setup_fails_is_told_apart(stage: Stage) -> None:
    stage.site = replace(stage.site, setup=("exit 9",))
    assert stage.run().returncode == 9
    assert [(e.event, e.status, e.why) for e in stage.submission.history(0)] == [
        ("start", 0, ""),
        ("end", 9, "launch"),
    ]


def test_a_task_that_is_over_gives_its_share_of_the_limit_back(stage: Stage) -> None:
    """Where the study has several arrays; one array's limit is Slurm's own business."""
    asked = stage.folder / "asked"
    stage.site = replace(stage.site, array_throttle=2)
    stage.program("python", f'echo "$@" >> {asked}')
    ends_with(stage, 1, START, END_OF_ERROR)
    stage.run()
    assert not asked.exists()
    (stage.submission.folder.parent / "another").mkdir()
    stage.run()
    study = stage.submission.folder.parent.parent
    assert asked.read_text() == f"-m slurm throttle --study {study.name} --runs {study.parent}\n"
    stage.site = replace(stage.site, array_throttle=0)
    stage.run()
    assert len(asked.read_text().splitlines()) == 1


def test_the_run_gets_what_the_script_sets_whatever_sbatch_exported(stage: Stage) -> None:
    """sbatch --export=NONE is told to srun by SLURM_EXPORT_ENV: every process was a world of one."""
    seen = stage.folder / "seen"
    stage.environment |= {"SLURM_EXPORT_ENV": "NONE", "SQUEUE_USERS": "bob", "SCONTROL_ALL": "1"}
    stage.program("srun", f"env > {seen}; touch {stage.attempts.parent}/result.json")
    assert stage.run().returncode == 0
    names = {line.split("=")[0] for line in seen.read_text().splitlines()}
    assert not names & {"SLURM_EXPORT_ENV", "SQUEUE_USERS", "SCONTROL_ALL"}


def test_the_end_of_an_earlier_attempt_is_not_this_ones(stage: Stage) -> None:
    """Killed while it starts, again and again: the checkpoint of last week does not make that endless."""
    stage.site = replace(stage.site, max_requeues=100)
    append_line(stage.attempts, {"event": "start"})
    with stage.attempts.open("a") as file:
        file.write(END_OF_SIGNAL + "\n")
    ends_with(stage, 137)
    assert [stage.run(restart).returncode for restart in range(3)] == [0, 137, 137]


def test_nothing_is_requeued_that_cannot_be_counted(stage: Stage) -> None:
    (stage.submission.folder / "history").rmdir()
    ends_with(stage, 137)
    assert stage.run().returncode == 137
    assert stage.requeued == []
    ends_with(stage, 75, START, END_OF_SIGNAL, progress=True)  # its own record says why: no count is needed
    assert stage.run().returncode == 0


def test_slurmctld_may_be_away_for_a_while(stage: Stage) -> None:
    count = stage.folder / "count"
    stage.program("squeue", f'echo >> {count}; [ "$(wc -l < {count})" -gt 4 ] || exit 1; echo RUNNING')
    ends_with(stage, 75)
    assert stage.run().returncode == 0
    assert stage.requeued == ["requeue 12_0"]


def test_slurmctld_away_for_good(stage: Stage) -> None:
    stage.program("squeue", "exit 1")
    ends_with(stage, 75, progress=True)
    assert stage.run().returncode == 75
    stage.program("squeue", "echo RUNNING")
    stage.program("scontrol", "exit 1")
    done = stage.run()
    assert done.returncode == 75
    assert "python -m slurm resubmit" in done.stdout


@pytest.mark.parametrize("sent", ["USR1", "TERM"])
def test_a_warning_reaches_srun_as_usr1(stage: Stage, sent: str) -> None:
    """srun warns its parent, the script, which passes it on; TERM itself would make srun kill the run."""
    got = stage.folder / "got"
    stage.program(
        "srun",
        f"trap 'echo USR1 > {got}; exit 75' USR1; trap 'echo TERM > {got}; exit 1' TERM\n"
        f"kill -{sent} $PPID; for i in $(seq 200); do /bin/sleep 0.05; done; exit 9",
    )
    done = stage.run()
    assert got.read_text() == "USR1\n"
    assert done.returncode == 0, done.stdout
    assert stage.requeued == ["requeue 12_0"]


def test_a_warning_during_start_up_is_heeded(stage: Stage) -> None:
    """Warned while the environment is set up: the run is not even started."""
    stage.site = replace(stage.site, setup=("kill -USR1 $$",))
    stage.program("srun", f"touch {stage.folder}/started")
    assert stage.run().returncode == 0
    assert not (stage.folder / "started").exists()
    assert stage.requeued == ["requeue 12_0"]


def test_a_run_killed_by_a_warning_is_requeued(stage: Stage) -> None:
    stage.site = replace(stage.site, max_requeues=100)
    stage.program("srun", "kill -USR1 $PPID; /bin/sleep 5")  # USR1 kills it: it has no handler yet
    assert stage.run().returncode == 0
    assert stage.requeued == ["requeue 12_0"]


def test_a_wrong_index_is_said(stage: Stage) -> None:
    stage.environment["SLURM_ARRAY_TASK_ID"] = "7"
    done = stage.run()
    assert done.returncode == 65
    assert "no task 7 in" in done.stdout


def test_a_run_that_a_search_stopped_ended_well(stage: Stage) -> None:
    stage.program("srun", f"touch '{stage.attempts.parent}/stop.json'; exit 0")
    assert stage.run().returncode == 0
    assert stage.requeued == []
