"""What our runs say about each of the paper's claims, and the rule that decides.

A claim is judged by the gains of pairs of runs with the same seed: their 95 % t interval against 0 and the
paper's gain. The rules and their corner cases are in docs/decisions/0041, what counts as the paper's
protocol in 0043, best against last epoch in 0042.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from reports.judging.claims import Claim, paper_claims
from reports.judging.evidence import Conditions, gather
from reports.judging.gains import (
    ASSUMED_SD,
    MIN_SEEDS,
    MORE_THAN_NOISE,
    TOO_FEW_SEEDS,
    WITHIN_NOISE,
    Gain,
    judge_gain,
    varying,
)
from reports.judging.statistics import (
    LEVEL,
    ROUNDING,
    Interval,
    paired_gains,
    prediction_interval,
    seeds_needed,
    sign_flip_p,
    standard_deviation,
    studentised_interval,
    t_interval,
)

if TYPE_CHECKING:
    from reports.records.collect import RunRecord

REPRODUCED = "reproduced"
SAME_DIRECTION = "same direction"
CONTRADICTED = "contradicted"
NOT_MEASURED = "not measured"

#: The rule of each verdict; the first that applies, from "not measured" on, decides.
RULES: dict[str, str] = {
    REPRODUCED: "the 95 % interval of the gain over seeds excludes 0 on the paper's side and contains the "
    "paper's gain (± 0.1 where it is a difference of two figures printed to 0.1)",
    SAME_DIRECTION: "the interval excludes 0 on the paper's side and does not contain the paper's gain",
    WITHIN_NOISE: "the interval contains 0",
    CONTRADICTED: "the interval excludes 0 on the other side",
    NOT_MEASURED: "not both sides were run on the paper's dataset under its protocol, or with fewer than "
    f"{MIN_SEEDS} common seeds, or every seed gave the same AP, or this project cannot measure it",
}
#: The rule of the words beside a gain under other conditions.
OTHER_DIRECTION = "other direction"
ELSEWHERE_RULE = (
    "Other conditions are another dataset or protocol than the paper's; what was measured there is for "
    f"information and no verdict. “{SAME_DIRECTION}” and “{OTHER_DIRECTION}” (as the paper's gain): the 95 % "
    f"interval over seeds excludes 0; “{WITHIN_NOISE}”: it contains 0; “{TOO_FEW_SEEDS}”: fewer than "
    f"{MIN_SEEDS}, or all with the same AP, and the number says nothing about direction."
)
FAILURE_RULE = (
    "a claim fails when it is contradicted, or within noise while the interval excludes the paper's gain"
)

EPOCHS = ("best", "last")
#: What a table of verdicts says about the epoch.
EPOCH_NOTES = {
    "best": "Best evaluated epoch on the validation split, as in the paper's Table 2. It is the highest of "
    "many noisy figures: an AP is biased upwards, and so is a gain where one curve is noisier or falls "
    "at the end (Figure 3: +1.1 AP for the decoupled head at the best epochs, +0.5 at the last).",
    "last": "Last epoch. The paper prints the best evaluated epoch; its last one is known for the first two "
    "stages alone (Figure 3).",
}


@dataclass(frozen=True)
class Direction:
    """What runs under other conditions say: for information, never a verdict. word: see ELSEWHERE_RULE."""

    where: str
    gain: Gain
    word: str


@dataclass(frozen=True)
class Verdict:
    """The judgement of one claim.

    label: a key of RULES. reason: one sentence. epoch: ``best``, ``last`` or ``epoch 50``.
    paper_gain: what the gain is held against. gains: by seed, AP in percent. interval: t, what decides;
    bootstrap: studentised, beside it; prediction: where the gain of one further pair would lie.
    p_value: two-sided sign flip. seeds_to_settle: seeds in all at the observed (or ``sd_assumed``) sd,
    None where the question is settled or cannot be measured. direction: runs under other conditions.
    """

    claim: Claim
    label: str
    reason: str
    epoch: str
    paper_gain: float
    gains: Mapping[int, float]
    mean: float | None = None
    sd: float | None = None
    interval: Interval | None = None
    bootstrap: Interval | None = None
    prediction: Interval | None = None
    p_value: float | None = None
    seeds_to_settle: int | None = None
    sd_assumed: bool = False
    notes: tuple[str, ...] = ()
    direction: Direction | None = None
    runs: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        return RULES[self.label]

    @property
    def fails(self) -> bool:
        """Whether the paper's claim did not hold up under the paper's own conditions (FAILURE_RULE)."""
        if self.label == CONTRADICTED:
            return True
        return self.label == WITHIN_NOISE and not _holds_papers_gain(self.claim, self)


def judge(
    claim: Claim,
    before: Mapping[int, float] | float,
    after: Mapping[int, float],
    rng: np.random.Generator,
    conditions: Conditions = Conditions(),  # noqa: B008 - frozen
    epoch: str = "best",
    level: float = LEVEL,
) -> Verdict:
    """Judge one claim from the AP (percent) of its runs by seed.

    before: the runs' AP, or the one published figure that the claim is held against. rng serves the
    bootstrap interval and, above 16 pairs, the sign flips; the label does not depend on it.
    Raises ValueError for an unknown epoch.
    """
    if epoch not in EPOCHS:
        raise ValueError(f"epoch must be one of {', '.join(EPOCHS)}, not {epoch!r}")
    gains = _gains(before, after)
    values = list(gains.values())
    paper_gain, notes = _papers_gain(claim, epoch)
    verdict = Verdict(
        claim, NOT_MEASURED, "", _epoch_name(claim, epoch), paper_gain, gains,
        notes=(*notes, *conditions.notes),
    )  # fmt: skip
    if values:
        verdict = replace(
            verdict,
            mean=float(np.mean(values)),
            sd=standard_deviation(values),
            interval=t_interval(values, level),
            bootstrap=studentised_interval(values, rng, level),
            prediction=prediction_interval(values, level),
            p_value=sign_flip_p(values, rng),
        )
    obstacles = conditions.obstacles or _seed_obstacles(before, after, gains)
    if obstacles:
        return _with_seeds(replace(verdict, reason="; ".join(obstacles)), level)
    label, reason = _label(claim, verdict, level)
    return _with_seeds(replace(verdict, label=label, reason=reason), level)


def judge_study(
    records: Iterable[RunRecord],
    rng: np.random.Generator,
    claims: Sequence[Claim] | None = None,
    epoch: str = "best",
    level: float = LEVEL,
) -> tuple[Verdict, ...]:
    """Judge the paper's claims (or those given) from finished runs of any study.

    A run belongs to a claim by its resolved recipe, not by its study's name, so runs of several studies
    may be given together. Claims without runs are "not measured".
    """
    runs = tuple(records)
    return tuple(
        _judge_from(claim, runs, rng, epoch, level)
        for claim in (paper_claims() if claims is None else claims)
    )


def _judge_from(
    claim: Claim, runs: Sequence[RunRecord], rng: np.random.Generator, epoch: str, level: float
) -> Verdict:
    evidence = gather(claim, runs, epoch)
    verdict = judge(claim, evidence.before, evidence.after, rng, evidence.conditions, epoch, level)
    direction = evidence.direction
    if direction is None:
        return replace(verdict, runs=evidence.runs)
    gain = judge_gain(direction.before, direction.after, level=level)
    if gain is None:
        return replace(verdict, runs=evidence.runs)
    agrees = SAME_DIRECTION if gain.mean * verdict.paper_gain > 0 else OTHER_DIRECTION
    word = agrees if gain.word == MORE_THAN_NOISE else gain.word
    return replace(verdict, runs=evidence.runs, direction=Direction(direction.where, gain, word))


def _papers_gain(claim: Claim, epoch: str) -> tuple[float, tuple[str, ...]]:
    """The gain to compare with at an epoch, and what a reader should know about it."""
    if claim.epoch:
        return claim.gain, ()
    if epoch == "last" and claim.gain_last is not None:
        return claim.gain_last, ("last epoch on both sides; the paper's figure is from Figure 3",)
    if epoch == "last" and not claim.unmeasurable:
        return claim.gain, ("last epoch here, best evaluated epoch in the paper",)
    return claim.gain, ()


def _gains(before: Mapping[int, float] | float, after: Mapping[int, float]) -> dict[int, float]:
    if isinstance(before, Mapping):
        return paired_gains(before, after)
    return paired_gains(dict.fromkeys(after, before), after)


def _seed_obstacles(
    before: Mapping[int, float] | float, after: Mapping[int, float], gains: Mapping[int, float]
) -> tuple[str, ...]:
    """Why the seeds at hand do not allow a judgement."""
    if not gains:
        return ("no seed was run on both sides",)
    if len(gains) < MIN_SEEDS:
        return (f"{len(gains)} of at least {MIN_SEEDS} seeds on both sides",)
    sides = [side for side in (before, after) if isinstance(side, Mapping)]
    if not varying(gains, *sides):
        return ("every seed gave the same AP: the seeds had no effect, or the runs are copies",)
    return ()


def _label(claim: Claim, verdict: Verdict, level: float) -> tuple[str, str]:
    """The label and its sentence. Needs an interval."""
    interval, gain = verdict.interval, verdict.paper_gain
    assert interval is not None
    found = (
        f"{verdict.mean:+.2f} AP, {level * 100:g} % interval {interval.low:+.2f} to {interval.high:+.2f} "
        f"over {len(verdict.gains)} seeds"
    )
    paper = f"the paper's {gain:+.1f}"
    holds = _holds_papers_gain(claim, verdict)
    if interval.contains(0.0):
        return WITHIN_NOISE, f"{found}: contains 0 {'and' if holds else 'but not'} {paper}"
    if (interval.low > 0) != (gain > 0):
        return CONTRADICTED, f"{found}: the other side of 0 from {paper}"
    if holds:
        return REPRODUCED, f"{found}: contains {paper}"
    size = "less" if abs(verdict.mean or 0.0) < abs(gain) else "more"
    reason = f"{found}: {size} than {paper}"
    if verdict.prediction is not None and verdict.prediction.contains(gain, _slack(claim, gain)):
        reason += ", though a single pair of runs, as the paper reports, may well give that"
    return SAME_DIRECTION, reason


def _with_seeds(verdict: Verdict, level: float) -> Verdict:
    """Add how many seeds (in all) would settle an open question."""
    n = len(verdict.gains)
    is_open = verdict.label == WITHIN_NOISE and _holds_papers_gain(verdict.claim, verdict)
    if verdict.claim.unmeasurable or not (is_open or verdict.label == NOT_MEASURED):
        return verdict
    known = verdict.sd is not None and n >= MIN_SEEDS and verdict.sd >= ROUNDING
    sd = verdict.sd if known and verdict.sd is not None else ASSUMED_SD
    least = n + 1 if is_open else MIN_SEEDS
    needed = seeds_needed(sd, verdict.paper_gain, level, least)
    return replace(verdict, seeds_to_settle=needed, sd_assumed=not known)


def _holds_papers_gain(claim: Claim, verdict: Verdict) -> bool:
    """Whether the interval holds the paper's gain, as far as the paper's digits tell it."""
    interval, gain = verdict.interval, verdict.paper_gain
    return interval is not None and interval.contains(gain, _slack(claim, gain))


def _slack(claim: Claim, gain: float) -> float:
    """Rounding of the printed gain; none where it is Figure 3's (four decimals)."""
    return claim.rounding if gain == claim.gain else 0.0


def _epoch_name(claim: Claim, epoch: str) -> str:
    return f"epoch {claim.epoch}" if claim.epoch else epoch
