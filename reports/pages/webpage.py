"""The report as one self-contained HTML page: no script, no external resource."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from reports.grid import Cell, Column, Grid, plain_grid
from reports.judging.verdicts import EPOCH_NOTES, FAILURE_RULE, RULES
from reports.pages.assumptions import Assumption
from reports.pages.page_style import style_sheet
from reports.pages.section import Section
from reports.pages.svg import colors, inline_svg
from reports.records.collect import Collection
from reports.tables import columns as table2_text
from reports.tables.caption import short_caption
from reports.tables.images import image_grid
from reports.tables.runs_text import environment_grid, progress, runs_grid
from reports.tables.verdicts import NOTES, Judged, counts, reasons, statement, verdict_grid

#: More rows than this are folded.
_FOLD = 40


def html_page(
    collection: Collection,
    sections: Sequence[Section],
    judged: Sequence[Judged],
    assumptions: Sequence[Assumption],
    title: str,
) -> str:
    """The page. Figures are read from the SVG files that were drawn before."""
    drawings = {f.file("svg"): f.file("svg").read_text(encoding="utf-8") for s in sections for f in s.figures}
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{style_sheet(colors(drawings.values()))}</style>",
        "</head>",
        "<body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(counted(collection))}</p>",
        _contents(sections, collection, assumptions),
    ]
    for index, section in enumerate(sections):
        parts += _section(section, index, {p: drawings[p] for p in (f.file("svg") for f in section.figures)})
    parts += _verdicts(judged)
    parts += _assumptions(assumptions)
    parts += ['<h2 id="environment">Environment</h2>', _table(environment_grid(collection.runs), wrap=True)]
    parts += ['<h2 id="runs">Runs</h2>', _folded(runs_grid(collection.runs), f"{len(collection.runs)} runs")]
    parts += _left_out(collection)
    return "\n".join([*parts, "</body>", "</html>", ""])


def counted(collection: Collection) -> str:
    """What the page is built from."""
    parts = [f"{len(collection.runs)} finished run{'s' * (len(collection.runs) != 1)}"]
    if collection.unfinished:
        parts.append(f"{len(collection.unfinished)} unfinished")
    if collection.skipped:
        parts.append(f"{len(collection.skipped)} left out")
    return f"Built from the run records alone: {', '.join(parts)}."


def _contents(sections: Sequence[Section], collection: Collection, assumptions: Sequence[Assumption]) -> str:
    links = [(f"group-{i}", section.group.title) for i, section in enumerate(sections)]
    links.append(("verdicts", "Verdicts"))
    links += [("assumptions", "Assumptions")] * bool(assumptions)
    links += [("environment", "Environment"), ("runs", "Runs")]
    links += [("left-out", "Unfinished and left out")] * bool(collection.unfinished or collection.skipped)
    items = "".join(f'<li><a href="#{anchor}">{escape(text)}</a></li>' for anchor, text in links)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>'


def _section(section: Section, index: int, drawings: dict[object, str]) -> list[str]:
    group = section.group
    parts = [f'<h2 id="group-{index}">{escape(group.title)}</h2>']
    if section.caption.mark:
        parts.append(f'<p class="mark">{escape(section.caption.mark)}</p>')
    parts += [
        f'<p class="warning">Warning: {escape(warning)}</p>'
        for warning in (*group.warnings, *section.table.notes)
    ]
    parts.append(f"<p><strong>{escape(section.caption.headline)}.</strong></p>")
    prefix = f"g{index}"
    for name, half in (("Accuracy", table2_text.ACCURACY), ("Size and speed", table2_text.COST)):
        mark = f" ({group.mark})" if group.mark else ""
        parts.append(_table(section.grid.only(half), f"{name}{mark}", prefix))
    parts.append(f"<ul>{''.join(f'<li>{escape(s)}</li>' for s in section.caption.sentences)}</ul>")
    if section.grid.notes:
        parts.append(_notes(section.grid, prefix))
    if section.over_images is not None:
        parts += _over_images(section)
    parts += _figures(section, prefix, drawings)
    if section.deviations:
        rows = [(d.field, d.here, d.paper, ", ".join(d.arms) or "all") for d in section.deviations]
        grid = plain_grid(("setting", "here", "paper", "arms"), rows)
        parts += ["<h3>Deviations from the paper's protocol</h3>", _table(grid)]
    return parts


def _figures(section: Section, prefix: str, drawings: dict[object, str]) -> list[str]:
    if not section.figures:
        return []
    parts = ["<h3>Figures</h3>", '<div class="figures">']
    for figure in section.figures:
        label = f"{figure.title}. {figure.text}"
        parts += [
            "<figure>",
            inline_svg(drawings[figure.file("svg")], f"{prefix}-{figure.name}", label),
            f"<figcaption><strong>{escape(figure.title)}.</strong> {escape(figure.text)} "
            f"<strong>{escape(short_caption(section.group))}</strong></figcaption>",
            "</figure>",
        ]
    return [*parts, "</div>"]


def _over_images(section: Section) -> list[str]:
    found = section.over_images
    assert found is not None
    parts = ["<h3>Gains over validation images</h3>"]
    if found.steps:
        parts.append(_table(image_grid(found)))
        parts.append(f"<p>{escape(OVER_IMAGES)}</p>")
    return parts + [f'<p class="warning">Not computed: {escape(problem)}</p>' for problem in found.problems]


#: What the interval over images says.
OVER_IMAGES = (
    "Paired percentile bootstrap over the validation images (1000 resamples), of the detections of each "
    "run's best evaluated epoch: how much of a gain is the choice of images. It says nothing about how "
    "another training run would turn out; that is what intervals over seeds are for."
)


def _verdicts(judged: Sequence[Judged]) -> list[str]:
    touched = [item for item in judged if item.touched]
    others = [item for item in judged if not item.touched]
    parts = ['<h2 id="verdicts">Verdicts on the paper\'s claims</h2>', f"<p>{escape(counts(judged))}.</p>"]
    if touched:
        parts.append(_table(verdict_grid(touched)))
        rows = "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in reasons(touched))
        parts.append(f"<details><summary>Why each was judged so</summary><dl>{rows}</dl></details>")
    rules = "".join(f"<dt>{escape(label)}</dt><dd>{escape(rule)}</dd>" for label, rule in RULES.items())
    parts.append(f"<h3>The rules</h3><dl>{rules}</dl><p>{escape(f'For --check, {FAILURE_RULE}.')}</p>")
    parts += [f"<p>{escape(note)}</p>" for note in (*NOTES, *EPOCH_NOTES.values())]
    if others:
        items = "".join(
            f"<li>{escape(statement(i.best))} ({escape(i.best.claim.source)}): {escape(i.best.reason)}</li>"
            for i in others
        )
        summary = f"{len(others)} more claims that no run here speaks about"
        parts.append(f"<details><summary>{summary}</summary><ul>{items}</ul></details>")
    return parts


def _assumptions(assumptions: Sequence[Assumption]) -> list[str]:
    if not assumptions:
        return []
    items = "".join(f"<li>{escape(a.number)} {escape(a.title)}</li>" for a in assumptions)
    return [
        '<h2 id="assumptions">Assumptions</h2>',
        "<p>Where the paper leaves a choice open, this project chose as follows (docs/decisions).</p>",
        f"<ul>{items}</ul>",
    ]


def _left_out(collection: Collection) -> list[str]:
    parts: list[str] = []
    if collection.unfinished or collection.skipped:
        parts.append('<h2 id="left-out">Unfinished and left out</h2>')
    if collection.unfinished:
        rows = [(u.run, u.state, progress(u.epoch, u.epochs), u.reason) for u in collection.unfinished]
        parts.append(_table(plain_grid(("run", "state", "epoch", "reason"), rows), wrap=True))
    if collection.skipped:
        rows2 = [(s.run, s.reason) for s in collection.skipped]
        parts.append(_table(plain_grid(("record left out", "reason"), rows2), wrap=True))
    return parts


def _folded(grid: Grid, summary: str) -> str:
    if len(grid.rows) <= _FOLD:
        return _table(grid)
    return f"<details><summary>{escape(summary)}</summary>{_table(grid)}</details>"


def _notes(grid: Grid, prefix: str) -> str:
    items = "".join(
        f'<li id="{prefix}-{letter}"><sup>{letter}</sup> <span class="id">{escape(text)}</span></li>'
        for letter, text in grid.notes
    )
    return f'<p>Run ids of the measured cells:</p><ol class="notes">{items}</ol>'


def _table(grid: Grid, caption: str = "", prefix: str = "", wrap: bool = False) -> str:
    """A table in a box that scrolls sideways on a narrow screen, reachable by keyboard."""
    lines = [f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption or "table")}">']
    lines.append("<table>")
    if caption:
        lines.append(f"<caption>{escape(caption)}</caption>")
    lines.append("<thead>")
    if any(column.group for column in grid.columns):
        heads = "".join(
            f'<th colspan="{n}" scope="colgroup">{escape(h)}</th>' if h else f'<td colspan="{n}"></td>'
            for h, n in grid.spans()
        )
        lines.append(f'<tr class="groups">{heads}</tr>')
    heads = "".join(f'<th scope="col"{_class(c.align)}>{escape(c.title)}</th>' for c in grid.columns)
    lines += [f"<tr>{heads}</tr>", "</thead>", "<tbody>"]
    for row in grid.rows:
        cells = [_head_cell(row[0], grid.columns[0])]
        cells += [_cell(c, col, prefix, wrap) for c, col in zip(row[1:], grid.columns[1:], strict=True)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</tbody>", "</table>", "</div>"])


def _head_cell(cell: Cell, column: Column) -> str:
    return f'<th scope="row"{_class(column.align)}>{escape(cell.text)}</th>'


def _cell(cell: Cell, column: Column, prefix: str, wrap: bool) -> str:
    notes = ",".join(f'<a href="#{prefix}-{n}">{n}</a>' for n in cell.note.split(",") if n)
    mark = f"<sup>{notes}</sup>" if notes else ""
    kind = "" if cell.kind == "label" or (cell.kind == "measured" and not notes) else cell.kind
    names = " ".join(filter(None, ("wrap" if wrap else column.align if column.align != "r" else "", kind)))
    attribute = f' class="{escape(names)}"' if names else ""
    return f"<td{attribute}>{escape(cell.text)}{mark}</td>"


def _class(align: str) -> str:
    return "" if align == "r" else f' class="{align}"'
