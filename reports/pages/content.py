"""What a report says, as blocks: built once, rendered in every format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports.blocks import (
    Block,
    Caption,
    Code,
    Details,
    Files,
    Heading,
    Items,
    Prose,
    Strong,
    Table,
    Terms,
    Text,
    with_contents,
)
from reports.grid import Grid, plain_grid
from reports.judging.verdicts import EPOCH_NOTES, FAILURE_RULE, NOT_MEASURED, RULES
from reports.pages.assumptions import Assumption
from reports.pages.search import SearchSection
from reports.pages.section import Section
from reports.records.collect import Collection, Skipped, Unfinished
from reports.tables.runs_text import environment_grid, progress, runs_grid
from reports.tables.verdicts import NOTES, Judged, counts, reasons, statement, verdict_grid
from roadmap.words import counted

#: More rows than this are folded.
_FOLD = 40


def title(collection: Collection) -> str:
    return f"YOLOX {collection.study}: measured beside published"


def page_blocks(
    collection: Collection,
    sections: Sequence[Section],
    judged: Sequence[Judged],
    assumptions: Sequence[Assumption],
    page: Path,
    search: SearchSection | None = None,
) -> list[Block]:
    """The whole page. page: the HTML file, which other formats point to. search: of a study that is one."""
    blocks: list[Block] = [
        Heading(title(collection), 1),
        Prose(built_from(collection)),
        Files("The same, self-contained and easier to read:", ((page.name, page),)),
    ]
    blocks += [] if search is None else search.blocks()
    for section in sections:
        blocks += section.blocks()
    blocks += _verdicts(judged)
    blocks += assumption_blocks(assumptions)
    blocks += [Heading("Environment", anchor="environment"), Table(environment_grid(collection.runs))]
    blocks += [Heading("Runs", anchor="runs"), *folded(runs_grid(collection.runs), len(collection.runs))]
    return with_contents(blocks + left_out_blocks(collection.unfinished, collection.skipped), 1)


def summary_blocks(
    collection: Collection,
    sections: Sequence[Section],
    judged: Sequence[Judged],
    search: SearchSection | None = None,
) -> list[Block]:
    """What a terminal shows: the tables, the verdicts that were reached, and what is missing."""
    blocks = [] if search is None else search.summary()
    blocks += [block for section in sections for block in section.summary()]
    blocks.append(Prose(f"verdicts on the paper's {counted(len(judged), 'claim')}: {counts(judged)}"))
    reached = [item.best for item in judged if item.best.label != NOT_MEASURED]
    lines = [f"{v.label}: {statement(v)} ({v.claim.source}): {v.reason}" for v in reached]
    blocks += [Items(tuple(lines))] if lines else []
    blocks += [
        Prose(f"unfinished: {u.run} ({u.state}, epoch {progress(u.epoch, u.epochs)}) {u.reason}".rstrip())
        for u in collection.unfinished
    ]
    return blocks + [Prose(f"left out: {s.run}: {s.reason}") for s in collection.skipped]


def verdict_table(collection: Collection, judged: Sequence[Judged]) -> Table | None:
    """The verdicts as a table that can stand alone; None when no run speaks about any claim."""
    touched = [item for item in judged if item.touched]
    if not touched:
        return None
    rules = (*(f"{label}: {rule}." for label, rule in RULES.items()), *NOTES)
    caption = Caption(f"Verdicts on the paper's claims: {counts(judged)}", "", (EPOCH_NOTES["best"],), rules)
    return Table(verdict_grid(touched), caption=caption, label=f"tab:verdicts-{collection.study}")


def built_from(collection: Collection) -> str:
    """What the page is built from."""
    parts = [counted(len(collection.runs), "finished run")]
    if collection.unfinished:
        parts.append(f"{len(collection.unfinished)} unfinished")
    if collection.skipped:
        parts.append(f"{len(collection.skipped)} left out")
    return f"Built from the run records alone: {', '.join(parts)}."


def _verdicts(judged: Sequence[Judged]) -> list[Block]:
    blocks: list[Block] = [
        Heading("Verdicts on the paper's claims", anchor="verdicts"),
        Prose(f"{counts(judged)}."),
    ]
    return blocks + reached_blocks(judged) + rule_blocks() + silent_blocks(judged)


def reached_blocks(judged: Sequence[Judged]) -> list[Block]:
    """The verdicts on the claims that runs speak about, and why; nothing where there are none."""
    touched = [item for item in judged if item.touched]
    if not touched:
        return []
    why = Details("Why each was judged so", (Terms(tuple(reasons(touched))),))
    return [Table(verdict_grid(touched)), why]


def rule_blocks() -> list[Block]:
    """What the verdicts mean."""
    return [
        Heading("The rules", 3),
        Terms(tuple(RULES.items())),
        Prose(("For ", Code("--check"), f", {FAILURE_RULE}.")),
        *(Prose(note) for note in (*NOTES, *EPOCH_NOTES.values())),
    ]


def silent_blocks(judged: Sequence[Judged]) -> list[Block]:
    """The claims that no run speaks about, folded."""
    others = [item.best for item in judged if not item.touched]
    lines = tuple(f"{statement(v)} ({v.claim.source}): {v.reason}" for v in others)
    more = counted(len(others), "more claim" if len(others) < len(judged) else "claim")
    return [Details(f"{more} that no run here speaks about", (Items(lines),))] if others else []


def assumption_blocks(assumptions: Sequence[Assumption]) -> list[Block]:
    """What the paper leaves open, and what was chosen; nothing where no note is at hand."""
    if not assumptions:
        return []
    items: tuple[Text, ...] = tuple(
        (Strong(f"{a.question[0].upper()}{a.question[1:]}?"), f" {a.chosen} ({a.number})")
        for a in assumptions
    )
    return [
        Heading("Assumptions", anchor="assumptions"),
        Prose("What the paper leaves open, and what was chosen here (the number: a note in docs/decisions)."),
        Items(items),
    ]


def folded(grid: Grid, runs: int) -> list[Block]:
    """A table of runs, folded when it is long."""
    if len(grid.rows) <= _FOLD:
        return [Table(grid)]
    return [Details(counted(runs, "run"), (Table(grid),))]


def left_out_blocks(unfinished: Sequence[Unfinished], skipped: Sequence[Skipped]) -> list[Block]:
    """The runs that no figure comes from; nothing where there are none."""
    blocks: list[Block] = []
    if unfinished or skipped:
        blocks.append(Heading("Unfinished and left out", anchor="left-out"))
    if unfinished:
        rows = [(u.run, u.state, progress(u.epoch, u.epochs), u.reason) for u in unfinished]
        blocks.append(Table(plain_grid(("run", "state", "epoch", "reason"), rows, long=("reason",))))
    if skipped:
        rows2 = [(s.run, s.reason) for s in skipped]
        blocks.append(Table(plain_grid(("record left out", "reason"), rows2, long=("reason",))))
    return blocks
