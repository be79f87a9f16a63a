"""What a group's annotations and detections say: made where they lie, kept as JSON where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reports.judging.attribution import Attribution
from reports.records.collect import collect
from reports.records.groups import Group, group_runs
from reports.records.plan import study_plan
from reports.tables.errors import ArmErrors, GroupErrors, RunErrors, errors_of_group
from reports.tables.images import OverImages, StepOverImages, effects_over_images, steps_over_images
from reports.tables.steps import comparisons
from roadmap.typed import parse, to_json

#: By a group's folder, as a kept study has it.
KeptImages = Mapping[str, Any]


@dataclass(frozen=True)
class FromImages:
    """Gains over validation images, what the runs miss, and the effects with their intervals over images."""

    over_images: OverImages
    errors: GroupErrors
    effects: Attribution | None


@dataclass(frozen=True)
class _Seed:
    seed: int
    errors: RunErrors


@dataclass(frozen=True)
class _Arm:
    arm: str
    label: str
    runs: tuple[_Seed, ...]


@dataclass(frozen=True)
class _Kept:
    steps: tuple[StepOverImages, ...]
    arms: tuple[_Arm, ...]
    problems: tuple[str, ...]


def look(group: Group, effects: Attribution | None) -> FromImages:
    """Read the annotations and detections that the records point at."""
    if effects is not None:
        effects = effects_over_images(group, effects)
    return FromImages(steps_over_images(group), errors_of_group(group), effects)


def keep_images(runs: Path, study: str) -> dict[str, Any]:
    """What the annotations and detections of a study's runs say, by the folder of a group's tables."""
    collection = collect(runs, study)
    plan, _ = study_plan(runs, study, collection.runs)
    return {group.slug: kept_json(look(group, None)) for group in group_runs(study, collection.runs, plan)}


def kept_json(found: FromImages) -> dict[str, Any]:
    """All but the effects, whose resamples would be larger than the records."""
    arms = tuple(
        _Arm(arm.arm, arm.label, tuple(_Seed(seed, run) for seed, run in arm.runs.items()))
        for arm in found.errors.arms
    )
    problems = tuple(dict.fromkeys((*found.over_images.problems, *found.errors.problems)))
    return to_json(_Kept(found.over_images.steps, arms, problems))


def from_kept(group: Group, effects: Attribution | None, data: Any) -> FromImages:
    """The same again. Raises ValueError for what :func:`kept_json` does not write."""
    kept = parse(_Kept, data, "images.json")
    alone = {arm.arm: ArmErrors(arm.arm, arm.label, {one.seed: one.errors for one in arm.runs})
             for arm in kept.arms}  # fmt: skip
    pairs = {c.after.arm: c.before.arm for c in comparisons(group) if not c.refused}
    arms = tuple(replace(arm, against=alone.get(pairs.get(arm.arm, ""))) for arm in alone.values())
    over_images = OverImages(kept.steps, kept.problems, group.plan.noun)
    return FromImages(over_images, GroupErrors(arms, kept.problems, group.plan.noun, group.mark), effects)
