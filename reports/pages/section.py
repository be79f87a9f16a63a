"""One group of comparable runs as a part of the page."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from reports.blocks import (
    Block,
    Caption,
    Figure,
    Files,
    Gallery,
    Heading,
    Prose,
    Table,
    Terms,
    Warn,
)
from reports.grid import Grid, plain_grid
from reports.judging.attribution import Attribution
from reports.judging.effect_intervals import EFFECT_WORDS
from reports.judging.gains import WORDS
from reports.judging.orders import SIGN_RULES
from reports.records.groups import Group
from reports.tables import columns as table2_text
from reports.tables.caption import DeviationRow
from reports.tables.effects import (
    PAIRS_NOTE,
    effects_grid,
    effects_note,
    orders_grid,
    pairs_grid,
    singles_grid,
)
from reports.tables.gains import GAIN_NOTE, gains_grid
from reports.tables.images import OverImages, image_grid
from reports.tables.steps import Table2, leading

#: Rows that a sheet of paper holds twice.
SHEET_ROWS = 20

#: What the interval over images says.
OVER_IMAGES = (
    "Paired percentile bootstrap over the validation images (1000 resamples), of the detections of each "
    "run's best evaluated epoch: how much of a gain is the choice of images. It says nothing about how "
    "another training run would turn out; that is what intervals over seeds are for."
)


@dataclass(frozen=True)
class Section:
    """A group's table, in numbers and in text, its caption and deviations, and its figures.

    folder: where its files lie. picture: validation images of one run, None where no run has any.
    over_images: gains over validation images, None unless asked for. effects: what its arms say about each
    ingredient whatever the order, None where they say no more than gains.
    """

    group: Group
    table: Table2
    grid: Grid
    caption: Caption
    deviations: tuple[DeviationRow, ...]
    folder: Path
    figures: tuple[Figure, ...] = ()
    picture: Figure | None = None
    over_images: OverImages | None = None
    effects: Attribution | None = None

    @property
    def table_name(self) -> str:
        """File name of the main table without its suffix: that of the paper's table that it replays."""
        sources = {row.published.source if row.published else "" for row in self.table.rows if row.arm}
        name = re.sub("[^a-z0-9]", "", sources.pop().lower()) if len(sources) == 1 else ""
        return name or "table"

    def table_file(self, kind: str) -> Path:
        """The main table's file of a format."""
        return self.folder / f"{self.table_name}.{kind}"

    @cached_property
    def main_table(self) -> Table:
        """The main table, with everything a reader must know about it: it can stand alone."""
        shown = leading(self.table, SHEET_ROWS)
        mark = f" ({self.group.mark})" if self.group.mark else ""
        return Table(
            self.grid,
            parts=((f"Accuracy{mark}", table2_text.ACCURACY), (f"Size and speed{mark}", table2_text.COST)),
            anchor=self.group.slug,
            caption=self.caption,
            label=f"tab:{self.group.slug}",
            brief=None if shown is self.table else table2_text.grid(shown),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before comparing rows."""
        return (*self.group.warnings, *self.table.notes, *(self.effects.notes if self.effects else ()))

    def blocks(self) -> list[Block]:
        """The part of the page."""
        blocks: list[Block] = [Heading(self.group.title, anchor=f"group-{self.group.slug}")]
        blocks += [Warn(warning) for warning in self.warnings]
        blocks += [replace(self.main_table, caption=replace(self.caption, below=()))]
        kinds = (("Markdown", "md"), ("LaTeX", "tex"), ("CSV", "csv"))
        blocks.append(
            Files("The same table as", tuple((name, self.table_file(kind)) for name, kind in kinds))
        )
        if gains := self._gains():
            blocks += [Heading("Gains, and whether they are more than noise", 3), gains]
            blocks += [Terms(tuple(WORDS.items())), Prose(GAIN_NOTE)]
        if self.over_images is not None:
            blocks += _over_images(self.over_images)
        if self.effects is not None:
            blocks += _effects(self.effects, self.group.mark)
        if self.figures:
            blocks += [Heading("Figures", 3), Gallery(self.figures)]
        if self.picture is not None:
            blocks += [Heading("Validation images", 3), self.picture]
        if self.deviations:
            blocks += [Heading("Deviations from the paper's protocol", 3), Table(self._deviations())]
        return blocks

    def summary(self) -> list[Block]:
        """What a terminal shows of it."""
        mark = f" [{self.group.mark}]" if self.group.mark else ""
        gains = [gains] if (gains := self._gains()) else []
        effects = _effects_tables(self.effects, self.group.mark) if self.effects is not None else []
        warnings = map(Warn, self.warnings)
        return [Heading(self.group.title + mark), self.main_table, *gains, *effects, *warnings]

    def _gains(self) -> Table | None:
        grid = gains_grid(self.table)
        mark = f" ({self.group.mark})" if self.group.mark else ""
        return Table(grid, f"Gains{mark}") if grid.rows else None

    def _deviations(self) -> Grid:
        rows = [(d.field, d.here, d.paper, ", ".join(d.arms) or "all") for d in self.deviations]
        return plain_grid(("setting", "here", "paper", "arms"), rows)


def _over_images(found: OverImages) -> list[Block]:
    blocks: list[Block] = [Heading("Gains over validation images", 3)]
    if found.steps:
        blocks += [Table(image_grid(found)), Prose(OVER_IMAGES)]
    return blocks + [Warn(f"not computed: {problem}") for problem in found.problems]


def _effects(found: Attribution, mark: str) -> list[Block]:
    blocks: list[Block] = [Heading("What each ingredient gives, whatever the order", 3)]
    blocks += _effects_tables(found, mark)
    blocks += [Prose(effects_note(found)), Terms(tuple(EFFECT_WORDS.items()))]
    if orders := orders_grid(found):
        blocks += [
            Heading("Does it depend on the order?", 3),
            Table(orders),
            Terms(tuple(SIGN_RULES.items())),
        ]
    if pairs := pairs_grid(found):
        blocks += [Heading("Interactions", 3), Table(pairs), Prose(PAIRS_NOTE)]
    return blocks


def _effects_tables(found: Attribution, mark: str) -> list[Table]:
    suffix = f" ({mark})" if mark else ""
    grids = {"Effects": effects_grid(found), "Alone, and taken from all": singles_grid(found)}
    return [Table(grid, title + suffix) for title, grid in grids.items() if grid is not None]
