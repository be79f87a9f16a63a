"""The paper's Figure 3: AP over training of the coupled and the decoupled head, ours over the paper's."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.curves import curves, plot
from reports.figures.style import FAINT, INK, from_zero, new_figure, watermark
from reports.records.groups import ArmRuns
from reports.tables.caption import curve_conditions, stamp_line
from reports.tables.steps import Table2
from roadmap.paper import table as published
from roadmap.words import counted

#: Whether the head is decoupled, place in the series, the paper's column and its name there.
_HEADS = (
    (True, 1, "decoupled_head_ap", "decoupled head"),
    (False, 0, "yolo_head_ap", "coupled (YOLO) head"),
)


def draw(table: Table2) -> Figure | None:
    """Both heads' curves; None when no arm of the two has evaluated epochs."""
    found = curves(table.group, "AP")
    arms = {head: arm.arm for arm in table.group.arms if (head := _head(arm)) is not None}
    ours = [(index, label, found[arms[head]]) for head, index, _, label in _HEADS if arms.get(head) in found]
    if not ours:
        return None
    mark = table.group.mark
    if not mark:
        figure, (axes,) = new_figure(2.6, stamp_line(table.group))
        _paper(axes)
        for index, label, curve in ours:
            plot(axes, curve, index, f"{label}, measured")
        axes.set_xlabel("epoch")
        axes.set_ylabel("AP (%), COCO val")
        axes.set_title(curve_conditions(table.group))
        axes.legend(loc="lower right")
        return figure
    figure, (top, bottom) = new_figure(3.9, stamp_line(table.group), rows=2, sharex=True)
    epochs = max(curve.epochs[-1] for _, _, curve in ours)
    for index, label, curve in ours:
        plot(top, curve, index, f"{label}, measured", scale=100 / epochs)
    watermark(top, mark)
    conditions = curve_conditions(table.group)
    top.set_title(f"measured ({mark})" + (f"\n{conditions}" if conditions else ""))
    top.set_ylabel(f"AP (%), {mark}")
    top.set_ylim(from_zero(top))
    _paper(bottom, scale=100 / 300)
    bottom.set_title("paper (COCO val)")
    bottom.set_ylabel("AP (%), COCO val")
    bottom.set_xlabel(f"share of training (%)\nabove: of {counted(round(epochs), 'epoch')}, below: of 300")
    top.legend(loc="best")
    bottom.legend(loc="lower right")
    return figure


def _head(arm: ArmRuns) -> bool | None:
    """Whether an arm trains the decoupled head (True) or the coupled one, and nothing else of the paper's on
    DarkNet53: the two detectors of Figure 3. None for any other.
    """
    recipe = arm.runs[0].recipe
    on = {name for name, value in recipe.items() if name.startswith("ingredients.") and value}
    if recipe.get("model.backbone") != "darknet53" or on - {"ingredients.decoupled_head"}:
        return None
    return bool(on)


def _paper(axes: Axes, scale: float = 1.0) -> None:
    rows = published("figure3_training_curves")
    epochs = [float(row["epoch"] or 0) * scale for row in rows]
    for _, index, column, label in _HEADS:
        line, color = ("-", FAINT) if index == 0 else ("--", INK)
        aps = [float(row[column] or 0) for row in rows]
        axes.plot(epochs, aps, line, color=color, lw=1.0, label=f"{label}, paper")
    axes.set_ylim(from_zero(axes))
