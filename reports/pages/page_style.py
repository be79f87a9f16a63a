"""The style sheet of the HTML page: one column, light and dark, phone and print."""

from __future__ import annotations

from collections.abc import Iterable

from reports.pages.svg import on_dark, variable

_LIGHT = {
    "--page": "#ffffff", "--ink": "#1b1b1f", "--faint": "#5c5c66", "--line": "#dcdce2", "--panel": "#f5f5f8",
    "--link": "#005b94", "--warn": "#8a3b00", "--warn-page": "#fff4e8", "--good": "#00674b",
    "--bad": "#a8260f", "--paper-cell": "#5c5c66",
}  # fmt: skip
_DARK = {
    "--page": "#17171a", "--ink": "#ececf1", "--faint": "#a9a9b4", "--line": "#3a3a42", "--panel": "#212126",
    "--link": "#7cc4f2", "--warn": "#ffb77a", "--warn-page": "#33261a", "--good": "#5fd3ae",
    "--bad": "#ff9b85", "--paper-cell": "#a9a9b4",
}  # fmt: skip

_RULES = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 1rem; max-width: 70rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p, li, dl { max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--link); }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1rem; }
.mark, .warning { border-left: 4px solid var(--warn); background: var(--warn-page); padding: .5rem .8rem;
  margin: .8rem 0; max-width: 46rem; }
.mark { font-weight: 600; color: var(--warn); }
.scroll { overflow-x: auto; margin: .6rem 0; -webkit-overflow-scrolling: touch; }
.scroll:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .25rem .55rem; text-align: right; white-space: nowrap; }
thead th { font-weight: 600; border-bottom: 1px solid var(--ink); vertical-align: bottom; }
thead tr.groups th { border-bottom: 1px solid var(--line); text-align: center; }
tbody tr:nth-child(even) { background: var(--panel); }
tbody th, .l { text-align: left; }
tbody th { font-weight: 500; position: sticky; left: 0; background: var(--page); }
tbody tr:nth-child(even) th { background: var(--panel); }
td.p, th.p { text-align: left; white-space: normal; min-width: 10rem; max-width: 24rem; }
td.wrap { white-space: normal; overflow-wrap: anywhere; text-align: left; min-width: 8rem; max-width: 24rem; }
td.paper { color: var(--paper-cell); }
td.reproduced, td.same-direction { color: var(--good); font-weight: 600; }
td.failed, td.contradicted { color: var(--bad); font-weight: 600; }
td.within-noise { font-weight: 600; }
td.not-measured { color: var(--faint); }
sup { line-height: 0; }
td sup { display: inline-block; width: 0; }
td.measured { padding-right: 1.1rem; }
sup a { text-decoration: none; }
figure { margin: 1rem 0; max-width: 34rem; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { color: var(--faint); font-size: .86rem; max-width: 34rem; margin-top: .3rem; }
.figures { columns: 22rem; column-gap: 2rem; }
.figures figure { break-inside: avoid; margin: 0; padding: .6rem 0 1rem; }
code, .id { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .82rem;
  overflow-wrap: anywhere; }
ol.notes { font-size: .82rem; padding-left: 1.6rem; list-style: none; }
ol.notes li { text-indent: -1.2rem; }
:target { outline: 2px solid var(--link); outline-offset: 2px; }
details { margin: .6rem 0; }
summary { cursor: pointer; color: var(--link); }
dt { font-weight: 600; } dd { margin: 0 0 .5rem 1rem; }
"""

_PRINT = """
@media print {
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  nav { display: none; }
  .scroll { overflow: visible; }
  table { font-size: 7pt; }
  th, td { padding: .1rem .25rem; }
  figure, tr, .mark, .warning { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .figures { columns: 3in; }
  figure { max-width: 3.6in; }
  td.p, td.wrap { min-width: 0; }
}
"""


def style_sheet(figure_colors: Iterable[str]) -> str:
    """The whole style sheet. figure_colors: the colours that inlined figures use."""
    found = tuple(figure_colors)
    light = {**_LIGHT, **{variable(c): c for c in found}}
    dark = {**_DARK, **{variable(c): on_dark(c) for c in found}}
    return (
        f":root {{ color-scheme: light dark; {_declarations(light)} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {_declarations(dark)} }} }}\n"
        f"{_RULES.strip()}\n{_PRINT.strip()}\n"
    )


def _declarations(values: dict[str, str]) -> str:
    return " ".join(f"{name}: {value};" for name, value in values.items())
