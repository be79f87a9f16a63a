"""The report's figures as plain JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports.pages.search import SearchSection
from reports.pages.section import Section
from reports.records.collect import Collection
from reports.tables import columns as table2_text
from reports.tables.effects import effect_records
from reports.tables.errors import error_records
from reports.tables.search import claim_records, trial_records, tuned_gains, tuned_records
from reports.tables.verdicts import Judged, verdict_records


def as_json(
    collection: Collection,
    sections: Sequence[Section],
    judged: Sequence[Judged],
    search: SearchSection | None = None,
) -> dict[str, Any]:
    """The report's figures as plain JSON."""
    return {
        "study": collection.study,
        **({} if search is None else {"search": search_json(search)}),
        "groups": [group_json(section) for section in sections],
        "verdicts": verdict_records(judged),
        "unfinished": [
            {name: value for name, value in vars(u).items() if name != "path"} for u in collection.unfinished
        ],
        "left_out": [vars(s) for s in collection.skipped],
    }


def search_json(section: SearchSection) -> dict[str, Any]:
    """A search: what it claims, what fresh seeds say, and every trial."""
    return {
        "claims": [row for each in section.judged for row in claim_records(each)],
        "tuned": tuned_records(tuned_gains(section.judged)),
        "trials": [row for each in section.judged for row in trial_records(each.search)],
    }


def group_json(section: Section) -> dict[str, Any]:
    """One group's tables, with everything that a reader must know about them."""
    group, caption = section.group, section.shown[0].main.caption
    return {
        "dataset": dict(group.dataset), "protocol": group.protocol, "mark": group.mark,
        "comparable_with_paper": group.papers_conditions, "folder": group.slug,
        "warnings": list(section.warnings),
        "caption": [caption.headline, *caption.sentences, *caption.below] if caption else [],
        "rows": [row for shown in section.shown for row in table2_text.records(shown.part.table)],
        "tables": [
            {"name": shown.part.name, "title": shown.part.planned.title,
             "rows": [row.label for row in shown.part.table.rows]}
            for shown in section.shown
        ],
        "deviations": [vars(d) for d in section.deviations],
        "over_images": _over_images_json(section),
        "errors": error_records(section.errors) if section.errors else None,
        "effects": effect_records(section.effects) if section.effects else None,
    }  # fmt: skip


def _over_images_json(section: Section) -> list[dict[str, Any]] | None:
    if section.over_images is None:
        return None
    return [
        {"arm": s.arm, "seeds": list(s.seeds), "gain": s.difference.difference,
         "low": s.difference.interval.low, "high": s.difference.interval.high, "images": s.difference.images,
         "word": s.word}
        for s in section.over_images.steps
    ]  # fmt: skip
