"""A job is a run's folder: what it says is carried out, or refused with a reason that the record keeps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadmap.datasets import describe_dataset
from roadmap.planned import Inputs, write_planned
from roadmap.protocols import SMOKE
from roadmap.recipe import Run
from roadmap.record import RunFolder, read_json
from roadmap.stages import stage_recipe
from studies.run import main

RUN = Run("mine", "simota", 2, stage_recipe("simota", SMOKE, describe_dataset(None)))
EMBEDDED = Inputs(None, None)


def plan(runs: Path, run: Run = RUN, inputs: Inputs = EMBEDDED) -> RunFolder:
    folder = RunFolder(runs / run.study / run.name)
    write_planned(folder, run, (), inputs, {"commit": "0123456789abcdef"})
    return folder


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Every (run, options) that would have been trained."""
    done: list[tuple[Any, ...]] = []

    def execute(run: Run, deviations: Any, options: Any, world: Any, stop: Any) -> int:
        done.append((run, options))
        return 0

    monkeypatch.setattr("studies.attempt.runner.execute", execute)
    return done


def test_the_recorded_recipe_is_carried_out(tmp_path: Path, executed: list[tuple[Any, ...]]) -> None:
    """Whatever the code would plan by now: here a learning rate that no protocol has."""
    run = replace(RUN, recipe=replace(RUN.recipe, training=replace(RUN.recipe.training, learning_rate=0.123)))
    folder = plan(tmp_path, run)
    assert main([str(folder.path), "--device", "cpu", "--workers", "0", "--tracking", "off"]) == 0
    ((found, options),) = executed
    assert found == run
    assert (options.runs, options.data, options.weights) == (tmp_path, None, None)
    assert (options.device, options.workers, options.tracking) == ("cpu", 0, "off")


def test_a_folder_is_found_from_another_working_directory(
    tmp_path: Path, executed: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = plan(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main([str(folder.path.relative_to(tmp_path)), "--device", "cpu"]) == 0
    assert executed[0][1].runs == tmp_path


def test_a_refused_recipe_starts_nothing_and_is_on_record(
    tmp_path: Path, executed: list[tuple[Any, ...]]
) -> None:
    folder = plan(tmp_path)
    path = folder.path / "recipe.json"
    recorded = json.loads(path.read_text())
    path.write_text(json.dumps(recorded | {"recipe": recorded["recipe"] | {"distillation": True}}))
    assert main([str(folder.path)]) == 2
    assert executed == []
    assert folder.state() == "failed"
    failure = read_json(folder.path / "failure.json")
    assert failure["kind"] == "refused"
    assert "distillation" in failure["message"]
    assert "commit 0123456789ab planned it" in failure["message"]


def test_other_data_than_planned_are_refused(tmp_path: Path, executed: list[tuple[Any, ...]]) -> None:
    other = replace(RUN.recipe, dataset=replace(RUN.recipe.dataset, fingerprint="0" * 16))
    folder = plan(tmp_path, replace(RUN, recipe=other))
    assert main([str(folder.path)]) == 2
    assert executed == []
    assert "is not the recipe's: its fingerprint is" in read_json(folder.path / "failure.json")["message"]


@pytest.mark.parametrize(("content", "status"), [(b"planned", 0), (b"another", 2), (None, 2)])
def test_starting_weights_are_those_that_were_planned(
    tmp_path: Path, executed: list[tuple[Any, ...]], content: bytes | None, status: int
) -> None:
    digest = "9b0f1b10aff5"  # SHA-256 of b"planned"
    training = replace(RUN.recipe.training, pretrained=f"weights:{digest}")
    file = tmp_path / "weights.pth"
    run = replace(RUN, recipe=replace(RUN.recipe, training=training))
    folder = plan(tmp_path, run, Inputs(None, file))
    if content is not None:
        file.write_bytes(content)
    assert main([str(folder.path), "--device", "cpu"]) == status
    assert len(executed) == (status == 0)


def test_a_folder_without_a_plan_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no run was planned there" in caplog.text
    assert not list(tmp_path.iterdir())
