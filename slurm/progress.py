"""How far a run is, from its record: epoch, AP so far, time left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from roadmap.record import RunFolder

#: Epochs whose duration predicts the rest; the last ones, for the strong augmentation closes at the end.
_WINDOW = 5


@dataclass(frozen=True)
class Progress:
    """epoch: finished epochs; epochs: in total, None when unknown. ap: of the latest evaluation, percent.

    seconds_left: of training, None when unknown; time in the queue is not in it.
    """

    epoch: int
    epochs: int | None
    ap: float | None
    seconds_left: float | None


def progress(folder: RunFolder) -> Progress:
    """Progress from recipe.json and metrics.jsonl.

    Raises ValueError naming the file when the record is broken.
    """
    rows = folder.metrics()
    identity = folder.identity()
    epochs = identity["recipe"]["training"]["epochs"] if identity else None
    epoch = int(rows[-1]["epoch"]) if rows else 0
    return Progress(epoch, epochs, _latest_ap(rows), _seconds_left(rows, epoch, epochs))


def _latest_ap(rows: Sequence[dict[str, Any]]) -> float | None:
    return next((row["AP"] for row in reversed(rows) if row.get("AP") is not None), None)


def _seconds_left(rows: Sequence[dict[str, Any]], epoch: int, epochs: int | None) -> float | None:
    durations = [row["seconds"] for row in rows[-_WINDOW:] if row.get("seconds") is not None]
    if epochs is None or not durations:
        return None
    return max(0, epochs - epoch) * sum(durations) / len(durations)


def duration(seconds: float | None) -> str:
    """``2d 3h``, ``4h 05m``, ``12m``, ``40s``; empty when unknown."""
    if seconds is None:
        return ""
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m" if minutes else f"{whole}s"
