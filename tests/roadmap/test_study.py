"""A study as data: what fits together, and what planning leaves for everything downstream."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roadmap.paper import Published
from roadmap.protocols import DEMO
from roadmap.recipe import DatasetConfig, Recipe
from roadmap.stages import stage_recipe
from roadmap.study import (
    PAPER_SETTING,
    Arm,
    Companion,
    Design,
    PublishedRow,
    Setting,
    Study,
    Table,
    read_study,
    record_of,
    write_study,
)

SHAPES = DatasetConfig("embedded-shapes", "0" * 16, 5, 480, 160)


def recipe(stage: str) -> Any:
    return lambda setting: stage_recipe(stage, setting.protocol, setting.dataset, setting.imagenet)


COUPLED = Arm("coupled", recipe("baseline"), "coupled head", paper=Published("Table 2", 38.5))
DECOUPLED = Arm(
    "decoupled", recipe("decoupled-head"), against="coupled", paper=Published("Table 2", 39.6, 1.1)
)
MOSAIC = Arm("mosaic", recipe("strong-augmentation"), against="decoupled")
STUDY = Study("heads", "Which head?", (COUPLED, DECOUPLED, MOSAIC))


def test_an_arm_is_a_function_of_the_setting() -> None:
    demo = DECOUPLED.resolve(Setting(DEMO, SHAPES))
    assert (demo.protocol, demo.dataset, demo.ingredients.decoupled_head) == ("demo", SHAPES, True)
    assert DECOUPLED.reference() == DECOUPLED.resolve(PAPER_SETTING)
    assert DECOUPLED.reference().training.pretrained == "imagenet"


def test_weights_of_the_setting_are_every_arms() -> None:
    given = Setting(DEMO, SHAPES, weights="weights:0123")
    assert {arm.resolve(given).training.pretrained for arm in STUDY.arms} == {"weights:0123"}


def test_an_arm_that_makes_no_recipe_is_named() -> None:
    def broken(setting: Setting) -> Recipe:
        raise ValueError("no such model")

    with pytest.raises(ValueError, match="arm 'x': no such model"):
        Arm("x", broken).resolve(PAPER_SETTING)
    with pytest.raises(ValueError, match="arm 'x': its recipe must be a Recipe, not None"):
        Arm("x", lambda setting: None).resolve(PAPER_SETTING)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ()}, "study 'heads' has no arms"),
        ({"arms": (COUPLED, COUPLED)}, "two arms are called 'coupled'"),
        (
            {"arms": (DECOUPLED,)},
            "compared against 'coupled', which is no arm of it; choose one of: decoupled",
        ),
        ({"arms": (replace(COUPLED, against="coupled"),)}, "compared against itself"),
        ({"arms": (replace(COUPLED, name="a/b"),)}, "an arm's name must be letters"),
        ({"name": "../x"}, "a study's name must be letters"),
        ({"name": "probe"}, "cannot be called 'probe'"),
        ({"noun": "--x"}, "noun must be a lower-case word"),
        ({"tables": (Table("t", ("coupled", "mosaic")),)}, "no table lists decoupled"),
        ({"tables": (Table("t", ("couple", *STUDY.names)),)}, "a table lists 'couple', which is no arm"),
        (
            {"tables": (Table("t", (PublishedRow("x", Published("Table 2", 1.0), "y"), *STUDY.names)),)},
            "published row 'x' has the rival 'y', which is no arm",
        ),
    ],
)
def test_arms_that_do_not_fit_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(STUDY, **changes)


def test_a_design_stands_for_its_arms_each_once() -> None:
    study = replace(STUDY, designs=(Design("pair", ("decoupled", "mosaic"), "the last two"),))
    arms, designs = study.choose(["mosaic", "pair"])
    assert (arms, designs) == ((MOSAIC, DECOUPLED), study.designs)
    assert study.choose() == (study.arms, ())
    with pytest.raises(ValueError, match="unknown arm 'pear'; choose one of: pair, coupled, decoupled"):
        study.choose(["pear"])


@pytest.mark.parametrize(
    ("design", "message"),
    [
        (Design("mosaic", ("coupled",)), "the name 'mosaic' of a design is taken"),
        (Design("pair", ("coupled", "x")), "design 'pair' has 'x', which is no arm of it"),
        (Design("a pair", ("coupled",)), "a design's name must be letters"),
    ],
)
def test_a_design_that_does_not_fit_is_refused(design: Design, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(STUDY, designs=(design,))


def test_an_unknown_arm_among_many_is_answered_with_the_nearest() -> None:
    many = Study("many", "Which?", tuple(replace(COUPLED, name=f"arm-{n}") for n in range(40)))
    with pytest.raises(ValueError, match=r"unknown arm 'arm_39'; did you mean .*arm-39"):
        many.find("arm_39")


def test_an_unknown_arm_is_answered_with_the_known_ones() -> None:
    assert STUDY.find("mosaic") is MOSAIC
    with pytest.raises(ValueError, match="unknown arm 'x'; choose one of: coupled, decoupled, mosaic"):
        STUDY.find("x")


def test_what_planning_writes_is_what_is_read(tmp_path: Path) -> None:
    companion = Companion("training.pretrained", "", "from scratch (§2.1)")
    rows = (PublishedRow("YOLOv3", Published("Table 2", 44.3), "coupled"), *STUDY.names)
    study = Study(
        "heads", "Which head?", (COUPLED, DECOUPLED, replace(MOSAIC, companions=(companion,))),
        (Table("Table 2", rows),), "stage",
    )  # fmt: skip
    written = write_study(tmp_path / "heads", study, "python -m studies.heads")
    assert read_study(tmp_path / "heads") == written
    assert written.names == ("coupled", "decoupled", "mosaic")
    assert (written.noun, written.command, written.tables) == (
        "stage",
        "python -m studies.heads",
        study.tables,
    )
    assert written.find("coupled") == replace(record_of(study).arms[0], label="coupled head")
    assert written.arms[2].companions == (companion,)
    assert read_study(tmp_path / "other") is None


def test_a_record_says_what_an_arm_changes_and_no_more() -> None:
    """A gain between runs that differ in anything else mixes causes."""
    changes = {arm.name: arm.changes for arm in record_of(STUDY).arms}
    assert changes == {
        "coupled": (),
        "decoupled": ("ingredients.decoupled_head",),
        "mosaic": ("ingredients.strong_augmentation", "training.pretrained"),
    }


def test_only_arms_of_the_paper_carry_its_recipe() -> None:
    references = [arm.reference for arm in record_of(STUDY).arms]
    assert references[0] is not None
    assert references[0]["training"]["epochs"] == 300
    assert references[2] is None


def test_arms_planned_bit_by_bit_add_up_and_the_study_decides_the_order(tmp_path: Path) -> None:
    write_study(tmp_path, replace(STUDY, arms=(COUPLED, replace(MOSAIC, against=""))))
    merged = write_study(tmp_path, replace(STUDY, arms=(replace(DECOUPLED, against=""), COUPLED)))
    assert merged.names == ("decoupled", "coupled", "mosaic")
    assert read_study(tmp_path) == merged
    assert merged.order({"mosaic", "zz", "aa", "decoupled"}) == ["decoupled", "mosaic", "aa", "zz"]
    assert [merged.place(name) for name in ("coupled", "zz")] == [2, None]


def test_a_study_that_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    write_study(tmp_path, STUDY)
    before = (tmp_path / "study.json").stat().st_ino
    write_study(tmp_path, STUDY)
    assert (tmp_path / "study.json").stat().st_ino == before


def test_a_broken_file_is_named_and_planning_mends_it(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(
        json.dumps({"name": "heads", "question": "?", "arms": [{"label": 1}]})
    )
    with pytest.raises(ValueError, match=r"study\.json: arms\[0\]\.name is missing; .*plan the study again"):
        read_study(tmp_path)
    assert write_study(tmp_path, STUDY) == read_study(tmp_path)
