"""Training curves: AP over the epochs of each arm, and the training loss below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.figures.style import BACKGROUND, SERIES, from_zero, new_figure, watermark
from reports.records.frame import epochs_frame
from reports.records.groups import Group
from reports.tables.caption import curve_conditions, stamp_line
from reports.tables.steps import Table2

#: A loss panel whose values span more than this ratio is logarithmic.
_LOGARITHMIC = 8.0
#: Characters of a label that fit beside another one below the axes.
_SIDE_BY_SIDE = 22


@dataclass(frozen=True)
class Curve:
    """A figure over epochs: the mean over seeds and its smallest and largest value."""

    epochs: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def draw(table: Table2) -> Figure | None:
    """AP and loss of every arm; None when no run has evaluated epochs."""
    group = table.group
    aps = curves(group, "AP")
    if not aps:
        return None
    losses = curves(group, "loss")
    figure, (top, bottom) = new_figure(3.9, stamp_line(group), rows=2, sharex=True, height_ratios=[2.4, 1])
    labels = {row.arm: row.label for row in table.rows if row.arm}
    for index, arm in enumerate(s.arm for s in group.arms):
        for axes, found in ((top, aps), (bottom, losses)):
            if arm in found:
                plot(axes, found[arm], index, labels[arm])
    _frame(group, top, bottom, list(losses.values()))
    handles, names = top.get_legend_handles_labels()
    columns = 2 if max(map(len, names)) <= _SIDE_BY_SIDE else 1
    figure.legend(handles, names, loc="outside lower center", ncols=columns)
    return figure


def curves(group: Group, figure: str) -> dict[str, Curve]:
    """A column of epochs_frame over the epochs that every run of an arm has it for, by arm."""
    epochs, found = epochs_frame(group.runs), {}
    for arm in group.arms:
        of_arm = epochs[epochs["arm"] == arm.arm].pivot(index="epoch", columns="run", values=figure)
        values = of_arm.reindex(columns=[run.run for run in arm.runs]).dropna()
        if len(values):
            x, y = values.index.to_numpy(dtype=float), values.to_numpy()
            found[arm.arm] = Curve(x, y.mean(1), y.min(1), y.max(1))
    return found


def plot(axes: Axes, curve: Curve, index: int, label: str, scale: float = 1.0) -> None:
    """One arm's line, with a band from the smallest to the largest seed."""
    round_, place = divmod(index, len(SERIES))
    color, marker, line = SERIES[place]
    face = BACKGROUND if round_ % 2 else color  # hollow the second time
    x = curve.epochs * scale
    every = max(1, len(x) // 8)
    axes.plot(
        x, curve.mean, line, color=color, marker=marker, markerfacecolor=face, markevery=every, label=label
    )
    if (curve.high > curve.low).any():
        axes.fill_between(x, curve.low, curve.high, color=color, alpha=0.18, linewidth=0)


def _frame(group: Group, top: Axes, bottom: Axes, losses: Sequence[Curve]) -> None:
    where = group.narrow_mark or "COCO val"
    top.set_ylabel(f"AP (%), {where}")
    top.set_ylim(from_zero(top))
    watermark(top, group.narrow_mark)
    top.set_title(curve_conditions(group))
    bottom.set_ylabel("training loss")
    bottom.set_xlabel("epoch")
    bottom.locator_params(axis="x", integer=True)
    if losses:
        values = np.concatenate([c.mean for c in losses])
        if values.min() > 0 and values.max() / values.min() > _LOGARITHMIC:
            bottom.set_yscale("log")
