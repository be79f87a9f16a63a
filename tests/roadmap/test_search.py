"""A search as data: which trials are best, what its record keeps, and what may be tuned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadmap.protocols import COCO_2017, PAPER
from roadmap.search import (
    Base,
    Confirmation,
    Objective,
    Parameter,
    SearchRecord,
    Space,
    Trial,
    ranked,
    read_search,
    winners,
    write_search,
)
from roadmap.search_space import checked_space, grid_size, kept_spaces, load_space, space_of
from roadmap.stages import stage_recipe

AP, LATENCY = Objective("AP", "up"), Objective("latency_ms", "down")
RATE = Parameter("training.learning_rate", "number", 1e-3, 1e-1, log=True)


def space(*objectives: Objective, **changes: Any) -> Space:
    return replace(Space("a summary", ("simota",), objectives or (AP,), (RATE,)), **changes)


def trial(number: int, *values: float, **changes: Any) -> Trial:
    made = Trial(number, "simota", f"trial-{number:04d}", {}, "finished", f"s/t{number}", values=values)
    return replace(made, **changes)


def test_the_best_comes_first_and_of_equals_the_earlier() -> None:
    trials = [trial(0, 30.0), trial(1, 32.0), trial(2, 32.0), trial(3, 31.0)]
    assert [t.number for t in ranked(space(), trials)] == [1, 2, 3, 0]


def test_what_did_not_finish_is_not_ranked() -> None:
    trials = [trial(0, 30.0), trial(1, state="failed", values=None), trial(2, state="stopped", values=None)]
    assert [t.number for t in ranked(space(), trials)] == [0]


def test_trials_that_share_a_run_count_once() -> None:
    assert [t.number for t in ranked(space(), [trial(0, 30.0), trial(1, 30.0, run="s/t0")])] == [0]


def test_of_two_objectives_only_the_front_is_kept() -> None:
    # 0 is beaten by 1 in both; 3 equals 2 in latency and is worse in AP
    trials = [trial(0, 30.0, 9.0), trial(1, 31.0, 8.0), trial(2, 35.0, 12.0), trial(3, 34.0, 12.0)]
    assert [t.number for t in ranked(space(AP, LATENCY), trials)] == [2, 1]


def test_winners_of_a_long_front_are_spread_over_it() -> None:
    front = tuple(trial(n, 30.0 + n, 5.0 + n) for n in range(9))
    record = SearchRecord("s", space(AP, LATENCY, best=3), trials=front)
    assert [t.number for t in winners(record, "simota")] == [8, 4, 0]


def test_the_record_comes_back_as_it_was(tmp_path: Path) -> None:
    recipe = stage_recipe("simota", PAPER, COCO_2017)
    record = SearchRecord(
        "mine",
        space(
            AP,
            pruner="median",
            parameters=(RATE, Parameter("model.loss.iou_aware", "choice", choices=(True, False))),
        ),
        (Base("simota", recipe, recipe),),
        (
            trial(
                0,
                30.5,
                parameters={"training.learning_rate": 0.0123},
                intermediate=((2, 1.5),),
                notes={"g": 1},
            ),
        ),
        (Confirmation("best-1", "simota", 1, 0, 1000, values=(29.0,)),),
        "confirming",
        "sqlite:///x.db",
    )
    write_search(tmp_path, record)
    assert read_search(tmp_path) == record


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "search.json").write_text('{"schema": 2, "name": "x"}')
    with pytest.raises(ValueError, match=r"search\.json"):
        read_search(tmp_path)


def test_parameters_go_into_the_recipe_and_nothing_else_changes() -> None:
    recipe = stage_recipe("simota", PAPER, COCO_2017)
    record = SearchRecord("s", space(), (Base("simota", recipe, recipe),))
    made = record.recipe("simota", {"training.learning_rate": 0.03, "ingredients.simota": False})
    assert made.training == replace(recipe.training, learning_rate=0.03)
    assert made.ingredients == replace(recipe.ingredients, simota=False)
    assert made.model == recipe.model
    assert record.recipe("simota", {"training.learning_rate": 0.02}).hash == recipe.hash


@pytest.mark.parametrize("name", list(kept_spaces()))
def test_the_kept_examples_are_valid(name: str) -> None:
    assert load_space(kept_spaces()[name]).summary


def test_ranges_whole_numbers_choices_and_toggles_are_told_apart() -> None:
    found = space_of(
        {
            "objective": ["AP", "params"],
            "training": {
                "learning_rate": {"low": 1e-3, "high": 5e-2, "log": True},
                "batch_size": {"low": 8, "high": 32},
            },
            "assigner": {"solver": ["simota", "ota"]},
            "augmentation": {"mosaic_scale": {"choices": [[0.5, 1.5], [0.1, 2.0]]}},
            "ingredients": {"nms_free": [False, True]},
        }
    )
    assert {p.key: (p.kind, p.low, p.high, p.choices) for p in found.parameters} == {
        "training.learning_rate": ("number", 1e-3, 5e-2, ()),
        "training.batch_size": ("whole", 8, 32, ()),
        "model.assigner.solver": ("choice", 0, 0, ("simota", "ota")),
        "training.augmentation.mosaic_scale": ("choice", 0, 0, ([0.5, 1.5], [0.1, 2.0])),
        "ingredients.nms_free": ("choice", 0, 0, (False, True)),
    }
    assert found.objectives == (AP, Objective("params", "down"))


TUNED = {"training": {"learning_rate": {"low": 1e-3, "high": 5e-2}}}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "nothing is tuned"),
        ({"sampelr": "tpe"}, "unknown key 'sampelr'; did you mean sampler?"),
        ({"training": {"learning_rat": {"low": 0.1, "high": 1}}}, "did you mean training.learning_rate?"),
        ({"training": {"pretrained": ["a", "b"]}}, "cannot be set: give --weights"),
        ({"ingredients": {"simoto": [True, False]}}, "unknown ingredient 'simoto'; did you mean simota?"),
        ({"training": {"learning_rate": 0.1}}, "must be a range .* or a list of choices"),
        ({"training": {"learning_rate": {"low": 0.1}}}, "high is missing"),
        ({"training": {"learning_rate": {"low": 0.1, "high": 0.01}}}, "low must be below high"),
        ({"training": {"learning_rate": {"low": -1, "high": 0.01}}}, "low must be greater than 0"),
        ({"training": {"learning_rate": {"low": 1e-3, "hi": 1e-2}}}, "valid keys: low, high, log"),
        ({"training": {"batch_size": {"low": 1.5, "high": 8}}}, "must be a whole number"),
        ({"assigner": {"solver": ["simota", "otta"]}}, "must be one of 'simota', 'ota'"),
        ({"assigner": {"solver": ["simota"]}}, "give two values or more"),
        ({"assigner": {"solver": {"low": "a", "high": "b"}}}, "must be one of"),
        ({**TUNED, "objective": "AP75"}, "choose one of: AP, AP_last, latency_ms, params, training_flops"),
        ({**TUNED, "objective": ["AP", "AP"]}, "one or two different ones"),
        ({**TUNED, "sampler": "cma"}, "sampler must be one of tpe, gp, nsga2, qmc, random, grid"),
        ({**TUNED, "sampler": "grid"}, "needs a step, or choices"),
        ({**TUNED, "pruner": "median", "objective": ["AP", "params"]}, "a pruner needs one objective"),
        ({**TUNED, "pruner": "median", "objective": "params"}, "a pruner follows the AP"),
        ({**TUNED, "base": "simoto"}, "choose a stage or a model: baseline, "),
        ({**TUNED, "run_seed": 1000}, "run_seed must be below 1000"),
        ({**TUNED, "trials": 0}, "trials must be at least 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused_with_what_can(content: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        space_of(content)


def test_a_grid_is_every_combination() -> None:
    radius = Parameter("model.assigner.center_radius", "number", 1.0, 2.0, step=0.5)
    count = Parameter("model.assigner.candidates", "whole", 5, 7)
    assert grid_size(checked_space(space(sampler="grid", parameters=(radius, count)))) == 9
