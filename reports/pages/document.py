"""The one document of the whole paper, as blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reports.blocks import Block, Code, Files, Heading, Items, Prose, Table, Terms, Text, Warn, with_contents
from reports.grid import plain_grid
from reports.judging.gains import WORDS
from reports.pages.assumptions import Assumption
from reports.pages.chapter import Chapter, Drawing
from reports.pages.content import assumption_blocks, folded, left_out_blocks, rule_blocks, silent_blocks
from reports.pages.section import Section
from reports.records.everything import Everything
from reports.records.groups import Group, group_runs
from reports.tables.caption import deviation_rows
from reports.tables.gains import GAIN_NOTE
from reports.tables.remaining import REMAINING_NOTE, remaining_grid
from reports.tables.runs_text import environment_grid, runs_grid
from reports.tables.spent import SPENT_NOTE, Speed, Spent, spent_grid
from reports.tables.verdicts import Judged, counts
from roadmap.study import StudyRecord
from roadmap.words import counted

TITLE = "YOLOX, every table: measured beside published"
#: More arms than this are counted, not named, beside a deviation.
_NAMED = 6


@dataclass(frozen=True)
class Document:
    """Everything that the document says. others: runs of no table of the paper, by study and conditions.

    speed: of training on COCO, as measured; None where it was not.
    """

    everything: Everything
    chapters: tuple[Chapter, ...]
    drawings: tuple[Drawing, ...]
    others: tuple[Section, ...]
    judged: tuple[Judged, ...]
    assumptions: tuple[Assumption, ...]
    spent: tuple[Spent, ...]
    speed: Speed | None

    @property
    def parts(self) -> tuple[Chapter | Drawing, ...]:
        """The paper's tables and figures."""
        return (*self.chapters, *self.drawings)

    @property
    def compared(self) -> bool:
        """Whether anything was measured under the paper's conditions."""
        return any(section.group.papers_conditions for c in self.chapters for section in c.sections)


def document_blocks(document: Document, page: Path) -> list[Block]:
    """The whole document. page: the HTML file, which other formats point to."""
    blocks = _cover(document, page)
    place = len(blocks)
    blocks += [Heading("What was measured", anchor="overview"), overview(document)]
    for part in document.parts:
        blocks += part.blocks()
    if document.others:
        blocks.append(Heading("Beyond the paper's tables", anchor="others"))
    for section in document.others:
        blocks += _other(section)
    blocks += _verdicts(document)
    blocks += assumption_blocks(document.assumptions)
    blocks += _deviations(document.everything)
    if document.everything.runs:
        grid = environment_grid(document.everything.runs)
        blocks += [Heading("Environment", anchor="environment"), Table(grid)]
    blocks += _cost(document)
    blocks += _remaining(document)
    blocks += _runs(document.everything)
    return with_contents(blocks, place)


def summary_blocks(document: Document) -> list[Block]:
    """What a terminal shows."""
    warn = [] if document.compared else [Warn(_NOT_COMPARED)]
    judged = document.judged
    verdicts = Prose(f"verdicts on the paper's {counted(len(judged), 'claim')}: {counts(judged)}")
    pairs = tuple((part.source, part.measured) for part in document.parts)
    return [Prose(_built_from(document.everything)), *warn, Terms(pairs), verdicts]


_NOT_COMPARED = (
    "No figure in this document was measured under the paper's conditions (COCO 2017, its protocol): none "
    "may be compared with the paper's. Each table says what its figures were measured on."
)


def _cover(document: Document, page: Path) -> list[Block]:
    blocks: list[Block] = [
        Heading(TITLE, 1),
        Prose(
            "Every table of the paper (Ge et al., YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430v2), "
            "and Figures 1 and 3: what was measured beside what is published, and the commands that would "
            "measure the rest."
        ),
        Prose(_built_from(document.everything)),
        Files("The same, self-contained and easier to read:", ((page.name, page),)),
    ]
    return blocks if document.compared else [*blocks, Warn(_NOT_COMPARED)]


def _built_from(everything: Everything) -> str:
    runs = len(everything.runs)
    parts = [counted(runs, "finished run")]
    parts += [f"{len(everything.unfinished)} unfinished"] if everything.unfinished else []
    parts += [f"{len(everything.skipped)} left out"] if everything.skipped else []
    names = ", ".join(study.name for study in everything.studies)
    of = f" of {counted(len(everything.studies), 'study', 'studies')} ({names})" if names else ""
    return f"Built from the run records alone: {', '.join(parts)}{of}."


def overview(document: Document) -> Table:
    """A line per table and figure: what was measured, where, and what its claims came to."""
    rows = [(p.source, p.measured, p.command, counts(p.judged) or "none") for p in document.parts]
    titles = ("Table", "Measured", "Command", "Verdicts on its claims")
    return Table(plain_grid(titles, rows, long=titles[1:]))


def _other(section: Section) -> list[Block]:
    """Runs of no table of the paper: their own study's table."""
    group = section.group
    mark = f" ({group.mark})" if group.mark else ""
    blocks: list[Block] = [Heading(f"Study {group.study}: {group.title}{mark}", 3)]
    question = group.plan.question.strip().partition("\n")[0]
    blocks += [Prose(question)] if question else []
    blocks += map(Warn, section.warnings)
    for shown in section.shown:
        anchor = f"{group.study}-{shown.main.anchor}"
        blocks += [replace(shown.main, anchor=anchor), shown.files("The same table as")]
    blocks += section.comparisons()
    blocks += section.images_blocks()
    command = Code(f"python -m reports --study {group.study}")
    return [*blocks, Prose(("Its figures, and more about each gain, are in its own report: ", command))]


def _verdicts(document: Document) -> list[Block]:
    shown = {id(item) for part in document.parts for item in part.judged}
    others = [item for item in document.judged if id(item) not in shown]
    return [
        Heading("How verdicts and words are reached", anchor="verdicts"),
        Prose(f"All of the paper's {counted(len(document.judged), 'claim')}: {counts(document.judged)}."),
        *rule_blocks(),
        Heading("The words beside gains", 3),
        Terms(tuple(WORDS.items())),
        Prose(GAIN_NOTE),
        *silent_blocks(others),
    ]


def _deviations(everything: Everything) -> list[Block]:
    """Every setting that differs from the paper's protocol, by conditions, with the studies' arms."""
    if not everything.runs:
        return []
    blocks: list[Block] = [Heading("Deviations from the paper's protocol", anchor="deviations")]
    for group in _conditions(everything):
        rows = [(d.field, d.here, d.paper, _arms(d.arms)) for d in deviation_rows(group)]
        mark = f" ({group.mark})" if group.mark else ""
        if rows:
            grid = plain_grid(("setting", "here", "paper", "arms"), rows, long=("arms",))
            blocks.append(Table(grid, f"{group.title}{mark}"))
        else:
            blocks.append(Prose(f"{group.title}: none."))
    return blocks


def _conditions(everything: Everything) -> tuple[Group, ...]:
    """All runs by dataset and protocol, whatever their study."""
    runs = [replace(run, arm=f"{run.study}/{run.arm}") for run in everything.runs]
    return group_runs("all", runs, StudyRecord("all", "", ()))


def _arms(names: Sequence[str]) -> str:
    if len(names) > _NAMED:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
    return ", ".join(names) or "all"


def _cost(document: Document) -> list[Block]:
    if not document.spent:
        return []
    blocks: list[Block] = [Heading("Cost", anchor="cost"), Table(spent_grid(document.spent))]
    blocks.append(Prose(SPENT_NOTE))
    if document.speed is not None:
        rate = f"{document.speed.flops / 1e12:.3g} TFLOP/s per GPU on {document.speed.hardware}"
        blocks.append(Prose(f"Training on COCO under the paper's protocol went at {rate}."))
    return blocks


def _remaining(document: Document) -> list[Block]:
    left = [c.left for c in document.chapters if c.left is not None and c.left.arms]
    blocks: list[Block] = [Heading("What remains to be measured", anchor="remaining")]
    if left:
        blocks += [Table(remaining_grid(left, document.speed)), Prose(REMAINING_NOTE)]
    else:
        blocks.append(Prose("Every row that can be measured on COCO val was, under the paper's conditions."))
    why: list[Text] = [
        (f"{c.table.source}: {c.table.unmeasurable}: ", Code(c.table.command))
        for c in document.chapters
        if c.table.unmeasurable
    ]
    return [*blocks, Items(tuple(why))] if why else blocks


def _runs(everything: Everything) -> list[Block]:
    blocks: list[Block] = []
    if everything.runs:
        blocks.append(Heading("Runs", anchor="runs"))
    for study in everything.studies:
        runs = study.collection.runs
        if runs:
            blocks += [Heading(f"Study {study.name}", 3), *folded(runs_grid(runs), len(runs))]
    return blocks + left_out_blocks(everything.unfinished, everything.skipped)
