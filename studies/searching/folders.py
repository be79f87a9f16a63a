"""What the folders of a search say: its trials, and what became of their runs.

    runs/<search>/trial-0007-s0-1a2b3c4d/trial.json   the point, beside the run's own recipe.json
    runs/<search>/trial-0008/trial.json               one whose result is another run's, or without a recipe

Nothing else is needed to make search.json and Optuna's storage anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from roadmap.code import code_state
from roadmap.planned import Inputs, write_planned
from roadmap.protocols import deviations
from roadmap.recipe import Run
from roadmap.record import SCHEMA, RunFolder, identity_from_json, read_json, write_json
from roadmap.search import Confirmation, SearchRecord, State, Trial, objective_values
from roadmap.study import ArmRecord, StudyRecord, Table, changed_fields

FILE = "trial.json"

Point = TypeVar("Point", Trial, Confirmation)


@dataclass(frozen=True)
class Seen:
    """A run without a result, as whoever carries it out sees it.

    busy: whether it is under way or in a queue, or may be; else it wants to be started.
    """

    state: State
    reason: str = ""
    busy: bool = False


#: The state of a run (``<study>/<folder>``) that is neither finished nor stopped nor failed by itself.
Look = Callable[[str], Seen]


def found_trials(folder: Path) -> list[Trial]:
    """The trials whose folders are below a search's. Raises ValueError naming a broken trial.json."""
    trials = []
    for path in sorted(folder.glob(f"*/{FILE}")):
        data = read_json(path)
        try:
            point = {key: data[key] for key in ("number", "base", "arm", "parameters", "run", "recipe_hash")}
            problem = data["problem"]
            trial = Trial(
                **point, notes=data["notes"], reason=problem, state="failed" if problem else "waiting"
            )
        except (TypeError, KeyError) as error:
            raise ValueError(f"{path} is no trial's ({error!r}); move its folder away") from error
        trials.append(trial)
    return trials


def with_found(record: SearchRecord, folder: Path) -> SearchRecord:
    """The record with the trials that it lacks: a step was killed before it wrote it, or it was lost.

    Raises ValueError for trials of another space.
    """
    keys = {parameter.key for parameter in record.space.parameters}
    known = {(trial.base, trial.number) for trial in record.trials}
    new = [trial for trial in found_trials(folder) if (trial.base, trial.number) not in known]
    for trial in new:
        if trial.base not in record.space.base or set(trial.parameters) != keys:
            raise ValueError(
                f"{folder} holds trials of another search: {trial.arm} tunes "
                f"{', '.join(trial.parameters)} of {trial.base}; give this one another --name"
            )
    order = {base: place for place, base in enumerate(record.space.base)}
    trials = sorted((*record.trials, *new), key=lambda trial: (trial.number, order[trial.base]))
    return replace(record, trials=tuple(trials))


def write_trial(record: SearchRecord, trial: Trial, folder: Path) -> Trial:
    """Leave a new trial's point in a folder, with its recipe unless a run of the same recipe and seed is
    there already: this search's, or a finished one of any study.
    """
    try:
        recipe = record.recipe(trial.base, trial.parameters)
    except ValueError as error:
        trial = replace(trial, state="failed", reason=str(error))
        return _leave(folder / trial.arm, trial)
    run = Run(record.name, trial.arm, record.space.run_seed, recipe)
    trial = replace(trial, recipe_hash=recipe.hash)
    same = [t.run for t in record.trials if t.recipe_hash == recipe.hash and t.run]
    taken = same[0] if same else finished_run(folder.parent, recipe.hash, run.seed)
    if taken:
        return _leave(folder / trial.arm, replace(trial, run=taken))
    return _leave(folder / run.name, replace(trial, run=f"{record.name}/{run.name}"))


def _leave(path: Path, trial: Trial) -> Trial:
    path.mkdir(parents=True, exist_ok=True)
    point = {
        key: getattr(trial, key) for key in ("number", "base", "arm", "parameters", "run", "recipe_hash")
    }
    write_json(path / FILE, {"schema": SCHEMA, **point, "notes": trial.notes, "problem": trial.reason})
    return trial


def finished_run(runs: Path, recipe_hash: str, seed: int) -> str:
    """The finished run below ``runs`` with this recipe and seed, ``<study>/<folder>``; empty without."""
    for path in sorted(runs.glob(f"*/*-s{seed}-{recipe_hash}/result.json")):
        folder = RunFolder(path.parent)
        if folder.state() == "finished":
            return f"{folder.study}/{folder.name}"
    return ""


def plan_runs(record: SearchRecord, folder: Path, command: list[str]) -> None:
    """Write recipe.json and plan.json of every run of the search that wants one."""
    facts = {"command": command, **asdict(code_state())}
    inputs = Inputs(
        _path(record.inputs.get("data")),
        _path(record.inputs.get("weights")),
        tuple(record.inputs["splits"]) if record.inputs.get("splits") else None,
    )
    for point in record.points:
        if point.ended or not point.run.startswith(f"{record.name}/{point.arm}-s"):
            continue
        run_folder = RunFolder(folder.parent / point.run)
        if not (run_folder.path / "recipe.json").exists():
            base = record.base(point.base)
            recipe = record.recipe(point.base, parameters_of(record, point))
            seed = point.seed if isinstance(point, Confirmation) else record.space.run_seed
            run = Run(record.name, point.arm, seed, recipe)
            write_planned(run_folder, run, deviations(recipe, base.reference), inputs, facts)
            if isinstance(point, Trial) and not (run_folder.path / FILE).exists():
                _leave(run_folder.path, replace(point, reason=""))  # its folder was taken away


def parameters_of(record: SearchRecord, point: Trial | Confirmation) -> dict[str, Any]:
    """What of its base's recipe a trial or a confirming run changes."""
    if isinstance(point, Trial):
        return point.parameters
    if point.trial is None:
        return {}
    return next(trial.parameters for trial in record.of(point.base) if trial.number == point.trial)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def looked(
    record: SearchRecord, folder: Path, look: Look, every: bool = True
) -> tuple[SearchRecord, set[str]]:
    """The record with what its runs say now, and the runs that want to be started. every: also those that had
    ended at the last look, for they may have been taken up again.
    """
    idle: set[str] = set()

    def now(point: Point) -> Point:
        if not point.run or (point.ended and not every):
            return point
        state, reason, busy, values = _became(record, point.run, folder.parent, look)
        if state == "waiting" and not busy:
            idle.add(point.run)
        run = RunFolder(folder.parent / point.run)
        starts = sum(event["event"] == "start" for event in run.attempts())
        return replace(point, state=state, reason=reason, values=values, attempts=starts)

    def now_with_epochs(trial: Trial) -> Trial:
        if trial.ended and not every:
            return trial
        return replace(now(trial), intermediate=_by_epoch(folder.parent / trial.run))

    trials = tuple(map(now_with_epochs, record.trials))
    return replace(record, trials=trials, confirmations=tuple(map(now, record.confirmations))), idle


def _by_epoch(run: Path) -> tuple[tuple[int, float], ...]:
    rows = [(row["epoch"], row.get("AP")) for row in RunFolder(run).metrics()]
    return tuple((int(epoch), float(ap)) for epoch, ap in rows if ap is not None)


def _became(
    record: SearchRecord, name: str, runs: Path, look: Look
) -> tuple[State, str, bool, tuple[float, ...] | None]:
    """A run's state and why, whether somebody has it, and its values."""
    run = RunFolder(runs / name)
    if (run.path / "result.json").exists():
        try:
            identity, result = run.outcome()
        except (ValueError, OSError) as error:
            return "failed", f"its result can't be used: {error}", False, None
        assert result is not None
        values, why = objective_values(record.space, result, identity_from_json(identity).recipe)
        return ("failed", why, False, None) if values is None else ("finished", "", False, values)
    state = run.state()
    if state == "stopped":
        return "stopped", str((run.stop_order() or {}).get("message", "")), False, None
    seen = look(name)
    if state == "failed" and not seen.busy:
        failure: Mapping[str, Any] = run.failure() or {}
        return "failed", f"{failure.get('kind')}: {failure.get('message')}", False, None
    return seen.state, seen.reason, seen.busy, None


def study_record(record: SearchRecord) -> StudyRecord:
    """The search as any study: what was tuned, the best again, and the trials, each an arm."""
    several = len(record.space.base) > 1
    arms, again, trials = [], [], []
    for base in record.bases:
        mine = f"{base.name}, " if several else ""
        plain = record.arm(base.name, "base")
        arms.append(ArmRecord(plain, f"{base.name}, not tuned", summary="the recipe that was tuned"))
        again.append(plain)
        for confirmation in record.confirmations:
            if confirmation.base == base.name and confirmation.rank and confirmation.arm not in again:
                recipe = record.recipe(base.name, parameters_of(record, confirmation))
                label = f"{mine}best {confirmation.rank} (trial {confirmation.trial})"
                changes = changed_fields(recipe, base.recipe)
                arms.append(
                    ArmRecord(confirmation.arm, label, plain, _words(record, confirmation), changes=changes)
                )
                again.append(confirmation.arm)
    for trial in record.trials:
        label = f"{trial.base}, trial {trial.number}" if several else f"trial {trial.number}"
        arms.append(ArmRecord(trial.arm, label, summary=_words(record, trial)))
        trials.append(trial.arm)
    tables = [Table(f"{record.name}: the best trials again, with fresh seeds", tuple(again))]
    if trials:
        tables.append(Table(f"{record.name}: the trials of the search itself, one seed each", tuple(trials)))
    question = record.space.summary or f"What do {', '.join(record.space.base)} gain when tuned?"
    return StudyRecord(record.name, question, tuple(arms), tuple(tables), "arm", record.command)


def _words(record: SearchRecord, point: Trial | Confirmation) -> str:
    values = parameters_of(record, point).items()
    return ", ".join(f"{key.rsplit('.', 1)[-1]} {_brief(value)}" for key, value in values)


def _brief(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
