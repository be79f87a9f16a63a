"""Every study's records below one folder, and which of them speak about a table of the paper.

A run belongs to a row of the paper's by what it trained, not by its study's name: by the recipe that its
arm has under the paper's setting. So the roadmap's baseline fills a cell of Table 1, and so does one of a
user's own study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

from reports.records.collect import Collection, RunRecord, Skipped, Unfinished, read_runs
from reports.records.groups import Group, group_runs
from reports.records.plan import study_plan
from reports.records.search import only_trials, read_searches
from roadmap.recipe import recipe_from_json
from roadmap.record import find_runs
from roadmap.reproduction import paper_studies
from roadmap.study import ArmRecord, StudyRecord


@dataclass(frozen=True)
class StudyRuns:
    """A study's records and its plan. trials: arms that a search chose by, whose figures are no result."""

    collection: Collection
    plan: StudyRecord
    trials: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.plan.name


@dataclass(frozen=True)
class Everything:
    """All studies below a folder, by name."""

    studies: tuple[StudyRuns, ...]

    @cached_property
    def runs(self) -> tuple[RunRecord, ...]:
        """Every finished run, study by study."""
        return tuple(run for study in self.studies for run in study.collection.runs)

    @property
    def unfinished(self) -> tuple[Unfinished, ...]:
        return tuple(run for study in self.studies for run in study.collection.unfinished)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return tuple(run for study in self.studies for run in study.collection.skipped)


def read_everything(root: Path) -> Everything:
    """The records of every study below ``root`` (``runs/``); nothing where there is no folder."""
    found = []
    for name in sorted({folder.study for folder in find_runs(root)}):
        collection = read_runs(root, name)
        plan, problem = study_plan(root, name, collection.runs)
        if problem:
            left_out = (*collection.skipped, Skipped(f"{name}/study.json", problem))
            collection = replace(collection, skipped=left_out)
        try:
            trials = only_trials(read_searches(root, name))
        except ValueError as error:
            trials = frozenset()
            left_out = (*collection.skipped, Skipped(f"{name}/search.json", str(error)))
            collection = replace(collection, skipped=left_out)
        found.append(StudyRuns(collection, plan, trials))
    return Everything(tuple(found))


def groups_of(plan: StudyRecord, everything: Everything) -> tuple[Group, ...]:
    """The runs of any study that are of a plan's arms, by dataset and protocol. The most like the paper come
    first: its conditions, then COCO, then its protocol, then the newest.
    """
    groups = group_runs(plan.name, runs_of(plan, everything), _with_planned_changes(plan, everything))
    return tuple(sorted(groups, key=unlikeness))


def unlikeness(group: Group) -> tuple[bool, ...]:
    """How far a group's conditions are from the paper's, for sorting."""
    return not group.papers_conditions, group.dataset["coco"] is not True, group.protocol != "paper"


def runs_of(plan: StudyRecord, everything: Everything) -> tuple[RunRecord, ...]:
    """The runs of any study that are of a plan's arms, under the plan's names of these. The same recipe and
    seed in two studies counts once, the newest.
    """
    found: dict[tuple[str, int, str], RunRecord] = {}
    for study in everything.studies:
        names = matching_arms(plan, study.plan)
        for run in study.collection.runs:
            if run.arm not in names:
                continue
            mine = replace(run, arm=names[run.arm], study=plan.name)
            key = (mine.arm, mine.seed, mine.recipe_hash)
            other = found.get(key)
            if other is None or (other.finished, other.path.name) < (mine.finished, mine.path.name):
                found[key] = mine
    order = plan.order({run.arm for run in found.values()})
    return tuple(sorted(found.values(), key=lambda r: (order.index(r.arm), r.seed, r.recipe_hash)))


def matching_arms(plan: StudyRecord, other: StudyRecord) -> Mapping[str, str]:
    """Arms of another study -> arms of a plan with the same recipe under the paper's setting.

    Records from before it was recorded have none: then it is that of the project's own study and arm of these
    names.
    """
    ours = {key: arm.name for arm in plan.arms if (key := reference_hash(arm))}
    keys = {arm.name: reference_hash(arm) or _known().get((other.name, arm.name), "") for arm in other.arms}
    return {name: ours[key] for name, key in keys.items() if key in ours}


@cache
def _known() -> Mapping[tuple[str, str], str]:
    """(study, arm) -> identity of the recipe under the paper's setting, of the studies of the paper."""
    return {(study.name, arm.name): arm.reference().hash for study in paper_studies() for arm in study.arms}


def reference_hash(arm: ArmRecord) -> str:
    """Identity of the recipe under the paper's setting; empty where it is not on record or of other code."""
    try:
        return recipe_from_json(arm.reference).hash if arm.reference else ""
    except ValueError:
        return ""


def _with_planned_changes(plan: StudyRecord, everything: Everything) -> StudyRecord:
    """The plan, whose arms may differ in what they differed in where they were planned, too: a protocol
    changes more than the paper's setting shows.
    """
    changes: dict[str, dict[str, None]] = {arm.name: dict.fromkeys(arm.changes) for arm in plan.arms}
    for study in everything.studies:
        names = matching_arms(plan, study.plan)
        for arm in study.plan.arms:
            ours = plan.find(names.get(arm.name, ""))
            if ours is not None and names.get(arm.against) == ours.against:
                changes[ours.name] |= dict.fromkeys(arm.changes)
    return replace(plan, arms=tuple(replace(arm, changes=tuple(changes[arm.name])) for arm in plan.arms))


def others(everything: Everything, plans: Sequence[StudyRecord]) -> tuple[Group, ...]:
    """Groups, study by study, with a run that is of no arm of these plans."""
    found: list[Group] = []
    for study in everything.studies:
        known = {name for plan in plans for name in matching_arms(plan, study.plan)}
        results = [run for run in study.collection.runs if run.arm not in study.trials]
        groups = group_runs(study.name, results, study.plan)
        more = [group for group in groups if any(arm.arm not in known for arm in group.arms)]
        found += sorted(more, key=unlikeness)
    return tuple(found)
