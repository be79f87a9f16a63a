"""The rules, one case each and then the corners; then verdicts from run records."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.judging.claims import Claim, Side, find_claim, more_claims, paper_claims, study_claims
from reports.judging.evidence import Conditions
from reports.judging.gains import ASSUMED_SD, MIN_SEEDS, TOO_FEW_SEEDS, WITHIN_NOISE
from reports.judging.verdicts import (
    CONTRADICTED,
    NOT_MEASURED,
    OTHER_DIRECTION,
    REPRODUCED,
    RULES,
    SAME_DIRECTION,
    Verdict,
    judge,
    judge_study,
)
from reports.records.collect import Epoch, RunRecord
from roadmap.protocols import COCO_2017, DEMO, PAPER, Protocol
from roadmap.recipe import DatasetConfig, Recipe, flatten, to_json
from roadmap.stages import STAGE_NAMES, stage_arm, stage_recipe
from roadmap.study import Arm, Setting, Study, record_of
from studies.augmentation import STUDY as AUGMENTATION
from studies.heads import STUDY as HEADS
from studies.roadmap import STUDY as ROADMAP
from studies.scaling import STUDY as SCALING
from yolox_core.config import AssignerConfig

DECOUPLED = find_claim("table2/decoupled-head")  # +1.1, and +0.47 at the last epoch
NMS_FREE = find_claim("table2/nms-free")  # -0.8
SHAPES = DatasetConfig("embedded-shapes", "5ba9e5", 6, 600, 150)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def verdict(claim: Claim, gains: list[float], **options: Any) -> Verdict:
    """Judge gains over a baseline that differs from seed to seed."""
    before = {seed: 38.0 + 0.1 * seed for seed in range(len(gains))}
    after = {seed: before[seed] + gain for seed, gain in enumerate(gains)}
    return judge(claim, before, after, rng(), **options)


# --- one case per rule ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "gains", "label", "fails"),
    [
        # 0.9, 1.1, 1.3: mean 1.1, sd 0.2, half width 4.303 x 0.2 / sqrt(3) = 0.50
        (DECOUPLED, [0.9, 1.1, 1.3], REPRODUCED, False),
        (NMS_FREE, [-0.6, -0.8, -1.0], REPRODUCED, False),
        # half width 0.25: 0.25 to 0.75 lies below 1.1, 1.75 to 2.25 above
        (DECOUPLED, [0.4, 0.5, 0.6], SAME_DIRECTION, False),
        (DECOUPLED, [1.9, 2.0, 2.1], SAME_DIRECTION, False),
        (NMS_FREE, [-1.9, -2.0, -2.1], SAME_DIRECTION, False),
        # 0.5 +- 2.5: holds both 0 and 1.1, so nothing is known; 0.1 +- 0.25 holds 0 and rules 1.1 out
        (DECOUPLED, [-0.5, 0.5, 1.5], WITHIN_NOISE, False),
        (DECOUPLED, [0.0, 0.1, 0.2], WITHIN_NOISE, True),
        (NMS_FREE, [0.0, -0.1, 0.1], WITHIN_NOISE, True),
        (DECOUPLED, [-0.4, -0.5, -0.6], CONTRADICTED, True),
        (NMS_FREE, [0.4, 0.5, 0.6], CONTRADICTED, True),
        (DECOUPLED, [1.1, 1.2], NOT_MEASURED, False),
        (DECOUPLED, [], NOT_MEASURED, False),
    ],
)
def test_rules(claim: Claim, gains: list[float], label: str, fails: bool) -> None:
    result = verdict(claim, gains)
    assert (result.label, result.fails, result.rule) == (label, fails, RULES[label])
    if gains:
        assert result.mean == pytest.approx(np.mean(gains))
        assert list(result.gains.values()) == pytest.approx(gains)


def test_the_reason_carries_the_figures() -> None:
    assert verdict(DECOUPLED, [0.4, 0.5, 0.6]).reason == (
        "+0.50 AP, 95 % interval +0.25 to +0.75 over 3 seeds: less than the paper's +1.1"
    )
    assert verdict(DECOUPLED, [1.9, 2.0, 2.1]).reason.endswith("more than the paper's +1.1")
    assert verdict(NMS_FREE, [-1.9, -2.0, -2.1]).reason.endswith("more than the paper's -0.8")
    assert verdict(DECOUPLED, [0.0, 0.1, 0.2]).reason.endswith("contains 0 but not the paper's +1.1")
    assert verdict(DECOUPLED, [0.4, 0.5]).reason == "2 of at least 3 seeds on both sides"


def test_the_papers_digits_are_worth_a_tenth() -> None:
    """1.1 is the difference of two figures printed to 0.1: the interval may end up to 0.1 from it."""
    half = 4.302653 * 0.05 / math.sqrt(3)
    just, beyond = 1.0 - half + 0.001, 1.0 - half - 0.001
    assert verdict(DECOUPLED, [just - 0.05, just, just + 0.05]).label == REPRODUCED
    assert verdict(DECOUPLED, [beyond - 0.05, beyond, beyond + 0.05]).label == SAME_DIRECTION


def test_many_seeds_exclude_the_papers_gain_that_one_pair_may_give() -> None:
    gains = np.random.default_rng(1).normal(0.7, 0.35, 30).tolist()
    result = verdict(DECOUPLED, gains)
    assert result.label == SAME_DIRECTION
    assert result.reason.endswith("though a single pair of runs, as the paper reports, may well give that")


# --- seeds ---------------------------------------------------------------------------------------------


def test_seeds_that_would_settle() -> None:
    unrun = verdict(DECOUPLED, [])
    assert (unrun.seeds_to_settle, unrun.sd_assumed) == (5, True)  # sd 0.35: see test_statistics
    assert ASSUMED_SD == 0.35
    open_still = verdict(DECOUPLED, [-0.5, 0.5, 1.5])
    # sd 1, gain 1.1: full width at n = 15 is 2 x 2.145 / sqrt(15) = 1.108, at 16 it is 1.066
    assert (open_still.seeds_to_settle, open_still.sd_assumed) == (16, False)
    for settled in ([0.9, 1.1, 1.3], [0.4, 0.5, 0.6], [0.0, 0.1, 0.2], [-0.4, -0.5, -0.6]):
        assert verdict(DECOUPLED, settled).seeds_to_settle is None


def test_only_seeds_of_both_sides_count() -> None:
    before, after = {0: 38.0, 1: 38.2, 2: 38.1, 9: 60.0}, {2: 39.3, 1: 39.2, 0: 39.1, 7: 0.0}
    result = judge(DECOUPLED, before, after, rng())
    assert result.gains == pytest.approx({0: 1.1, 1: 1.0, 2: 1.2})
    apart = judge(DECOUPLED, {0: 38.0, 1: 38.1}, {2: 39.0, 3: 39.1}, rng())
    assert (apart.label, apart.reason) == (NOT_MEASURED, "no seed was run on both sides")


def test_seeds_without_effect_measure_nothing() -> None:
    """Copies of one run would give an interval of no width, and certainty from nothing."""
    same = judge(DECOUPLED, dict.fromkeys(range(5), 38.5), dict.fromkeys(range(5), 39.6), rng())
    assert same.label == NOT_MEASURED
    assert "the seeds had no effect, or the runs are copies" in same.reason
    published = find_claim("table2/simota-yolov3-ultralytics")
    assert judge(published, 44.3, dict.fromkeys(range(5), 47.3), rng()).label == NOT_MEASURED


def test_a_stage_that_learns_nothing_is_a_contradiction() -> None:
    """AP 0 with every seed does not vary, but the other side does: this is measured."""
    before = {seed: 38.0 + 0.2 * seed for seed in range(3)}
    result = judge(DECOUPLED, before, dict.fromkeys(range(3), 0.0), rng())
    assert (result.label, result.fails) == (CONTRADICTED, True)


def test_equal_gains_of_different_runs_are_judged_by_the_rule() -> None:
    result = verdict(DECOUPLED, [1.0, 1.0, 1.0])
    assert result.label == REPRODUCED
    assert result.bootstrap is None


def test_conditions_come_before_figures() -> None:
    conditions = Conditions(("dataset shapes instead of COCO 2017",), ("precision: float32",))
    result = verdict(DECOUPLED, [-1.0, -1.1, -1.2], conditions=conditions)
    assert (result.label, result.reason, result.fails) == (NOT_MEASURED, conditions.obstacles[0], False)
    assert result.notes == conditions.notes
    assert result.mean == pytest.approx(-1.1)


def test_statistics_stand_beside_the_label() -> None:
    result = verdict(DECOUPLED, [0.9, 1.1, 1.3, 1.0, 1.2, 1.4])
    assert result.p_value == 2 / 64
    assert result.bootstrap is not None
    assert result.prediction is not None
    assert result.interval is not None
    assert result.prediction.half_width == pytest.approx(result.interval.half_width * math.sqrt(7))


# --- best and last -------------------------------------------------------------------------------------


def test_the_last_epoch_has_its_own_gain_where_the_paper_shows_one() -> None:
    gains = [0.42, 0.47, 0.52]
    best, last = (verdict(DECOUPLED, gains, epoch=e) for e in ("best", "last"))
    assert (best.paper_gain, best.label) == (1.1, SAME_DIRECTION)
    assert (last.paper_gain, last.label) == (0.4739, REPRODUCED)
    assert verdict(NMS_FREE, [-0.8, -0.7, -0.9], epoch="last").notes == (
        "last epoch here, best evaluated epoch in the paper",
    )
    with pytest.raises(ValueError, match="one of best, last"):
        verdict(DECOUPLED, gains, epoch="median")


# --- properties ----------------------------------------------------------------------------------------


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=8), st.sampled_from([DECOUPLED, NMS_FREE]))
def test_exactly_one_rule_applies_and_it_is_the_printed_one(gains: list[float], claim: Claim) -> None:
    result = verdict(claim, gains)
    interval, paper = result.interval, claim.gain
    assert interval is not None
    side = interval.low > 0 if paper > 0 else interval.high < 0
    other = interval.high < 0 if paper > 0 else interval.low > 0
    holds = interval.low - 0.1 <= paper <= interval.high + 0.1
    expected = {
        REPRODUCED: side and holds,
        SAME_DIRECTION: side and not holds,
        CONTRADICTED: other,
        WITHIN_NOISE: not side and not other,
    }
    assert [label for label, applies in expected.items() if applies] == [result.label]
    assert result.fails == (other or (result.label == WITHIN_NOISE and not holds))


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=8))
def test_a_mirrored_claim_has_the_mirrored_verdict(gains: list[float]) -> None:
    mirrored = replace(DECOUPLED, gain=-DECOUPLED.gain)
    assert verdict(DECOUPLED, gains).label == verdict(mirrored, [-g for g in gains]).label


# --- simulation ----------------------------------------------------------------------------------------


def test_identical_recipes_are_called_different_in_5_percent_of_cases() -> None:
    """Over all labels that claim a difference; two standard errors above 5 % are allowed.

    Three seeds, the fewest that are judged; the interval's own rate for more is in test_statistics.
    """
    generator, trials, different, false_alarms = np.random.default_rng(1), 3000, 0, 0
    for _ in range(trials):
        before, after = (dict(enumerate(generator.normal(40, 0.25, 3))) for _ in range(2))
        result = judge(DECOUPLED, before, after, generator)
        different += result.label in (REPRODUCED, SAME_DIRECTION, CONTRADICTED)
        false_alarms += result.label == CONTRADICTED
    assert different / trials <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / trials)
    assert false_alarms / trials <= 0.025 + 2 * math.sqrt(0.025 * 0.975 / trials)


def test_a_true_gain_is_reproduced() -> None:
    """The paper's gain, ordinary noise, five seeds: seldom anything else, and never a failure of note."""
    generator, trials = np.random.default_rng(5), 150
    labels, failures = [], 0
    for _ in range(trials):
        before = dict(enumerate(generator.normal(38.5, 0.25, 5)))
        result = judge(DECOUPLED, before, {s: ap + g for (s, ap), g in zip(
            before.items(), generator.normal(1.1, 0.35, 5), strict=True)}, generator)  # fmt: skip
        labels.append(result.label)
        failures += result.fails
    assert labels.count(REPRODUCED) / trials > 0.9
    assert failures == 0


# --- the claims ----------------------------------------------------------------------------------------


def test_every_table_has_claims_with_the_papers_figures() -> None:
    claims = {claim.key: claim for claim in paper_claims()}
    assert len(claims) == len(paper_claims())
    assert {c.source for c in paper_claims()} == {f"Table {n}" for n in range(1, 7)} | {"Figure 3"}
    steps = {name: claims[f"table2/{name}"].gain for name in STAGE_NAMES[1:]}
    assert steps == {
        "decoupled-head": 1.1, "strong-augmentation": 2.4, "anchor-free": 0.9, "multi-positives": 2.1,
        "simota": 2.3, "nms-free": -0.8,
    }  # fmt: skip
    others = {
        "table1/end-to-end-coupled": -4.2, "table1/end-to-end-decoupled": -0.8,
        "table2/simota-yolov3-ultralytics": 3.0,
        "table3/yolox-l-yolov5-l": 1.8, "table4/yolox-nano-nanodet": 1.8, "table5/yolox-nano-mixup": -1.3,
        "table5/yolox-l-mixup": 0.9, "table5/yolox-l-copy-paste": 0.8, "table6/yolox-x": 0.8,
        "figure3/epoch-100": 6.7448,
    }  # fmt: skip
    assert {key: claims[key].gain for key in others} == others


def test_the_two_sides_of_a_claim_differ_and_are_told_apart() -> None:
    for claim in paper_claims():
        if isinstance(claim.before, Side) and claim.after is not None:
            before, after = (flatten(to_json(arm.recipe)) for arm in (claim.before, claim.after))
            assert claim.before.matches(before), claim.key
            assert not claim.before.matches(after), claim.key
            assert claim.after.matches(after), claim.key
            assert claim.after.differences(before), claim.key


def test_only_what_test_dev_decides_cannot_be_measured() -> None:
    assert {claim.source for claim in paper_claims() if claim.unmeasurable} == {"Table 6"}


@pytest.mark.parametrize("protocol", [PAPER, DEMO])
def test_arms_of_one_model_are_told_apart_by_what_they_are_about(protocol: Protocol) -> None:
    """A run with Copy-Paste has no MixUp, and is for that no run without either."""
    dataset = COCO_2017 if protocol is PAPER else SHAPES
    runs = {arm.name: flatten(to_json(arm.resolve(Setting(protocol, dataset)))) for arm in AUGMENTATION.arms}
    claims = [claim for claim in paper_claims() if claim.source == "Table 5"]
    assert len(claims) == 3
    for claim in claims:
        for side in (claim.before, claim.after):
            assert isinstance(side, Side)
            assert [name for name, recipe in runs.items() if side.matches(recipe)] == [side.name]


def test_copy_pastes_gain_is_judged_from_its_runs() -> None:
    claim = find_claim("table5/yolox-l-copy-paste")
    assert isinstance(claim.before, Side)
    assert claim.after is not None
    recipes = claim.before.recipe, claim.after.recipe
    aps = ((48.6, 48.7, 48.5), (49.4, 49.5, 49.35))
    runs = [
        record(recipe, seed, ap)
        for recipe, seeds in zip(recipes, aps, strict=True)
        for seed, ap in enumerate(seeds)
    ]
    assert judged(runs, claim).label == REPRODUCED
    assert judged(runs, find_claim("table5/yolox-l-mixup")).label == NOT_MEASURED


def test_a_claim_needs_a_direction_and_two_sides() -> None:
    with pytest.raises(ValueError, match="needs a direction"):
        replace(DECOUPLED, gain=0.0)
    with pytest.raises(ValueError, match="name both sides"):
        replace(DECOUPLED, before=None)
    with pytest.raises(ValueError, match="unknown claim 'table9/x'; choose one of: table1/"):
        find_claim("table9/x")


# --- from records --------------------------------------------------------------------------------------


def record(
    recipe: Recipe,
    seed: int,
    ap: float | None,
    last: float | None = None,
    curve: dict[int, float] | None = None,
    deviations: tuple[dict[str, Any], ...] = (),
    skipped: dict[str, int] | None = None,
    finished: str = "2026-01-02T03:04:05+00:00",
    study: str = "roadmap",
) -> RunRecord:
    name = f"{study}-{recipe.hash}-s{seed}-{finished}"
    dataset = {**asdict(recipe.dataset), "skipped": skipped or {"train": 0, "val": 0}}
    return RunRecord(
        path=Path(name), study=study, arm="stage", seed=seed, run=name, recipe_hash=recipe.hash,
        protocol=recipe.protocol, finished=finished, recipe=flatten(to_json(recipe)),
        best={"epoch": 290, "AP": ap}, last={"epoch": 300, "AP": last}, profile={}, full_size_profile=None,
        latency=None, training={}, hardware={}, deviations=deviations, environment={}, dataset=dataset,
        epochs=tuple(Epoch(e, a, {}) for e, a in (curve or {}).items()),
    )  # fmt: skip


def recipe_of(stage: str, dataset: DatasetConfig = COCO_2017) -> Recipe:
    protocol = PAPER if dataset.coco else DEMO
    return stage_recipe(stage, protocol, replace(dataset, fingerprint=dataset.name), "imagenet:0123456789ab")


def roadmap_runs(seeds: int = 3, dataset: DatasetConfig = COCO_2017, **options: Any) -> list[RunRecord]:
    """Baseline near 38.5 and decoupled head 1.0 to 1.2 above it."""
    return [
        record(recipe_of(stage, dataset), seed, base + 0.1 * (seed % 3), **options)
        for stage, base in (("baseline", 38.5), ("decoupled-head", 39.55))
        for seed in range(seeds)
    ]


def judged(runs: list[RunRecord], claim: Claim = DECOUPLED, epoch: str = "best") -> Verdict:
    (result,) = judge_study(runs, rng(), [claim], epoch)
    return result


def test_runs_under_the_papers_protocol_are_judged() -> None:
    runs = roadmap_runs()
    result = judged(runs)
    assert (result.label, result.epoch) == (REPRODUCED, "best")
    assert result.gains == pytest.approx({0: 1.05, 1: 1.05, 2: 1.05})
    assert sorted(result.runs) == sorted(run.run for run in runs)
    assert result.direction is None


def test_every_claim_gets_a_verdict() -> None:
    verdicts = judge_study(roadmap_runs(), rng())
    assert [v.claim for v in verdicts] == list(paper_claims())
    assert [v.claim.key for v in verdicts if v.label != NOT_MEASURED] == ["table2/decoupled-head"]
    reasons = {v.claim.key: v.reason for v in verdicts}
    assert reasons["table2/strong-augmentation"] == "no runs of strong-augmentation"
    assert reasons["table6/yolox-l"].startswith("COCO test-dev has no public annotations")
    assert not any(v.fails for v in verdicts)
    assert [v.seeds_to_settle is None for v in verdicts if v.claim.source == "Table 6"] == [True] * 4


def test_another_dataset_gives_a_direction_and_no_verdict() -> None:
    result = judged(roadmap_runs(dataset=SHAPES))
    assert result.label == NOT_MEASURED
    assert result.reason.startswith("dataset embedded-shapes instead of COCO 2017; protocol demo differs")
    assert result.gains == {}
    assert result.direction is not None
    assert result.direction.where == "embedded-shapes, demo protocol"
    assert len(result.direction.gain.values) == 3
    assert result.direction.gain.mean == pytest.approx(1.05)
    assert result.direction.word == SAME_DIRECTION


def test_an_arm_that_differs_on_purpose_gives_no_direction_in_the_stages_place() -> None:
    """SimOTA's choices in a study of their own have the stage's ingredients too."""
    simota = recipe_of("simota", SHAPES)
    other = replace(simota, model=replace(simota.model, assigner=AssignerConfig(candidates=20)))
    runs = [record(recipe_of("multi-positives", SHAPES), seed, 30.0) for seed in range(3)]
    runs += [record(simota, seed, 32.0 + 0.1 * seed) for seed in range(3)]
    runs += [record(other, seed, 25.0, finished="2027-01-01T00:00:00+00:00") for seed in range(3)]
    result = judged(runs, find_claim("table2/simota"))
    assert result.direction is not None
    assert result.direction.gain.mean == pytest.approx(2.1)


def test_a_dataset_of_cocos_size_is_not_coco() -> None:
    lookalike = replace(COCO_2017, name="my-coco", coco=False)
    runs = [replace(run, dataset={**run.dataset, **to_json(lookalike)}) for run in roadmap_runs()]
    result = judged(runs)
    assert (result.label, result.gains) == (NOT_MEASURED, {})
    assert result.reason == "dataset my-coco has the size of COCO 2017 and not its content"


def test_both_kinds_of_runs_are_kept_apart() -> None:
    runs = roadmap_runs() + [replace(r, best={"AP": 50 - r.best["AP"]}) for r in roadmap_runs(2, SHAPES)]
    result = judged(runs)
    assert (result.label, len(result.gains)) == (REPRODUCED, 3)
    assert result.direction is not None
    assert (len(result.direction.gain.values), result.direction.word) == (2, TOO_FEW_SEEDS)


@pytest.mark.parametrize(
    ("gains", "word"),
    [
        ((9.0,), TOO_FEW_SEEDS),
        ((9.0, 9.1), TOO_FEW_SEEDS),
        ((0.9, 1.0, 1.1), SAME_DIRECTION),
        ((-0.9, -1.0, -1.1), OTHER_DIRECTION),
        ((-0.1, 0.1, 0.33), WITHIN_NOISE),  # mean +0.11, interval −0.42 … +0.64
    ],
)
def test_a_direction_is_named_only_where_the_interval_excludes_zero(
    gains: tuple[float, ...], word: str
) -> None:
    runs = [
        record(recipe_of(stage, SHAPES), seed, 30.0 + 0.2 * seed + (gain if stage != "baseline" else 0.0))
        for stage in ("baseline", "decoupled-head")
        for seed, gain in enumerate(gains)
    ]
    result = judged(runs)
    assert result.direction is not None
    assert result.direction.word == word


def test_a_changed_setting_is_another_protocol() -> None:
    def shortened(run: RunRecord) -> RunRecord:
        return replace(run, recipe={**run.recipe, "training.epochs": 100})

    result = judged([shortened(run) for run in roadmap_runs()])
    assert result.reason == "protocol paper differs from the paper's: training.epochs"


def test_a_deviation_while_running_is_one_too_unless_it_cannot_matter_much() -> None:
    def deviation(field: str) -> tuple[dict[str, Any], ...]:
        return ({"field": field, "paper": "x", "here": "y"},)

    result = judged(roadmap_runs(deviations=deviation("pretrained_weights")))
    assert result.reason == "protocol paper differs from the paper's: pretrained_weights"
    result = judged(roadmap_runs(deviations=deviation("processes")))
    assert (result.label, result.notes) == (REPRODUCED, ("processes: y",))
    assert judged(roadmap_runs(deviations=deviation("dataset.fingerprint"))).label == REPRODUCED


def test_skipped_validation_images_are_another_validation_split() -> None:
    def deviation(split: str) -> tuple[dict[str, Any], ...]:
        return ({"field": f"images skipped ({split})", "paper": 0, "here": 2},)

    lost = roadmap_runs(skipped={"train": 0, "val": 2}, deviations=deviation("val"))
    assert judged(lost).reason == "validation images were skipped"
    result = judged(roadmap_runs(skipped={"train": 2, "val": 0}, deviations=deviation("train")))
    assert (result.label, result.notes) == (REPRODUCED, ("images skipped (train): 2",))


def test_without_imagenet_weights_the_first_two_stages_are_another_protocol() -> None:
    def scratch(run: RunRecord) -> RunRecord:
        return replace(run, recipe={**run.recipe, "training.pretrained": ""})

    result = judged([scratch(run) for run in roadmap_runs()])
    assert result.reason == "protocol paper differs from the paper's: training.pretrained"
    assert result.direction is not None
    assert result.direction.word == SAME_DIRECTION


def test_an_undefined_ap_is_a_missing_seed() -> None:
    runs = [replace(r, best={"AP": None}) if r.seed == 2 else r for r in roadmap_runs()]
    assert judged(runs).reason == "2 of at least 3 seeds on both sides"
    assert judged([replace(r, best={"AP": None}) for r in roadmap_runs()]).reason == (
        "the runs of baseline have no AP at that epoch; the runs of decoupled-head have no AP at that epoch"
    )


def test_the_same_run_in_two_studies_counts_once() -> None:
    runs = roadmap_runs() + roadmap_runs(study="head", finished="2026-02-01T00:00:00+00:00")
    result = judged(runs)
    assert len(result.gains) == MIN_SEEDS
    assert all(name.startswith("head-") for name in result.runs)


def test_last_epochs_and_epochs_on_the_way() -> None:
    curves = {"baseline": {50: 24.0, 100: 30.5}, "decoupled-head": {50: 33.2, 100: 37.3}}
    runs = [
        record(
            recipe_of(stage),
            seed,
            None,
            38.0 + i,
            {e: ap + 0.05 * seed * i for e, ap in curves[stage].items()},
        )
        for i, stage in enumerate(curves)
        for seed in range(3)
    ]
    early = judged(runs, find_claim("figure3/epoch-50"))
    assert (early.label, early.epoch) == (REPRODUCED, "epoch 50")
    assert list(early.gains.values()) == pytest.approx([9.2, 9.25, 9.3])
    assert judged(runs, find_claim("figure3/epoch-200")).reason.startswith(
        "the runs of vanilla-coupled have no AP"
    )
    assert judged(runs, epoch="last").gains == pytest.approx({0: 1.0, 1: 1.0, 2: 1.0})


def test_a_published_rival_is_compared_on_coco_alone() -> None:
    total = find_claim("table2/simota-yolov3-ultralytics")
    runs = [record(recipe_of("simota"), seed, 47.0 + 0.2 * seed) for seed in range(3)]
    result = judged(runs, total)
    assert (result.label, list(result.gains.values())) == (REPRODUCED, pytest.approx([2.7, 2.9, 3.1]))
    elsewhere = judged([record(recipe_of("simota", SHAPES), seed, 36.0 + seed) for seed in range(3)], total)
    assert (elsewhere.label, elsewhere.direction) == (NOT_MEASURED, None)


def test_the_claims_of_tables_1_to_4_and_of_figure_3_follow_from_arms() -> None:
    """A study with the same arms claims the same; nobody lists them a second time."""
    claims = {c.key: c for study in (HEADS, ROADMAP, SCALING) for c in study_claims(record_of(study))}
    ours = [c for c in paper_claims() if c.source in ("Table 1", "Table 2", "Table 3", "Table 4", "Figure 3")]
    assert len(ours) == 20
    for claim in ours:
        assert replace(claims[claim.key], gain_last=claim.gain_last) == claim


def test_two_studies_with_the_same_recipes_claim_them_once() -> None:
    """Table 1's vanilla heads are Table 2's first two stages, and YOLOX-DarkNet53 its stage with SimOTA."""
    for study, twin in ((HEADS, DECOUPLED), (SCALING, find_claim("table2/simota-yolov3-ultralytics"))):
        assert more_claims([record_of(study)]) == ()
        claims = study_claims(record_of(study))
        (further,) = (c for c in claims if c.key not in {known.key for known in paper_claims()})
        assert isinstance(further.after, Side)
        assert isinstance(twin.after, Side)
        assert (further.gain, further.after.recipe) == (twin.gain, twin.after.recipe)
    assert DECOUPLED.gain_last == pytest.approx(38.91 - 38.43, abs=0.01)  # Figure 3's, in Table 2's claim


def test_a_users_study_claims_what_the_paper_prints_for_its_arms() -> None:
    """The gain over another stage is the difference of two printed figures, under a key of its own."""
    arms = (stage_arm("baseline"), stage_arm("decoupled-head", "baseline"), stage_arm("simota", "baseline"))
    claims = study_claims(
        record_of(Study("mine", "?", (*arms, Arm("own", arms[0].recipe, against="baseline"))))
    )
    assert [(claim.key, claim.gain, claim.source) for claim in claims] == [
        ("table2/decoupled-head", 1.1, "Table 2"),
        ("table2/simota-from-baseline", 8.8, "Table 2"),
    ]
    assert claims[1].statement == "+8.8 AP from baseline to simota"
