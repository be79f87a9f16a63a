"""Is the difference between an arm and the one it is compared with more than noise? A word by a stated rule.

For any arm of any study on any dataset; what the paper claims has verdicts of its own
(``reports/judging/verdicts.py``). The rule is docs/decisions/0046.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.judging.statistics import (
    LEVEL,
    ROUNDING,
    Interval,
    paired_gains,
    seeds_needed,
    standard_deviation,
    t_interval,
)
from roadmap.protocols import IMAGENET

MORE_THAN_NOISE = "more than noise"
WITHIN_NOISE = "within noise"
TOO_FEW_SEEDS = "too few seeds"

#: The recipe's field that says what a run starts from.
PRETRAINED = "training.pretrained"

#: Pairs of runs below which nothing is judged.
MIN_SEEDS = 3

#: Standard deviation of a gain between two runs where nothing was measured to estimate it from: runs of one
#: recipe ordinarily differ by 0.2 to 0.3 AP on COCO, and a gain has the noise of both of its runs.
ASSUMED_SD = 0.35

#: The rule of each word; the first that applies.
WORDS: dict[str, str] = {
    TOO_FEW_SEEDS: f"fewer than {MIN_SEEDS} common seeds, or on both sides the same AP in every seed",
    WITHIN_NOISE: "the 95 % t interval of the gain over seeds contains 0",
    MORE_THAN_NOISE: "it does not",
}
#: What the number of seeds beside a word means.
SEEDS_RULE = (
    "Seeds to settle: with how many seeds in all the interval is narrower than the gain measured so far, so "
    f"that it cannot hold both 0 and that gain. The spread is the gain's own from {MIN_SEEDS} seeds on, else "
    "that of all gains of the table together; ≈ where neither is known and a standard deviation of "
    f"{ASSUMED_SD} AP is assumed."
)


@dataclass(frozen=True)
class Gain:
    """AP (percent) of one arm minus that of another, paired by seed.

    values: by seed, at least one. word: a key of WORDS. seeds_to_settle: see SEEDS_RULE; None where the
    word is "more than noise" or no number of seeds would do. sd_assumed: the spread behind it is ASSUMED_SD.
    """

    values: Mapping[int, float]
    mean: float
    sd: float | None
    interval: Interval | None
    word: str
    seeds_to_settle: int | None = None
    sd_assumed: bool = False


def judge_gain(
    before: Mapping[int, float],
    after: Mapping[int, float],
    spread: float | None = None,
    level: float = LEVEL,
) -> Gain | None:
    """The gain of ``after`` over ``before``, both AP by seed; None without a common seed.

    spread: standard deviation of gains of the same kind, for seeds_to_settle (:func:`pooled_sd`).
    """
    values = paired_gains(before, after)
    if not values:
        return None
    gains = list(values.values())
    mean, sd, interval = float(np.mean(gains)), standard_deviation(gains), t_interval(gains, level)
    if len(gains) < MIN_SEEDS or interval is None or not varying(values, before, after):
        word = TOO_FEW_SEEDS
    else:
        word = WITHIN_NOISE if interval.contains(0.0) else MORE_THAN_NOISE
    if word == MORE_THAN_NOISE or abs(mean) < ROUNDING:
        return Gain(values, mean, sd, interval, word)
    known = sd if word == WITHIN_NOISE else spread
    least = MIN_SEEDS if word == TOO_FEW_SEEDS and len(gains) < MIN_SEEDS else len(gains) + 1
    needed = seeds_needed(known or ASSUMED_SD, mean, level, least)
    return Gain(values, mean, sd, interval, word, needed, not known)


def start_refusal(
    before: Mapping[str, Any], after: Mapping[str, Any], paper: tuple[str | None, str | None] = (None, None)
) -> str:
    """Why two recipes (dotted) have no gain: their runs start from different weights, and the paper's do not
    differ in that way. Empty when they may be compared.

    paper: the weights that the paper starts the two from, None where it says nothing.
    """
    here = tuple(str(recipe.get(PRETRAINED) or "") for recipe in (before, after))
    as_the_paper = None not in paper and all(map(_same_start, here, paper))
    if here[0] == here[1] or as_the_paper:
        return ""
    first, second = (f"the weights {start}" if start else "scratch" for start in reversed(here))
    return f"it starts from {first}, the other from {second}"


def _same_start(here: str, paper: str | None) -> bool:
    """ImageNet weights are anyone's: the paper's were not published (docs/decisions/0011)."""
    return here.startswith(IMAGENET) if paper == IMAGENET else here == paper


def varying(seeds: Iterable[int], *sides: Mapping[int, float]) -> bool:
    """Whether the AP of any side varies over these seeds: else they had no effect, or the runs are copies."""
    used = tuple(seeds)
    return any(np.ptp([side[seed] for seed in used]) >= ROUNDING for side in sides)


def pooled_sd(gains: Iterable[Mapping[int, float]]) -> float | None:
    """The common standard deviation of several gains by seed, each around its own mean; None without any.

    Weighted by degrees of freedom, so that a comparison of two seeds counts half of one of three.
    """
    squares, freedom = 0.0, 0
    for values in gains:
        sd = standard_deviation(list(values.values())) if len(values) > 1 else None
        if sd is not None:
            squares += sd**2 * (len(values) - 1)
            freedom += len(values) - 1
    found = math.sqrt(squares / freedom) if freedom else 0.0
    return found if found >= ROUNDING else None
