"""Which runs may share a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reports.records.collect import collect
from reports.records.groups import Group, group_runs
from roadmap.protocols import PAPER
from roadmap.settings import choose_protocol
from roadmap.stages import STAGE_NAMES, stage_arm, stage_recipe
from roadmap.study import Setting
from tests.reports.factory import COCO, DEMO_HERE, SHAPES, write_run, write_study


def groups(runs: Path) -> tuple[Group, ...]:
    return group_runs("roadmap", collect(runs, "roadmap").runs)


def test_stages_stand_in_the_papers_order(runs: Path) -> None:
    write_study(runs, stages=tuple(reversed(STAGE_NAMES)))
    (group,) = groups(runs)
    assert tuple(s.arm for s in group.arms) == STAGE_NAMES
    assert group.warnings == ()


def test_seeds_of_one_recipe_belong_together(runs: Path) -> None:
    for seed in (2, 0, 1):
        write_run(runs, "simota", seed)
    (group,) = groups(runs)
    assert group.arms[0].seeds == (0, 1, 2)


def test_protocols_and_datasets_never_share_a_group(runs: Path) -> None:
    write_run(runs, "simota")
    write_run(runs, "simota", dataset=replace(SHAPES, fingerprint="ffff0000"))
    write_run(runs, "simota", protocol="paper", dataset=SHAPES)
    write_run(runs, "simota", protocol="paper", dataset=COCO)
    found = groups(runs)
    assert len(found) == 4
    assert all(len(g.runs) == 1 for g in found)
    assert len({g.slug for g in found}) == 4


def test_only_the_papers_protocol_on_full_coco_is_unmarked(runs: Path) -> None:
    write_run(runs, "simota")
    write_run(runs, "simota", protocol="demo", dataset=COCO)
    write_run(runs, "simota", protocol="paper", dataset=SHAPES)
    write_run(runs, "simota", protocol="paper", dataset=COCO)
    found = groups(runs)
    assert found[0].papers_conditions
    assert found[0].mark == ""
    assert sorted(g.mark for g in found[1:]) == ["demo", "demo, not COCO", "not COCO"]
    assert not any(g.papers_conditions for g in found[1:])


def test_changes_of_a_protocol_are_left_out_of_the_mark_where_there_is_little_room(runs: Path) -> None:
    write_run(runs, "simota")
    (group,) = groups(runs)
    marks = {
        "demo": "demo, not COCO",
        "demo+epochs=50": "demo+epochs=50, not COCO",
        "demo+epochs=4+closing_epochs=1": "demo+…, not COCO",
    }
    assert {name: replace(group, protocol=name).narrow_mark for name in marks} == marks


def test_of_two_recipes_of_a_stage_the_newest_is_shown_and_the_other_named(runs: Path) -> None:
    recipe = stage_recipe("simota", DEMO_HERE, SHAPES)
    older = replace(recipe, training=replace(recipe.training, learning_rate=0.123))
    old = write_run(runs, "simota", recipe=older, finished="2026-01-01T00:00:00+00:00")
    new = write_run(runs, "simota", finished="2026-01-02T00:00:00+00:00")
    (group,) = groups(runs)
    assert [r.run for r in group.runs] == [new.name]
    (warning,) = group.warnings
    assert "2 different recipes" in warning
    assert old.name in warning


def test_stages_that_differ_in_more_than_their_ingredient_are_reported(runs: Path) -> None:
    write_run(runs, "baseline")
    recipe = stage_recipe("decoupled-head", DEMO_HERE, SHAPES)
    write_run(runs, "decoupled-head", recipe=replace(recipe, training=replace(recipe.training, epochs=30)))
    (group,) = groups(runs)
    (warning,) = group.warnings
    assert "training.epochs is 24 in baseline; 30 in decoupled-head" in warning


def test_a_changed_setting_is_never_taken_for_the_papers_protocol(runs: Path) -> None:
    """Whatever the protocol is called: a study of one's own may have kept its name."""
    shorter = stage_recipe("simota", PAPER, COCO)
    shorter = replace(shorter, training=replace(shorter.training, epochs=299))
    write_run(runs, "simota", protocol="paper", dataset=COCO, recipe=shorter)
    (group,) = groups(runs)
    assert group.protocol == "paper"
    assert group.changed == ("training.epochs",)
    assert not group.papers_conditions
    assert group.mark == "changed settings"


def test_runs_of_changed_settings_are_a_group_of_their_own(runs: Path) -> None:
    arm = stage_arm("simota")
    for assignments in ((), ("training.epochs=50",), ("training.epochs=60",)):
        made = arm.resolve(Setting(choose_protocol("paper", assignments), COCO))
        write_run(runs, "simota", protocol="paper", dataset=COCO, recipe=made)
    found = groups(runs)
    assert [group.mark for group in found] == [
        "",
        *sorted(("paper+epochs=50", "paper+epochs=60"), reverse=True),
    ]
    assert [group.papers_conditions for group in found] == [True, False, False]
