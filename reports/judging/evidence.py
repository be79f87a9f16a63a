"""Which runs speak about a claim: found by recipe, sifted by dataset and protocol, paired by seed.

What counts as the paper's protocol is in docs/decisions/0043.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.judging.claims import Claim, Side
from reports.judging.gains import start_refusal
from roadmap.protocols import COCO_2017

if TYPE_CHECKING:
    from reports.records.collect import RunRecord

#: Deviations that are named but do not keep a run from speaking about the paper's figure.
TOLERATED = ("precision", "mixed_precision", "processes", "images skipped (train)", "code")
#: How many deviating fields a reason names.
NAMED = 4


@dataclass(frozen=True)
class Conditions:
    """What the runs were measured under.

    obstacles: why they cannot speak about the paper's figure; empty under its dataset and protocol.
    notes: what a reader should know all the same.
    """

    obstacles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Elsewhere:
    """AP (percent) by seed of runs under other conditions. where: dataset and protocol in words."""

    where: str
    before: Mapping[int, float]
    after: Mapping[int, float]


@dataclass(frozen=True)
class Evidence:
    """AP (percent) by seed of both sides, their conditions and run ids; direction from other conditions."""

    before: Mapping[int, float] | float
    after: Mapping[int, float]
    conditions: Conditions
    runs: tuple[str, ...] = ()
    direction: Elsewhere | None = None


def gather(claim: Claim, runs: Sequence[RunRecord], epoch: str = "best") -> Evidence:
    """What the runs hold about a claim. epoch: ``best`` or ``last``, unless the claim names an epoch."""
    if claim.before is None or claim.after is None:
        return Evidence({}, {}, Conditions((claim.unmeasurable,)))
    arms = [arm for arm in (claim.before, claim.after) if isinstance(arm, Side)]
    sides = [_side(arm, runs) for arm in arms]
    proper = [_newest_by_seed(side.proper) for side in sides]
    figures = [_figures(side, claim, epoch) for side in proper]
    reasons = tuple(dict.fromkeys(r for s, f in zip(sides, figures, strict=True) if not f for r in _lack(s)))
    used = [
        run
        for side, known in zip(proper, figures, strict=True)
        for seed, run in side.items()
        if seed in known
    ]
    return Evidence(
        figures[0] if isinstance(claim.before, Side) else claim.before,
        figures[-1],
        Conditions(reasons, _notes(used)),
        tuple(run.run for run in used),
        _seen_elsewhere(sides, claim, epoch) if len(sides) == 2 else None,
    )


def obstacles(arm: Side, run: RunRecord) -> tuple[str, ...]:
    """Why a run does not speak about the paper's figure; empty when it does."""
    found = []
    if run.dataset.get("coco") is not True:
        found.append(_dataset_obstacle(run.dataset))
    fields = [name for name in arm.differences(run.recipe) if not _tolerated(name)]
    own = [str(deviation["field"]) for deviation in run.deviations]
    fields += [name for name in own if not _elsewhere(name, run) and not _tolerated(name)]
    if fields:
        more = f" and {len(fields) - NAMED} more" if len(fields) > NAMED else ""
        found.append(f"protocol {run.protocol} differs from the paper's: {', '.join(fields[:NAMED])}{more}")
    if (run.dataset.get("skipped") or {}).get("val"):
        found.append("validation images were skipped")
    return tuple(found)


@dataclass(frozen=True)
class _Found:
    """An arm and its runs: under the paper's conditions, and the others with their obstacles."""

    arm: Side
    proper: tuple[RunRecord, ...]
    others: tuple[tuple[RunRecord, tuple[str, ...]], ...]


def _side(arm: Side, runs: Sequence[RunRecord]) -> _Found:
    sifted = [(run, obstacles(arm, run)) for run in runs if arm.matches(run.recipe)]
    return _Found(arm, tuple(r for r, why in sifted if not why), tuple((r, why) for r, why in sifted if why))


def _dataset_obstacle(dataset: Mapping[str, Any]) -> str:
    """Eligible is what was recognised as COCO by its content when the run was planned, never by its size."""
    sizes = ("train_images", "val_images", "num_classes")
    if all(dataset.get(name) == getattr(COCO_2017, name) for name in sizes):
        return f"dataset {dataset.get('name')} has the size of COCO 2017 and not its content"
    return f"dataset {dataset.get('name')} instead of COCO 2017"


def _elsewhere(field: str, run: RunRecord) -> bool:
    """Whether a deviation is looked at by other means.

    Recipe fields are compared with the arm itself, which may depart from its stage's recipe on purpose; the
    dataset and skipped images are in the record's own words.
    """
    return field in run.recipe or field.startswith(("dataset.", "images skipped"))


def _tolerated(field: str) -> bool:
    return field.rpartition(".")[2] in TOLERATED


def _newest_by_seed(runs: Iterable[RunRecord]) -> dict[int, RunRecord]:
    """One run per seed: the same recipe and seed may have been run in two studies."""
    return {run.seed: run for run in sorted(runs, key=lambda r: (r.finished, r.run))}


def _figures(runs: Mapping[int, RunRecord], claim: Claim, epoch: str) -> dict[int, float]:
    """AP by seed, without runs whose AP is undefined or was not evaluated at the claim's epoch."""
    figures = {seed: _ap(run, claim, epoch) for seed, run in runs.items()}
    return {seed: ap for seed, ap in figures.items() if ap is not None}


def _ap(run: RunRecord, claim: Claim, epoch: str) -> float | None:
    if claim.epoch:
        return next((e.ap for e in run.epochs if e.epoch == claim.epoch), None)
    return (run.best if epoch == "best" else run.last)["AP"]


def _lack(side: _Found) -> tuple[str, ...]:
    """Why a side has no figure."""
    if side.proper:
        return (f"the runs of {side.arm.name} have no AP at that epoch",)
    if not side.others:
        return (f"no runs of {side.arm.name}",)
    return max(side.others, key=lambda pair: (pair[0].finished, pair[0].run))[1]


def _notes(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Tolerated deviations of the runs that count."""
    notes = {f"{d['field']}: {d['here']}" for run in runs for d in run.deviations if _tolerated(d["field"])}
    return tuple(sorted(notes))


def _seen_elsewhere(sides: Sequence[_Found], claim: Claim, epoch: str) -> Elsewhere | None:
    """AP under one other dataset and protocol: where most seeds were run, then the newest."""
    starts = [side.arm.recipe.training.pretrained for side in sides]
    grouped = [_by_conditions(run for run, _ in side.others) for side in sides]
    best: tuple[tuple[int, str], Elsewhere] | None = None
    for key in sorted(grouped[0].keys() & grouped[1].keys()):
        chosen = [_one_recipe(side.arm, group[key]) for side, group in zip(sides, grouped, strict=True)]
        first, second = (next(iter(side.values())).recipe for side in chosen)
        if start_refusal(first, second, (starts[0], starts[1])):
            continue
        before, after = (_figures(side, claim, epoch) for side in chosen)
        common = before.keys() & after.keys()
        if not common:
            continue
        newest = max(run.finished for side in chosen for run in side.values())
        example = next(iter(chosen[1].values()))
        found = Elsewhere(f"{example.dataset.get('name')}, {example.protocol} protocol", before, after)
        if best is None or (len(common), newest) > best[0]:
            best = (len(common), newest), found
    return best[1] if best else None


def _by_conditions(runs: Iterable[RunRecord]) -> dict[tuple[str, str], list[RunRecord]]:
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        groups.setdefault((str(run.dataset.get("fingerprint")), run.protocol), []).append(run)
    return groups


def _one_recipe(arm: Side, runs: Sequence[RunRecord]) -> dict[int, RunRecord]:
    """Runs of one recipe by seed, the one that is nearest the paper's, then the newest: figures of two
    recipes are not averaged, and one may be of an arm of another study, which differs on purpose.
    """
    nearest = max(runs, key=lambda r: (-len(arm.differences(r.recipe)), r.finished, r.recipe_hash))
    return _newest_by_seed(run for run in runs if run.recipe_hash == nearest.recipe_hash)
