"""What clusters do to jobs, done on purpose: each drill must end with the results of an undisturbed study.

Training is the stand-in of counter.py, which keeps the runner's contract; test_training.py repeats the
essential drills with the real thing.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import Future

import pytest

from slurm import client, steer, throttle
from slurm.site import Limits
from slurm.submission import Submission
from tests.cluster.laboratory import ROOT, Laboratory, fill_up
from tests.cluster.registry import drill, names


@drill
def undisturbed(lab: Laboratory) -> None:
    """A study of three runs, one array, then the report."""
    submission = lab.submit("undisturbed", 3)
    lab.wait_until_over("undisturbed")
    lab.assert_finished("undisturbed", 3)
    assert [lab.starts("undisturbed", seed) for seed in range(3)] == [1, 1, 1]
    assert {row.job for row in lab.overview("undisturbed").runs} == {
        f"{submission.job}_{i}" for i in range(3)
    }


@drill
def more_runs_than_an_array_may_have(lab: Laboratory) -> None:
    """MaxArraySize is eight here: two arrays, one report behind both, one limit that can be changed."""
    outcome = lab.offer("large", lab.tasks("large", 9, pause=0.01), lab.on("batch", array_throttle=2))
    assert [len(each.tasks) for each in outcome.submissions] == [8, 1]
    first = outcome.submissions[0]
    dealt = balance_anew("large", lab)
    told = lab.slurm("scontrol", "show", "job", str(first.job))
    assert f"ArrayTaskThrottle={dealt[first.job]}" in told
    lab.wait_until_over("large")
    lab.assert_finished("large", 9)


def balance_anew(study: str, lab: Laboratory) -> dict[int | None, int]:
    """``python -m slurm throttle 3``; the shares."""
    throttle.set_limit(study, lab.runs, 3)
    dealt: dict[int | None, int] = {**throttle.balance(study, lab.runs)}
    assert sum(dealt.values()) <= 3
    return dealt


@drill
def kill_of_a_training_process(lab: Laboratory) -> None:
    """kill -9: the script sees a kill without a cause of the run's own and requeues the task."""
    submission = lab.submit("killed", 2, pause=0.1)
    lab.wait_for_epoch("killed")
    lab.hold("killed")
    _a_command_beside_it(lab)
    lab.kill("killed")
    lab.wait_until_over("killed")
    lab.assert_finished("killed", 2)
    assert lab.requeues(submission) == ["killed"]
    assert [lab.starts("killed", seed) for seed in range(2)] == [2, 1]


def _a_command_beside_it(lab: Laboratory) -> None:
    """``python -m slurm attach``: a step of the same job, though the run has all its processors."""
    words = [
        sys.executable,
        "-m",
        "slurm",
        "attach",
        "--study",
        "killed",
        "--seed",
        "0",
        "--runs",
        str(lab.runs),
    ]
    command = ["--", "printenv", "SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES"]
    done = subprocess.run(
        [*words, *command],
        cwd=ROOT,
        env=lab.cluster.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    attempt = lab.folder("killed").attempts()[0]
    assert done.stdout.split()[:1] == [attempt["slurm_job"]], (done.stdout, done.stderr)


@drill
def preemption(lab: Laboratory) -> None:
    """TERM, then KILL: the run writes a checkpoint and Slurm requeues it by itself."""
    submission = lab.submit("preempted", site=lab.on("spot", gpus_per_node=4), pause=0.25)
    lab.wait_for_epoch("preempted", 2)
    lab.hold("preempted")
    lab.outrank(4)
    lab.wait("preempted", lambda: lab.starts("preempted") == 2, "second start")
    lab.wait_until_over("preempted")
    lab.assert_finished("preempted")
    assert lab.requeues(submission) == []
    assert [e.get("reason") for e in lab.folder("preempted").attempts()] == [None, "signal", None, "finished"]
    _preemption_with_grace(lab)


def _preemption_with_grace(lab: Laboratory) -> None:
    """With GraceTime Slurm would call the job FAILED; the script requeues it."""
    submission = lab.submit("grace", site=lab.on("grace", gpus_per_node=4), pause=0.25)
    lab.wait_for_epoch("grace", 2)
    lab.hold("grace")
    lab.outrank(5)
    lab.wait_until_over("grace")
    lab.assert_finished("grace")
    assert lab.requeues(submission) == []
    assert lab.starts("grace") == 2


@drill
def requeue_of_one_task(lab: Laboratory) -> None:
    """scontrol requeue of one array task; its siblings go on."""
    submission = lab.submit("requeued", 3, pause=0.1)
    for seed in range(3):
        lab.wait_for_epoch("requeued", seed=seed)
    lab.hold("requeued", 1)
    lab.slurm("scontrol", "requeue", f"{submission.job}_1")
    lab.wait_until_over("requeued")
    lab.assert_finished("requeued", 3)
    assert [lab.starts("requeued", seed) for seed in range(3)] == [1, 2, 1]


@drill
def node_daemon_stopped_and_started(lab: Laboratory) -> None:
    """slurmd away for long enough to be noticed; the run under it goes on or comes back."""
    lab.submit("node", 2, site=lab.on("flaky"), pause=0.15)
    lab.wait_for_epoch("node")
    lab.cluster.daemons.stop(lab.cluster.node(3))
    lab.wait("node", lambda: "down" in lab.slurm("sinfo", "-h", "-p", "flaky", "-o", "%T"), "node down")
    lab.cluster.start_node(3)
    lab.wait_until_over("node")
    lab.assert_finished("node", 2)


@drill
def controller_restarted(lab: Laboratory) -> None:
    """slurmctld stops while jobs run, and a training process dies while it is away: the script waits for
    slurmctld and requeues then. Slurm's commands wait some seconds too, so the other drills go on.
    """
    submission = lab.submit("controller", 2, pause=0.1)
    lab.wait_for_epoch("controller")
    lab.cluster.daemons.stop("slurmctld")
    lab.kill("controller")
    lab.cluster.start_controller()
    lab.wait_until_over("controller")
    lab.assert_finished("controller", 2)
    assert lab.requeues(submission) == ["killed"]
    assert [lab.starts("controller", seed) for seed in range(2)] == [2, 1]


@drill
def cancel_then_retry(lab: Laboratory) -> None:
    """A cancelled run is not brought back to life by its script; retry takes it from its checkpoint."""
    submission = lab.submit("cancelled", 3, pause=0.1)
    lab.wait_for_epoch("cancelled", seed=1)
    lab.hold("cancelled", 1)
    lab.slurm("scancel", f"{submission.job}_1")
    lab.wait_until_over("cancelled")
    assert [lab.row("cancelled", seed).state for seed in range(3)] == ["finished", "cancelled", "finished"]
    assert lab.requeues(submission, 1) == []
    outcome, _ = steer.again("retry", "cancelled", lab.runs)
    assert outcome is not None
    assert outcome.submission is not None
    assert [task.seed for task in outcome.submission.tasks] == [1]
    lab.wait_until_over("cancelled")
    lab.assert_finished("cancelled", 3)
    assert lab.starts("cancelled", 1) == 2


@drill
def submitted_twice_at_once(lab: Laboratory) -> None:
    """Two processes submit the same study at the same moment: each run is started once."""
    command = [sys.executable, "-m", "tests.cluster.submit_counters", "twice", "4", str(lab.runs)]
    both = [subprocess.Popen(command, cwd=ROOT, env=lab.cluster.env) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    lab.wait_until_over("twice")
    lab.assert_finished("twice", 4)
    assert [lab.starts("twice", seed) for seed in range(4)] == [1, 1, 1, 1]


@drill
def failure_of_its_own(lab: Laboratory) -> None:
    """A run that fails by itself is not requeued, and resubmit leaves it alone; mended, it is finished."""
    tasks = lab.tasks("failing", 1, "--fail") + lab.tasks("failing", 2)[1:]
    submission = lab.offer("failing", tasks).submission
    assert submission is not None
    lab.wait_until_over("failing")
    row = lab.row("failing")
    assert (row.state, lab.starts("failing")) == ("failed", 1)
    assert "a loss that is not finite" in row.last_end
    outcome, failed = steer.again("resubmit", "failing", lab.runs)
    assert outcome is None
    assert [row.seed for row in failed] == [0]
    lab.offer("failing", lab.tasks("failing", 1))  # the bug is mended; the same study again
    lab.wait_until_over("failing")
    lab.assert_finished("failing", 2)


@drill
def runs_folder_full(lab: Laboratory) -> None:
    """A full disk ends the run; once there is room, retry finishes it from its last good checkpoint."""
    study = lab.runs / "full"
    study.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(study)], check=True)
    try:
        lab.submit("full", 1, "--ballast", "150000", pause=0.15)
        lab.wait_for_epoch("full", 2)
        filler = study / "filler"
        fill_up(filler)
        lab.wait_until_over("full")
        assert lab.folder("full").result() is None
        assert lab.row("full").state in ("failed", "interrupted")
        filler.unlink()
        (study / "report.txt").unlink(missing_ok=True)
        outcome, _ = steer.again("retry", "full", lab.runs)
        assert outcome is not None
        lab.wait_until_over("full")
        lab.assert_finished("full")
        assert lab.starts("full") == 2
    finally:
        subprocess.run(["umount", "--lazy", str(study)], check=True)


HOSTILE = 'it\'s "two  words" $HOME `id` #1; ü&|*'


@drill
def hostile_names(lab: Laboratory) -> None:
    """Spaces, quotes, $ and more in every path and variable; the script still works, by hand too."""
    own = lab.beside(HOSTILE)
    site = own.on(
        "batch",
        variables=dict(lab.site.variables) | {"HOSTILE": HOSTILE},
        container=("env", f"INSIDE={HOSTILE}", "bash", "-c", 'echo "$HOSTILE|$INSIDE"; exec "$@"', "-"),
    )
    own.runs.mkdir()
    submission = own.submit("hostile", 2, site=site)
    own.wait_until_over("hostile")
    own.assert_finished("hostile", 2)
    assert f"{HOSTILE}|{HOSTILE}" in submission.logs(0)[0].read_text().splitlines()
    assert [path.name for path in submission.logs(1)] == [f"{submission.job}_1.log"]
    _by_hand(own, submission)


def _by_hand(lab: Laboratory, submission: Submission) -> None:
    """The kept script, submitted with sbatch from elsewhere: the finished run is left alone, the other
    is run.
    """
    shutil.rmtree(lab.folder("hostile", 1).path)
    script = str(submission.folder / "array.sh")
    answer = subprocess.run(
        ["sbatch", "--wait", script],
        cwd="/",
        env=lab.cluster.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    lab.assert_finished("hostile", 2)
    assert [lab.starts("hostile", seed) for seed in range(2)] == [1, 1]


@drill
def over_request(lab: Laboratory) -> None:
    """More GPUs than a node has: refused by our limits where they are known, else with Slurm's own reason."""
    tasks = lab.tasks("greedy", 1)
    with pytest.raises(ValueError, match="gpus_per_node = 5, but a node has 4 GPUs"):
        lab.offer("greedy", tasks, lab.on("batch", gpus_per_node=5))
    unknown = lab.on("batch", gpus_per_node=5, limits=Limits())
    with pytest.raises(client.SlurmError, match="Requested node configuration is not available") as caught:
        lab.offer("greedy", tasks, unknown)
    assert "batch* 2 nodes, 16 CPUs, 64000 MB, GRES gpu:4" in str(caught.value)
    assert not any(row.run for row in lab.overview("greedy").runs)


@drill
def preflight(lab: Laboratory) -> None:
    """The check job on two nodes of two GPUs: everything in order but the GPUs, which are fake."""
    profile = lab.write_profile("check.toml", partition="several", nodes=2, gpus_per_node=2)
    command = [
        sys.executable,
        "-m",
        "slurm",
        "check",
        "--site",
        str(profile),
        "--runs",
        str(lab.runs),
        "--json",
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=lab.cluster.env, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 1, done.stderr
    findings = json.loads(done.stdout)["findings"]
    failed = {finding["check"] for finding in findings if not finding["ok"]}
    assert failed == {"GPUs usable"}
    meeting = [finding for finding in findings if finding["check"] == "rendezvous"]
    assert [finding["detail"] for finding in meeting] == ["4 processes on 2 of 2 nodes (gloo)"] * 4
    assert sum(finding["check"] == "locks" for finding in findings) == 4


@pytest.mark.cluster
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", names(__name__))
def test_drill(name: str, drills: dict[str, Future[None]]) -> None:
    drills[name].result()
