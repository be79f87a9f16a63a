"""The paper's Figure 3: AP over training of the coupled and the decoupled head, ours over the paper's.

Which runs those are follows from the paper's own arms: ours are of a detector when they have its model and
its ingredients, whatever the study, its names and its protocol.
"""

from __future__ import annotations

from functools import cache

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.curves import Curve, curves, plot
from reports.figures.style import FAINT, INK, PUBLISHED_ALONE, from_zero, new_figure, watermark
from reports.judging.claims import Side
from reports.tables.caption import curve_conditions, stamp_line
from reports.tables.steps import Table2
from roadmap.reproduction import paper_studies
from roadmap.study import Arm
from roadmap.words import counted

#: Line and colour of the paper's n-th curve; ours take the n-th series.
_LINES = (("-", FAINT), ("--", INK))


def draw(table: Table2) -> Figure | None:
    """Both heads' curves; None when no arm of the two has evaluated epochs."""
    ours = _ours(table)
    if not ours:
        return None
    mark = table.group.narrow_mark
    if not mark:
        figure, (axes,) = new_figure(2.6, stamp_line(table.group))
        _paper(axes)
        for place, label, curve in ours:
            plot(axes, curve, place, f"{label}, measured")
        axes.set_xlabel("epoch")
        axes.set_ylabel("AP (%), COCO val")
        axes.set_title(curve_conditions(table.group))
        axes.legend(loc="lower right")
        return figure
    figure, (top, bottom) = new_figure(3.9, stamp_line(table.group), rows=2, sharex=True)
    epochs = max(curve.epochs[-1] for _, _, curve in ours)
    for place, label, curve in ours:
        plot(top, curve, place, f"{label}, measured", scale=100 / epochs)
    watermark(top, mark)
    conditions = curve_conditions(table.group)
    top.set_title(f"measured ({mark})" + (f"\n{conditions}" if conditions else ""))
    top.set_ylabel(f"AP (%), {mark}")
    top.set_ylim(from_zero(top))
    last = _paper(bottom, share=True)
    bottom.set_title("paper (COCO val)")
    bottom.set_ylabel("AP (%), COCO val")
    bottom.set_xlabel(f"share of training (%)\nabove: of {counted(round(epochs), 'epoch')}, below: of {last}")
    top.legend(loc="best")
    bottom.legend(loc="lower right")
    return figure


def published() -> Figure:
    """The paper's curves alone."""
    figure, (axes,) = new_figure(2.6, PUBLISHED_ALONE)
    _paper(axes)
    axes.set_xlabel("epoch")
    axes.set_ylabel("AP (%), COCO val")
    axes.legend(loc="lower right")
    return figure


@cache
def _detectors() -> tuple[tuple[Arm, Side], ...]:
    """The paper's arms that have a curve, in order, each with what tells its runs."""
    arms = (arm for study in paper_studies() for arm in study.arms if arm.paper and arm.paper.curve)
    return tuple((arm, Side(arm.name, arm.reference())) for arm in arms)


def _ours(table: Table2) -> list[tuple[int, str, Curve]]:
    """Place among the paper's curves, the paper's name, and our curve, of each detector that was measured."""
    found = curves(table.group, "AP")
    return [
        (place, arm.label, found[runs.arm])
        for place, (arm, side) in enumerate(_detectors())
        for runs in table.group.arms
        if runs.arm in found and side.matches(runs.runs[0].recipe)
    ]


def _paper(axes: Axes, share: bool = False) -> int:
    """The paper's curves over epochs, or over the share of training in percent; their last epoch."""
    last = 0
    for (arm, _), (line, color) in zip(_detectors(), _LINES, strict=True):
        assert arm.paper is not None
        epochs, aps = zip(*arm.paper.curve, strict=True)
        last = epochs[-1]
        places = [100 * epoch / last for epoch in epochs] if share else epochs
        axes.plot(places, aps, line, color=color, lw=1.0, label=f"{arm.label}, paper")
    axes.set_ylim(from_zero(axes))
    return last
