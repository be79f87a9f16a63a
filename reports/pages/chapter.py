"""A table or figure of the paper as a part of the one document: what was measured, or how it would be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reports.blocks import Block, Code, Details, Figure, Gallery, Heading, Prose, Table, Warn
from reports.pages.content import reached_blocks, silent_blocks
from reports.pages.section import Section
from reports.records.groups import Group
from reports.tables.digits import digits_grid
from reports.tables.gains import gains_grid
from reports.tables.printed import printed_table
from reports.tables.remaining import Remaining, cost_text
from reports.tables.spent import Speed
from reports.tables.verdicts import Judged, counts
from roadmap.paper import TABLES
from roadmap.reproduction import PaperFigure, PaperTable
from roadmap.study import StudyRecord
from roadmap.words import counted


@dataclass(frozen=True)
class Chapter:
    """A table of the paper. plan: what replays it, None for a table that no study measures.

    sections: its runs by dataset and protocol, the most like the paper first. left: what of it was not
    measured under the paper's conditions. speed: of training on COCO, as measured; None where it was not.
    """

    table: PaperTable
    plan: StudyRecord | None
    sections: tuple[Section, ...]
    judged: tuple[Judged, ...]
    left: Remaining | None
    speed: Speed | None = None

    @property
    def source(self) -> str:
        return self.table.source

    @property
    def command(self) -> str:
        """What measures it, as far as anything does."""
        return self.plan.command if self.plan else self.table.command

    @property
    def measured(self) -> str:
        """How much of it was measured, and under which conditions."""
        if self.plan is None:
            return "published figures only"
        rows = counted(len(self.plan.arms), "row")
        parts = [f"{len(s.group.arms)} of {rows}: {marked_title(s.group)}" for s in self.sections]
        return "; ".join(parts) or "nothing"

    def blocks(self) -> list[Block]:
        """The part of the page."""
        heading = f"{self.source}: {self.table.title}"
        blocks: list[Block] = [Heading(heading, anchor=anchor_of(self.source))]
        if not self.sections:
            blocks += self._published()
        for section in self.sections:
            blocks += self._measured(section)
        blocks += self._left()
        if self.judged:
            blocks.append(Heading(f"Verdicts on what {self.source} claims", 3))
            blocks.append(Prose(f"{counts(self.judged)}."))
            blocks += [*reached_blocks(self.judged), *silent_blocks(self.judged)]
        return blocks

    def _published(self) -> list[Block]:
        nothing = "Nothing of this table has been measured: the figures below are the paper's own"
        title = f"{self.source} as the paper prints it"
        plan = self.plan
        grid = printed_table(plan, plan.tables[0]).grid if plan else digits_grid(self.table)
        return [
            Prose(f"{nothing} ({TABLES[self.table.data]})."),
            Table(grid, title, anchor=anchor_of(self.source)),
        ]

    def _measured(self, section: Section) -> list[Block]:
        group = section.group
        mark = f" ({group.mark})" if group.mark else ""
        (shown,) = section.shown  # a chapter's plan has this table alone
        assert shown.printed is not None
        warnings = (*group.warnings, *section.table.notes)
        blocks: list[Block] = [Heading(marked_title(group), 3), *map(Warn, warnings)]
        blocks += [shown.printed, shown.files("The same table as", printed=True)]
        last = Table(shown.main.grid, f"Every column{mark}", anchor=shown.main.anchor)
        blocks.append(Details("Every measured column, the last epoch's AP among them", (last,)))
        gains = gains_grid(section.table)
        blocks += [Table(gains, f"Gains{mark}")] if gains.rows else []
        return [*blocks, *section.images_blocks()]

    def _left(self) -> list[Block]:
        if self.table.unmeasurable:
            return [
                Prose(f"{self.table.unmeasurable}. What it takes is written by:"),
                Prose((Code(self.table.command),)),
            ]
        if self.left is None or not self.left.arms:
            return []
        names = ", ".join(arm.name for arm in self.left.arms)
        what = "all of it" if len(self.left.arms) == len(self.plan.arms if self.plan else ()) else names
        cost = cost_text(sum(self.left.costs.values()), self.speed)
        return [
            Prose(
                f"Not measured under the paper's conditions yet: {what} ({cost} of training). To measure it:"
            ),
            Prose((Code(self.left.command),)),
        ]


@dataclass(frozen=True)
class Drawing:
    """A figure of the paper, drawn from what was measured, or of the paper's own figures alone.

    drawn: by dataset and protocol, with a title each; without figures where none were asked for.
    command: what would measure it where nothing was.
    """

    figure: PaperFigure
    drawn: tuple[tuple[str, tuple[Figure, ...]], ...]
    published: tuple[Figure, ...]
    judged: tuple[Judged, ...]
    command: str

    @property
    def source(self) -> str:
        return self.figure.source

    @property
    def measured(self) -> str:
        """Under which conditions anything of it was measured."""
        return "; ".join(title for title, _ in self.drawn) or "nothing"

    @property
    def files(self) -> tuple[Path, ...]:
        galleries = (self.published, *(figures for _, figures in self.drawn))
        return tuple(path for figures in galleries for figure in figures for path in figure.files)

    def blocks(self) -> list[Block]:
        """The part of the page."""
        heading = f"{self.source}: {self.figure.title}"
        blocks: list[Block] = [Heading(heading, anchor=anchor_of(self.source))]
        for title, figures in self.drawn:
            left_out = Prose("Not drawn: this document was asked for without figures.")
            blocks += [Heading(title, 3), Gallery(figures) if figures else left_out]
        if not self.drawn:
            blocks += [
                Prose("Nothing that this figure shows has been measured. To measure it:"),
                Prose((Code(self.command),)),
            ]
            blocks += [Gallery(self.published)] if self.published else []
        if self.judged:
            blocks.append(Heading(f"Verdicts on what {self.source} claims", 3))
            blocks += [*reached_blocks(self.judged), *silent_blocks(self.judged)]
        return blocks


def anchor_of(source: str) -> str:
    """``table-1`` of ``Table 1``."""
    return source.lower().replace(" ", "-")


def marked_title(group: Group) -> str:
    """Dataset and protocol, and why the figures are not the paper's."""
    return f"{group.title} ({group.mark.upper()})" if group.mark else group.title
