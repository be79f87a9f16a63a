"""From run records to a folder of tables, figures and pages: the package's one entry.

report/
    report.md  report.tex  report.json
    <dataset>-<protocol>-<fingerprint>/    one per group of comparable runs
        table2.md  table2.tex  table2.csv  table2_as_printed.md  …
        roadmap.png  roadmap.svg  roadmap.pdf  …
    search/                                of a search: what it claims and what fresh seeds say, every trial
        claims.md  claims.tex  trials.csv  search_history.png  …
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.judging.attribution import Attribution, attribute
from reports.judging.verdicts import Verdict
from reports.pages import content, latex, markdown, text, webpage
from reports.pages.assumptions import DECISIONS, Assumption, read_assumptions
from reports.pages.data import as_json
from reports.pages.search import SearchSection
from reports.pages.section import Section, shown_tables
from reports.pages.validation import validation_picture
from reports.records.collect import Collection, Skipped, collect, read_runs
from reports.records.groups import Group, group_runs
from reports.records.plan import study_plan
from reports.records.search import BaseSearch, borrowed, only_trials, read_searches
from reports.tables import columns as table2_text
from reports.tables.caption import deviation_rows
from reports.tables.from_images import KeptImages, from_kept, look
from reports.tables.search import judge
from reports.tables.steps import Table2, build_table2
from reports.tables.verdicts import Judged, judge_all, verdict_records
from roadmap.record import write_atomic

if TYPE_CHECKING:
    from reports.blocks import Figure

MANIFEST = "report.json"


@dataclass(frozen=True)
class Report:
    """What was written. files: every file of the report. summary: tables for a terminal.

    verdicts: one per claim of the paper, on the best evaluated epoch. data: what report.json holds.
    """

    study: str
    out: Path
    files: tuple[Path, ...]
    summary: str
    verdicts: tuple[Verdict, ...]
    data: dict[str, Any]


def default_out(runs: Path, study: str) -> Path:
    """Where a study's report goes unless told otherwise: beside its runs."""
    return runs / study / "report"


def build_report(
    runs: Path,
    study: str = "roadmap",
    out: Path | None = None,
    figures: bool = True,
    images: bool | KeptImages = False,
    decisions: Path = DECISIONS,
) -> Report:
    """Rebuild every table and figure of a study from its run records below ``runs``.

    Files of an earlier report in ``out`` that this one does not write are removed; other files there are
    left alone. ``figures=False`` leaves the figures out (tables alone take a fraction of a second).
    ``images=True`` adds each step's bootstrap interval over validation images and what its runs miss, which
    needs the annotation files that the records point at; or it is what was kept of that. ``decisions``: the
    notes whose titles are listed as assumptions.
    Raises ValueError for a study that is no folder name, and NoFinishedRunsError (a ValueError) when
    there is nothing to show yet.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", study):
        raise ValueError(f"study must be a folder name such as roadmap, not {study!r}")
    searches, broken = _read_searches(runs, study)
    taken = borrowed(runs, study, searches)
    collection = read_runs(runs, study) if taken else collect(runs, study)
    collection = replace(collection, runs=(*collection.runs, *taken), skipped=(*collection.skipped, *broken))
    out = out or default_out(runs, study)
    out.mkdir(parents=True, exist_ok=True)
    sections = []
    plan, problem = study_plan(runs, study, collection.runs)
    if problem:
        collection = replace(collection, skipped=(*collection.skipped, Skipped("study.json", problem)))
    search = _search(group_runs(study, collection.runs, plan), searches, out, figures)
    trials = only_trials(searches)  # what a search chose by is no result
    results = tuple(run for run in collection.runs if run.arm not in trials)
    left = tuple(run for run in collection.unfinished if run.arm not in trials)
    collection = replace(collection, unfinished=left)
    for group in group_runs(study, results, plan):
        section = make_section(group, out, images)
        if figures:
            folder = out / group.slug
            drawn = _draw(section.table, folder, section.effects)
            section = replace(section, figures=drawn, picture=validation_picture(section.table, folder))
        sections.append(section)
    judged = judge_all(results, [plan])
    files = [path for section in sections for path in write_section(section)]
    files += [] if search is None else _write_search(search)
    files += _write_pages(collection, sections, judged, read_assumptions(decisions), out, search)
    data = as_json(collection, sections, judged, search)
    data["files"] = sorted(path.relative_to(out).as_posix() for path in [*files, out / MANIFEST])
    remove_stale(out, data["files"])
    write(out / MANIFEST, json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    return Report(
        study,
        out,
        tuple(out / name for name in data["files"]),
        text.render(content.summary_blocks(collection, sections, judged, search)),
        tuple(item.best for item in judged),
        data,
    )


def _draw(table: Table2, folder: Path, effects: Attribution | None) -> tuple[Figure, ...]:
    from reports.figures.catalogue import draw_all  # matplotlib: only when something is drawn

    return draw_all(table, folder, found=effects)


def _read_searches(runs: Path, study: str) -> tuple[tuple[BaseSearch, ...], tuple[Skipped, ...]]:
    """The searches of a study, and what is wrong with their record."""
    try:
        return read_searches(runs, study), ()
    except ValueError as error:
        return (), (Skipped("search.json", str(error)),)


def _search(
    groups: Sequence[Group], searches: Sequence[BaseSearch], out: Path, figures: bool
) -> SearchSection | None:
    """What is said of a search, with its figures; None for a study that is none. groups: of all its runs."""
    if not searches:
        return None
    folder = out / "search"
    folder.mkdir(parents=True, exist_ok=True)
    group = max(groups, key=lambda each: len(each.runs), default=None)
    section = SearchSection(tuple(map(judge, searches)), group, folder)
    if not figures or group is None:
        return section
    from reports.figures.search_catalogue import draw_searches  # matplotlib: only when something is drawn

    return replace(section, figures=draw_searches(searches, group, folder))


def _write_search(search: SearchSection) -> list[Path]:
    """Write a search's tables in every format; their files, those of its figures included."""
    contents = search.contents()
    for path, body in contents.items():
        write(path, body)
    return [*contents, *(path for figure in search.figures for path in figure.files)]


def make_section(group: Group, out: Path, images: bool | KeptImages) -> Section:
    """A group's tables with everything that is said about them, and no figures yet; makes its folder."""
    folder = out / group.slug
    folder.mkdir(parents=True, exist_ok=True)
    table = build_table2(group)
    effects = attribute(group)
    found = None
    if images is True:
        found = look(group, effects)
    elif images and group.slug in images:
        found = from_kept(group, effects, images[group.slug])
    shown, deviations = shown_tables(table, folder), deviation_rows(group)
    if found is None:
        return Section(group, table, shown, deviations, effects=effects)
    return Section(group, table, shown, deviations, over_images=found.over_images, errors=found.errors,
                   effects=found.effects)  # fmt: skip


def write_section(section: Section) -> list[Path]:
    """Write a group's tables in every format; their files, those of its figures included."""
    tables = {path: body for shown in section.shown for path, body in shown.contents().items()}
    for path, body in tables.items():
        write(path, body)
    figures = section.figures + ((section.picture,) if section.picture else ())
    return [*tables, *(path for figure in figures for path in figure.files)]


def _write_pages(
    collection: Collection,
    sections: Sequence[Section],
    judged: Sequence[Judged],
    assumptions: Sequence[Assumption],
    out: Path,
    search: SearchSection | None,
) -> list[Path]:
    blocks = content.page_blocks(collection, sections, judged, assumptions, out / "report.html", search)
    pages = {
        "report.html": webpage.render(blocks),
        "report.md": markdown.render(blocks, out),
        "report.tex": latex.render(blocks, out),
        "verdicts.csv": table2_text.to_csv(verdict_records(judged)),
    }
    verdicts = content.verdict_table(collection, judged)
    if verdicts is not None:
        pages["verdicts.tex"] = latex.table(verdicts)
    for name, page in pages.items():
        write(out / name, page)
    return [out / name for name in pages]


def remove_stale(out: Path, files: Sequence[str]) -> None:
    """Remove what an earlier report listed in its manifest and this one did not write."""
    try:
        earlier = json.loads((out / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return
    for name in set(earlier) - set(files):
        path = (out / name).resolve()
        if path.is_relative_to(out.resolve()) and path.is_file():
            path.unlink()
            if path.parent != out.resolve() and not any(path.parent.iterdir()):
                path.parent.rmdir()


def write(path: Path, content: str) -> None:
    """Write a file whole or not at all."""
    write_atomic(path, content.encode())
