"""A search on a Slurm cluster: trials as tasks of job arrays, the next step as the job that follows them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from roadmap.planned import read_planned
from roadmap.record import RunFolder
from roadmap.search import SearchRecord
from roadmap.words import counted
from slurm.client import SlurmError
from slurm.follow import follow
from slurm.overview import RunStatus, overview
from slurm.script import Surroundings
from slurm.site import Site
from slurm.states import MISSING_STATES
from slurm.submission import Submission, Task, read_submissions
from slurm.submit import submit
from studies.searching.folders import Look, Seen

#: So often in a row a run leaves the queue without a result and without progress before it counts as failed.
SUBMISSIONS = 3
#: What begins the sentence that says what to type where a step could not submit.
TYPE = "on a login node type:"
#: Seconds between two looks of a pruner at what the runs have recorded.
LOOK_EVERY = 300.0


class Cluster:
    """Submits runs, and the next step behind them.

    folder: of the search. arguments: what follows the interpreter to carry out a run's folder.
    """

    def __init__(
        self,
        folder: Path,
        site: Site,
        arguments: Callable[[RunFolder], tuple[str, ...]],
        how: argparse.Namespace,
    ) -> None:
        self._folder, self._site, self._arguments, self._how = folder.absolute(), site, arguments, how

        #: Whether all that was under way ended while the last step looked, so that no job is left to follow.
        self.overtaken = False

    @property
    def by_hand(self) -> str:
        """What the user is told where no job takes the next step."""
        return f"{TYPE} python -m studies.search --step {self._folder}"

    @property
    def _next(self) -> tuple[str, ...]:
        """What follows the interpreter to take the next step."""
        return ("-m", "studies.search", "--step", str(self._folder))

    def look(self, record: SearchRecord) -> Look:
        """By our records, then by the queue and accounting."""
        rows = {row.run: row for row in overview(record.name, self._folder.parent).runs}
        submissions = read_submissions(self._folder.parent, record.name)

        def seen(run: str) -> Seen:
            row = rows.get(run.partition("/")[2])
            return Seen("waiting") if row is None else _seen(row, submissions)

        return seen

    def start(self, record: SearchRecord, runs: Sequence[str]) -> list[str]:
        """Submit runs as an array, and the next step; what to type where Slurm takes it not from here."""
        said: list[str] = []
        self.overtaken = False
        try:
            full = False
            try:
                said += self._submitted(record, runs) if runs else []
            except SlurmError as error:  # the account has as many jobs as it may have
                if not error.too_many_jobs:
                    raise
                full = True
                said.append(f"{counted(len(runs), 'run')} must wait: {error}")
            followed = record.phase == "finished" or self._follow(record) is not None
            self.overtaken = not followed and not full
            return [*said, self.by_hand] if full and not followed else said
        except SlurmError as error:
            room = "; a smaller --at-once leaves room for the next step's" if error.too_many_jobs else ""
            return [*said, f"Slurm takes no jobs from here: {error}{room}", self.by_hand]

    def _submitted(self, record: SearchRecord, runs: Sequence[str]) -> list[str]:
        earlier = read_submissions(self._folder.parent, record.name)
        planned = [read_planned(RunFolder(self._folder.parent / run)).run for run in runs]
        folders = [RunFolder(self._folder.parent / run) for run in runs]
        tasks = [Task.of(run, self._arguments(folder)) for run, folder in zip(planned, folders, strict=True)]
        code = earlier[-1].code if earlier else ""
        outcome = submit(
            record.name,
            tasks,
            self._site,
            self._folder.parent,
            (),
            freeze=bool(getattr(self._how, "freeze", False)) and not earlier,
            code=code if code and Path(code).is_dir() else "",
        )
        for each in outcome.submissions:  # what retry submits behind the runs that it takes up again
            replace(each, report=self._next).save()
        sent = [f"submitted {counted(len(s.tasks), 'run')} as job {s.job}" for s in outcome.submissions]
        return [*sent, *outcome.notes]

    def _follow(self, record: SearchRecord) -> int | None:
        after = 0.0
        if record.space.pruner != "none" and record.phase == "searching":
            after = float(getattr(self._how, "look_every", None) or LOOK_EVERY)
        return follow(record.name, self._folder.parent, self._next, Surroundings.here(), after)


def _in_vain(run: str, submissions: Sequence[Submission]) -> int:
    """How often in a row a run was submitted and made no progress."""
    times = 0
    for each in reversed(submissions):
        index = each.index_of(run)
        if index is None:
            continue
        if any(event.event == "progress" for event in each.history(index)):
            break
        times += 1
    return times


def _seen(row: RunStatus, submissions: Sequence[Submission]) -> Seen:
    """A row of the status table as a search takes it."""
    if row.active_job or row.state == "running":
        return Seen("running" if row.state == "running" else "waiting", busy=True)
    if row.state in ("planned", "waiting"):
        return Seen("waiting")
    if row.state in MISSING_STATES:
        if (times := _in_vain(row.run, submissions)) < SUBMISSIONS:
            return Seen("waiting")
        how = f"{row.state}, {times} submissions in a row without progress"
        return Seen("failed", f"{how}: {row.last_end}; python -m slurm retry brings it back")
    if row.state in ("failed", "cancelled"):
        how = row.last_end or "by nobody knows whom"
        return Seen("failed", how if how.startswith(row.state) else f"{row.state}: {how}")
    return Seen("waiting", busy=True)  # unknown: never taken for dead
