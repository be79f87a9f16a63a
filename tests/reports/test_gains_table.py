"""Every gain with its interval and word, on any dataset; and no gain where the runs start differently."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from reports.build import Report, build_report
from reports.judging.gains import WORDS
from reports.records.collect import collect
from reports.records.groups import group_runs
from reports.tables.gains import gains_grid
from reports.tables.images import steps_over_images
from reports.tables.steps import Table2, build_table2
from roadmap.recipe import Recipe
from tests.reports.factory import SHAPES, protocol_of, stage_recipe, write_run

IMAGENET = "imagenet:0123456789ab"


def table_of(runs: Path) -> Table2:
    return build_table2(group_runs("roadmap", collect(runs, "roadmap").runs)[0])


def rows(table: Table2) -> dict[str, dict[str, str]]:
    grid = gains_grid(table)
    return {r[0].text: {c.heading: x.text for c, x in zip(grid.columns, r, strict=True)} for r in grid.rows}


def starting(arm: str, pretrained: str) -> Recipe:
    recipe = stage_recipe(arm, protocol_of("demo"), SHAPES)
    return replace(recipe, training=replace(recipe.training, pretrained=pretrained))


def test_a_demo_of_three_seeds_gets_intervals_and_words(runs: Path) -> None:
    aps = {
        "anchor-free": (24.0, 24.5, 25.0),
        "multi-positives": (30.0, 30.6, 31.2),
        "simota": (30.0, 31.0, 31.0),
    }
    for arm, figures in aps.items():
        for seed, ap in enumerate(figures):
            write_run(runs, arm, seed, ap=ap)
    shown = rows(table_of(runs))
    # gains 6.0, 6.1, 6.2: sd 0.1, half width 4.303 x 0.1 / sqrt(3) = 0.248
    assert shown["+multi positives"] == {
        "Stage": "+multi positives", "Against": "+anchor-free", "Gain (AP): mean": "+6.1",
        "Gain (AP): 95 % interval": "+5.85 … +6.35", "Seeds: run": "3", "Seeds: to settle": "–",
        "Word": "more than noise",
    }  # fmt: skip
    # gains 0.0, 0.4, -0.2: mean 0.067, sd 0.306
    assert shown["+SimOTA"]["Word"] == "within noise"
    assert shown["+SimOTA"]["Gain (AP): 95 % interval"] == "−0.69 … +0.83"
    assert int(shown["+SimOTA"]["Seeds: to settle"]) > 3
    assert "+anchor-free" not in shown  # its own predecessor was not run


def test_one_seed_is_too_few_and_says_how_many_would_do(runs: Path) -> None:
    write_run(runs, "multi-positives", ap=45.0)
    write_run(runs, "simota", ap=46.1)
    shown = rows(table_of(runs))["+SimOTA"]
    assert (shown["Word"], shown["Seeds: to settle"]) == ("too few seeds", "≈ 5")
    assert shown["Gain (AP): 95 % interval"] == "–"


def test_with_two_seeds_the_spread_is_that_of_all_gains_of_the_table(runs: Path) -> None:
    # gains 5.5 and 6.5 of one step, 1.0 and 3.0 of the next: squares 0.5 and 2.0, pooled sd 1.118
    for arm, figures in {
        "anchor-free": (20.0, 20.0),
        "multi-positives": (25.5, 26.5),
        "simota": (26.5, 29.5),
    }.items():
        for seed, ap in enumerate(figures):
            write_run(runs, arm, seed, ap=ap)
    # full width at n = 8: 2 x 2.365 x 1.118 / sqrt(8) = 1.87; at n = 7 it is 2.07, more than the gain of 2
    assert rows(table_of(runs))["+SimOTA"]["Seeds: to settle"] == "8"


def test_the_words_are_in_the_csv(runs: Path) -> None:
    for seed in range(3):
        write_run(runs, "multi-positives", seed, ap=30.0 + seed)
        write_run(runs, "simota", seed, ap=36.0 + seed + 0.1 * seed)
    report = build_report(runs, figures=False)
    (path,) = report.out.glob("*/table2.csv")
    row = next(r for r in csv.DictReader(path.read_text().splitlines()) if r["arm"] == "simota")
    assert (row["against"], row["gain_word"], row["seeds_to_settle"]) == (
        "multi-positives",
        "more than noise",
        "",
    )
    assert float(row["gain_low"]) < float(row["gain"]) < float(row["gain_high"])


def test_every_format_shows_the_gains_with_their_words_and_the_rules(demo_report: Report) -> None:
    for name in ("report.md", "report.html"):
        text = " ".join((demo_report.out / name).read_text().split()).replace("\\", "")
        assert "Gains, and whether they are more than noise" in text, name
        for word, rule in WORDS.items():
            assert word in text, (name, word)
            assert rule in text, (name, rule)
    assert "Gains (demo, not COCO)" in (demo_report.out / "report.html").read_text()
    assert "too few seeds" in demo_report.summary


@pytest.mark.parametrize(
    ("before", "after", "compared"),
    [
        (("baseline", ""), ("decoupled-head", ""), True),
        (("baseline", IMAGENET), ("decoupled-head", IMAGENET), True),
        (("baseline", ""), ("decoupled-head", IMAGENET), False),
        (("baseline", "weights:aa"), ("decoupled-head", "weights:bb"), False),
        # the paper drops ImageNet weights when strong augmentation arrives (§2.1), and nothing else
        (("decoupled-head", IMAGENET), ("strong-augmentation", ""), True),
        (("decoupled-head", ""), ("strong-augmentation", IMAGENET), False),
        (("decoupled-head", "weights:aa"), ("strong-augmentation", ""), False),
        (("anchor-free", IMAGENET), ("multi-positives", ""), False),
    ],
)
def test_a_gain_is_refused_where_the_starting_weights_differ_and_not_as_in_the_paper(
    runs: Path, before: tuple[str, str], after: tuple[str, str], compared: bool
) -> None:
    for arm, start in (before, after):
        write_run(runs, arm, recipe=starting(arm, start))
    table = table_of(runs)
    row = next(r for r in table.rows if r.arm == after[0])
    assert (row.gain is not None, row.judged is not None) == (compared, compared)
    refusals = [note for note in table.notes if note.startswith(f"no gain of {after[0]} over {before[0]}")]
    assert len(refusals) == (not compared)
    problems = " ".join(steps_over_images(table.group).problems)
    assert ("starts from" in problems) == (not compared)


def test_a_refused_gain_names_both_starts(runs: Path) -> None:
    write_run(runs, "multi-positives", recipe=starting("multi-positives", "weights:aa"))
    write_run(runs, "simota")
    (note,) = table_of(runs).notes
    assert "it starts from scratch, the other from the weights weights:aa" in note
    shown = rows(table_of(runs))["+SimOTA"]
    assert (shown["Gain (AP): mean"], shown["Word"]) == ("–", "no gain: other starting weights")


def test_a_claim_gets_no_gain_elsewhere_from_runs_that_start_differently(runs: Path) -> None:
    write_run(runs, "multi-positives", recipe=starting("multi-positives", IMAGENET))
    write_run(runs, "simota")
    verdicts = {v.claim.key: v for v in build_report(runs, figures=False).verdicts}
    assert verdicts["table2/simota"].direction is None
