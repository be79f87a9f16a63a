"""The whole paper in one document, from whatever has been run: ``python -m reports --all``.

runs/report/
    report.html  report.md  report.tex  report.json  verdicts.csv
    <dataset>-<protocol>-<fingerprint>/    one per group of comparable runs
        table1.md  table1.tex  table1.csv  table2.md  …  speed_accuracy.png  …
    published/                             figures of the paper of which nothing was measured
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reports.blocks import Figure
from reports.build import MANIFEST, Report, make_section, remove_stale, write, write_section
from reports.pages import latex, markdown, text, webpage
from reports.pages.assumptions import DECISIONS, read_assumptions
from reports.pages.chapter import Chapter, Drawing, marked_title
from reports.pages.data import group_json
from reports.pages.document import Document, document_blocks, summary_blocks
from reports.records.everything import Everything, groups_of, others, read_everything
from reports.tables import columns
from reports.tables.remaining import Remaining, measuring_command, remaining
from reports.tables.spent import Speed, spent, training_speed
from reports.tables.steps import build_table2
from reports.tables.verdicts import Judged, judge_all, verdict_records
from roadmap.reproduction import (
    PAPER_FIGURES,
    PAPER_TABLES,
    PaperFigure,
    PaperTable,
    paper_studies,
    study_of,
    study_record,
    table_plan,
)


def default_out(runs: Path) -> Path:
    """Where the document goes unless told otherwise: beside the studies' folders."""
    return runs / "report"


def build_document(
    runs: Path,
    out: Path | None = None,
    figures: bool = True,
    images: bool = False,
    decisions: Path = DECISIONS,
) -> Report:
    """Write the document of all studies below ``runs``; options as of :func:`reports.build.build_report`.

    Nothing needs to be finished, nor even to be there: then it holds the paper's figures and the commands.
    """
    everything = read_everything(runs)
    out = out or default_out(runs)
    out.mkdir(parents=True, exist_ok=True)
    judged = judge_all(everything.runs, [study.plan for study in everything.studies])
    speed = training_speed(everything.runs)
    chapters = tuple(_chapter(table, everything, judged, speed, out, images) for table in PAPER_TABLES)
    plans = [chapter.plan for chapter in chapters if chapter.plan is not None]
    document = Document(
        everything,
        chapters,
        tuple(_drawing(figure, everything, judged, out if figures else None) for figure in PAPER_FIGURES),
        tuple(make_section(group, out / group.study, images) for group in others(everything, plans)),
        judged,
        read_assumptions(decisions),
        spent(everything),
        speed,
    )
    files = _write_tables(document)
    files += [path for drawing in document.drawings for path in drawing.files]
    blocks = document_blocks(document, out / "report.html")
    pages = {
        "report.html": webpage.render(blocks),
        "report.md": markdown.render(blocks, out),
        "report.tex": latex.render(blocks, out),
        "verdicts.csv": columns.to_csv(verdict_records(judged)),
    }
    for name, page in pages.items():
        write(out / name, page)
        files.append(out / name)
    data = _data(document)
    data["files"] = sorted({path.relative_to(out).as_posix() for path in [*files, out / MANIFEST]})
    remove_stale(out, data["files"])
    write(out / MANIFEST, json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    return Report(
        "all",
        out,
        tuple(out / name for name in data["files"]),
        text.render(summary_blocks(document)),
        tuple(item.best for item in judged),
        data,
    )


def _chapter(
    table: PaperTable,
    everything: Everything,
    judged: Sequence[Judged],
    speed: Speed | None,
    out: Path,
    images: bool,
) -> Chapter:
    plan, study = table_plan(table.source), study_of(table.source)
    mine = _about(table.source, judged)
    if plan is None or study is None:
        return Chapter(table, None, (), mine, None)
    groups = groups_of(plan, everything)
    sections = tuple(make_section(group, out, images) for group in groups)
    left: Remaining = remaining(table, study_record(study), plan, groups)
    return Chapter(table, plan, sections, mine, left, speed)


def _about(source: str, judged: Sequence[Judged]) -> tuple[Judged, ...]:
    return tuple(item for item in judged if item.best.claim.source == source)


def _drawing(
    figure: PaperFigure, everything: Everything, judged: Sequence[Judged], out: Path | None
) -> Drawing:
    study = next(study for study in paper_studies() if study.name == figure.study)
    plan = study_record(study)
    drawn: list[tuple[str, tuple[Figure, ...]]] = []
    for group in groups_of(plan, everything):
        if out is None:
            drawn.append((marked_title(group), ()))
        else:
            from reports.figures.catalogue import draw_all  # matplotlib: only when something is drawn

            folder = out / group.slug
            folder.mkdir(parents=True, exist_ok=True)
            if found := draw_all(build_table2(group), folder, figure.drawn):
                drawn.append((marked_title(group), found))
    published: tuple[Figure, ...] = ()
    if not drawn and out is not None:
        from reports.figures.catalogue import draw_published

        (out / "published").mkdir(exist_ok=True)
        published = draw_published(out / "published", figure.drawn)
    command = measuring_command(plan, plan.arms)
    return Drawing(figure, tuple(drawn), published, _about(figure.source, judged), command)


def _write_tables(document: Document) -> list[Path]:
    sections = [section for chapter in document.chapters for section in chapter.sections]
    return [path for section in (*sections, *document.others) for path in write_section(section)]


def _data(document: Document) -> dict[str, Any]:
    """The document's figures as plain JSON."""
    return {
        "tables": [
            {
                "source": chapter.table.source,
                "title": chapter.table.title,
                "command": chapter.command,
                "groups": [group_json(section) for section in chapter.sections],
                "left": [arm.name for arm in chapter.left.arms] if chapter.left else [],
                "left_command": chapter.left.command if chapter.left else "",
            }
            for chapter in document.chapters
        ],
        "others": [group_json(section) | {"study": section.group.study} for section in document.others],
        "verdicts": verdict_records(document.judged),
        "spent": [vars(row) for row in document.spent],
        "unfinished": [
            {name: value for name, value in vars(u).items() if name != "path"}
            for u in document.everything.unfinished
        ],
        "left_out": [vars(item) for item in document.everything.skipped],
    }
