"""A search as data: what is tuned and for what, its trials, and the runs that confirm the winners.

    runs/<search>/search.json                 beside study.json; a summary of the folders, made by every step
    runs/<search>/trial-0007-s0-1a2b3c4d/     a trial is a run as any other
    runs/<search>/best-1-s1000-1a2b3c4d/      the best trial's recipe with a seed that the search never saw
    runs/<search>/base-s1000-1a2b3c4d/        and the recipe that was tuned

The run folders are the truth; Optuna's storage and this record can be rebuilt from them (studies/searching).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge

from roadmap.cost import training_flops
from roadmap.recipe import Recipe, recipe_from_json
from roadmap.record import SCHEMA, Result, check_schema, read_json, write_json
from roadmap.settings import with_settings
from roadmap.typed import parse, to_json

FILE = "search.json"

#: The seeds of the confirming runs start here, and the search's own lie below: no winner is judged by a run
#: that helped it to win.
FIRST_FRESH_SEED = 1000

Direction = Literal["up", "down"]
State = Literal["waiting", "running", "finished", "stopped", "failed"]
#: States in which nothing more is to come.
ENDED = ("finished", "stopped", "failed")

#: What may be sought -> which way, and its value in a finished run's result.
OBJECTIVES: dict[str, tuple[Direction, Callable[[Result, Recipe], float | None]]] = {
    "AP": ("up", lambda result, _: result.best.AP),
    "AP_last": ("up", lambda result, _: result.last.AP),
    "latency_ms": ("down", lambda result, _: result.latency.total_ms.median if result.latency else None),
    "params": ("down", lambda result, _: float(result.profile.params)),
    "training_flops": ("down", lambda _, recipe: training_flops(recipe)),
}


@dataclass(frozen=True)
class Objective:
    """What is sought, by its name in :data:`OBJECTIVES`, and which way."""

    name: str
    direction: Direction


@dataclass(frozen=True)
class Parameter:
    """A recipe field that is tuned.

    key: dotted name, ``training.learning_rate`` or ``ingredients.simota``. kind: ``number``, ``whole`` or
    ``choice``. low, high: both belong to the range. log: drawn on a logarithmic scale. step: None for any
    value (a whole number: every one). choices: values as plain JSON; of numbers empty.
    """

    key: str
    kind: Literal["number", "whole", "choice"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Space:
    """A space file as it was read: what is tuned, for what, how, and at what price.

    base: the stages or models that are tuned, each with the whole budget. trials: the budget of each.
    at_once: trials that may be under way together, over all bases. seed: the sampler's; run_seed: of every
    trial's run. in_order: a trial is asked for as soon as the one ``at_once`` before it has ended, with what
    is known up to there, so that the search is the same whatever ends first. best, fresh_seeds: how many of
    the best trials are run again at the end, and with how many seeds.
    """

    summary: str
    base: tuple[str, ...]
    objectives: tuple[Objective, ...]
    parameters: tuple[Parameter, ...]
    sampler: str = "tpe"
    pruner: str = "none"
    trials: Annotated[int, Ge(1)] = 32
    at_once: Annotated[int, Ge(1)] = 4
    seed: Annotated[int, Ge(0)] = 0
    run_seed: Annotated[int, Ge(0)] = 0
    in_order: bool = False
    best: Annotated[int, Ge(0)] = 3
    fresh_seeds: Annotated[int, Ge(1)] = 3


@dataclass(frozen=True)
class Trial:
    """A point of the space and what became of it.

    number: from 0, among the trials of its base, as in Optuna. arm: its name in the study. parameters: dotted
    name -> value, plain JSON. run: ``<study>/<folder>`` below the runs folder whose result is its own: in
    another study, or another trial's, when that had the same recipe and seed; empty when no recipe could be
    made. reason: why it was stopped or failed. values: of the objectives, in their order; None unless
    finished. intermediate: (epoch from 1, first objective) of the epochs that were evaluated. notes: the
    sampler's own. attempts: how often its run was started.
    """

    number: int
    base: str
    arm: str
    parameters: dict[str, Any]
    state: State = "waiting"
    run: str = ""
    recipe_hash: str = ""
    reason: str = ""
    values: tuple[float, ...] | None = None
    intermediate: tuple[tuple[int, float], ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come of it, as far as is known."""
        return self.state in ENDED


@dataclass(frozen=True)
class Confirmation:
    """A run at the end of the search: one of the best trials, or what was tuned, with a fresh seed.

    rank: from 1, by the search's own figures; 0 for the base. trial: the number of the trial that it repeats,
    None for the base. The rest as in :class:`Trial`.
    """

    arm: str
    base: str
    rank: int
    trial: int | None
    seed: Annotated[int, Ge(FIRST_FRESH_SEED)]
    state: State = "waiting"
    run: str = ""
    recipe_hash: str = ""
    reason: str = ""
    values: tuple[float, ...] | None = None
    attempts: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come of it, as far as is known."""
        return self.state in ENDED


@dataclass(frozen=True)
class Base:
    """What is tuned: a stage or a model, its whole recipe before tuning, and the paper's for it."""

    name: str
    recipe: Recipe
    reference: Recipe


@dataclass(frozen=True)
class SearchRecord:
    """search.json. name: of the search and its study. phase: what it is at. command: what the user typed.
    storage: address of Optuna's storage, without password; empty for none. inputs: where data and weights
    lie, as in plan.json. how: what of the command line decides where and how runs are carried out.
    """

    name: str
    space: Space
    bases: tuple[Base, ...] = ()
    trials: tuple[Trial, ...] = ()
    confirmations: tuple[Confirmation, ...] = ()
    phase: Literal["searching", "confirming", "finished"] = "searching"
    storage: str = ""
    command: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    how: dict[str, Any] = field(default_factory=dict)

    @property
    def points(self) -> tuple[Trial | Confirmation, ...]:
        """Everything that has a run: trials, then what confirms them."""
        return (*self.trials, *self.confirmations)

    def of(self, base: str) -> tuple[Trial, ...]:
        """The trials of one base, by number."""
        return tuple(sorted((t for t in self.trials if t.base == base), key=lambda trial: trial.number))

    def base(self, name: str) -> Base:
        """What is tuned, by its name."""
        return next(base for base in self.bases if base.name == name)

    def arm(self, base: str, name: str) -> str:
        """An arm's name: with its base in front where several are tuned."""
        return name if len(self.space.base) == 1 else f"{base}-{name}"

    def recipe(self, base: str, parameters: dict[str, Any]) -> Recipe:
        """A base's recipe with parameters set. Raises ValueError for values that do not fit together."""
        return with_settings(self.base(base).recipe, tuple(parameters.items()))


def objective_values(space: Space, result: Result, recipe: Recipe) -> tuple[tuple[float, ...] | None, str]:
    """What a finished run came to, objective by objective; None, and why, where one is not known."""
    values = []
    for objective in space.objectives:
        value = OBJECTIVES[objective.name][1](result, recipe)
        if value is None or value != value:
            return None, f"{objective.name} is undefined in its result"
        values.append(float(value))
    return tuple(values), ""


def ranked(space: Space, trials: Sequence[Trial]) -> list[Trial]:
    """The finished trials, the best first by the search's own (optimistic) figures.

    With two objectives only those that no other one beats in both (the Pareto front), the best in the first
    objective first. Of equals the earlier comes first; of trials that share a run, only the first counts.
    """
    once: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.state == "finished" and trial.values is not None:
            once.setdefault(trial.run, trial)
    done = list(once.values())
    front = [t for t in done if not any(_beats(space, other, t) for other in done)]
    kept = done if len(space.objectives) == 1 else front
    return sorted(kept, key=lambda trial: (-_up(space, trial)[0], trial.number))


def _up(space: Space, trial: Trial) -> tuple[float, ...]:
    """A finished trial's values, each so that more is better."""
    assert trial.values is not None
    pairs = zip(space.objectives, trial.values, strict=True)
    return tuple(value if objective.direction == "up" else -value for objective, value in pairs)


def _beats(space: Space, one: Trial, other: Trial) -> bool:
    ours, theirs = _up(space, one), _up(space, other)
    return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))


def winners(record: SearchRecord, base: str) -> list[Trial]:
    """The trials that are run again: the first few of :func:`ranked`; of a front longer than that, as many
    that are spread over it, its ends among them.
    """
    found, count = ranked(record.space, record.of(base)), record.space.best
    if len(record.space.objectives) == 1 or len(found) <= count or count < 2:
        return found[:count]
    return [found[round(i * (len(found) - 1) / (count - 1))] for i in range(count)]


def write_search(folder: Path, record: SearchRecord) -> None:
    """Write search.json into ``folder`` (``runs/<search>``)."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FILE, {"schema": SCHEMA, **to_json(record)})


def read_search(folder: Path) -> SearchRecord | None:
    """A search's record from its folder; None where there is none. Raises ValueError naming a broken file."""
    data = read_json(folder / FILE)
    if data is None:
        return None
    try:
        if not isinstance(data, dict):
            raise ValueError("it is not a JSON object")
        check_schema(data, "it")
        content = {key: value for key, value in data.items() if key != "schema"}
        bases = tuple(
            Base(each["name"], recipe_from_json(each["recipe"]), recipe_from_json(each["reference"]))
            for each in content.pop("bases")
        )
        record = parse(SearchRecord, content)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / FILE}: {error}; move it away: the next step makes it anew") from error
    return replace(record, bases=bases)
