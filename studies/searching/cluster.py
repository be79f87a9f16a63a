"""A search on a Slurm cluster: trials as tasks of job arrays, the next step as the job that follows them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
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

#: So often a run is submitted that leaves the queue without a result before it counts as failed.
SUBMISSIONS = 3
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
        again = f"python -m studies.search --step {self._folder}"
        try:
            said = self._submitted(record, runs) if runs else []
            if record.phase != "finished":
                self._follow(record)
        except SlurmError as error:
            return [f"Slurm takes no jobs from here: {error}", f"on a login node type: {again}"]
        return said

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
        sent = [f"submitted {counted(len(s.tasks), 'run')} as job {s.job}" for s in outcome.submissions]
        return [*sent, *outcome.notes]

    def _follow(self, record: SearchRecord) -> None:
        after = 0.0
        if record.space.pruner != "none" and record.phase == "searching":
            after = float(getattr(self._how, "look_every", None) or LOOK_EVERY)
        command = ("-m", "studies.search", "--step", str(self._folder))
        follow(record.name, self._folder.parent, command, Surroundings.here(), after)


def _seen(row: RunStatus, submissions: Sequence[Submission]) -> Seen:
    """A row of the status table as a search takes it."""
    if row.active_job or row.state == "running":
        return Seen("running" if row.state == "running" else "waiting", busy=True)
    if row.state in ("planned", "waiting"):
        return Seen("waiting")
    if row.state in MISSING_STATES:
        times = sum(each.index_of(row.run) is not None for each in submissions)
        if times < SUBMISSIONS:
            return Seen("waiting")
        again = "python -m slurm retry brings it back"
        return Seen("failed", f"{row.state} after {times} submissions: {row.last_end}; {again}")
    if row.state in ("failed", "cancelled"):
        how = row.last_end or "by nobody knows whom"
        return Seen("failed", how if how.startswith(row.state) else f"{row.state}: {how}")
    return Seen("waiting", busy=True)  # unknown: never taken for dead
