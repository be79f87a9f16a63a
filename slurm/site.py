"""Site profiles: what a cluster is like and what one run asks of it, as a TOML file.

``load_site`` takes a name (``slurm/sites/<name>.toml``) or a path, falls back on ``$YOLOX_SITE`` and
then on ``default``. Every key is a field of :class:`Site`; a wrong key or type is an error that names
the valid ones.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from roadmap.typed import parse
from slurm.quoting import check_name, check_printable, check_word

FOLDER = Path(__file__).parent / "sites"
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<rest>\d+(?::\d+){0,2})")
_MEMORY = re.compile(r"\d+[KMGT]?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# fmt: off
#: sbatch options that the scripts set themselves.
_OURS = frozenset({
    "--account", "--array", "--chdir", "--cpus-per-task", "--dependency", "--gres", "--job-name", "--mem",
    "--nodes", "--ntasks", "--ntasks-per-node", "--open-mode", "--output", "--error", "--partition", "--qos",
    "--requeue", "--no-requeue", "--signal", "--time", "--wrap", "--wait", "--parsable", "--test-only",
    "--hold", "--mail-user", "--mail-type",
})
# fmt: on
#: srun options that the scripts set themselves, or that would make another job step of it.
_SRUN_OURS = frozenset({"--cpus-per-task", "--jobid", "--kill-on-bad-exit", "--nodes", "--ntasks", "--pty"})
_MAIL_EVENTS = ("BEGIN", "END", "FAIL", "REQUEUE", "INVALID_DEPEND", "TIME_LIMIT", "TIME_LIMIT_90", "ALL")
#: sbatch takes at most this many seconds of warning.
_LONGEST_LEAD = 65535


@dataclass(frozen=True)
class Limits:
    """What the cluster offers; 0 or empty when not known. A request above it is refused at submission."""

    gpus_per_node: int = 0
    nodes: int = 0
    time_limit: str = ""

    def __post_init__(self) -> None:
        _not_negative(self, "gpus_per_node", "nodes")
        if self.time_limit:
            seconds(self.time_limit, "limits.time_limit")


@dataclass(frozen=True)
class Resources:
    """What the runs of some arms ask for instead of the site's keys of these names; empty or 0: the same."""

    partition: str = ""
    qos: str = ""
    options: tuple[str, ...] = ()
    nodes: int = 0
    gpus_per_node: int = 0
    gpu_type: str = ""
    cpus_per_gpu: int = 0
    memory: str = ""
    time_limit: str = ""
    tflops_per_gpu: float = 0.0

    def given(self) -> dict[str, Any]:
        """The keys that are not left as they are."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}


@dataclass(frozen=True)
class Site:
    """A cluster, and what one run asks of it.

    partition, account, qos: empty for the cluster's defaults. options: further sbatch options.
    nodes, gpus_per_node, gpu_type, cpus_per_gpu, memory (per node, e.g. ``64G``), time_limit: the request
    of one run; one process per GPU, or one per node where gpus_per_node is 0.
    array_throttle: runs at the same time, 0 for no bound. signal_lead: seconds between the warning and
    the end of a job. max_requeues: how often a run may be put back in the queue.
    python: interpreter on the compute nodes, empty for the one that submits. modules: for ``module load``.
    setup: lines of shell code, run as they stand. container: words put before the command.
    variables: environment variables. coco: the dataset's folder. tracking_uri: MLflow's.
    srun_options: of the srun that starts processes (pyxis, enroot). report_partition, report_qos,
    report_options, report_memory, report_time_limit: of the report job; with a partition of its own it takes
    over neither qos nor options. mail: address for Slurm's mails, on these events (mail_on). arms: other
    requests for the runs of arms that match a name or a pattern (yolox-x*), the first match counts.
    tflops_per_gpu: sustained training TFLOP/s of one GPU,
    0 when unknown.
    """

    name: str
    description: str = ""
    partition: str = ""
    account: str = ""
    qos: str = ""
    options: tuple[str, ...] = ()
    nodes: int = 1
    gpus_per_node: int = 1
    gpu_type: str = ""
    cpus_per_gpu: int = 1
    memory: str = ""
    time_limit: str = ""
    array_throttle: int = 0
    signal_lead: int = 120
    max_requeues: int = 100
    python: str = ""
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    container: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    coco: str = ""
    tracking_uri: str = ""
    srun_options: tuple[str, ...] = ()
    report_partition: str = ""
    report_qos: str = ""
    report_options: tuple[str, ...] = ()
    report_memory: str = ""
    report_time_limit: str = ""
    tflops_per_gpu: float = 0.0
    mail: str = ""
    mail_on: tuple[str, ...] = ("END", "FAIL")
    arms: Mapping[str, Resources] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check_name(self.name, "a site's name")
        for key in ("partition", "account", "qos", "gpu_type", "report_partition", "report_qos"):
            if getattr(self, key):
                check_word(getattr(self, key), key)
        for option in (*self.options, *self.report_options):
            _check_option(option)
        for option in self.srun_options:
            _check_srun_option(option)
        for key in ("description", "python", "coco", "tracking_uri"):
            check_printable(getattr(self, key), key)
        for key in ("modules", "setup", "container"):
            for value in getattr(self, key):
                check_printable(value, key)
        for name, value in self.variables.items():
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"variables: {name!r} is no name of an environment variable")
            check_printable(value, f"variables.{name}")
        if self.mail:
            check_word(self.mail, "mail")
        for event in self.mail_on:
            if event not in _MAIL_EVENTS:
                raise ValueError(f"mail_on: {event!r} is none of: {', '.join(_MAIL_EVENTS)}")
        self._check_request()
        for pattern in self.arms:
            try:
                self.for_arm(pattern)
            except ValueError as error:
                raise ValueError(f"arms.{pattern}: {error}") from error

    def for_arm(self, arm: str) -> Site:
        """The site as the runs of an arm see it."""
        found = (
            wanted for pattern, wanted in self.arms.items() if fnmatchcase(arm, pattern) or arm == pattern
        )
        wanted = next(found, Resources())
        return replace(self, arms={}, **wanted.given())

    def _check_request(self) -> None:
        _not_negative(self, "gpus_per_node", "array_throttle", "max_requeues", "tflops_per_gpu")
        if self.nodes < 1 or self.cpus_per_gpu < 1:
            raise ValueError("nodes and cpus_per_gpu must be at least 1")
        for key in ("memory", "report_memory"):
            if getattr(self, key) and not _MEMORY.fullmatch(getattr(self, key)):
                raise ValueError(f"{key} must be a size such as '64G', not {getattr(self, key)!r}")
        if self.report_time_limit:
            seconds(self.report_time_limit, "report_time_limit")
        if not 1 <= self.signal_lead <= _LONGEST_LEAD:
            raise ValueError(f"signal_lead must be 1 to {_LONGEST_LEAD} seconds, not {self.signal_lead}")
        if self.time_limit and seconds(self.time_limit, "time_limit") <= self.signal_lead:
            raise ValueError(
                f"signal_lead ({self.signal_lead} s) must be shorter than time_limit ({self.time_limit})"
            )

    @property
    def tasks_per_node(self) -> int:
        """Processes of a run on each node."""
        return max(1, self.gpus_per_node)

    @property
    def tasks(self) -> int:
        """Processes of a run."""
        return self.nodes * self.tasks_per_node

    @property
    def gpus(self) -> int:
        """GPUs of a run."""
        return self.nodes * self.gpus_per_node


def site_names() -> tuple[str, ...]:
    """Names of the profiles that come with the project."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_site(name_or_path: str | None = None) -> Site:
    """The site of this name or path; ``$YOLOX_SITE``, then ``default``, when it is None.

    Raises ValueError naming the known sites, or the key at fault and the valid keys.
    """
    wanted = name_or_path or os.environ.get("YOLOX_SITE") or "default"
    path = Path(wanted).expanduser()
    if path.suffix != ".toml":
        path = FOLDER / f"{wanted}.toml"
    if not path.is_file():
        raise ValueError(
            f"no site {wanted!r}; choose one of: {', '.join(site_names())}, or give a .toml file"
        )
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    return site_from(data, path.stem, str(path))


def site_from(data: Mapping[str, Any], name: str, where: str) -> Site:
    """A site from parsed TOML or JSON. Raises ValueError naming ``where`` and the key at fault."""
    try:
        return parse(Site, {"name": name, **data})
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def seconds(text: str, what: str = "time") -> int:
    """Slurm's time (minutes, M:S, H:M:S, D-H, D-H:M or D-H:M:S) in seconds. Raises ValueError."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{what} must be a Slurm time such as '24:00:00' or '2-12:00:00', not {text!r}")
    parts = [int(part) for part in match["rest"].split(":")]
    if match["days"] is not None:
        hours, minutes, rest = (*parts, 0, 0)[:3]
        return int(match["days"]) * 86400 + hours * 3600 + minutes * 60 + rest
    if len(parts) == 1:
        return parts[0] * 60
    hours, minutes, rest = (0, *parts)[-3:]
    return hours * 3600 + minutes * 60 + rest


def _check_option(option: str) -> None:
    name = check_word(option, "options").split("=")[0]
    if not name.startswith("--"):
        raise ValueError(f"options: {option!r} must be a long sbatch option such as '--constraint=a100'")
    if name in _OURS:
        raise ValueError(f"options: {name} is decided by the script and the other keys of the profile")


def _check_srun_option(option: str) -> None:
    name = check_printable(option, "srun_options").split("=")[0]
    if not name.startswith("--") or name in _SRUN_OURS:
        raise ValueError(
            f"srun_options: {option!r} must be a long option of srun, as '--container-image=/x.sqsh', and "
            f"none of: {', '.join(sorted(_SRUN_OURS))}"
        )


def _not_negative(owner: Any, *keys: str) -> None:
    for key in keys:
        if getattr(owner, key) < 0:
            raise ValueError(f"{key} must not be negative, not {getattr(owner, key)}")
