"""How much each searched setting decided: PED-ANOVA by Optuna, and what it says of shuffled figures.

PED-ANOVA (Watanabe, Bansal, Hutter, IJCAI 2023) asks how far the settings of the best trials are from those
of all trials. A stopped trial counts as worse than every finished one: leaving it out would hide just the
setting that made it stop. The choices are in docs/decisions/0116.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from roadmap.importances import Importance, Importances, write_importances
from roadmap.search import SearchRecord, Space, Trial, read_search
from studies.searching.asking import as_optuna

if TYPE_CHECKING:
    import numpy as np

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
    import numpy as np

    record = read_search(folder)
    if record is None:
        return None
    found = compute(record, np.random.default_rng(record.space.seed))
    write_importances(folder, found)
    return found


def refresh(folder: Path) -> str:
    """Before a report of the study in ``folder``: :func:`update_importances`; what is wrong, empty where
    nothing is. The report is made all the same.
    """
    try:
        update_importances(folder)
    except (ValueError, OSError) as error:
        return f"importances not computed: {error}"
    return ""


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
            shares = _shares(record.space, [*finished, *stopped], losses, rng, shuffles)
            found += [Importance(base.name, objective.name, key, *pair) for key, pair in shares.items()]
    return Importances(METHOD, trials, tuple(found))


def _shares(
    space: Space,
    trials: Sequence[Trial],
    losses: Sequence[float],
    rng: np.random.Generator,
    shuffles: int,
) -> dict[str, tuple[float, float]]:
    """(share, what chance gives) by setting; nothing where no setting decides anything."""
    import numpy as np

    values = _measure(space, trials, losses)
    total = math.fsum(values.values())
    if not total > 0:
        return {}
    dealt = [_measure(space, trials, rng.permutation(losses)) for _ in range(shuffles)]
    return {
        key: (value / total, float(np.percentile([each[key] for each in dealt], _CHANCE)) / total)
        for key, value in values.items()
    }


def _measure(space: Space, trials: Sequence[Trial], losses: Iterable[float]) -> dict[str, float]:
    """PED-ANOVA of each setting, not normalised."""
    import optuna

    ended = [
        replace(trial, state="finished", values=(float(loss),), intermediate=(), notes={})
        for trial, loss in zip(trials, losses, strict=True)
    ]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize")
    study.add_trials([as_optuna(space, trial) for trial in ended])
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of ``normalize``
        return optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False)
