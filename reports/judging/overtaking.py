"""At which frame rate one arm overtakes another: the faster a video, the older a slow detector's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from roadmap.streaming import StreamArm, StreamingRecord


@dataclass(frozen=True)
class Overtaking:
    """``before`` leads up to the rate ``low``, ``after`` from ``high`` on: the change lies between.

    low: None where ``before`` leads by AP, without a stream, and ``after`` at the lowest rate already.
    lead: by how much (AP) ``after`` leads at most, until it is overtaken in turn.
    """

    before: str
    after: str
    low: float | None
    high: float
    lead: float


def overtakings(record: StreamingRecord, variant: tuple[bool, bool]) -> tuple[Overtaking, ...]:
    """Every change of the lead between two arms over the rates of a record, in one way of playing.

    Arms that are level do not change the lead.
    """
    found: list[Overtaking] = []
    for first, second in combinations(record.arms, 2):
        found += _between(first, second, record.conditions.swept, variant)
    return tuple(sorted(found, key=lambda change: (change.high, change.before, change.after)))


def pairs_without(record: StreamingRecord, variant: tuple[bool, bool]) -> int:
    """Pairs of arms whose order is the same at every rate, and by AP."""
    changed = {frozenset((c.before, c.after)) for c in overtakings(record, variant)}
    return len(list(combinations(record.arms, 2))) - len(changed)


def _between(
    first: StreamArm, second: StreamArm, rates: tuple[float, ...], variant: tuple[bool, bool]
) -> list[Overtaking]:
    found: list[Overtaking] = []
    leader, known = 0, None  # the sign of first - second, and the last rate at which it led
    for rate, difference in _differences(first, second, rates, variant):
        sign = (difference > 0) - (difference < 0)
        if sign and leader and sign != leader:
            before, after = (second, first) if sign > 0 else (first, second)
            assert rate is not None
            found.append(Overtaking(before.name, after.name, known, rate, abs(difference)))
        elif sign and found:
            last = found[-1]
            found[-1] = Overtaking(
                last.before, last.after, last.low, last.high, max(last.lead, abs(difference))
            )
        if sign:
            leader, known = sign, rate
    return found


def _differences(
    first: StreamArm, second: StreamArm, rates: tuple[float, ...], variant: tuple[bool, bool]
) -> list[tuple[float | None, float]]:
    """(rate, AP of the first - AP of the second), AP without a stream first, as of no rate."""
    found: list[tuple[float | None, float]] = []
    if first.ap is not None and second.ap is not None:
        found.append((None, first.ap - second.ap))
    for rate in rates:
        one, other = first.stream(rate, variant), second.stream(rate, variant)
        if one and other and one.ap is not None and other.ap is not None:
            found.append((rate, one.ap - other.ap))
    return found
