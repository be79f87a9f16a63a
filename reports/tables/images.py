"""Each step's gain with its interval over validation images, where the annotations are at hand.

Over seeds answers "would another run of this recipe agree", over images "would other photographs agree"
(docs/decisions/0044). The second needs no second seed, but the annotation file: it is the one part of a
report that reads more than run records, and is made on request only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from reports.grid import Cell, Column, Grid
from reports.images.bootstrap import (
    ImageDifference,
    ap_difference,
    average_precision,
    draw_images,
    figure_of,
)
from reports.images.matches import ImageMatches, Ints, match_images
from reports.judging.attribution import Attribution, with_images
from reports.records.collect import RunRecord
from reports.records.groups import ArmRuns, Group
from reports.tables.columns import gain_text
from reports.tables.steps import comparisons
from reports.tables.verdicts import interval_text
from yolox_core.config import SPLITS, annotation_file

SEED = 0
#: What a gain's interval over images says, and by which rule: words of their own, for a gain can hold for
#: other images and still be one of this training run alone.
ON_OTHERS = "holds for other images"
ON_THESE = "may be these images"
IMAGE_WORDS = {
    ON_OTHERS: "the 95 % interval over images does not contain 0",
    ON_THESE: "it does: other images of the same kind might turn the gain's sign",
}
#: How far (AP) a run's detections may be from its recorded figure: both are computed from the same boxes,
#: so a larger distance means other annotations or other detections.
AGREE = 0.05


@dataclass(frozen=True)
class StepOverImages:
    """An arm's gain in AP over the previous arm on the same images, averaged over ``seeds``."""

    arm: str
    label: str
    seeds: tuple[int, ...]
    difference: ImageDifference

    @property
    def word(self) -> str:
        """One of :data:`IMAGE_WORDS`, about the choice of images alone."""
        return ON_THESE if self.difference.interval.contains(0.0) else ON_OTHERS


@dataclass(frozen=True)
class OverImages:
    """Steps that could be computed, and why others could not."""

    steps: tuple[StepOverImages, ...]
    problems: tuple[str, ...]
    noun: str = "arm"


def steps_over_images(group: Group, resamples: int = 1000) -> OverImages:
    """Bootstrap every measured step of a group over its validation images.

    Detections are those of each run's best evaluated epoch. Matches are computed once per run and kept
    only as long as a later step needs them.
    """
    rng = np.random.default_rng(SEED)
    steps: list[StepOverImages] = []
    pairs = comparisons(group)
    problems = [f"{c.after.arm}: {c.refused}" for c in pairs if c.refused]
    wanted = [c for c in pairs if not c.refused]
    kept: dict[str, dict[int, ImageMatches]] = {}
    for place, pair in enumerate(wanted):
        for arm in (pair.before, pair.after):
            if arm.arm not in kept:
                kept[arm.arm] = _matches(arm, problems)
        before, after = kept[pair.before.arm], kept[pair.after.arm]
        needed = {arm.arm for later in wanted[place + 1 :] for arm in (later.before, later.after)}
        kept = {name: matches for name, matches in kept.items() if name in needed}
        seeds = tuple(sorted(before.keys() & after.keys()))
        if not seeds:
            continue
        try:
            difference = ap_difference(
                [before[s] for s in seeds], [after[s] for s in seeds], rng, resamples=resamples
            )
        except ValueError as error:
            problems.append(f"{pair.after.arm}: {error}")
            continue
        steps.append(StepOverImages(pair.after.arm, pair.plan.label, seeds, difference))
    return OverImages(tuple(steps), tuple(dict.fromkeys(problems)), group.plan.noun)


def effects_over_images(group: Group, found: Attribution, resamples: int = 1000) -> Attribution:
    """The effects of a group's ingredients with intervals over images: every resample draws the same images
    for all arms. Without them, and with a note that says why, where an arm's detections are not at hand.
    """
    rng = np.random.default_rng(SEED)
    problems: list[str] = []
    drawn: Ints | None = None
    images: tuple[int, ...] = ()
    rows = []
    for name in found.names:
        arm = group.find(name)
        matches = _matches(arm, problems) if arm is not None else {}
        of_seeds = [matches[seed] for seed in found.seeds if seed in matches]
        images = images or next((one.image_ids for one in of_seeds), ())
        why = ""
        if not of_seeds or len(of_seeds) < len(found.seeds):
            why = f"{name}: not all of its runs can be matched"
        elif any(one.image_ids != images for one in of_seeds):
            why = f"{name} was evaluated on other images than {found.names[0]}"
        if why:
            reasons = "; ".join([*problems, why])
            return replace(found, notes=(*found.notes, f"no effects over images: {reasons}"))
        if drawn is None:
            drawn = draw_images(len(images), resamples, rng)
        ap = [figure_of(average_precision(one, drawn), "AP") for one in of_seeds]
        rows.append(np.mean(ap, axis=0))
    return with_images(found, np.array(rows))


def _seeds(seeds: tuple[int, ...]) -> str:
    """``1 (seed 0)``, ``2 (seeds 0, 1)``: how many, then which."""
    which = "seed" if len(seeds) == 1 else "seeds"
    return f"{len(seeds)} ({which} {', '.join(map(str, seeds))})"


def image_grid(found: OverImages) -> Grid:
    """One row per step: the gain, its interval over images, and the figures it is the difference of."""
    columns = (
        Column("", found.noun.capitalize(), "l"), Column("AP best epoch (%)", "before"),
        Column("AP best epoch (%)", "after"),
        Column("Gain (AP)", "mean"), Column("Gain (AP)", "95 % over images"), Column("", "Images"),
        Column("", "Seeds"), Column("", "Word", "l"),
    )  # fmt: skip
    rows = []
    for step in found.steps:
        d = step.difference
        rows.append(
            (
                Cell(step.label, kind="label"), Cell(f"{d.before:.1f}"), Cell(f"{d.after:.1f}"),
                Cell(gain_text(d.difference)), Cell(interval_text(d.interval)), Cell(str(d.images)),
                Cell(_seeds(step.seeds)), Cell(step.word, kind=step.word.replace(" ", "-")),
            )
        )  # fmt: skip
    return Grid(columns, tuple(rows))


def _matches(arm: ArmRuns, problems: list[str]) -> dict[int, ImageMatches]:
    found = {}
    for run in arm.runs:
        try:
            found[run.seed] = checked_matches(run, *read_images(run))
        except (OSError, ValueError, KeyError) as error:
            problems.append(f"{run.run}: {error}")
    return found


def read_images(run: RunRecord) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run's validation annotations and its detections; OSError or ValueError where they are not at hand."""
    annotations = _annotations(run).read_bytes()
    return json.loads(annotations), json.loads((run.path / "detections.json").read_bytes())


def checked_matches(
    run: RunRecord, truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]
) -> ImageMatches:
    """Matches of a run. Raises ValueError where they do not give the AP that its record says."""
    matches = match_images(truth, detections)
    ap = float(figure_of(average_precision(matches), "AP")[0])
    recorded = run.best["AP"]
    if recorded is None or not abs(ap - recorded) <= AGREE:
        raise ValueError(f"its detections give {ap:.2f} AP on these annotations, its record says {recorded}")
    return matches


def _annotations(run: RunRecord) -> Path:
    """The validation annotations that the record points at. Raises ValueError where it does not."""
    dataset = run.environment.get("dataset") or {}
    if not dataset.get("path"):
        raise ValueError("environment.json does not say where the dataset lies (dataset.path)")
    return annotation_file(Path(dataset["path"]), (dataset.get("val") or {}).get("split", SPLITS[1]))
