"""Run records to tables, figures and verdicts. A notebook wants ``from reports import runs_frame``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.records.frame import epochs_frame, runs_frame

__all__ = ["epochs_frame", "runs_frame"]


def __getattr__(name: str) -> Any:
    """The frames, imported when they are asked for: pandas takes longer than ``--help`` may."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from reports.records import frame

    return getattr(frame, name)
