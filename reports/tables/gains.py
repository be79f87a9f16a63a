"""Every gain with its interval over seeds and its word, on any dataset and protocol, as a table."""

from __future__ import annotations

from reports.grid import NOTHING, Cell, Column, Grid
from reports.judging.gains import SEEDS_RULE, Gain
from reports.tables.columns import gain_text
from reports.tables.steps import Table2
from reports.tables.verdicts import interval_text

#: What a table of gains says below itself and the rules of its words.
GAIN_NOTE = (
    "Gains are in AP at the best evaluated epoch, over the arm compared against, paired by seed; of the "
    "words the first that applies. They are about these two recipes on this dataset, whatever the protocol. "
    + SEEDS_RULE
)


def gains_grid(table: Table2) -> Grid:
    """One row per arm that is compared against another and measured with it."""
    columns = (
        Column("", table.group.plan.noun.capitalize(), "l"), Column("", "Against", "l"),
        Column("Gain (AP)", "mean"), Column("Gain (AP)", "95 % interval"), Column("Seeds", "run"),
        Column("Seeds", "to settle"), Column("", "Word", "l"),
    )  # fmt: skip
    labels = {row.arm: row.label for row in table.rows}
    rows = [
        (
            Cell(row.label, kind="label"),
            Cell(labels.get(row.previous, row.previous or NOTHING), kind="label"),
            *(_judged(row.judged) if row.judged else _refused()),
        )
        for row in table.rows
        if row.judged or row.refused
    ]
    return Grid(columns, tuple(rows))


def _judged(gain: Gain) -> tuple[Cell, ...]:
    return (
        Cell(gain_text(gain.mean)),
        Cell(interval_text(gain.interval)),
        Cell(str(len(gain.values))),
        Cell(settle_text(gain)),
        Cell(gain.word, kind=gain.word.replace(" ", "-")),
    )


def _refused() -> tuple[Cell, ...]:
    """A step between runs that start from different weights; a warning above says which."""
    return (*(Cell() for _ in range(4)), Cell("no gain: other starting weights", kind="failed"))


def settle_text(gain: Gain) -> str:
    """``5``, ``≈ 5`` where the spread is assumed, a dash where the question is settled or has no answer."""
    if gain.seeds_to_settle is None:
        return NOTHING
    return f"{'≈ ' if gain.sd_assumed else ''}{gain.seeds_to_settle}"
