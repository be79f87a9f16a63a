"""What else happened to the runs behind a table: a sentence each, empty where there is nothing to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.records.collect import RunRecord
from reports.records.groups import Group
from reports.tables.steps import Table2, latency_conditions

#: Deviations that say that a run's attempts were not of one and the same code.
CODE = "code"
#: A machine counts as busy from this many cores on that other processes use meanwhile; of records from before
#: that was known, from a load average of this many above the machine's cores.
BUSY, CROWDED = 0.25, 1.0


def code_sentence(group: Group) -> str:
    """Whether the code changed while a run was under way, and in which runs: their figures mix versions."""
    mixed = {
        run.run: str(item.get("here"))
        for run in group.runs
        for item in run.deviations
        if item["field"] == CODE
    }
    if not mixed:
        return ""
    named = "; ".join(f"{run} ({here})" for run, here in mixed.items())
    return f"Trained by more than one version of the code: {named}."


def dropped_sentence(group: Group) -> str:
    """Annotations that were no training objects, by split and reason, as the runs found them."""
    texts: dict[str, None] = {}
    for run in group.runs:
        dataset = run.environment.get("dataset")
        splits = dataset if isinstance(dataset, Mapping) else {}
        found = (
            _dropped(name, splits.get(key)) for key, name in (("train", "training"), ("val", "validation"))
        )
        texts |= dict.fromkeys(filter(None, [", ".join(filter(None, found))]))
    return f"Annotations not used: {'; '.join(texts)}." if texts else ""


def _dropped(name: str, split: Any) -> str:
    """``12 of the training split (crowd 10, outside 2)``."""
    counts = split.get("dropped") if isinstance(split, Mapping) else None
    if not isinstance(counts, Mapping):
        return ""
    reasons = {str(reason): n for reason, n in counts.items() if isinstance(n, int) and n > 0}
    listed = ", ".join(f"{reason.replace('_', ' ')} {n}" for reason, n in reasons.items())
    return f"{sum(reasons.values())} of the {name} split ({listed})" if reasons else ""


def load_sentence(table: Table2) -> str:
    """Whether the machine was busy with other work while the table's latencies were measured."""
    timed = [r for r in table.group.runs if r.latency and latency_conditions(r) == table.latency_conditions]
    busy = [found for run in timed if (found := _busy(run))]
    if not busy:
        return ""
    return (
        f"The machine was busy with other work while {len(busy)} of {len(timed)} latencies were measured "
        f"({max(busy)[1]}): these are too high, and differences between them say little."
    )


def _busy(run: RunRecord) -> tuple[float, str] | None:
    """What else the machine did while a run's latency was measured; None where it was quiet or is unknown."""
    latency = run.latency or {}
    others, load = latency.get("others_load"), latency.get("load_average")
    if others is not None:
        return (others, f"others used up to {others:.1f} cores") if others >= BUSY else None
    if load is None or load < float(run.hardware.get("cores") or 1) + CROWDED:
        return None
    return load, f"load average up to {load:.1f}"
