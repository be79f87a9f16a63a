"""The run record: a folder per run, the truth that everything else is a view of.

runs/<study>/<arm>-s<seed>-<hash>/
    recipe.json        the whole resolved recipe, the run's identity, deviations from the paper
    plan.json          where data and starting weights lie, and who planned it
    environment.json   packages, commit, hardware, dataset, of the latest attempt
    attempts.jsonl     one line when an attempt starts, one when it ends
    metrics.jsonl      one line per epoch
    result.json        written last, atomically: its presence means the run is finished
    failure.json       why the run stopped on its own (error, non-finite loss)
    stop.json          that it is to stop for good before its end, and why; left by a search
    detections.json    detections of the best evaluated epoch, COCO result format
    log.txt            what was printed
    checkpoints/       the last two, and the best weights
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any

from annotated_types import Ge, Gt, Interval

from roadmap.protocols import Deviation
from roadmap.recipe import DatasetConfig, Recipe, Run
from roadmap.redaction import public
from roadmap.typed import parse, to_json
from yolox_core import files
from yolox_core.files import read_json, read_lines
from yolox_core.files import write_atomic as write_atomic

#: Of result.json and recipe.json. Raise it when a reader of today would misread what is written.
SCHEMA = 2

Count = Annotated[int, Ge(0)]
Amount = Annotated[float, Ge(0)]
#: A percentage, with room for the last bit of a mean; None where COCO leaves it undefined.
Percent = Annotated[float, Interval(ge=0, le=100 + 1e-9)] | None

#: Left in a run's folder: it stops for good at its next iteration and keeps what it has.
STOP = "stop.json"

#: Validation images with true and predicted boxes; drawn by the mirror, shown by reports.
PICTURE = "validation.jpg"


class RunLockedError(RuntimeError):
    """Another process works on the same run."""


@dataclass(frozen=True)
class Figures:
    """COCO's twelve figures in percent, and the epoch (from 1) of the weights they belong to."""

    epoch: Count
    AP: Percent
    AP50: Percent
    AP75: Percent
    APs: Percent
    APm: Percent
    APl: Percent
    AR1: Percent
    AR10: Percent
    AR100: Percent
    ARs: Percent
    ARm: Percent
    ARl: Percent


@dataclass(frozen=True)
class Profile:
    """Size and arithmetic of one forward pass of one image (conventions: :mod:`roadmap.cost`)."""

    name: str
    image_size: Annotated[int, Ge(1)]
    params: Count
    macs: Count
    gflops: Amount
    gflops_paper: Amount


@dataclass(frozen=True)
class Spread:
    """Milliseconds over the repeats of a latency measurement."""

    median: Annotated[float, Gt(0)]
    mean: Annotated[float, Gt(0)]
    p5: Annotated[float, Gt(0)]
    p95: Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Latency:
    """How long one image takes, and everything that decides it.

    load_average, load_average_after: processes that wanted to run on the machine, over the minute before and
    at the end. others_load: cores (of those the measuring process may use) that others kept busy meanwhile,
    on average. measured, host, name: when, where and on which device. cudnn_benchmark, tf32, clock_mhz: on
    CUDA how convolutions were computed, and the multiprocessors' clock at the end.
    """

    device: str
    dtype: str
    batch: Annotated[int, Ge(1)]
    image_size: Annotated[int, Ge(1)]
    fused: bool
    confidence: Amount
    nms_iou: Amount
    forward_ms: Spread
    postprocess_ms: Spread
    total_ms: Spread
    warmup: Count | None = None
    repeats: Count | None = None
    threads: Count | None = None
    load_average: Amount | None = None
    others_load: Amount | None = None
    cudnn_benchmark: bool | None = None
    tf32: bool | None = None
    clock_mhz: Amount | None = None
    load_average_after: Amount | None = None
    measured: str | None = None
    host: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class TrainingFacts:
    """What the training took. data_wait: share of the time spent waiting for data."""

    epochs: Count
    iterations: Count
    seconds: Amount
    images_per_second: Amount
    data_wait: Amount
    memory_mb: Amount
    attempts: Count


@dataclass(frozen=True)
class Skipped:
    """Images left out, because they are missing or damaged."""

    train: Count = 0
    val: Count = 0


@dataclass(frozen=True)
class DatasetFacts(DatasetConfig):
    """The recipe's dataset, and what of it could not be used."""

    skipped: Skipped = Skipped()


@dataclass(frozen=True)
class Hardware:
    """What a run was trained on."""

    device: str
    name: str
    cpu: str
    cores: Count
    gpus: Count
    world_size: Annotated[int, Ge(1)]
    threads: Count
    host: str
    cuda: str | None = None
    cudnn: int | None = None


@dataclass(frozen=True)
class Result:
    """result.json. best, last: figures of the best evaluated and of the last epoch.

    profile: of the trained model; full_size_profile: of the paper's model with the same ingredients.
    finished: UTC, ISO 8601. deviations: of the recipe, and those that the run itself met. earlier_latencies:
    what ``latency`` was before it was measured again.
    """

    schema: Annotated[int, Ge(1)]
    study: str
    arm: str
    seed: int
    run: str
    recipe_hash: str
    protocol: str
    finished: str
    best: Figures
    last: Figures
    profile: Profile
    training: TrainingFacts
    dataset: DatasetFacts
    hardware: Hardware
    deviations: tuple[Deviation, ...]
    full_size_profile: Profile | None = None
    latency: Latency | None = None
    earlier_latencies: tuple[Latency, ...] = ()


@dataclass(frozen=True)
class Identity:
    """recipe.json: which run it is, its whole recipe, and how far that departs from the paper's."""

    schema: Annotated[int, Ge(1)]
    study: str
    arm: str
    seed: int
    protocol: str
    recipe_hash: str
    recipe: Recipe
    deviations: tuple[Deviation, ...]

    @classmethod
    def of(cls, run: Run, deviations: tuple[Deviation, ...]) -> Identity:
        recipe = run.recipe
        return cls(SCHEMA, run.study, run.arm, run.seed, recipe.protocol, recipe.hash, recipe, deviations)


def identity_from_json(data: Any, where: str = "recipe.json") -> Identity:
    """Read recipe.json's content, of this version or an older one. Raises ValueError naming what is wrong."""
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} is missing or not a JSON object")
    check_schema(data, where)
    return parse(Identity, _with_arm(data), where, whole=True)


def result_from_json(data: Any, where: str = "result.json") -> Result:
    """Read what :func:`write_result` wrote, or an older version of it.

    Raises ValueError for another layout, an impossible figure, and a schema of the future.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} is not a JSON object; move it away or repair it")
    check_schema(data, where)
    return parse(Result, _with_arm(data), where)


def check_schema(data: Mapping[str, Any], where: str) -> None:
    """Raises ValueError when a newer version of the project wrote ``data``."""
    schema = data.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise ValueError(f"{where} has schema {schema}, newer than {SCHEMA}: update the project")


def write_json(path: Path, value: Any, *, exact: bool = False) -> None:
    """Write JSON atomically. Non-finite numbers are refused: they are not JSON.

    exact: keep the credentials of addresses, which are left out otherwise (:mod:`roadmap.redaction`).
    """
    files.write_json(path, value if exact else public(value))


def write_json_once(path: Path, value: Any) -> bool:
    """Write JSON atomically where there is no such file yet; whether this call wrote it."""
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.once")
    try:
        write_json(temporary, value)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            if path.exists():
                return False
            temporary.replace(path)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def append_line(path: Path, value: Any) -> None:
    """Append one JSON line, without credentials; a torn last line is cut off first."""
    files.append_line(path, public(value))


def now() -> str:
    """UTC time to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class RunFolder:
    """A run's folder and its files."""

    path: Path

    @property
    def study(self) -> str:
        return self.path.parent.name

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    def identity(self) -> dict[str, Any] | None:
        """recipe.json: study, arm, seed, protocol, recipe_hash, recipe, deviations."""
        return _with_arm(read_json(self.path / "recipe.json"))

    def environment(self) -> dict[str, Any] | None:
        return read_json(self.path / "environment.json")

    def result(self) -> Result | None:
        """result.json, None until the run is finished.

        Every command judges a record by this. Raises ValueError saying what is wrong with a result that
        can't be read, can't be, or does not belong to the recipe beside it.
        """
        return self.outcome()[1]

    def outcome(self) -> tuple[dict[str, Any] | None, Result | None]:
        """recipe.json and result.json, each read once. Raises ValueError as :meth:`result` does."""
        identity, content = self.identity(), read_json(self.path / "result.json")
        if content is None:
            return identity, None
        result = result_from_json(content)
        if not isinstance(identity, dict):
            raise ValueError("recipe.json is missing or not a JSON object")
        for key in ("arm", "seed", "recipe_hash", "protocol"):
            if getattr(result, key) != identity.get(key):
                raise ValueError(
                    f"result.json says {key} {getattr(result, key)!r}, recipe.json says {identity.get(key)!r}"
                )
        self.verified(identity)
        return identity, result

    def verified(self, content: Any) -> Identity:
        """recipe.json's content. Raises ValueError when it can't be read, or its recipe's hash is another
        than the record's and the folder's name say.
        """
        identity = identity_from_json(content)
        named = re.fullmatch(r".*-s\d+-([0-9a-f]{8})", self.name)
        claims = {"recipe.json": identity.recipe_hash, "the folder's name": named and named[1]}
        for place, claim in claims.items():
            if claim not in (None, identity.recipe.hash):
                raise ValueError(
                    f"the recipe in recipe.json has the hash {identity.recipe.hash}, {place} says {claim}; "
                    "it was edited or moved: put the original back, or move the folder away"
                )
        return identity

    def failure(self) -> dict[str, Any] | None:
        """failure.json: kind, message, epoch, attempt; None unless the run stopped on its own."""
        return read_json(self.path / "failure.json")

    def stop_order(self) -> dict[str, Any] | None:
        """stop.json: kind, message, epoch, time; None unless the run was told to stop for good."""
        return read_json(self.path / STOP)

    def metrics(self) -> list[dict[str, Any]]:
        """One row per finished epoch, in order."""
        return read_lines(self.path / "metrics.jsonl")

    def attempts(self) -> list[dict[str, Any]]:
        """Start and end events of every attempt, in order."""
        return read_lines(self.path / "attempts.jsonl")

    def state(self) -> str:
        """``finished``, ``unreadable``, ``failed``, ``stopped``, ``running``, ``interrupted``, ``planned`` or
        ``new``, from the folder alone. Unreadable: there is a result.json that is none; :meth:`problem` says
        why. Stopped: for good and before its end, as stop.json says.
        """
        if (self.path / "result.json").exists():
            return "unreadable" if self.problem() else "finished"
        if self.is_locked():
            return "running"
        if (self.path / "failure.json").exists():
            return "failed"
        if (self.path / STOP).exists():
            return "stopped"
        if (self.path / "attempts.jsonl").exists():
            return "interrupted"
        return "planned" if (self.path / "recipe.json").exists() else "new"

    def problem(self) -> str:
        """Why the run's result can't be used; empty when it can, or when there is none yet."""
        try:
            self.result()
        except (ValueError, OSError) as error:
            return str(error)
        return ""

    def is_locked(self) -> bool:
        """Whether a process on this machine (or on a shared file system with locks) works on the run."""
        try:
            file = (self.path / "lock").open("r")  # enough for a shared lock, of another account's run too
        except FileNotFoundError:
            return False
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process.

        Raises RunLockedError naming the holder when another process has it. The operating system frees
        the lock when the holder dies, so no stale lock is left behind.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a+") as file:
            if not _try_lock(file):
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise RunLockedError(
                    f"{self.path} is being worked on by {holder}; wait for it, or stop it first"
                )
            file.truncate(0)
            job = os.environ.get("SLURM_JOB_ID")
            file.write(f"process {os.getpid()} on {socket.gethostname()}" + (f", job {job}" if job else ""))
            file.flush()
            yield


def _try_lock(file: IO[str], patience: float = 1.0) -> bool:
    """Take the lock; with some patience, because :meth:`RunFolder.is_locked` holds it for an instant.

    patience: seconds.
    """
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        else:
            return True


def _with_arm(record: Any) -> Any:
    """Records of schema 1 call the arm ``stage``."""
    if isinstance(record, dict) and "stage" in record and "arm" not in record:
        return {"arm" if key == "stage" else key: value for key, value in record.items()}
    return record


def write_result(folder: RunFolder, result: Result) -> None:
    """Write result.json: from now on the run is finished."""
    write_json(folder.path / "result.json", to_json(result))


def find_runs(root: Path, study: str | None = None) -> list[RunFolder]:
    """All run folders below ``root`` (``runs/``), sorted by name; only a study's when it is given."""
    pattern = f"{study or '*'}/*/recipe.json"
    return [RunFolder(path.parent) for path in sorted(root.glob(pattern))]
