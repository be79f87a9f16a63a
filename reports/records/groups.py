"""Runs that may stand in one table: same dataset, same protocol, one recipe per arm.

Figures of different datasets or protocols are never averaged and never share a table; of several
recipes of one arm (a changed default gives a new hash) the newest is shown and the others are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from reports.records.collect import RunRecord
from reports.records.frame import runs_frame
from reports.records.plan import study_plan
from roadmap.study import StudyRecord

#: What a run starts from is looked at where gains are judged (reports/judging/gains.py).
_ELSEWHERE = ("protocol", "training.pretrained")


@dataclass(frozen=True)
class ArmRuns:
    """An arm's runs of one recipe, ordered by seed; ``older`` are runs of other recipes, not shown."""

    arm: str
    runs: tuple[RunRecord, ...]
    older: tuple[RunRecord, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(run.seed for run in self.runs)


#: More characters of changes to a protocol are left out where there is little room.
_NARROW = 12
_OF_OTHER_DATA = {"training.pretrained", "model.num_classes", "model.anchors"}


@dataclass(frozen=True)
class Group:
    """All shown runs of one dataset under one protocol.

    arms: those with runs, in the study's order. warnings: what a reader must know before comparing rows.
    plan: the study as it was planned: order, labels, what is compared with what.
    """

    study: str
    dataset: Mapping[str, Any]
    protocol: str
    arms: tuple[ArmRuns, ...]
    warnings: tuple[str, ...]
    plan: StudyRecord

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        return tuple(run for arm in self.arms for run in arm.runs)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The shown runs, one row each, arm by arm (docs/runs-frame.md)."""
        return runs_frame(self.runs)

    @property
    def papers_conditions(self) -> bool:
        """Whether the figures may be compared with the paper's: its protocol on full COCO 2017.

        The recipes decide, not the protocol's name: a changed setting is another protocol.
        """
        return self.protocol == "paper" and self.dataset["coco"] is True and not self.changed

    @property
    def changed(self) -> tuple[str, ...]:
        """Settings of some run that are not the paper's for its arm; aside from starting weights, which a
        run may lack, and what other data than COCO bring along.
        """
        fields = {str(item["field"]) for run in self.runs for item in run.deviations}
        fields -= {"training.pretrained"} if self.dataset["coco"] else _OF_OTHER_DATA
        return tuple(sorted(f for f in fields if f.startswith(("training.", "model.", "ingredients."))))

    @property
    def mark(self) -> str:
        """What every table and figure says beside its numbers; empty under the paper's conditions."""
        parts = [self.protocol] if self.protocol != "paper" else ["changed settings"] if self.changed else []
        parts += [] if self.dataset["coco"] else ["not COCO"]
        return ", ".join(parts)

    @property
    def narrow_mark(self) -> str:
        """The mark where there is little room: a protocol's changes in a figure's own line above it."""
        base, changes = self.protocol.partition("+")[::2]
        return self.mark.replace(self.protocol, f"{base}+…", 1) if len(changes) > _NARROW else self.mark

    @property
    def slug(self) -> str:
        """Folder name: dataset, protocol and the start of the fingerprint."""
        name = re.sub(r"[^A-Za-z0-9]+", "-", f"{self.dataset['name']}-{self.protocol}").strip("-").lower()
        return f"{name}-{re.sub(r'[^A-Za-z0-9]', '', self.dataset['fingerprint'])[:6] or 'none'}"

    @property
    def title(self) -> str:
        return f"{self.dataset['name']}, {self.protocol} protocol"

    def find(self, arm: str) -> ArmRuns | None:
        """The runs of an arm, None when it was not measured."""
        return next((s for s in self.arms if s.arm == arm), None)


def group_runs(study: str, runs: Iterable[RunRecord], plan: StudyRecord | None = None) -> tuple[Group, ...]:
    """Groups by (dataset fingerprint, protocol): the paper's conditions first, then the newest.

    plan: the study's data, else what lies beside the runs.
    """
    runs = tuple(runs)
    if plan is None:
        plan, _ = study_plan(runs[0].path.parent.parent if runs else Path(), study, runs)
    by_key: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        by_key.setdefault((run.dataset["fingerprint"], run.protocol), []).append(run)
    groups = [_group(plan, members) for members in by_key.values()]
    newest = sorted(groups, key=lambda g: (max(r.finished for r in g.runs), g.slug), reverse=True)
    return tuple(sorted(newest, key=lambda g: not g.papers_conditions))


def _group(plan: StudyRecord, runs: Sequence[RunRecord]) -> Group:
    by_arm: dict[str, list[RunRecord]] = {}
    for run in runs:
        by_arm.setdefault(run.arm, []).append(run)
    arms = tuple(_arm_runs(name, by_arm[name]) for name in plan.order(by_arm))
    warnings = [w for arm in arms for w in _older_warning(arm)] + _consistency_warning(arms, plan)
    newest = max(runs, key=lambda r: r.finished)
    return Group(plan.name, newest.dataset, newest.protocol, arms, tuple(warnings), plan)


def _arm_runs(arm: str, runs: Sequence[RunRecord]) -> ArmRuns:
    newest = max(runs, key=lambda r: (r.finished, r.recipe_hash)).recipe_hash
    by_seed = sorted(runs, key=lambda r: r.seed)
    return ArmRuns(
        arm,
        tuple(r for r in by_seed if r.recipe_hash == newest),
        tuple(r for r in by_seed if r.recipe_hash != newest),
    )


def _older_warning(arm: ArmRuns) -> list[str]:
    if not arm.older:
        return []
    names = ", ".join(run.run for run in arm.older)
    return [
        f"{arm.arm} has runs of {1 + len({r.recipe_hash for r in arm.older})} different recipes; shown "
        f"is the newest ({arm.runs[0].recipe_hash}); not shown: {names}"
    ]


def _consistency_warning(arms: Sequence[ArmRuns], plan: StudyRecord) -> list[str]:
    """Compared arms may differ in what the study says they do; name every other difference."""
    recipes = {arm.arm: arm.runs[0].recipe for arm in arms}
    found: dict[str, dict[str, list[str]]] = {}
    for name in recipes:
        arm = plan.find(name)
        if arm is None or arm.against not in recipes:
            continue
        ours, theirs = recipes[name], recipes[arm.against]
        for field in sorted({*ours, *theirs}):
            if ours.get(field) != theirs.get(field) and not _intended(field, arm.changes):
                values = found.setdefault(field, {})
                for each in (arm.against, name):
                    members = values.setdefault(str(recipes[each].get(field)), [])
                    members += [each] if each not in members else []
    return [
        f"the arms do not share one recipe, so gains mix causes: {field} is "
        + "; ".join(f"{value} in {', '.join(names)}" for value, names in values.items())
        for field, values in found.items()
    ]


def _intended(field: str, changes: Sequence[str]) -> bool:
    return field in changes or field in _ELSEWHERE or field.startswith("dataset.")
