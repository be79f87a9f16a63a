"""One group of comparable runs as a part of the page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from reports.blocks import (
    Block,
    Details,
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
from reports.pages import latex, markdown
from reports.pages.errors import errors_blocks
from reports.records.groups import Group
from reports.tables import columns as table2_text
from reports.tables.caption import DeviationRow, further_caption, printed_caption, table_caption
from reports.tables.effects import (
    PAIRS_NOTE,
    effects_grid,
    effects_note,
    orders_grid,
    pairs_grid,
    singles_grid,
)
from reports.tables.errors import GroupErrors
from reports.tables.gains import GAIN_NOTE, gains_grid
from reports.tables.images import IMAGE_WORDS, OverImages, image_grid
from reports.tables.parts import Part, split
from reports.tables.printed import printed_csv, printed_table
from reports.tables.step_time import STEP_NOTE, step_grid
from reports.tables.steps import Table2, leading
from roadmap.words import counted

#: Rows that a sheet of paper holds twice.
SHEET_ROWS = 20

#: Behind a table's file name: the file of the paper's own layout.
AS_PRINTED = "_as_printed"

#: What the interval over images says.
OVER_IMAGES = (
    "Paired percentile bootstrap over the validation images (1000 resamples), of the detections of each "
    "run's best evaluated epoch: how much of a gain is the choice of images. It says nothing about how "
    "another training run would turn out; that is what intervals over seeds are for."
)


@dataclass(frozen=True)
class Shown:
    """One of a group's tables, in text and in files.

    main: every figure of its rows, with everything a reader must know about them: it can stand alone.
    printed: the same rows in the paper's own layout, None for a table that the paper does not print.
    """

    part: Part
    main: Table
    printed: Table | None
    folder: Path

    def file(self, kind: str, printed: bool = False) -> Path:
        """Its file of a format, or that of the paper's layout."""
        return self.folder / f"{self.part.name}{AS_PRINTED if printed else ''}.{kind}"

    def contents(self) -> dict[Path, str]:
        """What its files hold."""
        part, found = self.part, {}
        for block, printed in ((self.main, False), (self.printed, True)):
            if block is not None:
                found[self.file("md", printed)] = markdown.render([block], self.folder)
                found[self.file("tex", printed)] = latex.table(block)
        found[self.file("csv")] = table2_text.csv_text(part.table)
        if self.printed is not None:
            plan = part.table.group.plan
            found[self.file("csv", True)] = printed_csv(plan, part.planned, part.table)
        return found

    def blocks(self, first: bool) -> list[Block]:
        """On a page. first: it is the group's first table, which says what all were measured under."""
        headline = self.main.caption.headline if self.main.caption else ""
        caption = replace(self.main.caption, below=()) if first and self.main.caption else None
        blocks: list[Block] = [
            replace(self.main, caption=caption or further_caption(self.part.table, headline)),
            self.files("The same table as"),
        ]
        if self.printed is not None and self.printed.caption is not None:
            short = further_caption(self.part.table, self.printed.caption.headline)
            blocks += [
                replace(self.printed, caption=short),
                self.files("In the paper's layout as", printed=True),
            ]
        return blocks

    def files(self, text: str, printed: bool = False) -> Files:
        """Links to its files, or to those of the paper's layout."""
        kinds = (("Markdown", "md"), ("LaTeX", "tex"), ("CSV", "csv"))
        return Files(text, tuple((name, self.file(kind, printed)) for name, kind in kinds))


def shown_tables(table: Table2, folder: Path) -> tuple[Shown, ...]:
    """A group's tables, one by one; their files go to ``folder``."""
    return tuple(_shown(part, folder) for part in split(table))


def _shown(part: Part, folder: Path) -> Shown:
    group, layout = part.table.group, part.planned.layout
    caption = table_caption(part.table, part.planned.title)
    brief = leading(part.table, SHEET_ROWS)
    mark = f" ({group.mark})" if group.mark else ""
    main = Table(
        table2_text.grid(part.table),
        parts=((f"Accuracy{mark}", table2_text.ACCURACY), (f"Size and speed{mark}", table2_text.COST)),
        anchor=f"{group.slug}-{part.name}",
        caption=caption,
        label=f"tab:{group.slug}-{part.name}",
        brief=None if brief is part.table else table2_text.grid(brief),
    )
    if layout is None:
        return Shown(part, main, None, folder)
    as_printed = printed_table(group.plan, part.planned, part.table, printed_caption(part.table, layout))
    return Shown(part, main, as_printed, folder)


@dataclass(frozen=True)
class Section:
    """A group's table in numbers, its parts in text, its deviations and its figures.

    picture: validation images of one run, None where no run has any. over_images: gains over validation
    images, None unless asked for; errors: what its runs miss, likewise. effects: what its arms say about
    each ingredient whatever the order, None where they say no more than gains.
    """

    group: Group
    table: Table2
    shown: tuple[Shown, ...]
    deviations: tuple[DeviationRow, ...]
    figures: tuple[Figure, ...] = ()
    picture: Figure | None = None
    over_images: OverImages | None = None
    errors: GroupErrors | None = None
    effects: Attribution | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before comparing rows."""
        notes = dict.fromkeys(note for shown in self.shown for note in shown.part.table.notes)
        return (*self.group.warnings, *notes, *(self.effects.notes if self.effects else ()))

    def blocks(self) -> list[Block]:
        """The part of the page."""
        blocks: list[Block] = [Heading(self.group.title, anchor=f"group-{self.group.slug}")]
        blocks += [Warn(warning) for warning in self.warnings]
        for place, shown in enumerate(self.shown):
            blocks += shown.blocks(first=place == 0)
        effects = [] if self.effects is None else _effects(self.effects, self.group.mark)
        many = bool(effects) and len(self.table.rows) > SHEET_ROWS
        blocks += effects if many else []
        if gains := self._gains():
            told: tuple[Block, ...] = (gains, Terms(tuple(WORDS.items())), Prose(GAIN_NOTE))
            blocks += [Heading("Gains, and whether they are more than noise", 3)]
            blocks += [Details(counted(len(gains.grid.rows), "gain"), told)] if many else told
        if steps := self._steps():
            blocks += [Heading("Training time", 3), steps, Prose(STEP_NOTE)]
        blocks += self.images_blocks()
        blocks += [] if many else effects
        if self.figures:
            blocks += [Heading("Figures", 3), Gallery(self.figures)]
        if self.picture is not None:
            blocks += [Heading("Validation images", 3), self.picture]
        if self.deviations:
            blocks += [Heading("Deviations from the paper's protocol", 3), Table(self._deviations())]
        return blocks

    def images_blocks(self) -> list[Block]:
        """What was made from annotations and detections; nothing where it was not asked for."""
        if self.over_images is None or self.errors is None:
            return []
        told = self.over_images.problems
        return [*_over_images(self.over_images), *errors_blocks(self.errors, told)]

    def summary(self) -> list[Block]:
        """What a terminal shows of it."""
        mark = f" [{self.group.mark}]" if self.group.mark else ""
        tables: list[Block] = []
        for shown in self.shown:
            several = len(self.shown) > 1 and shown.part.planned.title
            tables += [Heading(shown.part.planned.title, 3)] if several else []
            tables.append(shown.main)
        warnings = map(Warn, self.warnings)
        return [Heading(self.group.title + mark), *tables, *self.comparisons(), *warnings]

    def comparisons(self) -> list[Table]:
        """The tables that compare its arms: gains, training time, effects; those that it has."""
        effects = _effects_tables(self.effects, self.group.mark) if self.effects is not None else []
        return [*filter(None, (self._gains(), self._steps())), *effects]

    def _gains(self) -> Table | None:
        grid = gains_grid(self.table)
        mark = f" ({self.group.mark})" if self.group.mark else ""
        return Table(grid, f"Gains{mark}") if grid.rows else None

    def _steps(self) -> Table | None:
        grid = step_grid(self.table)
        mark = f" ({self.group.mark})" if self.group.mark else ""
        return Table(grid, f"Training time{mark}") if grid else None

    def _deviations(self) -> Grid:
        rows = [(d.field, d.here, d.paper, ", ".join(d.arms) or "all") for d in self.deviations]
        return plain_grid(("setting", "here", "paper", "arms"), rows)


def _over_images(found: OverImages) -> list[Block]:
    """Gains over validation images, or why there are none."""
    blocks: list[Block] = [Heading("Gains over validation images", 3)]
    if found.steps:
        blocks += [Table(image_grid(found)), Terms(tuple(IMAGE_WORDS.items())), Prose(OVER_IMAGES)]
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
