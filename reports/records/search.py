"""A search as a report reads it: per base, its trials, and the runs with seeds that the search never saw.

The record is ``runs/<search>/search.json`` (``roadmap/search.py``). *Trials* are what the search chose by,
*fresh* runs are those of the base and of the best trials with other seeds. The two never share a mean.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reports.records.collect import RunRecord, read_runs
from roadmap.importances import Importance, Importances, read_importances
from roadmap.search import Objective, Parameter, SearchRecord, State, Trial, ranked, read_search, winners

#: What the words for a trial mean.
STATES: dict[State, str] = {
    "finished": "trained to its end: it counts",
    "stopped": "pruned: behind the others at the same epoch; its figure is that epoch's and does not count",
    "failed": "it will not finish; the reason stands beside it",
    "running": "training, or interrupted and to go on",
    "waiting": "asked for and not yet begun",
}


@dataclass(frozen=True)
class Winner:
    """One of a base's best trials. rank: from 1, by the search's own figures. arm: of its fresh runs, empty
    before any is planned.
    """

    rank: int
    trial: Trial
    arm: str = ""


@dataclass(frozen=True)
class BaseSearch:
    """The search of one base. importances: None where none were computed."""

    record: SearchRecord
    base: str
    importances: Importances | None = None

    @property
    def trials(self) -> tuple[Trial, ...]:
        return self.record.of(self.base)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.record.space.objectives

    @property
    def finished(self) -> tuple[Trial, ...]:
        """Trials that count, by number."""
        return tuple(t for t in self.trials if t.state == "finished" and t.values is not None)

    @property
    def front(self) -> tuple[Trial, ...]:
        """Trials that no other beats in both of two objectives, the best in the first one first."""
        return tuple(ranked(self.record.space, self.trials))

    @property
    def winners(self) -> tuple[Winner, ...]:
        """The best trials by rank: those trained again, or before that those that would be."""
        again = {
            c.rank: Winner(c.rank, self.trial(c.trial), c.arm)
            for c in self.record.confirmations
            if c.base == self.base and c.trial is not None
        }
        if again:
            return tuple(again[rank] for rank in sorted(again))
        return tuple(Winner(rank, t) for rank, t in enumerate(winners(self.record, self.base), 1))

    def trial(self, number: int) -> Trial:
        """A trial by its number."""
        return next(trial for trial in self.trials if trial.number == number)

    def fresh(self, rank: int, objective: int = 0) -> Mapping[int, float]:
        """Figures by fresh seed of a winner, or with rank 0 of the base."""
        return {
            c.seed: c.values[objective]
            for c in self.record.confirmations
            if (c.base, c.rank) == (self.base, rank) and c.values is not None
        }

    def importances_of(self, objective: str) -> tuple[Importance, ...]:
        """The largest first; empty where none were computed."""
        return self.importances.of(self.base, objective) if self.importances else ()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The searched settings: what decides most first, as far as that is known."""
        order = [i.key for i in self.importances_of(self.objectives[0].name)]
        given = self.record.space.parameters
        return tuple(sorted(given, key=lambda p: order.index(p.key) if p.key in order else len(order)))


def read_searches(runs: Path, study: str) -> tuple[BaseSearch, ...]:
    """The searches of a study below ``runs``, one per base; none where the study is no search.

    Raises ValueError naming a broken file.
    """
    record = read_search(runs / study)
    if record is None:
        return ()
    importances = read_importances(runs / study)
    return tuple(BaseSearch(record, base.name, importances) for base in record.bases)


def borrowed(root: Path, study: str, searches: Sequence[BaseSearch]) -> tuple[RunRecord, ...]:
    """Finished runs of other studies below ``root`` whose results a search took, under the search's arms."""
    wanted: dict[str, dict[str, list[str]]] = {}
    trials = [(trial.arm, trial.run) for search in searches for trial in search.trials]
    again = [(c.arm, c.run) for search in searches[:1] for c in search.record.confirmations]
    for arm, run in (*trials, *again):
        other, _, folder = run.partition("/")
        if folder and other != study:
            wanted.setdefault(other, {}).setdefault(folder, []).append(arm)
    return tuple(
        replace(run, study=study, arm=arm)
        for other, folders in sorted(wanted.items())
        for run in read_runs(root, other).runs
        for arm in folders.get(run.path.name, ())
    )


def only_trials(searches: Collection[BaseSearch]) -> frozenset[str]:
    """Arms whose figures the search chose by: they stand in no table of measured arms."""
    return frozenset(trial.arm for search in searches for trial in search.trials)
