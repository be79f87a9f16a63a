"""Figures: what they show, and that they can be read in print."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from reports.figures import catalogue, curves, head_curves, roadmap, tradeoffs
from reports.figures.points import latency_points, light_points, size_points
from reports.figures.style import COLUMN, SERIES, drawing, new_figure, save
from reports.records.collect import collect
from reports.records.groups import group_runs
from reports.tables.caption import curve_conditions, curve_sentence, short_caption, stamp_line
from reports.tables.steps import Table2, build_table2
from roadmap.study import Setting
from roadmap.study import write_study as plan_study
from studies.assignment import STUDY as ASSIGNMENT
from studies.scaling import STUDY as SCALING
from tests.reports.factory import (
    COCO,
    CPU,
    DEMO_HERE,
    SHAPES,
    protocol_of,
    stage_recipe,
    write_run,
    write_study,
)

DRAW = {
    "roadmap": roadmap.draw,
    "speed": tradeoffs.draw_speed,
    "size": tradeoffs.draw_size,
    "curves": curves.draw,
    "heads": head_curves.draw,
}


def table_of(runs: Path) -> Table2:
    return build_table2(group_runs("roadmap", collect(runs, "roadmap").runs)[0])


@pytest.fixture(scope="module", params=["demo", "paper"])
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Table2:
    runs = tmp_path_factory.mktemp(request.param)
    if request.param == "demo":
        write_study(runs, seeds=3)
    else:
        write_study(runs, seeds=3, protocol="paper", dataset=COCO)
    return table_of(runs)


def texts(figure: Figure) -> list[Text]:
    """All text that is drawn: tick labels beyond an axis's range exist but are not."""
    hidden = {
        id(label)
        for axes in figure.axes
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
        for tick, place in zip(axis.get_major_ticks(), axis.get_majorticklocs(), strict=False)
        for label in (tick.label1, tick.label2)
        if not min(low, high) <= place <= max(low, high)
    }
    found = [t for t in figure.findobj(Text) if isinstance(t, Text) and t.get_text().strip()]
    return [t for t in found if t.get_visible() and id(t) not in hidden]


@pytest.mark.parametrize("name", DRAW)
def test_text_is_large_enough_in_print_and_keeps_clear_of_the_edge(table: Table2, name: str) -> None:
    with drawing():
        figure = DRAW[name](table)
        assert figure is not None
        assert figure.get_size_inches()[0] == COLUMN
        figure.draw_without_rendering()
        frame, margin = figure.bbox, figure.dpi / 40
        for text in texts(figure):
            assert text.get_fontsize() >= 7, text.get_text()
            box = text.get_window_extent()
            assert box.x0 >= frame.x0 + margin, text.get_text()
            assert box.x1 <= frame.x1 - margin, text.get_text()
            assert box.y0 >= frame.y0 + margin, text.get_text()
            assert box.y1 <= frame.y1 - margin, text.get_text()


@pytest.mark.parametrize("name", DRAW)
def test_a_demo_figure_is_marked_in_every_measured_panel(table: Table2, name: str) -> None:
    with drawing():
        figure = DRAW[name](table)
    assert figure is not None
    marks = [t for t in texts(figure) if "NOT COCO" in t.get_text()]
    if table.group.mark:
        assert len(marks) == 1
        assert all(t.get_fontsize() >= 10 for t in marks)
        assert any("demo, not COCO" in t.get_text() for t in texts(figure))
    else:
        assert marks == []


@pytest.mark.parametrize("name", DRAW)
def test_a_picture_says_by_itself_what_it_was_measured_on(table: Table2, name: str) -> None:
    with drawing():
        figure = DRAW[name](table)
    assert figure is not None
    said = " ".join(figure.get_suptitle().split())
    hardware = {
        "demo": "Example CPU_2 @ 2.5 GHz & more, fp32",
        "paper": "8 processes on Tesla V100-SXM2-32GB, fp32",
    }[table.group.protocol]
    measured = f"{table.group.dataset['name']}, {table.group.protocol} protocol, 3 seeds"
    assert said == f"measured: {measured}, trained on {hardware}"


def test_of_many_kinds_of_hardware_a_picture_names_one_and_its_caption_all(runs: Path) -> None:
    for seed, name in enumerate(("Tesla A", "Tesla B", "Tesla C")):
        write_run(runs, "baseline", seed=seed, hardware={**CPU, "name": name})
    group = table_of(runs).group
    assert stamp_line(group).endswith("trained on Tesla A, fp32 and 2 more")
    assert "Trained on: Tesla A, fp32; Tesla B, fp32; Tesla C, fp32." in short_caption(group)


def test_dollars_in_a_name_are_no_formula() -> None:
    with drawing():
        figure, _ = new_figure(1.0, r"trained on GPU $\nothing$, fp32")
        figure.draw_without_rendering()


def test_a_step_of_the_same_ap_is_as_long_in_both_panels(runs: Path) -> None:
    write_study(runs)
    with drawing():
        figure = roadmap.draw(table_of(runs))
        assert figure is not None
        figure.draw_without_rendering()
    per_ap = [axes.bbox.width / np.ptp(axes.get_xlim()) for axes in figure.axes]
    assert per_ap[0] == pytest.approx(per_ap[1], rel=0.01)
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert all(low < x < high for x, _ in _markers(axes))


def test_nothing_lies_under_the_numbers_of_the_roadmap(table: Table2) -> None:
    with drawing():
        figure = roadmap.draw(table)
        assert figure is not None
        figure.draw_without_rendering()
        for axes in figure.axes:
            numbers = [t for t in axes.texts if re.match(r"[+−]?\d", t.get_text())]
            assert len(numbers) == 7 * (1 if table.group.mark else 2)
            assert all(t.get_window_extent().x0 >= axes.bbox.x1 for t in numbers)


def test_no_axis_has_room_for_a_negative_ap(runs: Path) -> None:
    write_run(runs, "baseline", ap=0.0, last=0.0)
    with drawing():
        for draw, axis in ((roadmap.draw, "x"), (tradeoffs.draw_size, "y")):
            figure = draw(table_of(runs))
            assert figure is not None
            low, high = getattr(figure.axes[0], f"get_{axis}lim")()
            assert -0.05 * (high - low) < low < 0


@pytest.mark.parametrize("name", ["roadmap", "speed", "size", "heads"])
def test_measured_and_published_share_an_axis_only_under_the_papers_conditions(
    table: Table2, name: str
) -> None:
    with drawing():
        figure = DRAW[name](table)
    assert figure is not None
    assert len(figure.axes) == (2 if table.group.mark else 1)


def test_the_staircase_goes_through_the_measured_figures(runs: Path) -> None:
    write_study(runs)
    with drawing():
        figure = roadmap.draw(table_of(runs))
    assert figure is not None
    left, right = figure.axes
    assert _markers(left) == [(21.0, 0), (23.5, 1), (22.0, 2), (24.5, 3), (30.0, 4), (36.5, 5), (35.0, 6)]
    assert [x for x, _ in _markers(right)] == [38.5, 39.6, 42.0, 42.9, 45.0, 47.3, 46.5]
    shown = [t.get_text() for t in left.texts]
    assert "+6.5  36.5" in shown
    assert "−1.5  22.0" in shown


def test_a_missing_stage_breaks_the_staircase(runs: Path) -> None:
    write_run(runs, "baseline")
    write_run(runs, "strong-augmentation")
    with drawing():
        figure = roadmap.draw(table_of(runs))
    assert figure is not None
    assert len(_markers(figure.axes[0])) == 2
    assert not [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]  # no tread, no riser


def _markers(axes: Axes) -> list[tuple[float, float]]:
    points = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    return [(float(p.get_xdata()[0]), float(p.get_ydata()[0])) for p in points]


def test_intervals_need_several_seeds(runs: Path) -> None:
    write_run(runs, "baseline", 0, ap=20.0)
    with drawing():
        figure = roadmap.draw(table_of(runs))
        assert figure is not None
        assert len(figure.axes[0].containers) == 0
        write_run(runs, "baseline", 1, ap=22.0)
        figure = roadmap.draw(table_of(runs))
    assert figure is not None
    assert len(figure.axes[0].containers) == 1


def test_the_roadmaps_gains_are_the_tables_paired_and_never_a_refused_one(runs: Path) -> None:
    for seed, ap in ((0, 20.0), (1, 30.0)):
        write_run(runs, "baseline", seed, ap=ap)
    write_run(runs, "decoupled-head", 0, ap=22.0)  # paired: +2.0; the difference of the means is -3.0
    for arm, start in (("anchor-free", "weights:aa"), ("multi-positives", "")):
        recipe = stage_recipe(arm, DEMO_HERE, SHAPES)
        recipe = replace(recipe, training=replace(recipe.training, pretrained=start))
        write_run(runs, arm, recipe=recipe, ap=24.0 if start else 30.0)
    with drawing():
        figure = roadmap.draw(table_of(runs))
    assert figure is not None
    shown = {text.get_text() for text in figure.axes[0].texts}
    assert {"+2.0  22.0", "30.0", "24.0"} <= shown


def test_a_curve_is_the_mean_over_seeds_at_shared_epochs(runs: Path) -> None:
    write_run(runs, "simota", 0, ap=30.0)
    write_run(runs, "simota", 1, ap=40.0)
    found = curves.curves(table_of(runs).group, "AP")["simota"]
    assert list(found.epochs) == [4, 8, 12, 16, 20, 24]
    np.testing.assert_allclose(found.mean[-1], 34.5)  # last AP is half a point below best
    np.testing.assert_allclose((found.low[-1], found.high[-1]), (29.5, 39.5))


def test_a_curve_needs_every_run_of_its_arm(runs: Path) -> None:
    write_run(runs, "simota", 0)
    (write_run(runs, "simota", 1) / "metrics.jsonl").unlink()
    write_run(runs, "baseline", 0)
    assert list(curves.curves(table_of(runs).group, "AP")) == ["baseline"]


def test_long_names_stand_below_each_other(runs: Path) -> None:
    """Side by side two of them are wider than a column."""
    for arm in ("a-detector-with-a-rather-long-name", "another-detector-with-a-long-name"):
        write_run(runs, arm)
    with drawing():
        figure = curves.draw(table_of(runs))
        assert figure is not None
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.legends[0].get_texts()]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_curves_and_tables_of_two_confidences_name_both(runs: Path, tmp_path: Path) -> None:
    for arm in ("baseline", "decoupled-head"):
        write_run(runs, arm)
    earlier = {"training.confidence": 0.02, "training.final_confidence": 0.001}
    records = [replace(r, recipe={**r.recipe, **earlier}) for r in collect(runs, "roadmap").runs]
    table = build_table2(group_runs("roadmap", records)[0])
    with drawing():
        for draw in (curves.draw, head_curves.draw):
            figure = draw(table)
            assert figure is not None
            titles = " ".join(axes.get_title() for axes in figure.axes)
            assert "curves: confidence ≥ 0.02; tables: ≥ 0.001" in titles
    texts = {d.name: d.text for d in catalogue.draw_all(table, tmp_path)}
    for name in ("training_curves", "head_curves"):
        assert "from confidence 0.02 on; the figures of tables were evaluated again from 0.001" in texts[name]
    assert "confidence" not in texts["roadmap"]


def test_of_one_confidence_nothing_is_said(runs: Path) -> None:
    write_run(runs, "simota")  # the factory's demo: 0.01 throughout
    group = table_of(runs).group
    assert curve_conditions(group) == "" == curve_sentence(group)


@pytest.mark.parametrize("name", ["curves", "heads"])
def test_markers_of_curves_are_whole(table: Table2, name: str) -> None:
    with drawing():
        figure = DRAW[name](table)
    assert figure is not None
    low, high = figure.axes[0].get_ylim()
    values = np.concatenate([np.asarray(line.get_ydata()) for line in figure.axes[0].lines])
    room = 0.02 * (high - low)
    assert low + room <= min(0.0, values.min())
    assert values.max() <= high - room


def test_the_papers_curves_are_in_the_figure(table: Table2) -> None:
    with drawing():
        figure = head_curves.draw(table)
    assert figure is not None
    lines = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    assert max(lines["decoupled head, paper"].get_ydata()) == pytest.approx(39.64)
    assert max(lines["coupled head, paper"].get_ydata()) == pytest.approx(38.4892)


def test_figure_3_is_of_recipes_whatever_the_study_and_its_arms_are_called(runs: Path) -> None:
    """The end-to-end detector of the same head is none of the two."""
    coupled = stage_recipe("baseline", DEMO_HERE, SHAPES)
    end_to_end = replace(coupled, ingredients=replace(coupled.ingredients, nms_free=True))
    for arm, recipe in (("mine", coupled), ("other", end_to_end)):
        write_run(runs, arm, study="yolo", recipe=recipe)
    with drawing():
        figure = head_curves.draw(build_table2(group_runs("yolo", collect(runs, "yolo").runs)[0]))
    assert figure is not None
    assert [line.get_label() for line in figure.axes[0].lines] == ["coupled head, measured"]


def test_the_scatter_shows_how_far_latency_spread_over_the_repeats(runs: Path) -> None:
    write_run(runs, "simota", latency=10.0)  # the factory's percentiles: 0.97 and 1.08 of the median
    with drawing():
        figure = tradeoffs.draw_speed(table_of(runs))
    assert figure is not None
    (whisker,) = [c for c in figure.axes[0].containers if getattr(c, "has_xerr", False)]
    (segment,) = whisker.lines[2][0].get_segments()
    np.testing.assert_allclose(segment[:, 0], (9.7, 10.8))


def test_light_models_are_compared_by_size_among_themselves(runs: Path) -> None:
    """The paper prints a size and no latency for them: Figure 1 has them in its lower panel alone."""
    plan_study(runs / "scaling", SCALING)
    for arm, ap in (("yolox-nano", 20.0), ("yolox-tiny", 25.0), ("yolox-s", 30.0)):
        write_run(runs, arm, study="scaling", ap=ap)
    table = build_table2(group_runs("scaling", collect(runs, "scaling").runs)[0])
    with drawing():
        light, speed = tradeoffs.draw_light(table), tradeoffs.draw_speed(table)
        assert tradeoffs.draw_light(table_of(write_run(runs, "simota").parents[1])) is None
    assert light is not None
    assert speed is not None
    assert sorted(y for _, y in _dots(light.axes[0])) == [20.0, 25.0]
    assert [y for _, y in _dots(speed.axes[0])] == [30.0]
    assert len(light_points()) == 5


def _dots(axes: Axes) -> list[tuple[float, float]]:
    drawn = [each for each in axes.collections if isinstance(each, PathCollection)]
    return [(float(x), float(y)) for each in drawn for x, y in np.asarray(each.get_offsets())]


def test_all_published_points_are_drawn() -> None:
    by_latency, by_size = latency_points(), size_points()
    assert len(by_latency) == 8 + 8 + 18
    assert len(by_size) == 8 + 8 + 5
    x = next(p for p in by_latency if p.family == "YOLOX" and p.label == "X" and not p.test_dev)
    assert (x.x, x.ap, x.params_m) == (17.3, 51.2, 99.1)
    d0 = next(p for p in by_latency if p.label == "D0")
    assert d0.test_dev
    assert d0.x == pytest.approx(1000 / 98.0)


def test_stages_differ_in_more_than_colour_and_colours_in_lightness() -> None:
    assert len({(marker, line) for _, marker, line in SERIES}) == len(SERIES)
    assert len({color for color, _, _ in SERIES}) == len(SERIES)


@pytest.mark.parametrize("vision", ["protan", "deutan"])
def test_colours_stay_apart_for_colour_blind_readers(vision: str) -> None:
    # Machado et al. 2009, severity 1.0, on linear RGB.
    matrix = {
        "protan": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        "deutan": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
    }[vision]
    seen = [np.clip(np.array(matrix) @ _linear(color), 0, 1) for color, _, _ in SERIES]
    for first, second in pairwise(range(len(SERIES))):
        assert np.linalg.norm(np.sqrt(seen[first]) - np.sqrt(seen[second])) > 0.15, (first, second)


def _linear(color: str) -> np.ndarray:
    values = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def test_files_hold_no_date_no_tool_and_no_type_3_font(runs: Path, tmp_path: Path) -> None:
    write_run(runs, "baseline")
    with drawing():
        figure = roadmap.draw(table_of(runs))
        assert figure is not None
        png, svg, pdf = save(figure, tmp_path, "x")
    assert "dc:date" not in svg.read_text()
    for word in (b"CreationDate", b"ModDate", b"Creator", b"Producer"):
        assert word not in pdf.read_bytes()
    assert not re.search(rb"/Subtype /Type3", pdf.read_bytes())  # journals refuse Type 3
    assert b"Software" not in png.read_bytes()


def test_many_stages_are_cut_to_those_of_the_highest_ap(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(20):
        write_run(runs, f"trial-{index:02d}", ap=10.0 + index)
    monkeypatch.setattr(catalogue, "save", lambda figure, folder, name: ())
    drawn = catalogue.draw_all(table_of(runs), tmp_path)
    assert [d.name for d in drawn] == ["arms", "speed_accuracy", "size_accuracy", "training_curves"]
    assert all("the 16 arms of the highest AP" in d.text for d in drawn)


def test_stages_that_do_not_build_on_each_other_have_no_steps(runs: Path) -> None:
    for name in ("yolox-s", "yolox-m"):
        write_run(runs, name)
    with drawing():
        figure = roadmap.draw(table_of(runs))
        assert figure is not None
        assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["yolox-m", "yolox-s"]
        assert len(figure.axes[0].lines) == 2  # two markers, no tread


def test_a_study_without_latency_has_no_speed_figure(runs: Path) -> None:
    import json

    path = write_run(runs, "simota") / "result.json"
    data = json.loads(path.read_text())
    data["latency"] = None
    path.write_text(json.dumps(data))
    assert tradeoffs.draw_speed(table_of(runs)) is None


def test_more_arms_than_styles_can_be_told_apart() -> None:
    """The second time a style comes its markers are hollow."""
    curve = curves.Curve(*(np.array([1.0, 2.0]) for _ in range(4)))
    axes = Figure().subplots()
    for index in range(len(SERIES) + 1):
        curves.plot(axes, curve, index, str(index))
    looks = [(line.get_color(), line.get_linestyle(), line.get_markerfacecolor()) for line in axes.lines]
    assert len(set(looks)) == len(SERIES) + 1


def test_a_line_joins_an_arm_with_the_one_it_is_compared_with(runs: Path) -> None:
    """SimOTA's choices all start from SimOTA, whatever stands above them in the table."""
    plan_study(runs / ASSIGNMENT.name, ASSIGNMENT)
    arms = {"simota": 20.0, "ota": 21.0, "center": 22.0, "center-1.5": 23.0}
    for arm, ap in arms.items():
        recipe = ASSIGNMENT.find(arm).resolve(Setting(protocol_of("demo"), SHAPES))
        write_run(runs, arm, study=ASSIGNMENT.name, ap=ap, recipe=recipe)
    (group,) = group_runs(ASSIGNMENT.name, collect(runs, ASSIGNMENT.name).runs)
    with drawing():
        figure = tradeoffs.draw_size(build_table2(group))
    assert figure is not None
    lines = [tuple(line.get_ydata()) for line in figure.axes[0].lines]
    assert sorted(lines) == [(20.0, 21.0), (20.0, 22.0), (22.0, 23.0)]


def test_a_long_protocols_name_stays_inside_the_picture() -> None:
    """Wide letters and all: it is where the settings that a figure was measured under are said."""
    with drawing():
        figure, _ = new_figure(
            1.0, "measured: embedded-shapes, demo+epochs=4+closing_epochs=1 protocol, 1 seed"
        )
        figure.draw_without_rendering()
        assert figure._suptitle is not None  # type: ignore[attr-defined]
        extent = figure._suptitle.get_window_extent()  # type: ignore[attr-defined]
    assert extent.x1 <= figure.bbox.x1
