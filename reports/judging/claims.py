"""The paper's claims as data: which runs to compare, and the difference in AP the paper prints.

Every published number is read from ``roadmap/data`` (arXiv 2107.08430v2). Parameters, GFLOPs and latency
are no claims here: the first two are exact, the last belongs to the hardware; tables show them side by side.
Who judges the claims is ``reports/judging/verdicts.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from roadmap.paper import Published, table
from roadmap.protocols import IMAGENET
from roadmap.recipe import Recipe, flatten, recipe_from_json, to_json
from roadmap.reproduction import paper_studies
from roadmap.study import ArmRecord, PublishedRow, StudyRecord, record_of

#: A difference of two figures printed to 0.1 AP is known to this much.
PRINTED = 0.1

#: Epochs at which a distance of two curves of the paper is a claim: the decoupled head converges faster.
CURVE_EPOCHS = (50, 100, 200)


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    recipe: the paper's, whole. about: further fields that the comparison is about, dotted; a run is one of
    this side only with the recipe's own values of them.
    """

    name: str
    recipe: Recipe
    about: tuple[str, ...] = ()

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The paper's recipe, flattened, without the dataset and the protocol's name."""
        flat = flatten(to_json(self.recipe))
        return {k: v for k, v in flat.items() if k != "protocol" and not k.startswith("dataset.")}

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The fields that make a run one of this arm whatever its protocol and dataset."""
        return {
            k: v
            for k, v in self.settings.items()
            if k == "model.name" or k.startswith("ingredients.") or k in self.about
        }

    def matches(self, recipe: Mapping[str, Any]) -> bool:
        """Whether a run's flattened recipe is of this arm, whatever its protocol and dataset."""
        return all(recipe.get(k) == v for k, v in self.identity.items())

    def differences(self, recipe: Mapping[str, Any]) -> tuple[str, ...]:
        """Fields in which a flattened recipe differs from the paper's."""
        return tuple(k for k, v in self.settings.items() if k not in recipe or not _agree(k, v, recipe[k]))


@dataclass(frozen=True)
class Claim:
    """A difference in AP (percent) that the paper reports: ``after`` minus ``before``.

    key: unique, ``table2/simota``. gain: the paper's, signed, never 0.
    before: runs, or the published AP of a model that this project does not train. None where unmeasurable.
    gain_last: the gain at the last epoch where the paper's data gives one (Figure 3); Table 2 shows the
    best evaluated epoch.
    epoch: the claim is about the AP at this epoch, 0 for best or last.
    rounding: how far the true gain of the paper's runs may lie from ``gain``.
    unmeasurable: why no run of this project can measure it; empty when one can.
    """

    key: str
    source: str
    statement: str
    gain: float
    before: Side | float | None
    after: Side | None
    gain_last: float | None = None
    epoch: int = 0
    rounding: float = PRINTED
    unmeasurable: str = ""

    def __post_init__(self) -> None:
        if self.gain == 0:
            raise ValueError(f"{self.key}: a claim needs a direction, its gain cannot be 0")
        if not self.unmeasurable and (self.before is None or self.after is None):
            raise ValueError(f"{self.key}: name both sides, or why it cannot be measured")


def _agree(field: str, paper: Any, here: Any) -> bool:
    """Equal, or any ImageNet weights where the paper has its own: those were not published."""
    if field == "training.pretrained" and paper == IMAGENET:
        return str(here).startswith(IMAGENET)
    return here == paper


@cache
def paper_claims() -> tuple[Claim, ...]:
    """Every claim, in the order of the paper's tables, Figure 3 last. They follow from the arms of the
    studies that replay the tables; what is no arm of a study is listed here.
    """
    found: list[Claim] = []
    for study in paper_studies():
        _add(found, study_claims(record_of(study)))
    _add(found, _table6())
    return tuple(sorted(found, key=lambda claim: (not claim.source.startswith("Table"), claim.source)))


def more_claims(studies: Iterable[StudyRecord]) -> tuple[Claim, ...]:
    """What the paper says of studies' arms and has not said of the same recipes elsewhere."""
    found = list(paper_claims())
    for study in studies:
        _add(found, study_claims(study))
    return tuple(found[len(paper_claims()) :])


def _add(found: list[Claim], more: Iterable[Claim]) -> None:
    """Add claims, each pair of recipes once: what a further table knows of the pair goes to the first."""
    for claim in more:
        place = next((i for i, other in enumerate(found) if _same(claim, other)), None)
        if place is None:
            found.append(claim)
        elif claim.gain_last is not None:
            found[place] = replace(found[place], gain_last=claim.gain_last)


def _same(one: Claim, other: Claim) -> bool:
    """Whether two claims are about the same recipes, or the same published figure, at the same epoch."""
    mine, theirs = ((c.epoch, c.gain, _what(c.before), _what(c.after)) for c in (one, other))
    return mine == theirs and one.after is not None


def _what(side: Side | float | None) -> Recipe | float | None:
    return side.recipe if isinstance(side, Side) else side


def find_claim(key: str) -> Claim:
    """Claim by key. Raises ValueError with the valid keys."""
    for claim in paper_claims():
        if claim.key == key:
            return claim
    raise ValueError(f"unknown claim {key!r}; choose one of: {', '.join(c.key for c in paper_claims())}")


def study_claims(study: StudyRecord) -> tuple[Claim, ...]:
    """What the paper says of a study's arms: every gain over an arm that it sets another against, every
    distance to a published row that names the arm as its rival, where the paper prints both, and how far
    apart two of its curves are on the way.
    """
    sides, found = _sides(study), []
    for arm in study.arms:
        for other in filter(None, (arm.against, *arm.also)):
            before = study.find(other)
            if before is not None and before.paper and arm.paper:
                printed = arm.paper.gain if other == arm.against else None
                found.append(_gain_claim(before, arm, printed, sides))
                found += _curve_claims(before, arm, sides)
    rows = (row for each in study.tables for row in each.rows)
    for row in (row for row in rows if isinstance(row, PublishedRow)):
        rival = study.find(row.rival)
        if rival is not None and rival.paper and rival.paper.source == row.paper.source:
            key = f"{_slug(row.paper)}/{rival.name}-{row.label.lower()}"
            words = f"from {row.label} (published, {row.paper.ap}) to {rival.name}"
            gain = _distance(row.paper, rival.paper)
            found.append(_claim(key, words, gain, rival, row.paper.ap, sides))
    return tuple(claim for claim in found if claim is not None)


def _gain_claim(
    before: ArmRecord, arm: ArmRecord, printed: float | None, sides: Mapping[str, Side]
) -> Claim | None:
    """The gain of an arm over another; where the paper prints none, between two figures of one table."""
    assert before.paper is not None
    assert arm.paper is not None
    key = f"{_slug(arm.paper)}/{arm.name}"
    if printed is None:
        if before.paper.source != arm.paper.source:
            return None
        key += f"-from-{before.name}"
    gain = _distance(before.paper, arm.paper) if printed is None else printed
    claim = _claim(key, f"from {before.name} to {arm.name}", gain, arm, sides.get(before.name), sides)
    distances = _distances(before.paper, arm.paper)
    return claim and replace(claim, gain_last=distances[max(distances)] if distances else None)


def _curve_claims(before: ArmRecord, arm: ArmRecord, sides: Mapping[str, Side]) -> list[Claim | None]:
    """The distance of two of the paper's curves at some epochs on the way."""
    assert before.paper is not None
    assert arm.paper is not None
    distances = _distances(before.paper, arm.paper)
    found = []
    for epoch in (each for each in CURVE_EPOCHS if each in distances):
        words = f"from {before.name} to {arm.name} after {epoch} of {max(distances)} epochs"
        key = f"figure3/epoch-{epoch}"
        claim = _claim(key, words, distances[epoch], arm, sides.get(before.name), sides)
        found.append(claim and replace(claim, source="Figure 3", epoch=epoch, rounding=0.0))
    return found


def _distances(before: Published, after: Published) -> dict[int, float]:
    """How far one curve is above the other, by epoch; nothing where the paper does not show both."""
    ours, theirs = dict(after.curve), dict(before.curve)
    return {epoch: _gain(ours[epoch], theirs[epoch]) for epoch in ours if epoch in theirs}


def _claim(
    key: str,
    words: str,
    gain: float | None,
    after: ArmRecord,
    before: Side | float | None,
    sides: Mapping[str, Side],
) -> Claim | None:
    """A claim, unless the paper lacks a figure, prints no difference, or the recipe cannot be read."""
    side = sides.get(after.name)
    if not gain or before is None or side is None or after.paper is None:
        return None
    return Claim(key, after.paper.source, f"{gain:+.1f} AP {words}", gain, before, side)


def _sides(study: StudyRecord) -> dict[str, Side]:
    """The arms whose recipes can be read, by name. What tells those apart that have one model and the same
    ingredients is what they are about.
    """
    sides: dict[str, Side] = {}
    for arm in study.arms:
        with suppress(ValueError):  # of another version of the code
            sides[arm.name] = Side(arm.name, recipe_from_json(arm.reference))
    alike: dict[str, list[Side]] = {}
    for side in sides.values():
        alike.setdefault(json.dumps(side.identity), []).append(side)
    for group in alike.values():
        about = tuple(k for k, v in group[0].settings.items() if any(o.settings[k] != v for o in group))
        sides |= {side.name: replace(side, about=about) for side in group}
    return sides


def _distance(before: Published, after: Published) -> float | None:
    return None if before.ap is None or after.ap is None else _gain(after.ap, before.ap)


def _slug(paper: Published) -> str:
    """``Table 2`` as it begins a key: ``table2``."""
    return paper.source.lower().replace(" ", "")


def _table6() -> tuple[Claim, ...]:
    """The paper's rows on test-dev against the published detector of the same backbone or size."""
    ap = {str(r["method"]): _number(r["ap"]) for r in table("table6_sota") if r["ap"] is not None}
    pairs = (("YOLOX-DarkNet53", "YOLOv3-ultralytics"), *((f"YOLOX-{s}", f"YOLOv5-{s}") for s in "MLX"))
    reason = (
        "COCO test-dev has no public annotations; its AP comes from the evaluation server alone, for which "
        "studies.evaluate --submission writes the results"
    )
    return tuple(
        Claim(
            f"table6/{ours.lower()}",
            "Table 6",
            f"{_gain(ap[ours], ap[theirs]):+.1f} AP from {theirs} to {ours}, COCO test-dev",
            _gain(ap[ours], ap[theirs]),
            None,
            None,
            unmeasurable=reason,
        )
        for ours, theirs in pairs
    )


def _gain(after: float, before: float) -> float:
    """Difference of two printed figures, without the rounding of binary fractions."""
    return round(after - before, 4)


def _number(value: str | float | None) -> float:
    if not isinstance(value, float):
        raise ValueError(f"the paper's data has {value!r} where a number belongs")
    return value
