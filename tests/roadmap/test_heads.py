"""Table 1's detectors as arms, and how the paper's tables are laid out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from roadmap.heads import head_arms, head_table
from roadmap.layout import Entry, Layout, Line, listed
from roadmap.protocols import DEMO
from roadmap.recipe import DatasetConfig
from roadmap.stages import paper_recipe
from roadmap.study import PAPER_SETTING, Setting, Study, Table, record_of

ARMS = {arm.name: arm for arm in head_arms()}
SHAPES = DatasetConfig("embedded-shapes", "5ba9e5", 6, 600, 150)


def test_the_vanilla_detectors_are_the_roadmaps_first_two_stages() -> None:
    assert ARMS["vanilla-coupled"].reference() == paper_recipe("baseline")
    assert ARMS["vanilla-decoupled"].reference() == paper_recipe("decoupled-head")


@pytest.mark.parametrize("setting", [PAPER_SETTING, Setting(DEMO, SHAPES)], ids=["paper", "demo"])
@pytest.mark.parametrize("head", ["coupled", "decoupled"])
def test_end_to_end_adds_the_one_to_one_branch_and_nothing_else(head: str, setting: Setting) -> None:
    vanilla, ours = (ARMS[f"{variant}-{head}"].resolve(setting) for variant in ("vanilla", "end-to-end"))
    assert not vanilla.ingredients.nms_free
    assert ours == replace(vanilla, ingredients=replace(vanilla.ingredients, nms_free=True))


def test_figure_3_has_its_points_under_the_papers_protocol() -> None:
    """An AP every ten of 300 epochs, of the two arms whose curves the paper shows."""
    for arm in ARMS.values():
        training, curve = arm.reference().training, arm.paper.curve if arm.paper else ()
        evaluated = range(training.evaluate_every, training.epochs + 1, training.evaluate_every)
        assert [epoch for epoch, _ in curve] == (list(evaluated) if arm.name.startswith("vanilla") else [])


def test_the_decoupled_head_is_compared_with_the_coupled_one_end_to_end_too() -> None:
    compared = {name: (arm.against, *arm.also) for name, arm in ARMS.items()}
    assert compared == {
        "vanilla-coupled": ("",),
        "vanilla-decoupled": ("vanilla-coupled",),
        "end-to-end-coupled": ("vanilla-coupled",),
        "end-to-end-decoupled": ("vanilla-decoupled", "end-to-end-coupled"),
    }
    assert record_of(Study("heads", "?", head_arms(), (head_table(),))).arms[-1].also == (
        "end-to-end-coupled",
    )


def test_a_layout_fits_its_columns_and_its_tables_rows() -> None:
    with pytest.raises(ValueError, match=r"a table prints one of ap, params_m, .*, not 'speed'"):
        Entry("vanilla-coupled", "speed")
    with pytest.raises(ValueError, match=r"Table 9: line \('a', 'b'\) does not fit its columns"):
        Layout("Table 9", ("Models",), ("AP (%)",), (Line(("a", "b"), (Entry("x", "ap"),)),))
    layout = listed("Table 9", ("Models",), {"yolov9": ("YOLOv9",)}, ("ap",))
    with pytest.raises(ValueError, match="'mine' prints 'yolov9', which is none of its rows"):
        Study("heads", "?", head_arms(), (Table("mine", tuple(ARMS), layout),))


def test_brackets_stand_behind_ap_alone() -> None:
    layout = listed("Table 9", ("Models",), {"a": ("A",), "b": ("B",)}, ("ap", "gflops"), {"b": "a"})
    assert layout.columns == ("AP (%)", "GFLOPs")
    assert [(e.row, e.figure, e.against) for e in layout.entries] == [
        ("a", "ap", ""), ("a", "gflops", ""), ("b", "ap", "a"), ("b", "gflops", "")
    ]  # fmt: skip
