"""What Optuna is asked: the next point of a space, and whether a trial is worth going on with.

Every question is put to a study in memory, made from the trials of the record. A sampler gets a seed of its
own for every trial, so that the answer follows from the space, the trial's number and what is known of the
trials before it, and from no storage and no process that lived at the time.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from roadmap.search import Parameter, Space, Trial
from roadmap.search_space import grid_values

if TYPE_CHECKING:
    import optuna

#: Trials before a sampler that learns begins to, and a median is one.
STARTUP, FEW = 10, 4


def next_point(space: Space, trials: Sequence[Trial], number: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters of a trial (dotted name -> plain JSON), and the sampler's notes on it.

    trials: those of the same base with a lower number.
    """
    with _quiet():
        if space.sampler == "qmc":  # the sequence counts its questions in the study
            study = _study(space, [], _sampler(space, 0))
            for _ in range(number):
                study.ask(distributions(space))
        else:
            study = _study(space, _known(space, trials, number), _sampler(space, number))
        asked = study.ask(distributions(space))
        notes = dict(study.trials[asked.number].system_attrs) if space.sampler == "nsga2" else {}
    values = {p.key: _plain(p, asked.params[p.key]) for p in space.parameters}
    return values, notes


def worth_stopping(
    space: Space, trials: Sequence[Trial], number: int, epochs: int, every: int
) -> tuple[bool, dict[str, Any]]:
    """Whether a trial that is under way should be stopped, and its notes from now on.

    trials: all of the same base, this one among them. epochs: of its whole schedule, of which every so many
    are evaluated.
    """
    with _quiet():
        study = _study(space, _known(space, trials, len(trials)), None, _pruner(space, epochs, every))
        place = next(i for i, trial in enumerate(study.trials) if trial.number == number)
        stop = study.pruner.prune(study, study.trials[place])
        notes = dict(study.trials[place].system_attrs)
    return stop, notes


def as_optuna(space: Space, trial: Trial) -> optuna.trial.FrozenTrial:
    """A trial in Optuna's words: one that is stopped counts with what it had, one that waits is running."""
    import optuna
    from optuna.trial import TrialState

    states = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}
    state = states.get(trial.state, TrialState.RUNNING)
    values = trial.values
    if state is TrialState.PRUNED and trial.intermediate:
        values = (trial.intermediate[-1][1],)
    known = {p.key: p for p in space.parameters}
    return optuna.trial.create_trial(
        state=state,
        values=None if values is None or state in (TrialState.FAIL, TrialState.RUNNING) else list(values),
        params={key: _external(known[key], value) for key, value in trial.parameters.items()},
        distributions={key: _distribution(known[key]) for key in trial.parameters},
        user_attrs={"arm": trial.arm, "run": trial.run, "reason": trial.reason},
        system_attrs=trial.notes,
        intermediate_values=dict(trial.intermediate),
    )


def directions(space: Space) -> list[str]:
    """Which way Optuna is to go, objective by objective."""
    return ["maximize" if objective.direction == "up" else "minimize" for objective in space.objectives]


def in_sequence(space: Space, trials: Sequence[Trial]) -> list[optuna.trial.FrozenTrial]:
    """Trials in Optuna's words by number; where one was lost, a failed one keeps its place."""
    import optuna

    known = {trial.number: trial for trial in trials}
    lost = optuna.trial.TrialState.FAIL
    return [
        as_optuna(space, known[number]) if number in known else optuna.trial.create_trial(state=lost)
        for number in range(max(known, default=-1) + 1)
    ]


def distributions(space: Space) -> dict[str, Any]:
    """The space in Optuna's words."""
    return {parameter.key: _distribution(parameter) for parameter in space.parameters}


def _known(space: Space, trials: Sequence[Trial], number: int) -> list[Trial]:
    """What a question knows: in order, of the last few trials only that they are under way."""
    window = share(space)
    return [
        replace(t, state="running", values=None, intermediate=(), reason="")
        if space.in_order and number - window < t.number < number
        else t
        for t in trials
    ]


def share(space: Space) -> int:
    """How many trials of each base may be under way at the same time; at least one."""
    return max(1, space.at_once // len(space.base))


def _study(space: Space, trials: Sequence[Trial], sampler: Any, pruner: Any = None) -> optuna.study.Study:
    import optuna

    # Hyperband draws a trial's bracket from the study's name.
    study = optuna.create_study(
        study_name="search", directions=directions(space), sampler=sampler, pruner=pruner
    )
    study.add_trials(in_sequence(space, trials))
    return study


def _sampler(space: Space, number: int) -> Any:
    import numpy as np
    from optuna import samplers

    seed = int(np.random.SeedSequence([space.seed, number]).generate_state(1)[0])
    if space.sampler == "tpe":
        return samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
    if space.sampler == "gp":
        return samplers.GPSampler(seed=seed, n_startup_trials=STARTUP)
    if space.sampler == "nsga2":
        return samplers.NSGAIISampler(seed=seed, population_size=min(50, max(8, space.trials // 4)))
    if space.sampler == "qmc":
        return samplers.QMCSampler(seed=space.seed, scramble=True, warn_independent_sampling=False)
    if space.sampler == "grid":
        grid = {p.key: [_external(p, value) for value in grid_values(p)] for p in space.parameters}
        return samplers.GridSampler(grid, seed=space.seed)
    return samplers.RandomSampler(seed=seed)


def _pruner(space: Space, epochs: int, every: int) -> Any:
    from optuna import pruners

    if space.pruner == "median":
        return pruners.MedianPruner(n_startup_trials=FEW, n_warmup_steps=epochs // 5)
    if space.pruner == "hyperband":
        return pruners.HyperbandPruner(min_resource=max(1, every), max_resource=max(epochs, every + 1))
    return pruners.NopPruner()


def _distribution(parameter: Parameter) -> Any:
    from optuna import distributions

    if parameter.kind == "choice":
        return distributions.CategoricalDistribution([_external(parameter, c) for c in parameter.choices])
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.kind == "whole":
        unit = int(step or 1)
        last = int(low) + (int(high) - int(low)) // unit * unit
        return distributions.IntDistribution(int(low), last, log=parameter.log, step=unit)
    if step is not None:
        high = low + math.floor((high - low) / step + 1e-9) * step
    return distributions.FloatDistribution(low, high, log=parameter.log, step=step)


def _external(parameter: Parameter, value: Any) -> Any:
    """A value in Optuna's words: a list is written out, for its storage takes none."""
    return json.dumps(value) if parameter.kind == "choice" and isinstance(value, list) else value


def _plain(parameter: Parameter, value: Any) -> Any:
    if parameter.kind != "choice":
        return value
    return next(choice for choice in parameter.choices if _external(parameter, choice) == value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna says at every question what it did, and that some of its parts are experimental."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
