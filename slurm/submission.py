"""What was submitted, kept with the runs.

    runs/<study>/submissions/<id>/
        array.sh          the job array, as it was submitted
        tasks.txt         one line per array task: index, run, command line
        report.sh         the dependent report job
        submission.json   the site as resolved, tasks, job ids
        logs/             %A_%a.log of each task (all its attempts), report_%j.log
        history/          <index>.tsv of each task: what happened to it (slurm/history.py)

The id is part of the job's name. Jobs are found by name, so neither a job id that Slurm gave out twice
nor a crash between submitting and writing it down can mislead us.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from roadmap.cost import training_flops
from roadmap.recipe import Run
from roadmap.record import SCHEMA, now, read_json, write_json
from slurm.history import Event, read_history
from slurm.ownership import account
from slurm.quoting import check_name
from slurm.site import Site, site_from


@dataclass(frozen=True)
class Task:
    """One run of a submission.

    run: folder name. arguments: what follows the interpreter, e.g. ``-m studies.roadmap --stage simota``.
    flops: training FLOPs of the whole run, None when unknown. protocol: of its recipe, empty when unknown.
    """

    run: str
    arm: str
    seed: int
    arguments: tuple[str, ...]
    flops: float | None = None
    protocol: str = ""

    @classmethod
    def of(cls, run: Run, arguments: tuple[str, ...]) -> Task:
        """A run and the command line that carries it out where it is started."""
        return cls(run.name, run.arm, run.seed, arguments, training_flops(run.recipe), run.recipe.protocol)


@dataclass(frozen=True)
class Submission:
    """A job array and its report job. job, report_job: None when Slurm never answered with an id.

    user: who submitted it, empty when not on record. waiting: runs of the same study that the cluster did not
    take, for the account had as many jobs as it may have; the report job submits them. site: the whole one;
    all tasks of an array have arms that ask for the same (:attr:`request`). code: folder of the frozen code
    that its tasks run, empty for whatever they find.
    """

    id: str
    study: str
    created: str
    site: Site
    tasks: tuple[Task, ...]
    report: tuple[str, ...]
    folder: Path
    job: int | None = None
    report_job: int | None = None
    user: str = ""
    waiting: tuple[Task, ...] = ()
    code: str = ""

    @property
    def request(self) -> Site:
        """The site as the tasks of this array see it."""
        return self.site.for_arm(self.tasks[0].arm) if self.tasks else self.site

    @property
    def is_ours(self) -> bool:
        """Whether this account submitted it, as far as is known."""
        return self.user in ("", account())

    @property
    def job_name(self) -> str:
        return f"{self.study}.{self.id}"

    @property
    def report_name(self) -> str:
        return f"{self.study}-report.{self.id}"

    def save(self) -> None:
        """Write submission.json."""
        value = asdict(self) | {"schema": SCHEMA, "folder": None}
        kept = {k: v for k, v in value.items() if k != "folder"}
        # A retry needs the site's variables as they are, a proxy with its password for one.
        write_json(self.folder / "submission.json", kept, exact=True)

    def with_jobs(self, job: int, report_job: int | None) -> Submission:
        return replace(self, job=job, report_job=report_job)

    def index_of(self, run: str) -> int | None:
        """Array index of a run, None when it is not part of this submission."""
        return next((i for i, task in enumerate(self.tasks) if task.run == run), None)

    def history(self, index: int) -> list[Event]:
        """What happened to a task, in order."""
        return read_history(self.history_file(index))

    def history_file(self, index: int) -> Path:
        return self.folder / "history" / f"{index}.tsv"

    def report_history(self) -> list[Event]:
        """What happened to the report job, in order."""
        return read_history(self.folder / "history" / "report.tsv")

    def logs(self, index: int) -> list[Path]:
        """Log files of a task, the latest last."""
        found = (self.folder / "logs").glob(f"*_{index}.log")
        return sorted(found, key=lambda path: path.stat().st_mtime)


def new_submission(
    study: str, site: Site, tasks: tuple[Task, ...], report: tuple[str, ...], runs: Path
) -> Submission:
    """A submission that exists in memory only."""
    moment = datetime.now(UTC)
    name = f"{moment:%Y%m%d-%H%M%S}-{moment.microsecond:06d}-{secrets.token_hex(1)}"
    folder = submissions_folder(runs, study) / name
    return Submission(name, check_name(study, "study"), now(), site, tasks, report, folder, user=account())


def submissions_folder(runs: Path, study: str) -> Path:
    return runs.absolute() / study / "submissions"


def read_submissions(runs: Path, study: str | None = None) -> list[Submission]:
    """Every submission below ``runs``, the oldest first; only a study's when it is given.

    Raises ValueError naming a broken submission.json.
    """
    paths = sorted(runs.absolute().glob(f"{study or '*'}/submissions/*/submission.json"))
    found = [submission for path in paths if (submission := _read(path)) is not None]
    return sorted(found, key=lambda submission: submission.id)


def _read(path: Path) -> Submission | None:
    data = read_json(path)
    if data is None:  # taken away between glob and reading: Slurm refused it
        return None
    try:
        return Submission(
            id=data["id"],
            study=data["study"],
            created=data["created"],
            site=site_from(data["site"], data["site"]["name"], str(path)),
            tasks=tuple(_task(task) for task in data["tasks"]),
            report=tuple(data["report"]),
            folder=path.parent,
            job=data["job"],
            report_job=data["report_job"],
            user=data.get("user", ""),
            waiting=tuple(_task(task) for task in data.get("waiting", ())),
            code=data.get("code", ""),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no submission record ({error!r}); move it away or repair it") from error


def _task(data: dict[str, Any]) -> Task:
    """Submissions made before every study had arms call theirs ``stage``."""
    named = {"arm" if key == "stage" else key: value for key, value in data.items()}
    return Task(**(named | {"arguments": tuple(data["arguments"])}))


def to_json(submission: Submission) -> dict[str, Any]:
    """Plain JSON for the user: id, study, jobs, folder, tasks."""
    return {
        "id": submission.id,
        "study": submission.study,
        "site": submission.site.name,
        "job": submission.job,
        "report_job": submission.report_job,
        "folder": str(submission.folder),
        "waiting": [task.run for task in submission.waiting],
        "tasks": json.loads(json.dumps([asdict(task) for task in submission.tasks])),
    }
