"""A table of the paper in the paper's own layout, measured beside published.

:func:`printed_table` is one table of one study, ready for any page or document: with the runs of a group, or
as the paper prints it where nothing was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reports import blocks
from reports.grid import NOTHING, Cell, Column, Grid
from reports.tables.columns import (
    Footnotes,
    ap_text,
    flops_text,
    fps_text,
    gain_text,
    milliseconds_text,
    size_text,
    to_csv,
    with_spread,
)
from reports.tables.steps import Measured, Row, Table2
from roadmap.layout import Entry, Layout
from roadmap.paper import Published
from roadmap.study import PublishedRow, StudyRecord, Table


@dataclass(frozen=True)
class _Figure:
    """A figure of the paper. field: what of a row is measured for it. full: the same of the full-size model,
    empty for a figure that has none.
    """

    field: str
    text: Callable[[float], str]
    full: str = ""


_FIGURES = {
    "ap": _Figure("ap_best", ap_text),
    "params_m": _Figure("params", size_text, "params_full"),
    "gflops": _Figure("gflops", flops_text, "gflops_full"),
    "latency_ms": _Figure("latency", milliseconds_text),
    "fps": _Figure("fps", fps_text),
}


@dataclass(frozen=True)
class _Value:
    """What a cell shows: a measured or published figure and the gain in its brackets, None for none."""

    kind: str
    figure: Measured | float | None = None
    gain: float | None = None


def printed_table(
    plan: StudyRecord, table: Table, measured: Table2 | None = None, caption: blocks.Caption | None = None
) -> blocks.Table:
    """A table of a study as the paper prints it. The table has a layout.

    plan: the study. measured: the runs of one group, None for the published figures alone.
    """
    place = f"{measured.group.slug}-" if measured else ""
    name = f"{place}{file_name(table)}-printed"
    return blocks.Table(
        printed_grid(plan, table, measured), anchor=name, caption=caption, label=f"tab:{name}"
    )


def printed_grid(plan: StudyRecord, table: Table, measured: Table2 | None = None) -> Grid:
    """The grid of :func:`printed_table`: below each of the paper's columns what was measured and what it
    prints, with a footnote to the run ids at every measured figure.
    """
    layout = _layout(table)
    notes = Footnotes()
    columns = [Column("", head, "l") for head in layout.heads]
    rows = [[Cell(text, kind="label") for text in line.heads] for line in layout.lines]
    for place, title in enumerate(layout.columns):
        for heading, values in _columns(plan, table, measured, place):
            alone = measured is None
            columns.append(Column("" if alone else title, title if alone else heading))
            for row, value, line in zip(rows, values, layout.lines, strict=True):
                row.append(_cell(value, _FIGURES[line.entries[place].figure], notes))
    return Grid(tuple(columns), tuple(map(tuple, rows)), notes.listed())


def printed_csv(plan: StudyRecord, table: Table, measured: Table2 | None = None) -> str:
    """The same unrounded, one line per line of the paper's: of each column measured mean and standard
    deviation, and published, with the gains of its brackets.
    """
    layout = _layout(table)
    records: list[dict[str, Any]] = [
        dict(zip(layout.heads, line.heads, strict=True)) for line in layout.lines
    ]
    for place, title in enumerate(layout.columns):
        brackets = any(line.entries[place].against for line in layout.lines)
        for heading, values in _columns(plan, table, measured, place):
            for record, value in zip(records, values, strict=True):
                figure, key = value.figure, f"{title}: {heading}"
                record[key] = figure.mean if isinstance(figure, Measured) else figure
                if value.kind == "measured":
                    record[f"{key}, standard deviation"] = (
                        figure.std if isinstance(figure, Measured) else None
                    )
                if brackets:
                    record[f"{key}, gain"] = value.gain
    return to_csv(records)


def file_name(table: Table) -> str:
    """``table1`` for a table of the paper."""
    return _layout(table).source.lower().replace(" ", "")


def _layout(table: Table) -> Layout:
    assert table.layout is not None, table.title
    return table.layout


def _columns(
    plan: StudyRecord, table: Table, measured: Table2 | None, place: int
) -> list[tuple[str, list[_Value]]]:
    """The columns below one of the paper's, each with its heading: measured, full size where that differs,
    and published.
    """
    entries = [line.entries[place] for line in _layout(table).lines]
    published = _published(plan, table)
    paper = [_paper_value(entry, published) for entry in entries]
    if measured is None:
        return [("paper", paper)]
    rows = {row.arm or row.label: row for row in measured.rows}
    full = any(_differs(rows.get(e.row), _FIGURES[e.figure]) for e in entries)
    mark = measured.group.mark
    heading = "trained" if full else mark if mark and entries[0].figure == "ap" else "measured"
    found = [(heading, [_measured_value(e, rows, measured, published) for e in entries])]
    if full:
        found.append(("full size", [_full_value(rows.get(e.row), _FIGURES[e.figure]) for e in entries]))
    return [*found, ("paper, COCO" if mark and entries[0].figure == "ap" else "paper", paper)]


def _published(plan: StudyRecord, table: Table) -> Mapping[str, Published | None]:
    """What the paper prints for each row of a table."""
    rows = [row if isinstance(row, PublishedRow) else plan.find(row) for row in table.rows]
    return {row.label if isinstance(row, PublishedRow) else row.name: row.paper for row in rows if row}


def _paper_value(entry: Entry, published: Mapping[str, Published | None]) -> _Value:
    figure = _of_paper(entry.row, entry.figure, published)
    before = _of_paper(entry.against, entry.figure, published)
    gain = round(figure - before, 4) if figure is not None and before is not None else None
    return _Value("paper", figure, gain)


def _of_paper(row: str, figure: str, published: Mapping[str, Published | None]) -> float | None:
    found = published.get(row)
    return getattr(found, figure) if found else None


def _measured_value(
    entry: Entry, rows: Mapping[str, Row], measured: Table2, published: Mapping[str, Published | None]
) -> _Value:
    """A measured figure. The gain in its brackets is the table's own, paired by seed; over a published row
    there is one under the paper's conditions alone.
    """
    row = rows.get(entry.row)
    figure: Measured | None = getattr(row, _FIGURES[entry.figure].field) if row else None
    gain = None
    if row is not None and entry.against and entry.against == row.previous:
        gain = row.gain.mean if row.gain else None
    elif (
        figure is not None
        and measured.group.papers_conditions
        and entry.against not in measured.group.plan.names
    ):
        before = _of_paper(entry.against, entry.figure, published)
        gain = figure.mean - before if before is not None else None
    return _Value("measured", figure, gain)


def _full_value(row: Row | None, figure: _Figure) -> _Value:
    return _Value("measured", getattr(row, figure.full) if row else None)


def _differs(row: Row | None, figure: _Figure) -> bool:
    if row is None or not figure.full:
        return False
    trained, full = getattr(row, figure.field), getattr(row, figure.full)
    return trained is not None and full is not None and trained.mean != full.mean


def _cell(value: _Value, figure: _Figure, notes: Footnotes) -> Cell:
    brackets = "" if value.gain is None else f" ({gain_text(value.gain)})"
    if value.figure is None:
        return Cell(NOTHING, kind=value.kind)
    if not isinstance(value.figure, Measured):
        return Cell(figure.text(value.figure) + brackets, kind=value.kind)
    counted = bool(figure.full)
    text = with_spread(value.figure, figure.text, counted)
    return Cell(text + brackets, notes.letter(value.figure.runs), value.kind)
