"""A search: every trial is a run, none is asked for twice, and what survives is in the folders."""

from __future__ import annotations

import random
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadmap.protocols import SMOKE
from roadmap.recipe import Run
from roadmap.record import RunFolder, append_line, write_json
from roadmap.search import FIRST_FRESH_SEED, Objective, Parameter, SearchRecord, Space, Trial, read_search
from roadmap.stages import stage_recipe
from roadmap.study import read_study
from studies.searching.asking import next_point, worth_stopping
from studies.searching.storage import address, check
from tests.roadmap.records import finish, identity_of
from tests.studies.search_bench import DATASET, Bench, hill, new_search


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "bench"


def points(record: SearchRecord) -> list[dict[str, Any]]:
    return [trial.parameters for trial in record.trials]


def undisturbed(folder: Path, **changes: Any) -> SearchRecord:
    runs = folder.parent.with_name("undisturbed")
    return Bench(runs).steps(runs / "bench", new_search(**changes))


def test_trials_are_runs_and_the_best_are_run_again_with_seeds_that_no_trial_had(folder: Path) -> None:
    bench = Bench(folder.parent)
    record = bench.steps(folder, new_search(best=2, fresh_seeds=2))
    assert [trial.number for trial in record.trials] == list(range(6))
    assert all(trial.state == "finished" for trial in record.trials)
    assert len(bench.started) == len(set(bench.started)) == 6 + 3 * 2
    best = max(record.trials, key=lambda trial: trial.values or (0.0,))
    again = [(each.arm, each.rank, each.trial, each.seed) for each in record.confirmations]
    assert again[:4] == [
        ("base", 0, None, FIRST_FRESH_SEED),
        ("base", 0, None, FIRST_FRESH_SEED + 1),
        ("best-1", 1, best.number, FIRST_FRESH_SEED),
        ("best-1", 1, best.number, FIRST_FRESH_SEED + 1),
    ]
    assert record.confirmations[2].values == best.values  # this figure has no noise
    assert read_search(folder) == record
    study = read_study(folder)
    assert study is not None
    assert {"base", "best-1", "trial-0005"} <= set(study.names)
    found = study.find("best-1")
    assert found is not None
    assert (found.against, found.changes) == ("base", ("training.learning_rate", "training.weight_decay"))


def test_at_most_so_many_trials_are_under_way(folder: Path) -> None:
    bench = Bench(folder.parent)
    bench.step(folder, new_search(at_once=4))
    assert len(bench.waiting) == 4
    bench.carry_out(bench.waiting[2])
    bench.step(folder)
    assert len(bench.waiting) == 4
    assert len(bench.started) == 5


def test_a_lost_record_and_a_lost_storage_are_made_anew_from_the_folders(folder: Path) -> None:
    bench, storage = Bench(folder.parent), f"sqlite:///{folder}/optuna.db"
    bench.step(folder, new_search(sampler="tpe"), storage)
    for _ in range(2):
        for run in list(bench.waiting):
            bench.carry_out(run)
        bench.step(folder, storage=storage)
    (folder / "search.json").unlink()
    (folder / "optuna.db").unlink()
    with pytest.raises(ValueError, match="holds no search; start it with its space"):
        bench.step(folder)
    record = bench.steps(folder, new_search(sampler="tpe"), storage=storage)
    assert points(record) == points(undisturbed(folder, sampler="tpe"))
    assert len(bench.started) == len(set(bench.started))
    assert stored(storage) == [trial.values for trial in record.trials]


def stored(url: str, name: str = "bench") -> list[tuple[float, ...] | None]:
    import optuna

    study = optuna.load_study(study_name=name, storage=url)
    found = [tuple(trial.values) if trial.values else None for trial in study.trials]
    study._storage.remove_session()
    return found


class Killed(BaseException):
    """kill -9, as near as one process comes to it."""


def test_a_step_killed_before_any_of_its_writes_loses_and_doubles_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, kills = undisturbed(folder, trials=2, best=1, fresh_seeds=1), 0
    for place in range(1, 60):
        shutil.rmtree(folder.parent, ignore_errors=True)
        bench = Bench(folder.parent)
        left = [place]

        def write(path: Path, *rest: Any, left: list[int] = left, **more: Any) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            write_json(path, *rest, **more)

        killed = 0
        with monkeypatch.context() as patch:
            for module in ("studies.searching.folders", "roadmap.planned", "roadmap.search", "roadmap.study"):
                patch.setattr(f"{module}.write_json", write)
            given: SearchRecord | None = new_search(trials=2, best=1, fresh_seeds=1)
            while True:
                try:
                    record = bench.steps(folder, given)
                    break
                except Killed:
                    killed += 1
                    given = None if (folder / "search.json").exists() else given
        assert points(record) == points(expected)
        assert [each.run for each in record.confirmations] == [each.run for each in expected.confirmations]
        assert len(bench.started) == len(set(bench.started)) == 4
        kills += killed
        if not killed:
            break
    assert kills > 12


def test_two_steps_at_once_exclude_each_other(folder: Path) -> None:
    bench = Bench(folder.parent)
    bench.step(folder, new_search(at_once=3))
    for run in list(bench.waiting):
        bench.carry_out(run)
    threads = [threading.Thread(target=bench.step, args=(folder,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bench.started) == len(set(bench.started)) == 6


def test_a_trial_whose_recipe_and_seed_have_run_takes_that_result(folder: Path) -> None:
    grid = Parameter("training.learning_rate", "choice", choices=(0.02, 0.03))
    base = stage_recipe("simota", SMOKE, DATASET)
    recipe = replace(base, training=replace(base.training, learning_rate=0.02))
    for seed, ap in ((1, 99.0), (0, 12.5)):
        run = Run("roadmap", "simota", seed, recipe)
        made = RunFolder(folder.parent / "roadmap" / run.name)
        made.path.mkdir(parents=True)
        write_json(made.path / "recipe.json", identity_of(run))
        finish(made, run, ap)
    bench = Bench(folder.parent)
    record = bench.steps(folder, new_search(sampler="grid", parameters=(grid,), best=0))
    taken = next(trial for trial in record.trials if trial.parameters["training.learning_rate"] == 0.02)
    assert (taken.values, taken.run) == ((12.5,), f"roadmap/simota-s0-{recipe.hash}")
    assert len(record.trials) == 2  # the whole grid, though six were allowed
    assert len(bench.started) == 1
    assert not list(folder.glob(f"{taken.arm}*/recipe.json"))


def test_equal_points_share_one_run(folder: Path) -> None:
    two = Parameter("training.learning_rate", "choice", choices=(0.02, 0.03))
    bench = Bench(folder.parent)
    record = bench.steps(folder, new_search(sampler="random", parameters=(two,), best=0))
    assert len(record.trials) == 6
    assert len({trial.run for trial in record.trials}) == len(bench.started) == 2


def test_what_failed_says_why_and_is_not_waited_for(folder: Path) -> None:
    """A loss that is not finite, a cancelled run, and a figure that COCO leaves undefined."""
    bench = Bench(folder.parent)
    bench.step(folder, new_search(at_once=3))
    nan, cancelled, undefined = bench.waiting
    bench.figure = lambda recipe, seed: float("nan")
    bench.carry_out(nan)
    bench.figure = lambda recipe, seed: None
    bench.carry_out(undefined)
    bench.cancelled[cancelled] = "cancelled by ada"
    bench.waiting.remove(cancelled)
    bench.figure = hill
    record = bench.steps(folder)
    assert [(t.state, t.reason) for t in record.trials[:3]] == [
        ("failed", "non-finite-loss: the loss is nan"),
        ("failed", "cancelled by ada"),
        ("failed", "AP is undefined in its result"),
    ]
    assert record.phase == "finished"
    del bench.cancelled[cancelled]  # slurm retry brought it back, and it has run
    bench.waiting.append(cancelled)
    bench.carry_out(cancelled)
    assert bench.step(folder).record.trials[1].state == "finished"


def test_a_run_that_was_lost_goes_on_and_is_the_same_trial(folder: Path) -> None:
    bench = Bench(folder.parent)
    bench.step(folder, new_search(at_once=2))
    lost = bench.waiting.pop()
    append_line(RunFolder(folder.parent / lost).path / "attempts.jsonl", {"event": "start", "attempt": 1})
    record = bench.step(folder).record
    assert bench.started.count(lost) == 2
    assert [trial.state for trial in record.trials] == ["running", "waiting"]
    assert len(record.trials) == 2


def test_a_trial_whose_folder_was_taken_away_runs_again(folder: Path) -> None:
    bench = Bench(folder.parent)
    bench.step(folder, new_search(trials=2, best=0))
    run = bench.waiting[0]
    bench.carry_out(run)
    shutil.rmtree(folder.parent / run)
    record = bench.steps(folder)
    assert bench.started.count(run) == 2
    assert [trial.state for trial in record.trials] == ["finished"] * 2
    (folder / "search.json").unlink()
    assert points(bench.step(folder, new_search(trials=2, best=0)).record) == points(record)


def test_values_that_do_not_fit_together_are_a_failed_trial(folder: Path) -> None:
    late = Parameter("training.closing_epochs", "choice", choices=(1, 50))
    record = Bench(folder.parent).steps(folder, new_search(sampler="grid", parameters=(late,), best=0))
    (failed,) = (trial for trial in record.trials if trial.state == "failed")
    assert "must not exceed epochs (3)" in failed.reason


def test_an_ordered_search_is_the_same_whatever_ends_first(folder: Path) -> None:
    changes = {"trials": 14, "at_once": 3, "in_order": True, "best": 0}
    bench, rng = Bench(folder.parent), random.Random(3)
    record = bench.step(folder, new_search(**changes)).record
    while record.phase != "finished":
        bench.carry_out(rng.choice(bench.waiting))
        record = bench.step(folder).record
    assert points(record) == points(undisturbed(folder, **changes))


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "qmc", "random", "grid"])
def test_every_sampler_stays_in_the_space_and_depends_on_nothing_but_the_record(sampler: str) -> None:
    parameters = (
        Parameter("training.learning_rate", "number", 0.01, 0.055, step=0.01),
        Parameter("training.batch_size", "whole", 8, 16, step=4),
        Parameter("training.augmentation.mosaic_scale", "choice", choices=([0.5, 1.5], [0.1, 2.0])),
        Parameter("ingredients.nms_free", "choice", choices=(False, True)),
    )
    space = Space("", ("simota",), (Objective("AP", "up"),), parameters, sampler, trials=16)

    def search() -> list[Trial]:
        trials: list[Trial] = []
        for number in range(13):
            values, notes = next_point(space, trials, number)
            trials.append(
                Trial(
                    number,
                    "simota",
                    f"t{number}",
                    values,
                    "finished",
                    values=(float(number % 5),),
                    notes=notes,
                )
            )
        return trials

    found = search()
    assert found == search()
    assert len({str(trial.parameters) for trial in found}) > 8
    for trial in found:
        rate, size, scale, free = (trial.parameters[p.key] for p in parameters)
        assert 0.01 <= rate <= 0.05 + 1e-9
        assert size in (8, 12, 16)
        assert scale in ([0.5, 1.5], [0.1, 2.0])
        assert free in (False, True)


def test_tpe_finds_more_than_random_draws_do() -> None:
    """The median over 20 seeds of the best of 25 trials, on a run's recipe and its figure."""
    record = new_search()

    def best(sampler: str, seed: int) -> float:
        space, trials = replace(record.space, sampler=sampler, seed=seed), list[Trial]()
        for number in range(25):
            values, notes = next_point(space, trials, number)
            ap = hill(record.recipe("simota", values))
            trials.append(Trial(number, "simota", "", values, "finished", values=(ap,), notes=notes))
        return max(trial.values[0] for trial in trials if trial.values)

    found = {sampler: sorted(best(sampler, seed) for seed in range(20)) for sampler in ("tpe", "random")}
    assert found["tpe"][10] > found["random"][10]


def test_a_hopeless_trial_is_told_to_stop_and_keeps_its_recipe(folder: Path) -> None:
    bench = Bench(folder.parent)
    record = bench.step(folder, new_search(trials=8, at_once=5, pruner="median", best=0)).record
    *good, bad = bench.waiting
    for run in good:
        metrics(folder, run, 10.0)
        bench.carry_out(run)
    metrics(folder, bad, 1.0)
    said = bench.step(folder).said
    order = RunFolder(folder.parent / bad).stop_order()
    assert order is not None
    assert order["message"] == "pruned at epoch 1 of 3 with AP 1.00 (median)"
    assert said[0] == f"{record.trials[4].arm}: {order['message']}"
    bench.waiting.remove(bad)
    record = bench.steps(folder)
    assert (record.trials[4].state, record.trials[4].reason) == ("stopped", order["message"])
    assert RunFolder(folder.parent / bad).identity()["recipe"]["training"]["epochs"] == 3
    assert bench.started.count(bad) == 1
    assert len(record.trials) == 8


def metrics(folder: Path, run: str, ap: float) -> None:
    append_line(RunFolder(folder.parent / run).path / "metrics.jsonl", {"epoch": 1, "AP": ap})


def test_hyperband_stops_the_worst_remembers_its_rungs_and_keeps_its_brackets() -> None:
    space = replace(new_search().space, pruner="hyperband")

    def looked_at() -> list[tuple[bool, dict[str, Any]]]:
        points = [next_point(space, [], n)[0] for n in range(9)]
        trials = [
            Trial(n, "simota", f"t{n}", point, "running", intermediate=((9, 10.0 - n),))
            for n, point in enumerate(points)
        ]
        found = []
        for place in range(9):
            stop, notes = worth_stopping(space, trials, place, 9, 1)
            trials[place] = replace(trials[place], notes=notes)
            found.append((stop, notes))
        return found

    first = looked_at()
    assert first == looked_at()
    assert {stop for stop, _ in first} == {True, False}
    assert any("completed_rung_0" in notes for _, notes in first)


def test_several_stages_get_the_same_budget(folder: Path) -> None:
    bases = ("decoupled-head", "simota")
    record = Bench(folder.parent).steps(folder, new_search(bases=bases, trials=5, best=1, fresh_seeds=1))
    assert [len(record.of(base)) for base in bases] == [5, 5]
    arms = {each.arm for each in record.confirmations}
    assert arms == {f"{base}-{end}" for base in bases for end in ("base", "best-1")}
    assert points(record)[0] == points(record)[1]  # the same first point on both: the seed is the same


def test_two_objectives_end_with_a_front_and_some_of_it_again(folder: Path) -> None:
    """Wider is better and dearer, so every width is on the front."""
    width = Parameter("model.width", "choice", choices=(0.125, 0.25, 0.375, 0.5, 0.625))
    bench = Bench(folder.parent, lambda recipe, seed: 50.0 * recipe.model.width)
    wanted = (Objective("AP", "up"), Objective("training_flops", "down"))
    url = f"sqlite:///{folder}/optuna.db"
    changes = {"parameters": (width,), "objectives": wanted, "sampler": "nsga2", "trials": 16, "best": 2}
    record = bench.steps(folder, new_search(**changes, fresh_seeds=1), storage=url)
    assert {trial.parameters["model.width"] for trial in record.trials} == set(width.choices)
    ends = [each.values[0] for each in record.confirmations if each.rank and each.values]
    assert ends == [50 * 0.625, 50 * 0.125]
    assert stored(url) == [trial.values for trial in record.trials]


def test_a_storage_that_fails_is_said_and_stops_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(folder.parent)
    url = f"sqlite:///{tmp_path}/no/such/folder/x.db"
    done = bench.step(folder, new_search(), url)
    assert "Optuna's storage sqlite:///" in done.said[0]
    assert len(bench.started) == 2
    with pytest.raises(ValueError, match="--storage off does without"):
        check(url)
    for driver in ("psycopg", "psycopg2"):
        monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(ValueError, match=r"pip install '\.\[postgres\]'"):
        check("postgresql+psycopg://localhost/none")


def test_a_broken_file_of_ours_is_written_anew(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "optuna.db").write_bytes(b"no database at all" * 100)
    url = address(None, folder)
    record = Bench(folder.parent).steps(folder, new_search(best=0), storage=url)
    assert stored(url) == [trial.values for trial in record.trials]


def test_a_password_stays_out_of_the_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="export OPTUNA_STORAGE"):
        address("postgresql://ada:secret@db/optuna", tmp_path)
    monkeypatch.setenv("OPTUNA_STORAGE", "postgresql://ada:secret@db/optuna")
    assert address(None, tmp_path) == "postgresql://ada:secret@db/optuna"


def test_trials_of_another_space_are_not_mixed_in(folder: Path) -> None:
    bench = Bench(folder.parent)
    bench.step(folder, new_search())
    (folder / "search.json").unlink()
    other = new_search(parameters=(Parameter("training.momentum", "number", 0.8, 0.99),))
    with pytest.raises(ValueError, match="give this one another --name"):
        bench.step(folder, other)


def test_the_same_search_goes_on_with_a_larger_budget_until_its_winners_are_chosen(folder: Path) -> None:
    bench = Bench(folder.parent)
    bench.step(folder, new_search())
    bench.step(folder, new_search(trials=8, at_once=3))
    assert len(bench.started) == 3
    with pytest.raises(
        ValueError, match="another search already: sampler differ; give this one another --name"
    ):
        bench.step(folder, new_search(sampler="random"))
    with pytest.raises(ValueError, match=r"training\.learning_rate.* differ"):
        bench.step(folder, new_search(bases=("simota",), protocol="demo"))
    record = bench.steps(folder)
    assert len(record.trials) == 8
    with pytest.raises(ValueError, match="has chosen its best trials"):
        bench.step(folder, new_search(trials=9, at_once=3))
