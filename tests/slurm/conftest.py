from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from roadmap.protocols import DEMO
from roadmap.recipe import DatasetConfig, Run
from roadmap.record import RunFolder, append_line, write_json
from roadmap.stages import stage_recipe
from slurm.site import Site
from slurm.submission import Task
from tests.roadmap.records import identity_of
from tests.slurm.fakes import FakeSlurm


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A Slurm that answers what it is told; no real one is reached."""
    slurm = FakeSlurm(tmp_path / "fake-slurm")
    monkeypatch.setenv("PATH", f"{slurm.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "no-such-slurm.conf"))
    return slurm


@pytest.fixture
def site() -> Site:
    return Site("test", partition="batch", time_limit="10:00", signal_lead=20)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def make_run(stage: str = "simota", seed: int = 0, study: str = "roadmap") -> Run:
    dataset = DatasetConfig("data", "f00d", 3, 64, 32)
    recipe = stage_recipe(stage, DEMO, dataset)
    return Run(study, stage, seed, replace(recipe, training=replace(recipe.training, epochs=24)))


def make_task(stage: str = "simota", seed: int = 0) -> Task:
    arguments = ("-m", "studies.roadmap", "--stage", stage, "--seed", str(seed), "--launcher", "local")
    return Task.of(make_run(stage, seed), arguments)


def start_run(runs: Path, stage: str = "simota", seed: int = 0, epochs: int = 2) -> RunFolder:
    """A run folder whose first attempt has begun and finished some epochs of a minute each."""
    run = make_run(stage, seed)
    folder = RunFolder(runs / run.study / run.name)
    folder.path.mkdir(parents=True)
    write_json(folder.path / "recipe.json", identity_of(run))
    append_line(folder.path / "attempts.jsonl", {"event": "start", "attempt": 1, "pid": 1})
    for epoch in range(1, epochs + 1):
        ap = {"AP": float(epoch)} if epoch % 2 == 0 else {}
        append_line(folder.path / "metrics.jsonl", {"epoch": epoch, "seconds": 60.0, **ap})
    return folder
