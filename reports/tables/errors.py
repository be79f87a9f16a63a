"""What AP a group's runs miss, by kind of error, object size and category, and which errors a step removed.

Made where annotations and detections are at hand, on request only, as intervals over images are
(``reports/tables/images.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reports.grid import NOTHING, Cell, Column, Grid
from reports.images.bootstrap import average_precision
from reports.images.errors import ERRORS, ErrorSplit, error_split, judge_detections
from reports.images.matches import ImageMatches
from reports.judging.statistics import ROUNDING, paired_gains, standard_deviation, t_interval
from reports.records.collect import RunRecord
from reports.records.groups import Group
from reports.tables.columns import ap_text, gain_text, with_spread
from reports.tables.images import checked_matches, read_images
from reports.tables.steps import Measured, comparisons, row_plans
from reports.tables.verdicts import interval_text

#: COCO's figures by the area of objects (up to 32², up to 96², larger), from the records.
SIZES = {"APs": "small", "APm": "medium", "APl": "large"}
#: What the tables of errors say below themselves.
ERRORS_NOTE = (
    "AP that a run would gain if it made no errors of a kind (TIDE, arXiv 2008.08115), each kind put right "
    "alone, at IoU 0.5, of the 100 detections of an image with the highest scores. The gains overlap and do "
    "not add up to the AP that is missing. Where several kinds hold for a detection: localisation, then "
    "classification, then duplicate. A change is that of an arm over the one it is compared against, paired "
    "by seed, with the 95 % t interval over seeds where there are several: below 0, errors of that kind cost "
    "less than before. One error costs more AP the better a run is otherwise, so a kind may cost more though "
    "it became no more frequent (report.json has the numbers). Detections are those of each run's best "
    "evaluated epoch."
)


@dataclass(frozen=True)
class RunErrors:
    """A run's missing AP. by_category: AP (percent) by name, of those with an object. by_size: by SIZES."""

    split: ErrorSplit
    by_category: Mapping[str, float]
    by_size: Mapping[str, float | None]

    @property
    def figures(self) -> dict[str, float | None]:
        """Everything but categories, by name."""
        return {"AP50": self.split.ap, **self.split.gained, **self.by_size}


@dataclass(frozen=True)
class ArmErrors:
    """An arm's runs by seed. against: the arm that its changes are counted from, None for none."""

    arm: str
    label: str
    runs: Mapping[int, RunErrors]
    against: ArmErrors | None = None

    def mean(self, name: str) -> Measured | None:
        """A figure over the seeds; None where it is undefined."""
        return _over_seeds(run.figures[name] for run in self.runs.values())

    def changes(self, name: str) -> dict[int, float]:
        """How much a figure grew, by seed that both arms have."""
        if self.against is None:
            return {}
        before, after = ({s: v for s, r in side.items() if (v := r.figures[name]) is not None}
                         for side in (self.against.runs, self.runs))  # fmt: skip
        return paired_gains(before, after)


@dataclass(frozen=True)
class GroupErrors:
    """Arms whose runs could be judged, and why others could not be. mark: as the group's."""

    arms: tuple[ArmErrors, ...]
    problems: tuple[str, ...]
    noun: str = "arm"
    mark: str = ""


def errors_of_group(group: Group) -> GroupErrors:
    """Judge the detections of every run of a group."""
    labels = {plan.arm: plan.label for plan in row_plans(group)}
    problems: list[str] = []
    found: dict[str, ArmErrors] = {}
    for arm in group.arms:
        runs = {}
        for run in arm.runs:
            try:
                runs[run.seed] = _judged(run)
            except (OSError, ValueError, KeyError) as error:
                problems.append(f"{run.run}: {error}")
        if runs:
            found[arm.arm] = ArmErrors(arm.arm, labels.get(arm.arm, arm.arm), runs)
    pairs = {c.after.arm: c.before.arm for c in comparisons(group) if not c.refused}
    arms = (replace(arm, against=found.get(pairs.get(arm.arm, ""))) for arm in found.values())
    return GroupErrors(tuple(arms), tuple(problems), group.plan.noun, group.mark)


def _judged(run: RunRecord) -> RunErrors:
    truth, detections = read_images(run)
    matches = checked_matches(run, truth, detections)
    split = error_split(judge_detections(truth, detections))
    return RunErrors(split, ap_by_category(matches, truth), {name: run.best.get(name) for name in SIZES})


def ap_by_category(matches: ImageMatches, truth: Mapping[str, Any]) -> dict[str, float]:
    """AP in percent over IoU 0.50 to 0.95 of each category that has an object, by its name; their mean is AP.

    Names that several categories share are told apart by their ids.
    """
    names = {row["id"]: str(row.get("name", row["id"])) for row in truth["categories"]}
    several = list(names.values())
    found = {}
    for category in matches.categories:
        if category.objects.any():
            name, number = names[category.category_id], category.category_id
            key = name if several.count(name) == 1 else f"{name} ({number})"
            found[key] = float(average_precision(replace(matches, categories=(category,))).mean())
    return found


# --- as tables -------------------------------------------------------------------------------------------


def errors_grid(found: GroupErrors) -> Grid:
    """One row per arm: AP50, and what it would gain if the errors of each kind were put right."""
    columns = (
        _names(found), Column("", "AP50"), *(Column("AP gained if put right", kind) for kind in ERRORS)
    )  # fmt: skip
    rows = [
        (Cell(arm.label, kind="label"), *(_mean(arm.mean(name)) for name in ("AP50", *ERRORS)))
        for arm in found.arms
    ]
    return Grid(columns, tuple(rows))


def changes_grid(found: GroupErrors) -> Grid | None:
    """One row per arm that is compared against another: the change of each error; None without."""
    arms = [arm for arm in found.arms if arm.changes("AP50")]
    if not arms:
        return None
    labels = {arm.arm: arm.label for arm in found.arms}
    # A heading each: a table that is too wide for a sheet is cut between headings.
    columns = (
        _names(found), Column("", "Against", "l"), Column("", "Seeds"), Column("AP50", "gain"),
        *(Column(kind.capitalize(), "change") for kind in ERRORS),
    )  # fmt: skip
    rows = [
        (
            Cell(arm.label, kind="label"),
            Cell(labels[arm.against.arm] if arm.against else NOTHING, kind="label"),
            Cell(str(len(arm.changes("AP50")))),
            *(_change(arm.changes(name)) for name in ("AP50", *ERRORS)),
        )
        for arm in arms
    ]
    return Grid(columns, tuple(rows))


def sizes_grid(found: GroupErrors) -> Grid:
    """One row per arm: AP by object size, and its change where any arm is compared against another."""
    changed = SIZES if any(arm.changes("AP50") for arm in found.arms) else {}
    columns = (
        _names(found), *(Column("AP by object size", size) for size in SIZES.values()),
        *(Column("Change", size) for size in changed.values()),
    )  # fmt: skip
    rows = [
        (
            Cell(arm.label, kind="label"),
            *(_mean(arm.mean(name)) for name in SIZES),
            *(_change(arm.changes(name)) for name in changed),
        )
        for arm in found.arms
    ]
    return Grid(columns, tuple(rows))


def categories_grid(found: GroupErrors) -> Grid:
    """One row per category, those first whose AP differs most between arms; one column per arm."""
    names = dict.fromkeys(n for arm in found.arms for run in arm.runs.values() for n in run.by_category)
    means = {name: [_category(arm, name) for arm in found.arms] for name in names}
    columns = (Column("", "Category", "l"), *(Column(arm.label, "AP") for arm in found.arms))
    rows = [
        (Cell(name, kind="label"), *map(_mean, means[name]))
        for name in sorted(names, key=lambda name: -_spread(means[name]))
    ]
    return Grid(columns, tuple(rows))


def error_records(found: GroupErrors) -> list[dict[str, Any]]:
    """The arms as plain mappings (for JSON): figures of each seed, and AP by category over the seeds."""
    return [
        {
            "arm": arm.arm,
            "against": arm.against.arm if arm.against else None,
            "runs": [
                {
                    "seed": seed, "AP50": run.split.ap, "gained": dict(run.split.gained),
                    "counts": dict(run.split.counts), "by_size": dict(run.by_size),
                    "by_category": dict(run.by_category),
                }
                for seed, run in arm.runs.items()
            ],
            "changes": {name: list(arm.changes(name).values()) for name in ("AP50", *ERRORS, *SIZES)},
        }
        for arm in found.arms
    ]  # fmt: skip


def _names(found: GroupErrors) -> Column:
    return Column("", found.noun.capitalize(), "l")


def _over_seeds(values: Iterable[float | None]) -> Measured | None:
    known = tuple(value for value in values if value is not None)
    return Measured(float(np.mean(known)), standard_deviation(known), known, ()) if known else None


def _category(arm: ArmErrors, name: str) -> Measured | None:
    return _over_seeds(run.by_category.get(name) for run in arm.runs.values())


def _spread(means: Iterable[Measured | None]) -> float:
    known = [each.mean for each in means if each is not None]
    return max(known) - min(known)


def _mean(value: Measured | None) -> Cell:
    return Cell() if value is None else Cell(with_spread(value, ap_text, False))


def _change(values: Mapping[int, float]) -> Cell:
    """``−1.2 (−2.0 … −0.4)``; without an interval where there is one seed, or all give the same."""
    if not values:
        return Cell()
    gains = list(values.values())
    mean, interval = gain_text(float(np.mean(gains))), t_interval(gains)
    flat = interval is None or interval.half_width < ROUNDING
    return Cell(mean if flat else f"{mean} ({interval_text(interval, 1)})")
