"""Run records to plain data: what finished, what did not, and what cannot be read.

The format is docs/record.md. A record that cannot be read is never guessed at: it is skipped, and
reported with the reason, so that a table says what it leaves out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from reports.records.plan import study_plan
from roadmap.recipe import Recipe, flatten
from roadmap.record import Figures, RunFolder, find_runs
from roadmap.typed import to_json, with_neutral_values

#: Figures of ``best`` and ``last``; None where COCO leaves them undefined.
FIGURES = tuple(entry.name for entry in fields(Figures) if entry.name != "epoch")


class NoFinishedRunsError(ValueError):
    """There is nothing to report on yet."""


@dataclass(frozen=True)
class Epoch:
    """One line of metrics.jsonl: epoch from 1, AP in percent (None when not evaluated), mean loss.

    row: the whole line.
    """

    epoch: int
    ap: float | None
    loss: float | None
    row: Mapping[str, Any] = field(repr=False, default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """A finished run. Mappings are as docs/record.md describes them.

    recipe: flattened to dotted names. best, last: AP figures in percent and their epoch.
    latency: None when it was not measured.
    """

    path: Path
    study: str
    arm: str
    seed: int
    run: str
    recipe_hash: str
    protocol: str
    finished: str
    recipe: Mapping[str, Any]
    best: Mapping[str, Any]
    last: Mapping[str, Any]
    profile: Mapping[str, Any]
    full_size_profile: Mapping[str, Any] | None
    latency: Mapping[str, Any] | None
    training: Mapping[str, Any]
    dataset: Mapping[str, Any]
    hardware: Mapping[str, Any]
    deviations: tuple[Mapping[str, Any], ...]
    environment: Mapping[str, Any]
    epochs: tuple[Epoch, ...] = field(repr=False, default=())


@dataclass(frozen=True)
class Unfinished:
    """A run without a result: ``running``, ``interrupted``, ``stopped``, ``failed`` or ``new``."""

    run: str
    arm: str
    seed: int
    state: str
    epoch: int
    epochs: int | None
    reason: str
    path: Path


@dataclass(frozen=True)
class Skipped:
    """A record that is left out, and why."""

    run: str
    reason: str


@dataclass(frozen=True)
class Collection:
    """Everything found for one study."""

    study: str
    runs: tuple[RunRecord, ...]
    unfinished: tuple[Unfinished, ...]
    skipped: tuple[Skipped, ...]


def collect(root: Path, study: str) -> Collection:
    """As :func:`read_runs`, for a report: raises NoFinishedRunsError when no run is finished, naming what
    was found instead.
    """
    found = read_runs(root, study)
    if not found.runs:
        raise NoFinishedRunsError(_nothing(root, study, found.unfinished, found.skipped))
    return found


def only_study(root: Path) -> str:
    """The one study with records below ``root``. Raises NoFinishedRunsError for none, and ValueError naming
    several.
    """
    names = sorted({folder.study for folder in find_runs(root)})
    if not names:
        raise NoFinishedRunsError(f"no runs below {root}; start some: python -m studies.roadmap --help")
    if len(names) > 1:
        raise ValueError(
            f"runs of several studies are below {root}; choose one with --study: {', '.join(names)}"
        )
    return names[0]


def read_runs(root: Path, study: str) -> Collection:
    """Read every run of a study below ``root`` (``runs/``).

    Runs come in the study's order of arms, then by seed. A run that was copied (same arm, seed and recipe
    twice) counts once, the newest.
    """
    runs: dict[tuple[str, int, str], RunRecord] = {}
    unfinished: list[Unfinished] = []
    skipped: list[Skipped] = []
    for folder in find_runs(root, study):
        try:
            found = _read(folder)
        except (ValueError, OSError) as error:
            skipped.append(Skipped(folder.name, str(error)))
            continue
        if isinstance(found, Unfinished):
            unfinished.append(found)
            continue
        key = (found.arm, found.seed, found.recipe_hash)
        other = runs.get(key)
        if other is not None:
            found, other = sorted((found, other), key=lambda r: (r.finished, r.path.name), reverse=True)
            skipped.append(Skipped(other.path.name, f"a copy of {found.path.name} (same arm, seed, recipe)"))
        runs[key] = found
    plan, _ = study_plan(root, study, runs.values())
    order = plan.order({run.arm for run in runs.values()})
    ordered = sorted(runs.values(), key=lambda r: (order.index(r.arm), r.seed, r.recipe_hash))
    return Collection(study, tuple(ordered), tuple(unfinished), tuple(skipped))


def _read(folder: RunFolder) -> RunRecord | Unfinished:
    content, result = folder.outcome()
    identity = _mapping(content, "recipe.json")
    _need(identity, "recipe.json", {"arm": str, "seed": int, "protocol": str, "recipe_hash": str})
    if result is None:
        return _unfinished(folder, identity)
    values = to_json(result)
    return RunRecord(
        path=folder.path,
        study=folder.study,
        arm=result.arm,
        seed=result.seed,
        run=result.run,
        recipe_hash=result.recipe_hash,
        protocol=result.protocol,
        finished=result.finished,
        recipe=flatten(with_neutral_values(Recipe, _mapping(identity.get("recipe"), "recipe.json: recipe"))),
        best=values["best"],
        last=values["last"],
        profile=values["profile"],
        full_size_profile=values["full_size_profile"],
        latency=values["latency"],
        training=values["training"],
        dataset=values["dataset"],
        hardware=values["hardware"],
        deviations=tuple(values["deviations"]),
        environment=_mapping(folder.environment() or {}, "environment.json"),
        epochs=_epochs(_metrics(folder)),
    )


def _metrics(folder: RunFolder) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl, read at once: a third of the time of reading 300 lines one by one."""
    try:
        lines = (folder.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = json.loads(f"[{','.join(lines)}]")
    except (FileNotFoundError, ValueError):
        return folder.metrics()  # absent, torn or broken: line by line, which says what is wrong
    return rows if len(rows) == len(lines) else folder.metrics()


def _epochs(rows: Sequence[Mapping[str, Any]]) -> tuple[Epoch, ...]:
    """Epochs in order; of one logged twice (a kill between log and checkpoint) the later line counts."""
    by_epoch: dict[int, Epoch] = {}
    for number, row in enumerate(rows, 1):
        try:
            epoch, ap, loss = int(row["epoch"]), row.get("AP"), row.get("loss")
            by_epoch[epoch] = Epoch(
                epoch, None if ap is None else float(ap), None if loss is None else float(loss), row
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"metrics.jsonl, line {number} is not an epoch's ({error!r})") from error
    return tuple(by_epoch[e] for e in sorted(by_epoch))


def _unfinished(folder: RunFolder, identity: Mapping[str, Any]) -> Unfinished:
    epochs = flatten(_mapping(identity.get("recipe"), "recipe.json: recipe")).get("training.epochs")
    done = _epochs(_metrics(folder))
    state = folder.state()
    failure = _mapping(folder.failure() or {}, "failure.json")
    reason = f"{failure.get('kind')}: {failure.get('message')}" if failure and state == "failed" else ""
    if state == "stopped":
        reason = str((folder.stop_order() or {}).get("message", ""))
    epoch = done[-1].epoch if done else 0
    return Unfinished(
        folder.name, identity["arm"], identity["seed"], state, epoch, epochs, reason, folder.path
    )


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is missing or not a JSON object")
    return value


def _need(value: Mapping[str, Any], where: str, kinds: Mapping[str, type]) -> None:
    for key, kind in kinds.items():
        if not isinstance(value.get(key), kind):
            raise ValueError(f"{where} has no {key} ({kind.__name__})")


def _nothing(root: Path, study: str, unfinished: Sequence[Unfinished], skipped: Sequence[Skipped]) -> str:
    if not unfinished and not skipped:
        studies = sorted({folder.study for folder in find_runs(root)})
        hint = f"; there are runs of: {', '.join(studies)}" if studies else ""
        return f"no runs of study {study!r} below {root}{hint}. Start one: python -m studies.roadmap --help"
    parts = [f"{run.run} ({run.state}, epoch {run.epoch})" for run in unfinished]
    parts += [f"{item.run} (unreadable: {item.reason})" for item in skipped]
    return f"no finished run of study {study!r} below {root} yet; found: " + "; ".join(parts)
