"""Replay run records into a tracking server: python -m studies.sync

For compute nodes without network, after an outage, or for a second server. Doing it again adds nothing:
what the server already has is left alone. Runs that were killed get their status here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from roadmap.record import RunFolder, find_runs
from roadmap.redaction import public_uri
from roadmap.search import FILE as SEARCH
from studies.mirror.layout import View, read_view
from studies.mirror.state import write_mirrored, write_pending
from studies.mirror.store import OFF, connect, public_message, report_folder, resolve_uri

#: After so many failures of the server in a row the rest is not tried: it is away.
_PATIENCE = 3

_EXAMPLES = """\
examples:
  python -m studies.sync                                   everything, to the store in force
  python -m studies.sync --uri http://tracking:5000        to another server
"""


@dataclass(frozen=True)
class Outcome:
    """What became of one record: ``mirrored``, ``up to date``, ``failed`` or ``not tried``."""

    study: str
    run: str
    outcome: str
    status: str | None = None
    epoch: int | None = None
    run_id: str | None = None
    error: str | None = None


def sync(runs: Path, uri: str, study: str | None = None) -> Iterator[Outcome]:
    """Mirror every record below ``runs`` (of one study, when given), searches and the reports beside them.

    One outcome each; a run that was planned and never started has nothing to show. A record that cannot be
    read is reported, and the others go on. Raises nothing of mlflow's; an unreachable server is an outcome.
    """
    folders = [folder for folder in find_runs(runs, study) if folder.state() != "planned"]
    studies = sorted({folder.study for folder in folders})
    searched = [name for name in studies if (runs / name / SEARCH).exists()]
    reported = [name for name in studies if report_folder(runs, name).is_dir()]
    work: list[tuple[str, str, Callable[[_Server], Outcome]]] = [
        *((folder.study, folder.name, partial(_sync_record, folder=folder)) for folder in folders),
        *((name, "search", partial(_sync_search, study=name)) for name in searched),
        *((name, "report", partial(_sync_report, study=name)) for name in reported),
    ]
    server, failures = _Server(runs, uri), 0
    for name, run, send in work:
        if failures >= _PATIENCE:
            yield Outcome(name, run, "not tried", error="the server failed too often")
            continue
        try:
            yield send(server)
            failures = 0
        except UnreadableRecordError as error:
            yield Outcome(name, run, "failed", error=str(error))
        except Exception as error:  # mlflow, requests and SQLAlchemy raise many kinds; all are reported
            failures += 1
            yield Outcome(name, run, "failed", error=public_message(error, uri))


class UnreadableRecordError(ValueError):
    """The record, not the server, is the problem."""


class _Server:
    """A connection that is made when it is needed, and what the server is known to have."""

    def __init__(self, runs: Path, uri: str) -> None:
        self.runs, self.uri = runs, uri
        self._mirrored: dict[str, dict[tuple[str, str], str]] = {}

    @cached_property
    def client(self) -> Any:
        return connect(self.uri, self.runs)

    def mirrored(self, study: str) -> dict[tuple[str, str], str]:
        """(run, record) -> digest of the records that the server has whole."""
        if study not in self._mirrored:
            self._mirrored[study] = _mirrored_digests(self.client, study)
        return self._mirrored[study]


def _sync_record(server: _Server, folder: RunFolder) -> Outcome:
    from studies.mirror.mirror import RecordMirror
    from studies.mirror.pictures import write_validation_picture

    view = _read(folder)
    try:
        if server.mirrored(view.study).get((view.run, view.record)) == view.digest:
            return Outcome(view.study, view.run, "up to date", view.status, view.epoch)
        if view.status == "FINISHED":
            write_validation_picture(folder)
        run_id, view = RecordMirror(server.client, server.uri, folder).push()
    except Exception as error:
        message = public_message(error, server.uri)
        write_pending(folder, server.uri, message, ended=view.status != "RUNNING")
        raise
    write_mirrored(folder, server.uri, run_id, view)
    return Outcome(view.study, view.run, "mirrored", view.status, view.epoch, run_id)


def _read(folder: RunFolder) -> View:
    try:
        return read_view(folder)
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableRecordError(f"{type(error).__name__}: {error}") from error


def _sync_report(server: _Server, study: str) -> Outcome:
    from studies.mirror.report import attach_report

    sent = attach_report(server.client, server.uri, server.runs, study, report_folder(server.runs, study))
    return Outcome(study, "report", "mirrored" if sent else "up to date")


def _sync_search(server: _Server, study: str) -> Outcome:
    from studies.mirror.search import attach_search

    try:
        sent = attach_search(server.client, server.uri, server.runs, study)
    except ValueError as error:
        raise UnreadableRecordError(str(error)) from error
    return Outcome(study, "search", "mirrored" if sent else "up to date")


def _mirrored_digests(client: Any, study: str) -> dict[tuple[str, str], str]:
    """(run, record) -> digest of the records that the server has whole; one request per 1000 runs."""
    from studies.mirror.groups import find_runs as find_mlflow_runs

    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        return {}
    runs = find_mlflow_runs(client, experiment.experiment_id, kind="run")
    tags = [run.data.tags for run in runs]
    return {(t.get("run", ""), t.get("record", "")): t["mirrored"] for t in tags if "mirrored" in t}


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when everything is mirrored, 1 when something is not."""
    options = _parser().parse_args(arguments)
    uri = resolve_uri(options.uri, options.runs)
    if uri == OFF:
        print("error: the tracking URI is 'off'; give --uri or unset MLFLOW_TRACKING_URI", file=sys.stderr)
        return 2
    if not options.json:
        print(f"replaying {options.runs} to {public_uri(uri)}")
    outcomes = []
    for outcome in sync(options.runs, uri, options.study):
        outcomes.append(outcome)
        if not options.json:
            print(_line(outcome), flush=True)
    if options.json:
        print(json.dumps({"uri": public_uri(uri), "runs": [asdict(o) for o in outcomes]}))
    elif not outcomes:
        print(f"no run records below {options.runs}; give the folder with --runs")
    return 1 if any(outcome.outcome in ("failed", "not tried") for outcome in outcomes) else 0


def _line(outcome: Outcome) -> str:
    if outcome.outcome in ("failed", "not tried"):
        return f"{outcome.study + '/' + outcome.run:<44} {outcome.outcome:<11} {outcome.error}"
    where = f"epoch {outcome.epoch}, {outcome.status}" if outcome.status else ""
    return f"{outcome.study + '/' + outcome.run:<44} {outcome.outcome:<11} {where}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.sync",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    parser.add_argument("--study", metavar="NAME", help="only this study's runs; default: all")
    parser.add_argument(
        "--uri", help="tracking server; default: MLFLOW_TRACKING_URI, else the SQLite file in --runs"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout and nothing else")
    return parser


if __name__ == "__main__":
    sys.exit(main())
