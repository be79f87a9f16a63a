"""What planning leaves in a run's folder is what runs, or is refused with a reason."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from roadmap.planned import Inputs, PlannedRun, read_planned, write_planned
from roadmap.protocols import DEMO, deviations
from roadmap.recipe import DatasetConfig, Run
from roadmap.record import RunFolder, append_line
from roadmap.stages import paper_recipe, stage_recipe

SHAPES = DatasetConfig("embedded-shapes", "0" * 16, 5, 480, 160)
RUN = Run("roadmap", "simota", 3, stage_recipe("simota", DEMO, SHAPES))
DEVIATIONS = deviations(RUN.recipe, paper_recipe("simota"))


def plan(runs: Path, data: Path | None = None) -> RunFolder:
    folder = RunFolder(runs / RUN.study / RUN.name)
    write_planned(folder, RUN, DEVIATIONS, Inputs(data, None), {"commit": "0123456789abcdef"})
    return folder


def rewrite(folder: RunFolder, **changes: object) -> None:
    path = folder.path / "recipe.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_planned_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = plan(tmp_path)
    planned = read_planned(folder)
    assert planned == PlannedRun(RUN, planned.deviations, Inputs(None, None), "0123456789abcdef")
    assert [d.field for d in planned.deviations] == [d.field for d in DEVIATIONS]
    assert folder.state() == "planned"


def test_a_run_that_was_started_is_planned_no_more(tmp_path: Path) -> None:
    folder = plan(tmp_path)
    append_line(folder.path / "attempts.jsonl", {"event": "start", "attempt": 1})
    assert folder.state() == "interrupted"
    assert RunFolder(tmp_path / "roadmap" / "other").state() == "new"


def test_places_survive_another_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = plan(tmp_path, Path("data"))
    monkeypatch.chdir("/")
    assert read_planned(folder).inputs == Inputs(tmp_path / "data", None)


def test_planning_again_keeps_the_recipe_and_learns_where_the_data_are_now(tmp_path: Path) -> None:
    before = (plan(tmp_path, tmp_path / "old").path / "recipe.json").read_bytes()
    folder = plan(tmp_path, tmp_path / "new")
    assert (folder.path / "recipe.json").read_bytes() == before
    assert read_planned(folder).inputs == Inputs(tmp_path / "new", None)


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    folder = plan(tmp_path, tmp_path / "old")
    (folder.path / "result.json").write_text("{}")
    plan(tmp_path, tmp_path / "new")
    assert read_planned(folder).inputs == Inputs(tmp_path / "old", None)


def test_what_was_recorded_runs_whatever_the_code_would_plan_now(tmp_path: Path) -> None:
    """A protocol that changed meanwhile changes nothing that is queued."""
    recorded = replace(RUN.recipe, training=replace(RUN.recipe.training, learning_rate=0.5))
    run = replace(RUN, recipe=recorded)
    folder = RunFolder(tmp_path / run.study / run.name)
    write_planned(folder, run, (), Inputs(None, None), {})
    assert read_planned(folder).run.recipe.training.learning_rate == 0.5


def test_a_recipe_of_another_code_is_refused_and_says_whose(tmp_path: Path) -> None:
    folder = plan(tmp_path)
    recipe = json.loads((folder.path / "recipe.json").read_text())["recipe"]
    rewrite(folder, recipe=recipe | {"distillation": True})
    with pytest.raises(
        ValueError, match=r"recipe\.json cannot be carried out by this code.*distillation.*"
    ) as e:
        read_planned(folder)
    assert "commit 0123456789ab planned it" in str(e.value)
    assert "plan the study again" in str(e.value)


def test_a_recipe_that_is_no_longer_valid_is_refused(tmp_path: Path) -> None:
    folder = plan(tmp_path)
    recipe = json.loads((folder.path / "recipe.json").read_text())["recipe"]
    rewrite(folder, recipe=recipe | {"training": recipe["training"] | {"epochs": 0}})
    with pytest.raises(ValueError, match=r"recipe\.json"):
        read_planned(folder)


def test_an_edited_recipe_is_refused(tmp_path: Path) -> None:
    folder = plan(tmp_path)
    recipe = json.loads((folder.path / "recipe.json").read_text())["recipe"]
    rewrite(folder, recipe=recipe | {"training": recipe["training"] | {"epochs": 19}})
    with pytest.raises(ValueError, match="the recipe was edited, or the folder was renamed"):
        read_planned(folder)


def test_a_renamed_folder_is_refused(tmp_path: Path) -> None:
    folder = plan(tmp_path)
    moved = folder.path.with_name("simota-s4-" + RUN.recipe.hash)
    folder.path.rename(moved)
    with pytest.raises(ValueError, match="the folder was renamed"):
        read_planned(RunFolder(moved))


@pytest.mark.parametrize("content", ["[]", '{"recipe": 1}', "{}"])
def test_a_broken_recipe_is_refused(tmp_path: Path, content: str) -> None:
    folder = plan(tmp_path)
    (folder.path / "recipe.json").write_text(content)
    with pytest.raises(ValueError, match=r"recipe\.json"):
        read_planned(folder)


def test_a_folder_without_a_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run was planned there"):
        read_planned(RunFolder(tmp_path))
