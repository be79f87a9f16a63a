"""What MLflow shows of a run record: a pure translation, without mlflow.

Names in MLflow:

    AP AP50 AP75 APs APm APl      of the best evaluated epoch (as the paper), at that epoch; AP_last beside
    params_m gflops gflops_paper  of the trained model, at the last epoch
    latency_ms                    forward only, median; latency_total_ms with post-processing
    train/* val/* speed/*         one point per epoch
    system/*                      one point per epoch; MLflow shows them on a tab of their own

The epoch series have a prefix, so that a column ``AP`` holds the final figure and nothing else.
Timestamps are derived from the record, never from the clock: a point that is sent twice is then the same
row in MLflow's database, which keeps it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from roadmap.recipe import flatten
from roadmap.record import PICTURE, Result, RunFolder, read_json, read_lines
from roadmap.redaction import public
from roadmap.search import FILE as SEARCH
from roadmap.study import read_study
from studies.mirror.arms import COLOUR, NOTE, colour, describe_arm

AP_KEYS = ("AP", "AP50", "AP75", "APs", "APm", "APl")

#: Prefix of an epoch's figures, by name; every other number is about training.
_PREFIX = {
    **dict.fromkeys(("seconds", "images_per_second", "data_wait", "memory_mb"), "speed"),
    **dict.fromkeys((*AP_KEYS, "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"), "val"),
}

ARTIFACTS = ("recipe.json", "environment.json", "metrics.jsonl", "result.json", "failure.json", PICTURE)


#: Tags that only some attempts of a run have.
ATTEMPT_TAGS = ("slurm_job", "slurm_restart")


@dataclass(frozen=True)
class Point:
    """One metric value. step: epoch. timestamp: milliseconds since 1970."""

    key: str
    value: float
    step: int
    timestamp: int


@dataclass(frozen=True)
class View:
    """A record as MLflow shows it.

    record: which training this is; two trainings of the same recipe and seed (another user, a run started
    anew) have the same run name but not the same record. epoch: last finished epoch, 0 before the first.
    status: MLflow's RUNNING, FINISHED, FAILED or KILLED. start, end: milliseconds since 1970; end is None
    while running. arm_note: description of the arm's run. digest: changes whenever anything that is mirrored
    changes. search: (base, number) of the trial of a search that it is.
    """

    study: str
    arm: str
    run: str
    record: str
    epoch: int
    status: str
    start: int
    end: int | None
    tags: dict[str, str]
    params: dict[str, str]
    points: tuple[Point, ...]
    dataset: dict[str, Any]
    arm_note: str
    digest: str
    search: tuple[str, int] | None = None

    def arm_tags(self) -> dict[str, str]:
        """Tags that the run shares with the other seeds of its arm."""
        shared = (
            "study",
            "arm",
            "stage",
            "stage_number",
            "protocol",
            "dataset",
            "dataset_fingerprint",
            "recipe_hash",
            COLOUR,
        )
        note = {NOTE: self.arm_note} if self.arm_note else {}
        return {key: self.tags[key] for key in shared if key in self.tags} | note


def read_view(folder: RunFolder, alive: bool | None = None, failed: bool = False) -> View:
    """Read a record as it is now.

    alive: whether the training process lives; None asks the record's lock. failed: it said that it failed,
    which the record may not know yet.
    Raises ValueError when the record has no identity or no attempt yet.
    """
    identity, attempts = folder.identity(), folder.attempts()
    starts = [event for event in attempts if event["event"] == "start"]
    if identity is None or not starts:
        raise ValueError(
            f"{folder.path} has no recipe.json or no attempt in attempts.jsonl: nothing to mirror"
        )
    environment, result = folder.environment() or {}, folder.result()
    rows = _by_epoch(folder.metrics())
    start = _milliseconds(starts[0]["time"])
    times = _epoch_times(rows, start)
    status = _status(folder, attempts, alive, failed)
    study = read_study(folder.path.parent)
    arm = study.find(identity["arm"]) if study is not None else None
    place = study.place(identity["arm"]) if study is not None else None
    tags = _tags(folder, identity, place, result, environment, starts[-1])
    search = searched_base(folder.path.parent, identity["arm"])
    if search is not None:
        tags |= {"base": search[0], "trial": str(search[1])}
    if order := folder.stop_order():
        tags["stopped"] = public(str(order.get("message") or order.get("kind")))
    points = [*_epoch_points(rows, times), *_system_points(folder, times)]
    if result is not None:
        points += _final_points(result)
    return View(
        study=identity["study"],
        arm=identity["arm"],
        run=folder.name,
        record=record_id(attempts),
        epoch=max(rows, default=0),
        status=status,
        start=start,
        end=None if status == "RUNNING" else _end(attempts, result, max(times.values(), default=start)),
        tags=tags,
        params={**_params(identity["recipe"]), "seed": str(identity["seed"])},
        points=tuple(points),
        dataset={**identity["recipe"]["dataset"], **environment.get("dataset", {})},
        arm_note=describe_arm(study, arm, identity) if study is not None and arm is not None else "",
        digest=_digest(status, tags, points, artifacts(folder)),
        search=search,
    )


def searched_base(study: Path, arm: str) -> tuple[str, int] | None:
    """(base, number) of the trial that an arm is, from the study's folder; None where it is none.

    Read as plain JSON, for it is asked at every epoch; reports say when the file is broken.
    """
    try:
        trials = (read_json(study / SEARCH) or {}).get("trials", ())
        return next(((str(t["base"]), int(t["number"])) for t in trials if t["arm"] == arm), None)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def searched_keys(study: Path) -> tuple[str, ...]:
    """The settings that a study searches, from its folder; empty where it is no search."""
    try:
        parameters = (read_json(study / SEARCH) or {}).get("space", {}).get("parameters", ())
        return tuple(str(parameter["key"]) for parameter in parameters)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


def record_id(attempts: list[dict[str, Any]]) -> str:
    """Which training a record is of: when, where and by which process it was begun."""
    first = next((event for event in attempts if event["event"] == "start"), None)
    return "" if first is None else f"{first['time']} {first['host']} {first['pid']}"


def artifacts(folder: RunFolder) -> list[Path]:
    """Files of a record that go to MLflow when it has ended."""
    return [folder.path / name for name in ARTIFACTS if (folder.path / name).exists()]


def _status(folder: RunFolder, attempts: list[dict[str, Any]], alive: bool | None, failed: bool) -> str:
    if folder.result() is not None:
        return "FINISHED"
    if alive or (alive is None and folder.is_locked()):
        return "RUNNING"
    if failed:
        return "FAILED"
    latest = max(event["attempt"] for event in attempts)
    failure = folder.failure()
    # A failure of an earlier attempt says nothing about the one that was killed after it.
    return "FAILED" if failure is not None and failure.get("attempt", latest) == latest else "KILLED"


def _tags(
    folder: RunFolder,
    identity: Mapping[str, Any],
    place: int | None,
    result: Result | None,
    environment: Mapping[str, Any],
    attempt: Mapping[str, Any],
) -> dict[str, str]:
    """Facts about an attempt are tags, because MLflow's parameters can't change when a run resumes."""
    dataset, hardware = identity["recipe"]["dataset"], environment.get("hardware", {})
    deviations = [asdict(d) for d in result.deviations] if result else identity.get("deviations", [])
    tags = {
        "study": identity["study"],
        "arm": identity["arm"],
        "stage": identity["arm"],
        "stage_number": place,
        "run": folder.name,
        "seed": identity["seed"],
        "protocol": identity["protocol"],
        "dataset": dataset["name"],
        "dataset_fingerprint": dataset["fingerprint"],
        "recipe_hash": identity["recipe_hash"],
        "commit": environment.get("commit"),
        "dirty": environment.get("dirty"),
        "device": hardware.get("name"),
        "attempt": attempt["attempt"],
        "host": attempt["host"],
        "slurm_job": attempt.get("slurm_job"),
        "slurm_restart": attempt.get("slurm_restart"),
        "command": _words(environment.get("command")),
        "mlflow.source.name": _source(environment.get("command")),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": environment.get("commit"),
        NOTE: _note(deviations),
        COLOUR: colour(place) if place is not None else None,
    }
    # Records of earlier versions may hold addresses with a password.
    return {key: public(str(value)) for key, value in tags.items() if value is not None}


def _words(command: Any) -> str | None:
    return " ".join(map(str, command)) if isinstance(command, list) else command


def _source(command: Any) -> str | None:
    """What was started, without options: MLflow shows what stands behind the last slash of a source."""
    if not isinstance(command, list):
        return command
    words = [Path(str(word)).name for word in takewhile(lambda word: not str(word).startswith("--"), command)]
    return " ".join(words)


def _note(deviations: list[Mapping[str, Any]]) -> str | None:
    """The run's description in MLflow: how far it is from the paper."""
    if not deviations:
        return None
    lines = [f"| {d['field']} | {d['paper']} | {d['here']} |" for d in deviations]
    return "\n".join(
        ["Deviations from the paper:", "", "| setting | paper | here |", "|---|---|---|", *lines]
    )


def _params(recipe: Mapping[str, Any]) -> dict[str, str]:
    """The resolved recipe in one level, within MLflow's limits (6000 characters per value)."""
    return {key: str(value)[:6000] for key, value in flatten(recipe).items()}


def _by_epoch(rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Rows by epoch, in order; of an epoch that was done again the latest row counts."""
    latest = {row["epoch"]: row for row in rows}
    return {epoch: latest[epoch] for epoch in sorted(latest)}


def _epoch_times(rows: Mapping[int, Mapping[str, Any]], start: int) -> dict[int, int]:
    """Epoch -> milliseconds since 1970 of its end, as if training had never been interrupted."""
    times, now = {}, float(start)
    for epoch, row in rows.items():
        now += 1000 * (row.get("seconds") or 0.0)
        times[epoch] = round(now)
    return times


def _epoch_points(rows: Mapping[int, Mapping[str, Any]], times: Mapping[int, int]) -> Iterator[Point]:
    for epoch, row in rows.items():
        for key, value in row.items():
            if key not in ("epoch", "iteration") and _is_number(value):
                yield Point(f"{_PREFIX.get(key, 'train')}/{key}", float(value), epoch, times[epoch])


def _system_points(folder: RunFolder, times: Mapping[int, int]) -> Iterator[Point]:
    for row in read_lines(folder.path / "system.jsonl"):
        if row["epoch"] in times:
            for key, value in row.items():
                if key != "epoch" and _is_number(value):
                    yield Point(f"system/{key}", float(value), row["epoch"], times[row["epoch"]])


def _final_points(result: Result) -> Iterator[Point]:
    best, last, full, latency = result.best, result.last, result.full_size_profile, result.latency
    epochs = result.training.epochs
    figures: list[tuple[str, float | None, int]] = [(key, getattr(best, key), best.epoch) for key in AP_KEYS]
    figures += [
        ("AP_last", last.AP, last.epoch),
        ("params_m", result.profile.params / 1e6, epochs),
        ("gflops", result.profile.gflops, epochs),
        ("gflops_paper", result.profile.gflops_paper, epochs),
        ("full_size_params_m", full.params / 1e6 if full else None, epochs),
        ("full_size_gflops_paper", full.gflops_paper if full else None, epochs),
        ("latency_ms", latency.forward_ms.median if latency else None, epochs),
        ("latency_total_ms", latency.total_ms.median if latency else None, epochs),
    ]
    when = _milliseconds(result.finished)
    return (Point(key, float(value), step, when) for key, value, step in figures if value is not None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _milliseconds(time: str) -> int:
    return round(1000 * datetime.fromisoformat(time).timestamp())


def _end(attempts: list[dict[str, Any]], result: Result | None, latest: int) -> int:
    """When the run ended; for a killed run the last moment of which the record knows."""
    if result is not None:
        return _milliseconds(result.finished)
    return max(latest, _milliseconds(attempts[-1]["time"]))


def _digest(status: str, tags: Mapping[str, str], points: Iterable[Point], files: Iterable[Path]) -> str:
    total = hashlib.sha256(f"{status} {sorted(tags.items())} {sorted(map(astuple, points))}".encode())
    for path in files:
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()[:16]
