"""A streaming study's page: tables, figure and who overtakes whom, from its record alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reports.blocks import Figure, Heading, Prose, Table
from reports.pages import latex, markdown, text, webpage
from reports.tables.streaming import (
    mark,
    overtaking_grid,
    overtaking_sentence,
    stamp,
    streaming_caption,
    streaming_grid,
)
from roadmap.record import write_atomic
from roadmap.streaming import VARIANT_NAMES, StreamingRecord

if TYPE_CHECKING:
    from reports.blocks import Block

#: Ways of playing for which the page says who overtakes whom.
JUDGED = ((False, False), (True, True))
TITLE = "AP and streaming AP"


@dataclass(frozen=True)
class Written:
    """summary: the tables for a terminal. page: the file that shows everything."""

    summary: str
    page: Path


def write_streaming(record: StreamingRecord, out: Path) -> Written:
    """Write streaming.html, .md and .tex (the table alone) and the figure into ``out``."""
    table = Table(streaming_grid(record), caption=streaming_caption(record), label="tab:streaming")
    figure = _figure(record, out)
    said = [block for variant in JUDGED for block in _overtaking(record, variant)]
    blocks: list[Block] = [Heading(TITLE, 1), table, *said, figure]
    pages = {
        "streaming.html": webpage.render(blocks),
        "streaming.md": markdown.render(blocks, out),
        "streaming.tex": latex.table(table),
    }
    for name, page in pages.items():
        write_atomic(out / name, page.encode())
    return Written(text.render([table, *said]), out / "streaming.html")


def _overtaking(record: StreamingRecord, variant: tuple[bool, bool]) -> list[Block]:
    if len(record.arms) < 2 or len(record.conditions.swept) < 2:
        return []
    grid = overtaking_grid(record, variant)
    blocks: list[Block] = [Prose(overtaking_sentence(record, variant))]
    if grid is not None:
        blocks.insert(0, Table(grid, title=f"Who overtakes whom, {VARIANT_NAMES[variant]}"))
    return blocks


def _figure(record: StreamingRecord, out: Path) -> Figure:
    from reports.figures.streaming import draw
    from reports.figures.style import drawing, save

    with drawing():
        files = save(draw(record), out, "streaming")
    text = (
        f"Top: each arm at {record.conditions.fps:g} frames per second, against its latency; a line joins "
        "what it has without a stream, in one, and with dynamic schedule and forecasts. Bottom: the same "
        "frames played slower and faster, without either."
    )
    conditions = stamp(record) + (f". {mark(record).upper()}" if mark(record) else "")
    return Figure("streaming", "AP and streaming AP, against latency and frame rate", text, conditions, files)
