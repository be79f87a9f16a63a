"""Records of combinations of ingredients, with an AP that a test knows the truth of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from roadmap.attribution import attribution_designs, combination_arms
from roadmap.designs import Combination
from roadmap.study import Setting, Study, write_study
from tests.reports.factory import SHAPES, protocol_of, write_run
from yolox_core.config import INGREDIENTS

#: A study of all combinations; no report may know it by its name.
STUDY = Study("everything", "What gives what?", combination_arms(), designs=attribution_designs())


def write_combinations(
    runs: Path,
    figure: Callable[[Combination, int], float],
    design: str = "factorial",
    seeds: Iterable[int] = (0,),
) -> None:
    """A finished run per combination of a design and seed, with the AP that ``figure`` says."""
    setting = Setting(protocol_of("demo"), SHAPES)
    write_study(runs / STUDY.name, STUDY)
    for arm in STUDY.choose([design])[0]:
        recipe = arm.resolve(setting)
        on = frozenset(name for name in INGREDIENTS if getattr(recipe.ingredients, name))
        for seed in seeds:
            write_run(runs, arm.name, seed, study=STUDY.name, ap=figure(on, seed), recipe=recipe)
