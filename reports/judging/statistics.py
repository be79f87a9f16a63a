"""Statistics over seeds: intervals, paired gains, tests, and how many seeds a question needs.

Pure functions of arrays; randomness comes as a ``numpy.random.Generator``. A value is a figure of one
run (AP in percent, say), an array holds one value per seed. The choices are in docs/decisions/0040.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Values: TypeAlias = Sequence[float] | npt.NDArray[np.float64]

LEVEL = 0.95
#: Values below which the studentised bootstrap has no finite 95 % interval (docs/decisions/0040).
SMALLEST_BOOTSTRAP = 4
#: Sign patterns are enumerated where there are no more than this, else drawn: 2^16 are fewer, 2^17 more.
_RESAMPLES, LARGEST_EXACT = 99_999, 16
#: Differences below this are rounding, not variation (AP in percent).
ROUNDING = 1e-9


@dataclass(frozen=True)
class Interval:
    """A confidence interval. method: ``t``, ``studentised bootstrap``, ``percentile bootstrap`` …"""

    low: float
    high: float
    level: float
    method: str

    def contains(self, value: float, slack: float = 0.0) -> bool:
        """Whether a value lies inside, ends included; ``slack`` widens the interval on both sides."""
        return self.low - slack <= value <= self.high + slack

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def standard_deviation(values: Values) -> float | None:
    """Sample standard deviation (divisor n - 1); None for one value."""
    array = _array(values)
    return float(array.std(ddof=1)) if len(array) > 1 else None


def t_interval(values: Values, level: float = LEVEL) -> Interval | None:
    """Student's interval of the mean; None for one value.

    Exact at any n when the values are normal. Identical values give an interval of width 0.
    """
    array = _array(values)
    if len(array) < 2:
        return None
    return _around(array.mean(), t_quantile(level, len(array)) * _error(array), level, "t")


def prediction_interval(values: Values, level: float = LEVEL) -> Interval | None:
    """Where one further value would lie, t-based; None for one value.

    The paper printed one run per row, so its figure is to be looked for here rather than in the
    interval of the mean, which shrinks to a point as seeds are added.
    """
    array = _array(values)
    if len(array) < 2:
        return None
    n = len(array)
    half = t_quantile(level, n) * _error(array) * math.sqrt(n + 1)
    return _around(array.mean(), half, level, "t, one further value")


def studentised_interval(
    values: Values, rng: np.random.Generator, level: float = LEVEL, resamples: int = 9999
) -> Interval | None:
    """Studentised (bootstrap-t) interval of the mean; None below 4 values or without variation.

    Chosen because percentile and BCa intervals cannot reach beyond the sample and so cover 73 % at n = 3
    and 83 % at n = 5 (docs/decisions/0040). With three values one resample in nine repeats a single value,
    its t is infinite and so is the interval: none is given.
    """
    array = _array(values)
    n = len(array)
    if n < SMALLEST_BOOTSTRAP or np.ptp(array) < ROUNDING:
        return None
    draws = array[rng.integers(0, n, (resamples, n))]
    shift, error = draws.mean(axis=1) - array.mean(), draws.std(axis=1, ddof=1) / math.sqrt(n)
    flat = error < ROUNDING
    statistic = np.where(flat, np.copysign(np.inf, shift), shift / np.where(flat, 1.0, error))
    statistic.sort()
    tail = max(1, int((1 - level) / 2 * (resamples + 1)))
    low, high = statistic[tail - 1], statistic[resamples - tail]
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    mean, scale = float(array.mean()), _error(array)
    return Interval(mean - float(high) * scale, mean - float(low) * scale, level, "studentised bootstrap")


def paired_gains(before: Mapping[int, float], after: Mapping[int, float]) -> dict[int, float]:
    """Gain per seed that both sides have, ordered by seed: after - before."""
    return {seed: after[seed] - before[seed] for seed in sorted(before.keys() & after.keys())}


def sign_flip_p(gains: Values, rng: np.random.Generator | None = None) -> float:
    """Two-sided p-value of "gain and loss are equally likely", by flipping the signs of paired gains.

    SciPy's permutation test: exact up to 16 pairs; beyond, 99,999 patterns drawn from ``rng``. It assumes
    symmetry and no distribution, and its smallest value is 2 / 2^n: six pairs are needed to reach 5 %.
    Raises ValueError without a generator where one is needed.
    """
    from scipy.stats import permutation_test  # type: ignore[import-untyped]  # slow to import

    array = _array(gains)
    n = len(array)
    if n == 1:
        return 1.0  # SciPy wants two
    if n > LARGEST_EXACT and rng is None:
        raise ValueError(f"{n} pairs are too many to enumerate; give a numpy Generator")
    # In whole units of rounding, sums of any order are exact, and so are ties.
    units = np.rint(array / ROUNDING)
    test = permutation_test(
        (units,), np.sum, permutation_type="samples", vectorized=True, n_resamples=_RESAMPLES, batch=10_000,
        rng=rng,
    )  # fmt: skip
    return float(test.pvalue)


def seeds_needed(
    sd: float, gain: float, level: float = LEVEL, least: int = 2, most: int = 10_000
) -> int | None:
    """Seeds with which an interval cannot hold both 0 and ``gain``, at a standard deviation ``sd`` of gains.

    That is the smallest n whose t interval is narrower than the gain: whatever the mean turns out to be,
    one of the two is excluded, so the question is settled. (Next to it, a test for the gain has 97 % power.)
    Never below ``least``; None where more than ``most`` would be needed.
    Raises ValueError for a gain of 0 or a negative sd.
    """
    if gain == 0 or not math.isfinite(gain) or not (sd >= 0 and math.isfinite(sd)):
        raise ValueError(f"gain must be a finite number other than 0 and sd at least 0, not {gain} and {sd}")
    low, high = max(2, least), max(2, least, most)
    while low < high:  # the width falls with n
        n = (low + high) // 2
        if _settles(sd, gain, level, n):
            high = n
        else:
            low = n + 1
    return low if _settles(sd, gain, level, low) else None


def _settles(sd: float, gain: float, level: float, n: int) -> bool:
    return 2 * t_quantile(level, n) * sd / math.sqrt(n) < abs(gain)


def t_quantile(level: float, n: int) -> float:
    """How many standard errors a two-sided interval of ``level`` reaches with n values."""
    # Imported here: scipy.special takes a third of a second, and --help must not wait for it.
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    return float(stdtrit(n - 1, (1 + level) / 2))


def _array(values: Values) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise ValueError(f"expected at least one finite number, got {values!r}")
    return array


def _error(array: npt.NDArray[np.float64]) -> float:
    """Standard error of the mean."""
    return float(array.std(ddof=1)) / math.sqrt(len(array))


def _around(mean: float, half: float, level: float, method: str) -> Interval:
    return Interval(float(mean) - half, float(mean) + half, level, method)
