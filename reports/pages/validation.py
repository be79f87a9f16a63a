"""Validation images with true and predicted boxes, from the record of one run."""

from __future__ import annotations

from pathlib import Path

from reports.blocks import Figure
from reports.tables.caption import short_caption
from reports.tables.steps import Table2
from roadmap.record import PICTURE, write_atomic


def validation_picture(table: Table2, folder: Path) -> Figure | None:
    """The picture of the arm with the highest AP, its first seed that has one, copied to ``folder``.

    One picture, not one per arm: they show the same images, and a page holds its pictures in itself.
    None where no run of that arm has one.
    """
    measured = [row for row in table.rows if row.arm is not None and row.ap_best is not None]
    if not measured:
        return None
    best = max(measured, key=lambda row: row.ap_best.mean if row.ap_best else 0.0)
    arm = table.group.find(best.arm or "")
    for run in arm.runs if arm else ():
        try:
            content = (run.path / PICTURE).read_bytes()
        except OSError:
            continue
        if not content.startswith(b"\xff\xd8"):
            continue
        path = folder / PICTURE
        write_atomic(path, content)
        text = (
            f"Run {run.run}, the arm of the highest AP ({best.label}), seed {run.seed}: true boxes are thin "
            f"with the class below, predictions of the best epoch ({run.best['epoch']}) thick with class and "
            f"score. Other runs have their own picture of the same images in their folders ({PICTURE})."
        )
        return Figure("validation", "Validation images", text, short_caption(table.group), (path,))
    return None
