"""The main table as text: one grid for Markdown, LaTeX, HTML and the terminal, and unrounded CSV."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.grid import NOTHING, Cell, Column, Grid
from reports.records.groups import Group
from reports.tables.steps import Measured, Row, Table2

BEST, LAST = "AP best epoch (%)", "AP last epoch (%)"
PARAMS, GFLOPS, LATENCY, FPS = "Params (M)", "GFLOPs", "Latency (ms)", "FPS"

#: Headings of the accuracy half and of the cost half of the table, for narrow media.
ACCURACY = ("", BEST, LAST)
COST = ("", PARAMS, GFLOPS, LATENCY, FPS)


@dataclass(frozen=True)
class _Spec:
    """A column: where it comes from and how it is printed.

    counted: a property of the recipe (parameters, FLOPs), the same for every seed.
    """

    group: str
    title: str
    kind: str
    value: Callable[[Row], Measured | float | None]
    text: Callable[[float], str]

    @property
    def counted(self) -> bool:
        return self.group in (PARAMS, GFLOPS)


def grid(table: Table2) -> Grid:
    """The table as text, with a footnote to the run ids at every measured cell."""
    specs = _columns(table)
    notes = Footnotes()
    rows = []
    for row in table.rows:
        cells = [Cell(row.label, kind="label"), *(_cell(spec, row, notes) for spec in specs)]
        rows.append(tuple(cells))
    columns = (
        Column("", table.group.plan.noun.capitalize(), "l"),
        *(Column(s.group, s.title) for s in specs),
    )
    return Grid(columns, tuple(rows), notes.listed())


class Footnotes:
    """Letters for sets of runs, in order of appearance; the union of two sets shows both letters."""

    def __init__(self) -> None:
        self._letters: dict[frozenset[str], str] = {}
        self._runs: dict[str, tuple[str, ...]] = {}

    def letter(self, runs: tuple[str, ...]) -> str:
        key = frozenset(runs)
        if key not in self._letters:
            for first, one in self._letters.items():
                if key - first in self._letters and first < key:
                    return ",".join(sorted((one, self._letters[key - first])))
            self._letters[key] = _letter(len(self._letters))
            self._runs[self._letters[key]] = runs
        return self._letters[key]

    def listed(self) -> tuple[tuple[str, str], ...]:
        return tuple((letter, ", ".join(dict.fromkeys(runs))) for letter, runs in self._runs.items())


def _cell(spec: _Spec, row: Row, notes: Footnotes) -> Cell:
    value = spec.value(row)
    if value is None:
        return Cell(NOTHING, kind=spec.kind)
    if not isinstance(value, Measured):
        return Cell(spec.text(value), kind=spec.kind)
    return Cell(with_spread(value, spec.text, spec.counted), notes.letter(value.runs), spec.kind)


def with_spread(value: Measured, text: Callable[[float], str], counted: bool) -> str:
    """Mean ± standard deviation with the same decimals; a count that all runs share has no spread."""
    mean = text(value.mean)
    if value.std is None or (counted and len(set(value.values)) == 1):
        return mean
    decimals = len(mean.partition(".")[2])
    return f"{mean} ± {value.std:.{decimals}f}"


def _columns(table: Table2) -> list[_Spec]:
    ours = table.group.mark or "measured"
    paper = "paper, COCO" if table.group.mark else "paper"
    full = any(_differ(r.params, r.params_full) or _differ(r.gflops, r.gflops_full) for r in table.rows)
    model = "trained" if full else "measured"
    has_gain = any(row.previous for row in table.rows)
    specs = [_Spec(BEST, ours, "measured", lambda r: r.ap_best, ap_text)]
    if has_gain:
        specs.append(_Spec(BEST, "gain", "measured", lambda r: r.gain, gain_text))
    specs.append(_Spec(BEST, paper, "paper", _paper("ap"), ap_text))
    if has_gain:
        specs.append(_Spec(BEST, "paper gain", "paper", _paper("gain"), gain_text))
    specs.append(_Spec(LAST, ours, "measured", lambda r: r.ap_last, ap_text))
    specs.append(_Spec(PARAMS, model, "measured", lambda r: r.params, size_text))
    if full:
        specs.append(_Spec(PARAMS, "full size", "measured", lambda r: r.params_full, size_text))
    specs.append(_Spec(PARAMS, "paper", "paper", _paper("params_m"), size_text))
    specs.append(_Spec(GFLOPS, model, "measured", lambda r: r.gflops, flops_text))
    if full:
        specs.append(_Spec(GFLOPS, "full size", "measured", lambda r: r.gflops_full, flops_text))
    specs.append(_Spec(GFLOPS, "paper", "paper", _paper("gflops"), flops_text))
    return [
        *specs,
        _Spec(LATENCY, model, "measured", lambda r: r.latency, milliseconds_text),
        _Spec(LATENCY, "paper", "paper", _paper("latency_ms"), milliseconds_text),
        _Spec(FPS, model, "measured", lambda r: r.fps, fps_text),
        _Spec(FPS, "paper", "paper", _paper("fps"), fps_text),
    ]


def _paper(name: str) -> Callable[[Row], float | None]:
    return lambda row: getattr(row.published, name) if row.published else None


def _differ(a: Measured | None, b: Measured | None) -> bool:
    return a is not None and b is not None and a.mean != b.mean


def _letter(index: int) -> str:
    """a … z, aa, ab, …"""
    letters = string.ascii_lowercase
    return letters[index] if index < 26 else _letter(index // 26 - 1) + letters[index % 26]


def ap_text(value: float) -> str:
    return f"{value:.1f}"


def gain_text(value: float) -> str:
    """Signed; a typographic minus; no sign on a gain that rounds to zero."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def size_text(value: float) -> str:
    return f"{value:.2f}"


def flops_text(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def milliseconds_text(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def fps_text(value: float) -> str:
    return f"{value:.1f}"


_CSV = ("ap_best", "gain", "ap_last", "params", "params_full", "gflops", "gflops_full", "latency", "fps")
_UNITS = {"params": "params_m", "params_full": "params_full_size_m", "gflops_full": "gflops_full_size",
          "latency": "latency_ms"}  # fmt: skip


def csv_text(table: Table2) -> str:
    """Unrounded figures, one line per row: measured mean, std and n, then the paper's."""
    return to_csv(records(table))


def records(table: Table2) -> list[dict[str, Any]]:
    """The rows as plain mappings (for CSV and JSON); None where there is no figure."""
    return [_record(table.group, row) for row in table.rows]


def _record(group: Group, row: Row) -> dict[str, Any]:
    data: dict[str, Any] = {
        "arm": row.arm, "paper_row": row.label, "dataset": group.dataset["name"],
        "dataset_fingerprint": group.dataset["fingerprint"], "protocol": group.protocol,
        "comparable_with_paper": group.papers_conditions, "seeds": " ".join(map(str, row.seeds)),
    }  # fmt: skip
    for name in _CSV:
        measured: Measured | None = getattr(row, name)
        key = _UNITS.get(name, name)
        data[key] = measured.mean if measured else None
        data[f"{key}_std"] = measured.std if measured else None
    interval = row.judged.interval if row.judged else None
    data |= {
        "against": row.previous if row.judged else None,
        "gain_low": interval.low if interval else None, "gain_high": interval.high if interval else None,
        "gain_word": row.judged.word if row.judged else None,
        "seeds_to_settle": row.judged.seeds_to_settle if row.judged else None,
        "latency_p5_ms": row.latency_range[0] if row.latency_range else None,
        "latency_p95_ms": row.latency_range[1] if row.latency_range else None,
    }  # fmt: skip
    for key in ("ap", "gain", "params_m", "gflops", "latency_ms", "fps"):
        data[f"paper_{key}"] = getattr(row.published, key) if row.published else None
    data["runs"] = " ".join(row.ap_best.runs) if row.ap_best else ""
    return data


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as CSV, empty cells for None."""
    return pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n")
