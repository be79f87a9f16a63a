"""A step of a search: look at the runs, stop what is not worth going on, ask for new ones, start what waits.

Anyone may take one at any time: it does what is left to do and nothing twice, two at once wait for each
other, and one that is killed anywhere leaves folders from which the next goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from roadmap.recipe import Run
from roadmap.record import STOP, RunFolder, now, write_json
from roadmap.search import (
    FIRST_FRESH_SEED,
    Confirmation,
    SearchRecord,
    Trial,
    read_search,
    winners,
    write_search,
)
from roadmap.search_space import grid_size
from roadmap.study import changed_fields, write_record
from slurm.ownership import whose
from studies.searching.asking import next_point, share, worth_stopping
from studies.searching.folders import (
    Look,
    finished_run,
    looked,
    parameters_of,
    plan_runs,
    study_record,
    with_found,
    write_trial,
)
from studies.searching.storage import mirror

#: Seconds to wait for another step of the same search.
PATIENCE = 300


#: What may change between two commands of the same search.
_MAY_CHANGE = ("summary", "trials", "at_once", "best", "fresh_seeds")


class Launcher(Protocol):
    """Who carries runs out."""

    def look(self, record: SearchRecord) -> Look:
        """How to see what became of runs that have no result."""
        ...

    def start(self, record: SearchRecord, runs: Sequence[str]) -> list[str]:
        """Start runs (``<study>/<folder>``), and see to the next step; what to tell the user."""
        ...


@dataclass(frozen=True)
class Step:
    """What a step found and did. said: sentences for the user."""

    record: SearchRecord
    said: tuple[str, ...]


def step(
    folder: Path,
    launcher: Launcher,
    storage: str,
    given: SearchRecord | None = None,
    start: bool = True,
) -> Step:
    """Take one step of the search in ``folder`` (``runs/<search>``).

    storage: address of Optuna's, empty for none. given: what the user asks for now, with nothing done yet;
    None to go on as before. start: whether to ask for new trials and start runs, or only to look. Raises
    ValueError when there is no search, or another one, or another step does not end.
    """
    with one_at_a_time(folder):
        record = read_search(folder)
        if given is not None:
            record = given if record is None else continued(record, given)
        if record is None:
            raise ValueError(
                f"{folder} holds no search; start it with its space: python -m studies.search FILE"
            )
        record = with_found(record, folder)
        look = launcher.look(record)
        record, _ = looked(record, folder, look)
        record, said = _without_hopeless(record, folder)
        if start:
            record = _with_new_trials(record, folder, look)
            record = _with_confirmations(record, folder)
        plan_runs(record, folder, sys.argv)
        record, idle = looked(record, folder, look, every=False)
        record = replace(record, phase=_phase(record))
        write_record(folder, study_record(record))
        write_search(folder, record)
        if problem := mirror(record, storage):
            said.append(problem)
        runs = dict.fromkeys(point.run for point in record.points)
        if start:
            said += launcher.start(record, [run for run in runs if run in idle])
        return Step(record, tuple(said))


def continued(earlier: SearchRecord, wish: SearchRecord) -> SearchRecord:
    """An earlier record under a new command. Raises ValueError when that is another search."""
    theirs, ours = earlier.space, wish.space
    fields = [key for key in vars(ours) if key not in _MAY_CHANGE]
    changed = [key for key in fields if getattr(ours, key) != getattr(theirs, key)]
    for before, asked in zip(earlier.bases, wish.bases, strict=False):
        changed += changed_fields(asked.recipe, before.recipe)
    if changed:
        raise ValueError(
            f"{earlier.name} is another search already: {', '.join(dict.fromkeys(changed))} differ; give "
            "this one another --name"
        )
    other = (ours.trials, ours.best, ours.fresh_seeds) != (theirs.trials, theirs.best, theirs.fresh_seeds)
    if earlier.confirmations and other:
        raise ValueError(
            f"{earlier.name} has chosen its best trials and runs them again; with another budget it is "
            "another search: give it another --name (equal trials are not trained again)"
        )
    return replace(wish, trials=earlier.trials, confirmations=earlier.confirmations, phase=earlier.phase)


def _without_hopeless(record: SearchRecord, folder: Path) -> tuple[SearchRecord, list[str]]:
    """Tell the runs to stop that the pruner gives up; what the user is told of it."""
    said = []
    trials = []
    for trial in record.trials:
        own = RunFolder(folder.parent / trial.run)
        if (
            record.space.pruner != "none"
            and trial.state == "running"
            and trial.intermediate
            and trial.run.startswith(f"{record.name}/")
            and own.stop_order() is None
        ):
            training = record.recipe(trial.base, trial.parameters).training
            schedule = training.epochs, training.evaluate_every
            stop, notes = worth_stopping(record.space, record.of(trial.base), trial.number, *schedule)
            trial = replace(trial, notes=notes)
            if stop:
                epoch, value = trial.intermediate[-1]
                why = f"pruned at epoch {epoch} of {schedule[0]} with AP {value:.2f} ({record.space.pruner})"
                write_json(own.path / STOP, {"kind": "pruned", "message": why, "epoch": epoch, "time": now()})
                said.append(f"{trial.arm}: {why}")
        trials.append(trial)
    return replace(record, trials=tuple(trials)), said


def _with_new_trials(record: SearchRecord, folder: Path, look: Look) -> SearchRecord:
    """Ask for trials while there is room and budget for them; each is in its folder before the next."""
    while (base := _base_in_turn(record)) is not None:
        number = 1 + max((trial.number for trial in record.of(base)), default=-1)
        parameters, notes = next_point(record.space, record.of(base), number)
        arm = record.arm(base, f"trial-{number:04d}")
        trial = write_trial(record, Trial(number, base, arm, parameters, notes=notes), folder)
        record = replace(record, trials=(*record.trials, trial))
        if not trial.run.startswith(f"{record.name}/{arm}-s"):  # it may have its result already
            record, _ = looked(record, folder, look, every=False)
    return record


def _base_in_turn(record: SearchRecord) -> str | None:
    """The base that the next trial is of, None when there is no room or no budget for any."""
    space = record.space
    under_way = sum(not trial.ended for trial in record.trials)
    if record.confirmations or under_way >= space.at_once:
        return None
    left = [base for base in space.base if len(record.of(base)) < budget(record) and _may_ask(record, base)]
    return min(left, key=lambda base: len(record.of(base)), default=None)


def _may_ask(record: SearchRecord, base: str) -> bool:
    """Whether what an ordered search has to know first is known."""
    trials = record.of(base)
    if not record.space.in_order:
        return True
    last = len(trials) - share(record.space)
    return all(trial.ended for trial in trials if trial.number <= last)


def budget(record: SearchRecord) -> int:
    """Trials of each base: as many as were asked for; a grid may have fewer."""
    space = record.space
    return min(space.trials, grid_size(space)) if space.sampler == "grid" else space.trials


def _with_confirmations(record: SearchRecord, folder: Path) -> SearchRecord:
    """Once every trial has ended: the best, and what was tuned, with seeds that the search never saw."""
    if record.confirmations or not _all_told(record) or not record.space.best:
        return record
    made = []
    for base in record.space.base:
        best = winners(record, base)
        ranks: list[tuple[int, int | None]] = [(0, None)] if best else []
        ranks += [(rank, trial.number) for rank, trial in enumerate(best, 1)]
        for rank, number in ranks:
            for seed in range(FIRST_FRESH_SEED, FIRST_FRESH_SEED + record.space.fresh_seeds):
                arm = record.arm(base, f"best-{rank}" if rank else "base")
                made.append(_confirmation(record, Confirmation(arm, base, rank, number, seed), folder))
    return replace(record, confirmations=tuple(made))


def _confirmation(record: SearchRecord, wanted: Confirmation, folder: Path) -> Confirmation:
    recipe = record.recipe(wanted.base, parameters_of(record, wanted))
    run = Run(record.name, wanted.arm, wanted.seed, recipe)
    place = finished_run(folder.parent, recipe.hash, wanted.seed) or f"{record.name}/{run.name}"
    return replace(wanted, run=place, recipe_hash=recipe.hash)


def _all_told(record: SearchRecord) -> bool:
    asked = all(len(record.of(base)) >= budget(record) for base in record.space.base)
    return asked and all(trial.ended for trial in record.trials)


def _phase(record: SearchRecord) -> Literal["searching", "confirming", "finished"]:
    if record.confirmations:
        return "finished" if all(each.ended for each in record.confirmations) else "confirming"
    return "finished" if _all_told(record) else "searching"


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold a search's lock. Raises ValueError when another step has it for too long."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".step.lock", timeout=PATIENCE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise ValueError(f"another step holds {folder / '.step.lock'} for {PATIENCE} s; try again") from error
    except OSError as error:
        raise ValueError(
            f"cannot write to {folder}: {error.strerror}{whose(folder)}; choose another --runs"
        ) from error
    try:
        yield
    finally:
        lock.release()
