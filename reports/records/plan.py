"""What a report knows of its study beside the runs: order, labels, what is compared with what.

Planning wrote it (``roadmap/study.py``). Records of before have none: then the arms stand by how much of the
paper they have switched on, and nothing is compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from roadmap.study import ArmRecord, StudyRecord, read_study

if TYPE_CHECKING:
    from reports.records.collect import RunRecord


def study_plan(root: Path, study: str, runs: Iterable[RunRecord]) -> tuple[StudyRecord, str]:
    """The study's data below ``root`` (``runs/``), and why it had to be guessed (empty when it had not)."""
    try:
        found = read_study(root / study)
    except ValueError as error:
        return guessed(study, runs), str(error)
    return (guessed(study, runs), "") if found is None else (found, "")


def guessed(study: str, runs: Iterable[RunRecord]) -> StudyRecord:
    """The arms of some runs, from the fewest ingredients to the most, then by size and name."""
    keys: dict[str, tuple[int, float, str]] = {}
    for run in runs:
        on = sum(bool(value) for name, value in run.recipe.items() if name.startswith("ingredients."))
        profile = run.full_size_profile or run.profile
        keys[run.arm] = min(keys.get(run.arm, (99, 0.0, "")), (on, float(profile["params"]), run.arm))
    arms = tuple(ArmRecord(name, name) for name in sorted(keys, key=lambda name: keys[name]))
    return StudyRecord(study, "", arms)
