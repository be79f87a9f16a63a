"""What decided a search, and the trade-off that it found: importances, and the Pareto front."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.figures.labels import Label, place_labels
from reports.figures.search_history import MARKS, axis_label, key
from reports.figures.style import BLUE, FAINT, INK, ORANGE, SKY, limits, new_figure, watermark
from reports.judging.tuning import Estimate, estimate
from reports.records.groups import Group
from reports.records.search import BaseSearch
from reports.tables.caption import stamp_line
from reports.tables.search import figure_name, setting_name, shown
from roadmap.search import Trial


def draw_importances(search: BaseSearch, group: Group) -> Figure | None:
    """A bar per setting and objective, and how much chance alone gives; None where none were computed."""
    found = {o.name: search.importances_of(o.name) for o in search.objectives}
    rows = [i.key for i in found[search.objectives[0].name]]
    if not rows:
        return None
    figure, panels = new_figure(
        0.75 + 0.24 * len(rows), stamp_line(group), columns=len(found), sharey=True, sharex=True
    )
    for panel, (name, items) in zip(panels, found.items(), strict=True):
        for item in items:
            y = rows.index(item.key)
            told = item.value > item.chance
            panel.barh(y, item.value, 0.62, color=BLUE if told else GRID_BAR, zorder=2)
            panel.plot([item.chance] * 2, [y - 0.4, y + 0.4], color=ORANGE, lw=1.4, zorder=3)
        panel.set_title(f"for {figure_name(name)}", loc="left")
        panel.set_xlim(0, 1.02)
        panel.grid(False, axis="y")
        panel.tick_params(axis="y", length=0)
        panel.set_xlabel("share")
    panels[0].set_yticks(range(len(rows)), [setting_name(search.record.space, k) for k in rows])
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    handles = [
        Line2D([], [], color=BLUE, lw=4, label="more than chance"),
        Line2D([], [], color=GRID_BAR, lw=4, label="no more than chance"),
        Line2D([], [], color=ORANGE, lw=1.4, label="what chance reaches"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, handlelength=1.2, columnspacing=0.8)
    watermark(panels[-1], group.narrow_mark, size=11, at=(0.6, 0.5))
    return figure


#: Bars that say nothing.
GRID_BAR = "#c4c4cc"


def draw_front(search: BaseSearch, group: Group) -> Figure | None:
    """Both objectives against each other; None for a search with one, or without a finished trial."""
    if len(search.objectives) != 2 or not search.finished:
        return None
    first, second = search.objectives
    figure, (axes,) = new_figure(2.9, stamp_line(group))
    names = (second.name, first.name)
    done = [_point(names, trial) for trial in search.finished]
    front = sorted(_point(names, trial) for trial in search.front)
    fresh = {}
    for rank in (0, *(winner.rank for winner in search.winners)):
        pair = _fresh(search, rank, 1), _fresh(search, rank, 0)
        if pair[0] is not None and pair[1] is not None:
            fresh[rank] = (pair[0], pair[1])
    xs = [x for x, _ in done] + [p.mean for p, _ in fresh.values()]
    ys = [y for _, y in done] + [v for _, q in fresh.values() for v in q.values.values()]
    axes.set_xlim(limits(xs, pad=0.1, least=1e-9))
    axes.set_ylim(limits(ys, pad=0.14, least=1e-9))
    marker, face, edge = MARKS["finished"]
    axes.plot(*zip(*done, strict=True), marker, mfc=SKY, mec=SKY, ms=3.0, ls="", zorder=2)
    axes.plot(
        *zip(*front, strict=True), marker, mfc=face, mec=edge, ms=3.6, ls="-", lw=0.9, color=BLUE,
        drawstyle="steps-post" if second.direction == "down" else "steps-pre", zorder=3,
    )  # fmt: skip
    labels = []
    numbers = {winner.rank: winner.trial for winner in search.winners}
    for rank, (x, y) in fresh.items():
        color = ORANGE if rank else INK
        reach = y.interval.half_width if y.interval else 0.0
        axes.errorbar(
            x.mean, y.mean, reach, fmt="D", color=color, ms=4, capsize=2.5, elinewidth=0.9, zorder=4
        )
        if rank:
            axes.annotate(
                "", (x.mean, y.mean), _point(names, numbers[rank]), zorder=3.5,
                arrowprops={"arrowstyle": "->", "lw": 0.7, "color": FAINT, "shrinkB": 3, "shrinkA": 2},
            )  # fmt: skip
        labels.append(Label(x.mean, y.mean, f"#{numbers[rank].number}" if rank else "base", INK, 3.0))
    axes.set_xlabel(axis_label(second, group))
    axes.set_ylabel(axis_label(first, group))
    handles = [
        key("o", SKY, SKY, "trial"),
        Line2D([], [], color=BLUE, marker="o", ms=3.6, lw=0.9, label="front, as the search saw it"),
    ]
    if fresh:
        handles += [key("D", ORANGE, ORANGE, "fresh seeds, 95 % interval"), key("D", INK, INK, "base, fresh")]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2,
        handlelength=1.4,
        columnspacing=0.8,
        alignment="left",
    )
    watermark(axes, group.narrow_mark, size=15)
    place_labels(axes, labels)
    return figure


def _point(names: tuple[str, str], trial: Trial) -> tuple[float, float]:
    """A finished trial's second and first objective, as they are shown."""
    assert trial.values is not None
    return shown(names[0], trial.values[1]), shown(names[1], trial.values[0])


def _fresh(search: BaseSearch, rank: int, place: int) -> Estimate | None:
    """An objective over fresh seeds, as it is shown."""
    name = search.objectives[place].name
    return estimate({seed: shown(name, value) for seed, value in search.fresh(rank, place).items()})
