"""What a search claims, and what seeds that it never saw say: the highest of noisy figures is too high.

A search picks the trial with the highest AP out of many, and so the luckiest as well as the best. Runs of the
same recipe with seeds that had no part in the choice have no such luck: their mean estimates what the recipe
gives. The choices are in docs/decisions/0115.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.judging.gains import MORE_THAN_NOISE, TOO_FEW_SEEDS, WITHIN_NOISE, Gain, judge_gain, pooled_sd
from reports.judging.statistics import LEVEL, Interval, paired_gains, t_interval

TUNED_IS_BETTER = "tuned is better"
TUNED_IS_WORSE = "tuned is worse"
NOT_MORE_THAN_NOISE = "tuned is not better by more than noise"
NOT_YET = "too few fresh seeds to say"

#: The rule of each answer: that of the word beside any other gain (``reports/judging/gains.py``).
ANSWERS: dict[str, str] = {
    NOT_YET: f"the word beside the gain over the base is “{TOO_FEW_SEEDS}”, or there is no gain yet",
    NOT_MORE_THAN_NOISE: f"the word is “{WITHIN_NOISE}”",
    TUNED_IS_BETTER: f"the word is “{MORE_THAN_NOISE}”, and the gain is the way that was searched for",
    TUNED_IS_WORSE: f"the word is “{MORE_THAN_NOISE}”, and the gain is the other way",
}


@dataclass(frozen=True)
class Estimate:
    """A figure over seeds that had no part in any choice. values: by seed, at least one."""

    values: Mapping[int, float]
    mean: float
    interval: Interval | None


@dataclass(frozen=True)
class Rerun:
    """One of a search's best trials, trained again with fresh seeds.

    claimed: what the search itself saw. fresh: None before a fresh run has finished. gain: over the base,
    paired by fresh seed; None without a common one. upwards: whether more is better.
    """

    claimed: float
    fresh: Estimate | None
    gain: Gain | None
    upwards: bool = True

    @property
    def optimism(self) -> float | None:
        """By how much the search's figure is better than the fresh seeds' mean; negative where worse."""
        if self.fresh is None:
            return None
        return (self.claimed - self.fresh.mean) * (1 if self.upwards else -1)

    @property
    def answer(self) -> str:
        """Whether tuned is better than the base: a key of ANSWERS."""
        if self.gain is None or self.gain.word == TOO_FEW_SEEDS:
            return NOT_YET
        if self.gain.word == WITHIN_NOISE:
            return NOT_MORE_THAN_NOISE
        return TUNED_IS_BETTER if (self.gain.mean > 0) == self.upwards else TUNED_IS_WORSE


@dataclass(frozen=True)
class TunedGain:
    """One recipe against another, each as it is and each at the best its own search found.

    claimed: the difference of the two searches' own best figures. untuned, tuned: paired by fresh seed.
    """

    claimed: float
    untuned: Gain | None
    tuned: Gain | None


def estimate(values: Mapping[int, float], level: float = LEVEL) -> Estimate | None:
    """Mean and t interval over fresh seeds; None without any."""
    if not values:
        return None
    ordered = {seed: values[seed] for seed in sorted(values)}
    array = list(ordered.values())
    return Estimate(ordered, float(np.mean(array)), t_interval(array, level))


def judge_reruns(
    best: Sequence[tuple[float, Mapping[int, float]]],
    base: Mapping[int, float],
    searched: frozenset[int],
    upwards: bool = True,
    level: float = LEVEL,
) -> tuple[Rerun, ...]:
    """The best trials as their fresh seeds have them, in the search's order.

    best: of each, the figure the search saw and AP by fresh seed. base: AP of the recipe that the search
    started from, by fresh seed. searched: seeds that the search itself trained with. upwards: whether more
    is better.
    Raises ValueError when one of those is among the fresh: its figure is part of what was chosen by.
    """
    used = sorted(searched & {*base, *(seed for _, fresh in best for seed in fresh)})
    if used:
        raise ValueError(f"seed {used[0]} is not fresh: the search chose by it; give seeds it did not use")
    spread = pooled_sd([paired_gains(base, fresh) for _, fresh in best])
    return tuple(
        Rerun(claimed, estimate(fresh, level), judge_gain(base, fresh, spread, level), upwards)
        for claimed, fresh in best
    )


def judge_tuned(
    before: tuple[Rerun, Mapping[int, float]], after: tuple[Rerun, Mapping[int, float]], level: float = LEVEL
) -> TunedGain:
    """The gain of one recipe over another, tuned against tuned. Each side: the first of its search's re-runs,
    and AP of its base by fresh seed.
    """
    (winner_before, base_before), (winner_after, base_after) = before, after
    sides = [dict(w.fresh.values) if w.fresh else {} for w in (winner_before, winner_after)]
    spread = pooled_sd([paired_gains(base_before, base_after), paired_gains(*sides)])
    return TunedGain(
        winner_after.claimed - winner_before.claimed,
        judge_gain(base_before, base_after, spread, level),
        judge_gain(sides[0], sides[1], spread, level),
    )
