"""What runs can tell before they are run: the smallest effect that so many seeds find.

The noise is that of finished runs of the same protocol and dataset below the runs folder, else an assumption.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadmap.cost import training_flops
from roadmap.designs import Combination
from roadmap.recipe import Recipe, to_json
from roadmap.record import find_runs, read_json
from roadmap.text_table import format_table
from roadmap.words import counted

if TYPE_CHECKING:
    from reports.judging.effect_intervals import Noise
    from studies.command.plan import Plan

#: The effects that a design may give, and what they are called.
KINDS = {
    "mean effect": "mean effect or Shapley value",
    "interaction": "interaction",
    "single gain": "alone or taken from all",
}


def power_of(plan: Plan) -> dict[str, Any]:
    """What the chosen arms, and every design of the study, would cost and could tell, as plain values.

    noise_sd: of a run, AP. assumed: no finished runs to take it from. gain: the smallest difference of two
    arms that is found; None with too few seeds. rows: per design, the smallest effect of each kind that is
    found, None for what it cannot tell.
    """
    import numpy as np

    from reports.judging.effect_intervals import Noise, detectable
    from reports.judging.gains import ASSUMED_SD, MIN_SEEDS

    seeds = len({planned.run.seed for planned in plan.planned})
    recipe = plan.planned[0].run.recipe
    noise = noise_so_far(plan.runs, recipe)
    sd = noise.sd if noise else ASSUMED_SD / math.sqrt(2)
    gain = detectable(np.array([1.0, -1.0]), seeds, Noise(sd, seeds - 1)) if seeds >= MIN_SEEDS else None
    return {
        "seeds": seeds,
        "noise_sd": sd,
        "assumed": noise is None,
        "gain": gain,
        "rows": _rows(plan, seeds, sd) if plan.study.designs else [],
    }


def noise_so_far(runs: Path, recipe: Recipe) -> Noise | None:
    """Noise of single runs of a protocol on a dataset, from finished runs of several seeds; None without."""
    from reports.judging.effect_intervals import Noise
    from reports.judging.gains import pooled_sd

    wanted = (recipe.protocol, to_json(recipe.dataset)["fingerprint"])
    by_recipe: dict[str, dict[int, float]] = {}
    for folder in find_runs(runs):
        result = _result(folder.path)
        try:
            if (result["protocol"], result["dataset"]["fingerprint"]) == wanted:
                by_recipe.setdefault(result["recipe_hash"], {})[result["seed"]] = float(result["best"]["AP"])
        except (KeyError, TypeError):  # not finished, or a record that the report will complain about
            continue
    several = [values for values in by_recipe.values() if len(values) > 1]
    sd = pooled_sd(several)
    return None if sd is None else Noise(sd, sum(len(values) - 1 for values in several))


def power_text(found: dict[str, Any]) -> str:
    """The same for a terminal."""
    source = (
        "assumed as on COCO, for want of finished runs"
        if found["assumed"]
        else "from the finished runs below"
    )
    lines = [
        f"\nNoise of a run: standard deviation {found['noise_sd']:.2f} AP ({source}). With "
        f"{counted(found['seeds'], 'seed')}, "
        + (
            "no gain between two arms can be judged; three is the least."
            if found["gain"] is None
            else f"a gain between two arms of {found['gain']:.1f} AP is told from noise 4 times in 5."
        )
    ]
    if found["rows"]:
        lines.append("The smallest effects (AP) that are found 4 times in 5; –: cannot be told:\n")
        lines.append(
            format_table(
                [
                    {
                        "design": row["design"], "arms": row["arms"], "runs": row["runs"],
                        "training PFLOP": f"{row['training_flops'] / 1e15:.4g}",
                        **{name: _figure(row[kind]) for kind, name in KINDS.items()},
                    }
                    for row in found["rows"]
                ]
            )
        )  # fmt: skip
    return "\n".join(lines)


def _rows(plan: Plan, seeds: int, sd: float) -> list[dict[str, Any]]:
    chosen = tuple(dict.fromkeys(planned.run.arm for planned in plan.planned))
    designs = {design.name: design.arms for design in plan.study.designs}
    if not any(set(chosen) == set(arms) for arms in designs.values()):
        designs = {"(chosen)": chosen} | designs
    recipes: dict[str, Recipe] = {}
    for name in dict.fromkeys(name for arms in designs.values() for name in arms):
        try:
            recipes[name] = plan.study.find(name).resolve(plan.setting)
        except ValueError:  # does not exist in this setting
            continue
    rows = []
    for design, arms in designs.items():
        known = [recipes[name] for name in arms if name in recipes]
        rows.append(
            {
                "design": design, "arms": len(known), "runs": seeds * len(known),
                "training_flops": seeds * sum(training_flops(recipe) for recipe in known),
                **_smallest(known, seeds, sd),
            }
        )  # fmt: skip
    return rows


def _smallest(recipes: Sequence[Recipe], seeds: int, sd: float) -> dict[str, float | None]:
    from reports.judging.effect_intervals import Noise, detectable, interval_freedom
    from reports.judging.effects import (
        Arms,
        add_one_in_weights,
        interaction_weights,
        leave_one_out_weights,
        mean_effect_weights,
        shapley_weights,
    )

    on = [frozenset(recipe.ingredients.enabled()) for recipe in recipes]
    every: Combination = frozenset().union(*on)
    nothing: dict[str, float | None] = dict.fromkeys(KINDS)
    if not on or len(set(on)) < len(on) or seeds < 2:
        return nothing
    factors = tuple(name for name in to_json(recipes[0].ingredients) if name in every)
    arms = Arms(factors, tuple(on))
    noise = Noise(sd, interval_freedom(len(on), seeds))
    means = list(shapley_weights(arms)) if arms.complete else list(mean_effect_weights(arms).values())
    singles = leave_one_out_weights(arms), add_one_in_weights(arms)
    weights = {
        "mean effect": means,
        "interaction": list(interaction_weights(arms).values()),
        # one alone is the end of a single order
        "single gain": [weight for single in singles if len(single) > 1 for weight in single.values()],
    }
    return {
        kind: max((detectable(one, seeds, noise) for one in weights[kind]), default=None) for kind in KINDS
    }


def _result(path: Path) -> Any:
    try:
        return read_json(path / "result.json")
    except ValueError:
        return None


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
