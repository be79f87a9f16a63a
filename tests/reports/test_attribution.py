"""Effects from run records: a known truth comes back, whatever the study and its arms are called."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from reports.build import build_report
from reports.figures import effect_orders, effects, lattice
from reports.figures.style import COLUMN, drawing
from reports.judging.attribution import Attribution, attribute, paper_order, with_images
from reports.judging.gains import MORE_THAN_NOISE, TOO_FEW_SEEDS
from reports.judging.orders import DEPENDS, GAINS, LOSES
from reports.records.collect import collect
from reports.records.groups import Group, group_runs
from reports.tables.effects import effects_grid, orders_grid, pairs_grid, papers_order, singles_grid
from reports.tables.steps import build_table2
from roadmap.designs import Combination
from tests.reports.combinations import STUDY, write_combinations
from tests.reports.factory import write_study
from tests.reports.test_figures import texts
from yolox_core.config import INGREDIENTS

MAIN = {
    "decoupled_head": 1.5, "strong_augmentation": -1.0, "anchor_free": -0.75, "multi_positives": 6.0,
    "simota": 2.5, "nms_free": -0.5,
}  # fmt: skip


def additive(one: Combination, seed: int) -> float:
    """What a seed adds to all arms alike changes no effect; the little that stays is each run's own."""
    own = ((7 * len(one) + 3 * sum(map(len, one)) + 5 * seed) % 11 - 5) / 500
    return 15 + sum(MAIN[name] for name in one) + 0.5 * seed + own


def interacting(one: Combination, seed: int) -> float:
    return additive(one, seed) + 5.0 * ({"anchor_free", "multi_positives"} <= one)


def group_of(runs: Path) -> Group:
    (group,) = group_runs(STUDY.name, collect(runs, STUDY.name).runs)
    return group


def found_in(runs: Path) -> Attribution:
    found = attribute(group_of(runs))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def factorial(tmp_path_factory: pytest.TempPathFactory) -> tuple[Attribution, Group]:
    """All combinations, two seeds; anchor-free and multi positives work on each other."""
    runs = tmp_path_factory.mktemp("factorial")
    write_combinations(runs, interacting, seeds=(0, 1))
    return found_in(runs), group_of(runs)


def test_a_known_truth_with_an_interaction_is_returned(factorial: tuple[Attribution, Group]) -> None:
    found, _ = factorial
    assert found.arms.factors == INGREDIENTS
    assert (len(found.names), found.seeds) == (64, (0, 1))
    for item in found.ingredients:
        assert item.mean is not None
        shared = 2.5 if item.factor in ("anchor_free", "multi_positives") else 0.0
        assert item.mean.value == pytest.approx(MAIN[item.factor] + shared, abs=0.01)
        assert item.mean.word == MORE_THAN_NOISE
        assert item.add_one_in is not None
        assert item.add_one_in.value == pytest.approx(MAIN[item.factor], abs=0.03)
        assert item.leave_one_out is not None
        assert item.leave_one_out.value == pytest.approx(MAIN[item.factor] + 2 * shared, abs=0.03)
    for pair, effect in found.pairs.items():
        expected = 5.0 if pair == {"anchor_free", "multi_positives"} else 0.0
        assert effect.value == pytest.approx(expected, abs=0.02)
    assert sum(item.mean.value for item in found.ingredients if item.mean) == pytest.approx(
        found.total, abs=1e-9
    )


def test_the_sign_of_an_ingredient_that_needs_another_depends_on_the_order(
    factorial: tuple[Attribution, Group],
) -> None:
    verdicts = {item.factor: item.verdict for item in factorial[0].ingredients}
    assert verdicts == {
        "decoupled_head": GAINS, "strong_augmentation": LOSES, "anchor_free": DEPENDS,
        "multi_positives": GAINS, "simota": GAINS, "nms_free": LOSES,
    }  # fmt: skip
    orders = {item.factor: item.orders for item in factorial[0].ingredients}
    anchor_free = orders["anchor_free"]
    assert anchor_free is not None
    assert anchor_free.in_order == pytest.approx(-0.75, abs=0.03)  # before multi positives, as in the paper
    assert anchor_free.positive == pytest.approx(0.5)


@pytest.mark.parametrize("design", ["fraction", "leave-one-out", "add-one-in", "factorial"])
def test_an_additive_truth_is_returned_by_every_design(tmp_path: Path, design: str) -> None:
    write_combinations(tmp_path, additive, design)
    found = found_in(tmp_path)
    for item in found.ingredients:
        effects = [e for e in (item.mean, item.leave_one_out, item.add_one_in) if e is not None]
        assert effects
        for effect in effects:
            assert effect.value == pytest.approx(MAIN[item.factor], abs=0.03)
            assert (effect.interval, effect.word) == (None, TOO_FEW_SEEDS)
    assert (effects_grid(found) is None) == design.endswith(("out", "in"))
    assert (singles_grid(found) is None) == (design == "fraction")
    assert (orders_grid(found) is None) == (design != "factorial")
    assert (pairs_grid(found) is None) == design.endswith(("out", "in"))


def test_a_single_order_says_no_more_than_its_gains(tmp_path: Path) -> None:
    write_study(tmp_path)
    (group,) = group_runs("roadmap", collect(tmp_path, "roadmap").runs)
    assert attribute(group) is None


def test_seeds_that_some_arms_lack_are_left_out_and_said(tmp_path: Path) -> None:
    write_combinations(tmp_path, additive, "fraction", seeds=(0, 1))
    write_combinations_more(tmp_path)
    found = found_in(tmp_path)
    assert found.seeds == (0, 1)
    assert found.notes == ("effects are of the seeds that all arms have: 0, 1",)


def write_combinations_more(runs: Path) -> None:
    """A third seed of some arms only."""
    for arm in ("plain", "all"):
        (folder,) = (runs / STUDY.name).glob(f"{arm}-s0-*")
        copy = folder.with_name(folder.name.replace("-s0-", "-s2-"))
        copy.mkdir()
        for file in folder.iterdir():
            text = file.read_text(encoding="utf-8")
            text = text.replace('"seed": 0', '"seed": 2').replace(folder.name, copy.name)
            (copy / file.name).write_text(text, encoding="utf-8")


def test_intervals_over_images_come_beside_those_over_seeds(factorial: tuple[Attribution, Group]) -> None:
    found, _ = factorial
    rng = np.random.default_rng(1)
    ap = found.ap[:, None] + rng.normal(0, 3, 400) + rng.normal(0, 0.1, (64, 400))
    seen = with_images(found, ap)
    for item in seen.ingredients:
        assert item.mean is not None
        assert item.mean.images is not None
        assert item.mean.images.contains(item.mean.value)
        assert item.mean.images.half_width < 0.2  # what makes images hard for all arms alike cancels
    grid = effects_grid(seen)
    assert grid is not None
    assert "95 % over images" in [column.title for column in grid.columns]


def test_the_papers_order_is_kept_for_other_factors_too() -> None:
    assert paper_order(("simota", "top_overlap", "decoupled_head")) == (
        "decoupled_head",
        "simota",
        "top_overlap",
    )


def test_a_report_says_it_in_every_format(tmp_path: Path) -> None:
    write_combinations(tmp_path, additive, "fraction", seeds=(0, 1))
    report = build_report(tmp_path, STUDY.name, figures=False)
    for name in ("report.md", "report.html", "report.tex"):
        text = re.sub(r"\s+", " ", (report.out / name).read_text(encoding="utf-8"))
        assert "What each ingredient gives, whatever the order" in text, name
        assert "From 16 of 64 combinations of 6 ingredients, 2 common seeds." in text, name
    assert "multi positives" in report.summary
    recorded = report.data["groups"][0]["effects"]
    values = {row["ingredient"]: row["mean"]["value"] for row in recorded["ingredients"]}
    assert values == pytest.approx(MAIN, abs=0.01)
    assert {len(row["pairs"]) for row in recorded["interaction_sets"]} == {2, 3}


def test_other_figures_of_many_combinations_show_the_papers_order(
    factorial: tuple[Attribution, Group], tmp_path: Path
) -> None:
    found, group = factorial
    shown = papers_order(build_table2(group), found)
    assert shown is not None
    assert [row.label for row in shown.rows] == [
        "none", "+decoupled head", "+strong augmentation", "+anchor-free", "+multi positives", "+SimOTA",
        "+NMS free",
    ]  # fmt: skip
    assert [arm.arm for arm in shown.group.arms] == [row.arm for row in shown.rows]
    assert [row.previous for row in shown.rows[1:]] == [row.arm for row in shown.rows[:-1]]
    write_combinations(tmp_path, additive, "fraction")
    assert papers_order(build_table2(group_of(tmp_path)), found_in(tmp_path)) is None


def test_what_each_ingredient_gives_comes_before_the_single_gains_of_many_arms(tmp_path: Path) -> None:
    write_combinations(tmp_path, additive)
    page = (build_report(tmp_path, STUDY.name, figures=False).out / "report.html").read_text(encoding="utf-8")
    effects, gains = page.index("What each ingredient gives"), page.index("whether they are more than noise")
    assert effects < gains < page.index("63 gains")


DRAW = {
    "effects": effects.draw_effects,
    "interactions": effects.draw_interactions,
    "positions": effect_orders.draw,
    "combinations": lattice.draw,
}


def drawn(name: str, of: tuple[Attribution, Group]) -> Figure:
    figure = DRAW[name](*of)
    assert figure is not None
    return figure


@pytest.mark.parametrize("name", DRAW)
def test_figures_can_be_read_in_print_and_say_what_they_are_of(
    factorial: tuple[Attribution, Group], name: str
) -> None:
    with drawing():
        figure = drawn(name, factorial)
        assert figure.get_size_inches()[0] == COLUMN
        figure.draw_without_rendering()
        frame, margin = figure.bbox, figure.dpi / 60
        found = texts(figure)
        for text in found:
            box = text.get_window_extent()
            assert text.get_fontsize() >= 7, text.get_text()
            assert frame.x0 + margin <= box.x0, text.get_text()
            assert box.x1 <= frame.x1 - margin, text.get_text()
            assert frame.y0 + margin <= box.y0, text.get_text()
            assert box.y1 <= frame.y1 - margin, text.get_text()
        assert any("DEMO\nNOT COCO" in text.get_text() for text in found)


def test_the_combinations_stand_sorted_and_the_papers_order_is_numbered(
    factorial: tuple[Attribution, Group],
) -> None:
    with drawing():
        figure = drawn("combinations", factorial)
        dots, axes = figure.axes
    heights = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert len(heights) == 64
    assert heights == sorted(heights, reverse=True)
    numbers = sorted(t.get_text() for t in axes.texts if t.get_text().isdigit())
    assert numbers == [str(step) for step in range(7)]
    assert dots.get_xticklabels()[0].get_text() == "decoupled head"


def test_what_a_fraction_cannot_tell_apart_has_one_letter(tmp_path: Path) -> None:
    write_combinations(tmp_path, interacting, "fraction")
    with drawing():
        figure = drawn("interactions", (found_in(tmp_path), group_of(tmp_path)))
    cells = [text.get_text() for text in figure.axes[0].texts if "(" in text.get_text()]
    assert len(cells) == 15
    assert sum(text.startswith("+5.0") for text in cells) == 2


def test_an_arm_whose_ap_is_undefined_is_left_out(tmp_path: Path) -> None:
    """COCO leaves AP undefined where there is nothing to find; no effect becomes so."""
    write_combinations(tmp_path, additive, "add-one-in")
    (result,) = (tmp_path / STUDY.name).glob("simota-s0-*/result.json")
    record = json.loads(result.read_text())
    record["best"]["AP"] = None
    result.write_text(json.dumps(record))
    found = found_in(tmp_path)
    assert {item.factor for item in found.ingredients} == set(INGREDIENTS) - {"simota"}
    assert all(np.isfinite(effect.value) for effect in found.effects())
    assert found.notes[0].startswith("effects are of 6 of 7 arms")
