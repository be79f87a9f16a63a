"""The report as one Markdown page, as JSON and as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reports import markdown, table2_text
from reports.caption import short_caption
from reports.collect import Collection
from reports.grid import plain_grid, text_table
from reports.section import Section


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


def markdown_page(collection: Collection, sections: Sequence[Section]) -> str:
    """Everything on one page, with relative links to the files."""
    lines = [f"# {markdown.escape(title(collection))}", "", _found(collection), ""]
    for section in sections:
        lines += _markdown_section(section)
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
    for figure in section.figures:
        png = f"{where}/{figure.file('png').name}"
        others = ", ".join(f"[{k.upper()}]({where}/{figure.name}.{k})" for k in ("svg", "pdf"))
        alt = f"{figure.title}; {group.mark or 'COCO'}"
        lines += [f"### {markdown.escape(figure.title)}", "", f"![{markdown.escape(alt)}]({png})", ""]
        lines += [f"{markdown.escape(figure.text)} {markdown.escape(short_caption(group))} ({others})", ""]
    return lines


def _found(collection: Collection) -> str:
    counts = [f"{len(collection.runs)} finished run(s)"]
    if collection.unfinished:
        counts.append(f"{len(collection.unfinished)} unfinished")
    if collection.skipped:
        counts.append(f"{len(collection.skipped)} left out")
    return f"Built from the run records alone: {', '.join(counts)}."


def _left_out(collection: Collection) -> list[str]:
    lines: list[str] = []
    if collection.unfinished:
        rows = [(u.run, u.state, _progress(u.epoch, u.epochs), u.reason) for u in collection.unfinished]
        grid = plain_grid(("run", "state", "epoch", "reason"), rows)
        lines += ["## Unfinished runs", "", markdown.table(grid), ""]
    if collection.skipped:
        rows2 = [(s.run, s.reason) for s in collection.skipped]
        lines += ["## Records left out", "", markdown.table(plain_grid(("run", "reason"), rows2)), ""]
    return lines


def summary(collection: Collection, sections: Sequence[Section]) -> str:
    """The tables for a terminal, in two halves below 120 columns."""
    parts = []
    for section in sections:
        parts.append(f"{section.group.title}" + (f" [{section.group.mark}]" if section.group.mark else ""))
        parts += [text_table(section.grid.only(half)) for half in (table2_text.ACCURACY, table2_text.COST)]
        if section.caption.mark:
            parts.append(section.caption.mark)
        parts += [f"warning: {w}" for w in (*section.group.warnings, *section.table.notes)]
    parts += [f"unfinished: {u.run} ({u.state}, epoch {_progress(u.epoch, u.epochs)}) {u.reason}".rstrip()
              for u in collection.unfinished]  # fmt: skip
    parts += [f"left out: {s.run}: {s.reason}" for s in collection.skipped]
    return "\n\n".join(parts)


def as_json(collection: Collection, sections: Sequence[Section]) -> dict[str, Any]:
    """The report's figures as plain JSON."""
    return {
        "study": collection.study,
        "groups": [_group_json(section) for section in sections],
        "unfinished": [vars(u) for u in collection.unfinished],
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
    }  # fmt: skip


def _progress(epoch: int, epochs: int | None) -> str:
    return f"{epoch} of {epochs}" if epochs else str(epoch)
