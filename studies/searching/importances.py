"""How much each searched setting decided: PED-ANOVA by Optuna, and what it says of shuffled figures.

PED-ANOVA (Watanabe, Bansal, Hutter, IJCAI 2023) asks how far the settings of the best trials are from those
of all trials. A stopped trial counts as worse than every finished one: leaving it out would hide just the
setting that made it stop. The choices are in docs/decisions/0116.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from roadmap.importances import Importance, Importances, write_importances
from roadmap.search import Parameter, SearchRecord, Trial, read_search

if TYPE_CHECKING:
    import optuna

METHOD = (
    "PED-ANOVA: how far the best quarter's values of a setting are from all trials'; bars: its share of all "
    "settings together. A stopped trial counts as worse than every finished one."
)
#: The best trials, as a share of all.
BEST = 0.25
#: Fewer trials than this say nothing about any setting.
LEAST = 8
_SHUFFLES, _CHANCE = 100, 95


def update_importances(folder: Path) -> Importances | None:
    """Write importances.json of the search in ``folder`` (``runs/<search>``) and return it; None where the
    folder is of no search.
    """
    record = read_search(folder)
    if record is None:
        return None
    found = compute(record, np.random.default_rng(record.space.seed))
    write_importances(folder, found)
    return found


def compute(record: SearchRecord, rng: np.random.Generator, shuffles: int = _SHUFFLES) -> Importances:
    """The importances of every base's search, objective by objective. rng: deals figures out anew."""
    found: list[Importance] = []
    trials: dict[str, int] = {}
    for base in record.bases:
        finished = [t for t in record.of(base.name) if t.state == "finished" and t.values is not None]
        trials[base.name] = len(finished)
        stopped = [t for t in record.of(base.name) if t.state == "stopped"]
        if len(finished) < LEAST:
            continue
        for place, objective in enumerate(record.space.objectives):
            sign = -1.0 if objective.direction == "up" else 1.0
            losses = [sign * t.values[place] for t in finished if t.values is not None]
            losses += [max(losses) + 1.0] * len(stopped)
            shares = _shares(record.space.parameters, [*finished, *stopped], losses, rng, shuffles)
            found += [Importance(base.name, objective.name, key, *pair) for key, pair in shares.items()]
    return Importances(METHOD, trials, tuple(found))


def _shares(
    parameters: Sequence[Parameter],
    trials: Sequence[Trial],
    losses: Sequence[float],
    rng: np.random.Generator,
    shuffles: int,
) -> dict[str, tuple[float, float]]:
    """(share, what chance gives) by setting; nothing where no setting decides anything."""
    values = _measure(parameters, trials, losses)
    total = math.fsum(values.values())
    if not total > 0:
        return {}
    dealt = [_measure(parameters, trials, rng.permutation(losses)) for _ in range(shuffles)]
    return {
        key: (value / total, float(np.percentile([each[key] for each in dealt], _CHANCE)) / total)
        for key, value in values.items()
    }


def _measure(
    parameters: Sequence[Parameter], trials: Sequence[Trial], losses: Sequence[float] | np.ndarray[Any, Any]
) -> dict[str, float]:
    """PED-ANOVA of each setting, not normalised."""
    import optuna

    distributions = {p.key: _distribution(p) for p in parameters}
    rows = [
        optuna.trial.create_trial(
            params={p.key: _value(p, trial.parameters[p.key]) for p in parameters},
            distributions=distributions,
            value=float(loss),
        )
        for trial, loss in zip(trials, losses, strict=True)
    ]
    study = _in_memory(rows)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of ``normalize``
        return optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)


def _in_memory(rows: Sequence[optuna.trial.FrozenTrial]) -> optuna.Study:
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="minimize")
        study.add_trials(rows)
    finally:
        optuna.logging.set_verbosity(level)
    return study


def _distribution(parameter: Parameter) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.kind == "choice":  # by place: a choice may be a list
        return CategoricalDistribution(range(len(parameter.choices)))
    if parameter.kind == "whole":
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def _value(parameter: Parameter, value: Any) -> Any:
    return parameter.choices.index(value) if parameter.kind == "choice" else value
