"""The report as one Markdown page, as JSON and as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reports.grid import plain_grid, text_table
from reports.judging.verdicts import EPOCH_NOTES, FAILURE_RULE, NOT_MEASURED, RULES
from reports.pages import latex, markdown
from reports.pages.assumptions import Assumption
from reports.pages.section import Section
from reports.pages.webpage import OVER_IMAGES, counted
from reports.records.collect import Collection
from reports.tables import columns as table2_text
from reports.tables.caption import Caption, short_caption
from reports.tables.images import image_grid
from reports.tables.runs_text import environment_grid, progress, runs_grid
from reports.tables.steps import leading
from reports.tables.verdicts import NOTES, Judged, counts, statement, verdict_grid, verdict_records

#: Rows that a page holds twice.
LATEX_ROWS = 20


def title(collection: Collection) -> str:
    return f"YOLOX {collection.study}: measured beside published"


def markdown_table(section: Section) -> str:
    """Caption, table and run ids: a file that stands alone."""
    below = [markdown.escape(sentence) + "\n" for sentence in section.caption.below]
    return "\n".join(
        [
            markdown.caption(section.caption),
            markdown.table(section.grid),
            markdown.notes(section.grid),
            *below,
        ]
    )


def latex_table(section: Section) -> str:
    """The main table for a paper; of a study with many arms, what fits a page."""
    shown = leading(section.table, LATEX_ROWS)
    grid = section.grid if shown is section.table else table2_text.grid(shown)
    below = section.caption.below
    if shown is not section.table:
        below = (f"Shown: the {LATEX_ROWS} arms of the highest AP; the CSV file holds all.", *below)
    return latex.table(
        grid,
        (table2_text.ACCURACY, table2_text.COST),
        replace(section.caption, below=below),
        f"tab:{section.group.slug}",
    )


def markdown_page(
    collection: Collection,
    sections: Sequence[Section],
    judged: Sequence[Judged],
    assumptions: Sequence[Assumption],
) -> str:
    """Everything on one page, with relative links to the files."""
    lines = [f"# {markdown.escape(title(collection))}", "", counted(collection), ""]
    lines += ["The same, self-contained and easier to read: [report.html](report.html).", ""]
    for section in sections:
        lines += _markdown_section(section)
    lines += [markdown_verdicts(judged)]
    if assumptions:
        lines += ["## Assumptions", ""]
        lines += [f"- {a.number} {markdown.escape(a.title)}" for a in assumptions] + [""]
    lines += ["## Environment", "", markdown.table(environment_grid(collection.runs)), ""]
    lines += ["## Runs", "", markdown.table(runs_grid(collection.runs)), ""]
    lines += _left_out(collection)
    return "\n".join(lines).rstrip() + "\n"


def _markdown_section(section: Section) -> list[str]:
    group, where = section.group, section.group.slug
    lines = [f"## {markdown.escape(group.title)}", ""]
    for warning in (*group.warnings, *section.table.notes):
        lines += [f"> **Warning:** {markdown.escape(warning)}", ""]
    lines += [markdown_table(section)]
    name = section.table_name
    files = (f"[{label}]({where}/{name}.{kind})" for label, kind in
             (("Markdown", "md"), ("LaTeX", "tex"), ("CSV", "csv")))  # fmt: skip
    lines += [f"The same table as {', '.join(files)}.", ""]
    if section.over_images is not None:
        lines += ["### Gains over validation images", ""]
        if section.over_images.steps:
            lines += [markdown.table(image_grid(section.over_images)), OVER_IMAGES, ""]
        lines += [f"> Not computed: {markdown.escape(p)}\n" for p in section.over_images.problems]
    for figure in section.figures:
        png = f"{where}/{figure.file('png').name}"
        others = ", ".join(f"[{k.upper()}]({where}/{figure.name}.{k})" for k in ("svg", "pdf"))
        alt = f"{figure.title}; {group.mark or 'COCO'}"
        lines += [f"### {markdown.escape(figure.title)}", "", f"![{markdown.escape(alt)}]({png})", ""]
        lines += [f"{markdown.escape(figure.text)} {markdown.escape(short_caption(group))} ({others})", ""]
    return lines


def verdicts_caption(judged: Sequence[Judged]) -> Caption:
    """The caption of the verdict table."""
    rules = (*(f"{label}: {rule}." for label, rule in RULES.items()), *NOTES)
    return Caption(f"Verdicts on the paper's claims: {counts(judged)}", "", (EPOCH_NOTES["best"],), rules)


def markdown_verdicts(judged: Sequence[Judged]) -> str:
    """The verdicts on claims that any run speaks about, and the rules."""
    touched = [item for item in judged if item.touched]
    lines = ["## Verdicts on the paper's claims", "", f"{counts(judged)}.", ""]
    if touched:
        lines += [markdown.table(verdict_grid(touched)), ""]
    lines += [f"- *{label}*: {markdown.escape(rule)}" for label, rule in RULES.items()]
    ends = [f"For `--check`, {markdown.escape(FAILURE_RULE)}.", *NOTES, EPOCH_NOTES["best"], ""]
    return "\n".join([*lines, "", "\n\n".join(ends)])


def _left_out(collection: Collection) -> list[str]:
    lines: list[str] = []
    if collection.unfinished:
        rows = [(u.run, u.state, progress(u.epoch, u.epochs), u.reason) for u in collection.unfinished]
        grid = plain_grid(("run", "state", "epoch", "reason"), rows)
        lines += ["## Unfinished runs", "", markdown.table(grid), ""]
    if collection.skipped:
        rows2 = [(s.run, s.reason) for s in collection.skipped]
        lines += ["## Records left out", "", markdown.table(plain_grid(("run", "reason"), rows2)), ""]
    return lines


def summary(collection: Collection, sections: Sequence[Section], judged: Sequence[Judged]) -> str:
    """The tables for a terminal, in two halves below 120 columns."""
    parts = []
    for section in sections:
        parts.append(f"{section.group.title}" + (f" [{section.group.mark}]" if section.group.mark else ""))
        parts += [text_table(section.grid.only(half)) for half in (table2_text.ACCURACY, table2_text.COST)]
        if section.caption.mark:
            parts.append(section.caption.mark)
        parts += [f"warning: {w}" for w in (*section.group.warnings, *section.table.notes)]
    parts.append(f"verdicts on the paper's {len(judged)} claims: {counts(judged)}")
    parts += [f"  {i.best.label}: {statement(i.best)} ({i.best.claim.source}): {i.best.reason}"
              for i in judged if i.best.label != NOT_MEASURED]  # fmt: skip
    parts += [f"unfinished: {u.run} ({u.state}, epoch {progress(u.epoch, u.epochs)}) {u.reason}".rstrip()
              for u in collection.unfinished]  # fmt: skip
    parts += [f"left out: {s.run}: {s.reason}" for s in collection.skipped]
    return "\n\n".join(parts)


def as_json(collection: Collection, sections: Sequence[Section], judged: Sequence[Judged]) -> dict[str, Any]:
    """The report's figures as plain JSON."""
    return {
        "study": collection.study,
        "groups": [_group_json(section) for section in sections],
        "verdicts": verdict_records(judged),
        "unfinished": [
            {name: value for name, value in vars(u).items() if name != "path"} for u in collection.unfinished
        ],
        "left_out": [vars(s) for s in collection.skipped],
    }


def _group_json(section: Section) -> dict[str, Any]:
    group = section.group
    return {
        "dataset": dict(group.dataset), "protocol": group.protocol, "mark": group.mark,
        "comparable_with_paper": group.papers_conditions, "folder": group.slug,
        "warnings": [*group.warnings, *section.table.notes],
        "caption": [section.caption.headline, *section.caption.sentences, *section.caption.below],
        "rows": table2_text.records(section.table),
        "deviations": [vars(d) for d in section.deviations],
        "over_images": _over_images_json(section),
    }  # fmt: skip


def _over_images_json(section: Section) -> list[dict[str, Any]] | None:
    if section.over_images is None:
        return None
    return [
        {"arm": s.arm, "seeds": list(s.seeds), "gain": s.difference.difference,
         "low": s.difference.interval.low, "high": s.difference.interval.high, "images": s.difference.images}
        for s in section.over_images.steps
    ]  # fmt: skip
