"""All combinations of the ingredients on the roadmap's model, as arms of a study, and designs among them."""

from __future__ import annotations

from dataclasses import replace

from roadmap.combinations import ROADMAP_MODEL, combination_arm, combination_name
from roadmap.designs import (
    Combination,
    Fraction,
    add_one_in,
    aliasing,
    factorial,
    in_order,
    leave_one_out,
    one_order,
)
from roadmap.paper import Published, published_stage
from roadmap.stages import INGREDIENT_LABELS, STAGES, Stage
from roadmap.study import Arm, Companion, Design
from yolox_core.config import INGREDIENTS, Ingredients

#: A quarter of the combinations. Ingredients that assign positives (anchor-free, multi positives, SimOTA) are
#: likely to work on each other, so each pair of them shares its contrast with a pair of the other three.
QUARTER = Fraction(
    INGREDIENTS,
    (
        frozenset({"decoupled_head", "anchor_free", "strong_augmentation", "multi_positives"}),
        frozenset({"strong_augmentation", "multi_positives", "simota", "nms_free"}),
    ),
)


def combination_arms() -> tuple[Arm, ...]:
    """Every combination, from none to all; each against itself without its last ingredient in the paper's
    order, so that the paper's stages stand against the stage before them.
    """
    return tuple(map(_arm, factorial(INGREDIENTS)))


def attribution_designs() -> tuple[Design, ...]:
    """Which arms answer what; the factorial holds them all."""
    roadmap = tuple(stage.adds for stage in STAGES if stage.adds)
    return (
        _design(
            "roadmap", one_order(roadmap), "the paper's own order: one gain per ingredient, of that order"
        ),
        _design(
            "leave-one-out", leave_one_out(INGREDIENTS), "what is lost when one ingredient is taken from all"
        ),
        _design("add-one-in", add_one_in(INGREDIENTS), "what each ingredient gives alone"),
        _design("fraction", QUARTER.combinations(), aliasing(QUARTER, INGREDIENT_LABELS)),
        _design(
            "factorial",
            factorial(INGREDIENTS),
            "every combination: exact Shapley values, every order, every interaction",
        ),
    )


def _design(name: str, combinations: tuple[Combination, ...], summary: str) -> Design:
    return Design(name, tuple(combination_name(one) for one in combinations), summary)


def _arm(combination: Combination) -> Arm:
    enabled = in_order(combination, INGREDIENTS)
    before = combination_name(enabled[:-1]) if enabled else ""
    plain = combination_arm(ROADMAP_MODEL, Ingredients(**dict.fromkeys(enabled, True)), before)
    stage = _stages().get(combination)
    return replace(
        plain,
        name=combination_name(enabled),
        label=_label(enabled),
        paper=_published(stage) if stage else None,
        companions=_companions(enabled),
        summary=f"Table 2: {stage.row}" if stage else "",
    )


def _stages() -> dict[Combination, Stage]:
    on: frozenset[str] = frozenset()
    found = {}
    for stage in STAGES:
        on |= {stage.adds} if stage.adds else set()
        found[on] = stage
    return found


def _published(stage: Stage) -> Published:
    return published_stage(stage.row)


def _companions(enabled: list[str]) -> tuple[Companion, ...]:
    """What else the paper changes with the ingredient that an arm adds to the one it is compared against."""
    added = enabled[-1] if enabled else None
    return next((stage.companions for stage in STAGES if stage.adds == added), ())


def _label(enabled: list[str]) -> str:
    """The ingredients that are on, or off when those are fewer, in the paper's words."""
    off = [INGREDIENT_LABELS[name] for name in INGREDIENTS if name not in enabled]
    if not off:
        return "all six"
    if len(off) < len(enabled):
        return f"all but {', '.join(off)}"
    return ", ".join(INGREDIENT_LABELS[name] for name in enabled) or "none"
