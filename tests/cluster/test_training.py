"""Real training on the cluster: the numbers are those of the same command run here, to the bit.

The smoke protocol is too short for an AP above zero, so what is compared is everything that decides it:
the loss of every epoch at full precision, the AP figures, and the final weights.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import cache, partial
from typing import Any

import pytest
from torch import Tensor

from roadmap.datasets import describe_dataset
from roadmap.protocols import SMOKE
from roadmap.recipe import Run
from roadmap.record import RunFolder, find_runs
from roadmap.stages import STAGE_NAMES, stage_recipe
from slurm import steer
from slurm.site import Site
from slurm.submission import Submission, Task, read_submissions
from tests.cluster.laboratory import ROOT, Laboratory, fill_up
from tests.cluster.registry import names, training_drill
from yolox_core.training.checkpoint import CheckpointStore

#: What a row of metrics.jsonl says about the machine rather than the training.
_ABOUT_THE_MACHINE = {"seconds", "images_per_second", "data_wait", "memory_mb"}


def roadmap(lab: Laboratory, *more: str) -> None:
    """python -m studies.roadmap on the embedded dataset, seconds long; records go to the lab's runs."""
    common = ["--protocol", "smoke", "--embedded", "--tracking", "off", "--workers", "1"]
    command = [sys.executable, "-m", "studies.roadmap", *common, "--runs", str(lab.runs), *more]
    env = lab.cluster.env | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == 0, done.stderr


def submit_all(lab: Laboratory) -> Submission:
    """Submit the roadmap with its own command, two stages at a time."""
    profile = lab.write_profile("site.toml", partition="train", array_throttle=2)
    roadmap(lab, "--site", str(profile))
    return read_submissions(lab.runs, "roadmap")[-1]


def submit(lab: Laboratory, *stages: str, site: Site) -> Submission:
    """Submit some stages, with a report that costs nothing."""
    options = ("--protocol", "smoke", "--embedded", "--tracking", "off", "--workers", "1", "--no-report")
    tasks = []
    for stage in stages:
        run = Run("roadmap", stage, 0, stage_recipe(stage, SMOKE, describe_dataset(None)))
        what = ("-m", "studies.roadmap", "--stage", stage, "--launcher", "local", "--runs", str(lab.runs))
        tasks.append(Task.of(run, what + options))
    submission = lab.offer("roadmap", tasks, site).submission
    assert submission is not None
    return submission


_once = threading.Lock()


@cache
def _run_here(lab: Laboratory) -> Laboratory:
    roadmap(lab.beside("here"), "--launcher", "local", "--no-report")
    return lab.beside("here")


def run_here(lab: Laboratory) -> Laboratory:
    """All stages, undisturbed, without Slurm; run once for all drills."""
    with _once:
        return _run_here(lab)


def stage_folder(lab: Laboratory, stage: str) -> RunFolder:
    return next(folder for folder in find_runs(lab.runs, "roadmap") if folder.name.startswith(f"{stage}-s0-"))


def facts(folder: RunFolder) -> dict[str, Any]:
    """What must not depend on where and how often a run was started."""
    result = folder.result()
    assert result is not None, folder.path
    rows = [{k: v for k, v in row.items() if k not in _ABOUT_THE_MACHINE} for row in folder.metrics()]
    return {"best": result.best, "last": result.last, "epochs": rows, "weights": weights(folder)}


def weights(folder: RunFolder) -> str:
    """Digest of the last checkpoint's weights."""
    state = CheckpointStore(folder.checkpoints).load_latest()
    assert state is not None
    digest = hashlib.sha256()
    for name, tensor in _tensors({part: state[part] for part in ("model", "ema", "optimizer")}):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def _tensors(value: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield prefix, value
    elif isinstance(value, Mapping):
        for key in value:
            yield from _tensors(value[key], f"{prefix}.{key}")


def assert_as_here(lab: Laboratory, *stages: str) -> None:
    """The stages' figures are those of the undisturbed runs."""
    here = run_here(lab)
    for stage in stages:
        assert facts(stage_folder(lab, stage)) == facts(stage_folder(here, stage)), stage


def wait_for_epoch(lab: Laboratory, stage: str, epoch: int = 1) -> RunFolder:
    """Until the run has finished this many epochs; its folder."""

    def reached() -> bool:
        found = [f for f in find_runs(lab.runs, "roadmap") if f.name.startswith(f"{stage}-s0-")]
        return bool(found) and len(found[0].metrics()) >= epoch

    lab.wait("roadmap", reached, f"epoch {epoch} of {stage}", 500)
    return stage_folder(lab, stage)


def starts(folder: RunFolder) -> list[dict[str, Any]]:
    return [event for event in folder.attempts() if event["event"] == "start"]


def signal_training(folder: RunFolder, attempt: int, number: signal.Signals) -> None:
    """To the process of an attempt, unless it has ended."""
    with suppress(ProcessLookupError):
        os.kill(starts(folder)[attempt - 1]["pid"], number)


def hold_after_start(lab: Laboratory, folder: RunFolder, attempt: int) -> None:
    """Until this attempt has started; it is held still, so that it cannot end before what comes next. What
    ends a job continues it first.
    """
    lab.wait("roadmap", lambda: len(starts(folder)) >= attempt, f"attempt {attempt}", 500)
    signal_training(folder, attempt, signal.SIGSTOP)


def warned(submission: Submission, attempt: int) -> bool:
    """Whether Slurm has warned the script of this attempt, be it before the training process was held."""
    text = "".join(path.read_text() for path in submission.logs(0))
    return text.count("slurm: got USR1") >= attempt


@training_drill
def whole_roadmap(main_lab: Laboratory) -> None:
    """All seven stages as one array, then the report; the figures are those of the local run."""
    lab = main_lab.beside("whole")
    submission = submit_all(lab)
    assert [task.arm for task in submission.tasks] == list(STAGE_NAMES)
    lab.wait_until_over("roadmap", 800)
    assert_as_here(lab, *STAGE_NAMES)
    assert all(len(starts(stage_folder(lab, stage))) == 1 for stage in STAGE_NAMES)
    log = next((submission.folder / "logs").glob("report_*.log")).read_text()
    assert (lab.runs / "roadmap" / "report" / "report.md").exists(), log
    _second_submission_has_nothing_to_do(lab)


def _second_submission_has_nothing_to_do(lab: Laboratory) -> None:
    before = len(read_submissions(lab.runs, "roadmap"))
    submit_all(lab)
    assert len(read_submissions(lab.runs, "roadmap")) == before


@training_drill
def disturbed_again_and_again(main_lab: Laboratory) -> None:
    """kill -9, scontrol requeue, preemption, scancel and retry, one after the other, of one real training;
    the figures stay those of the local run.
    """
    lab = main_lab.beside("disturbed")
    submission = submit(lab, "simota", site=lab.on("trainspot"))
    folder = wait_for_epoch(lab, "simota", 1)
    signal_training(folder, 1, signal.SIGKILL)
    hold_after_start(lab, folder, 2)
    lab.slurm("scontrol", "requeue", f"{submission.job}_0")
    hold_after_start(lab, folder, 3)
    lab.outrank(10)
    hold_after_start(lab, folder, 4)
    lab.slurm("scancel", f"{submission.job}_0")
    lab.wait_until_over("roadmap", 800)
    assert lab.overview("roadmap").runs[0].state == "cancelled"
    assert [event.why for event in submission.history(0) if event.event == "requeue"] == ["killed"]
    outcome, _ = steer.again("retry", "roadmap", lab.runs)
    assert outcome is not None
    lab.wait_until_over("roadmap", 800)
    assert_as_here(lab, "simota")
    assert len(starts(folder)) == 5


@training_drill
def time_limit_twice(main_lab: Laboratory) -> None:
    """Held still until Slurm's warning, a run's time is over twice: checkpointed, requeued, finished with
    the figures of the local run.
    """
    lab = main_lab.beside("limited")
    submission = submit(lab, "baseline", site=lab.on("train", time_limit="2", signal_lead=75))
    folder = wait_for_epoch(lab, "baseline", 0)
    for attempt in (1, 2):
        hold_after_start(lab, folder, attempt)
        lab.wait("roadmap", partial(warned, submission, attempt), f"the warning of attempt {attempt}")
        signal_training(folder, attempt, signal.SIGCONT)
    lab.wait_until_over("roadmap", 800)
    assert_as_here(lab, "baseline")
    assert len(starts(folder)) >= 3
    ends = [event for event in submission.history(0) if event.event == "end"]
    assert {(event.status, event.why) for event in ends[:-1]} == {(75, "signal")}


@training_drill
def training_on_a_full_disk(main_lab: Laboratory) -> None:
    """The runs folder, a small tmpfs, is filled in the middle of a training: the run fails and says so;
    freed, retry finishes it from its last good checkpoint with the figures of the local run.
    """
    lab = main_lab.beside("small")
    lab.runs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(lab.runs)], check=True)
    try:
        submit(lab, "baseline", site=lab.on("train"))
        folder = wait_for_epoch(lab, "baseline", 1)
        signal_training(folder, 1, signal.SIGSTOP)  # no epoch may slip by while the disk is filled
        filler = lab.runs / "filler"
        fill_up(filler)
        signal_training(folder, 1, signal.SIGCONT)
        lab.wait_until_over("roadmap", 800)
        assert folder.result() is None
        assert lab.overview("roadmap").runs[0].state in ("failed", "interrupted")
        (log,) = lab.runs.glob("roadmap/submissions/*/logs/*_0.log")
        filler.unlink()
        outcome, _ = steer.again("retry", "roadmap", lab.runs)
        assert outcome is not None, log.read_text()
        lab.wait_until_over("roadmap", 800)
        assert_as_here(lab, "baseline")
        assert len(starts(folder)) == 2
    finally:
        subprocess.run(["umount", "--lazy", str(lab.runs)], check=True)


@training_drill
def two_nodes_of_two_gpus(main_lab: Laboratory) -> None:
    """Four processes on two nodes, gloo; warned in the middle, they checkpoint together and go on. The job
    gets nothing of the environment that submitted it.
    """
    lab = main_lab.beside("several")
    variables = dict(lab.site.variables) | {"SLURM_CONF": lab.cluster.env["SLURM_CONF"]}
    site = lab.on("several", nodes=2, gpus_per_node=2, variables=variables, options=("--export=NONE",))
    submission = submit(lab, "simota", site=site)
    folder = wait_for_epoch(lab, "simota")
    lab.slurm("scancel", "--batch", "--signal=USR1", f"{submission.job}_0")
    lab.wait_until_over("roadmap", 800)
    environment = folder.environment()
    assert environment is not None
    assert environment["hardware"]["world_size"] == 4
    assert folder.result() is not None
    assert [e.get("reason") for e in folder.attempts() if e["event"] == "end"] == ["signal", "finished"]
    assert [e.why for e in submission.history(0) if e.event == "end"] == ["signal", "finished"]


@pytest.mark.cluster
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", names(__name__))
def test_drill(name: str, drills: dict[str, Future[None]]) -> None:
    drills[name].result()
