"""A study's report, and its copy in MLflow: what the job behind an array runs.

    python -m studies.report --study roadmap --runs DIR --tracking http://tracking:5000

Does what python -m reports does, with its options and exit status, of a search after computing which settings
decided. Then sends the report and whatever of the study's records MLflow still lacks. MLflow's troubles are
said and change nothing: python -m studies.sync sends the rest later.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress

from reports.__main__ import CLAIM_FAILED, build_and_show
from reports.__main__ import parser as reports_parser
from reports.records.collect import only_study
from roadmap.search import FILE as SEARCH
from slurm.places import never_started
from studies.mirror.report import mirror_study


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the report, print its tables, mirror it; the exit status of ``python -m reports``."""
    parser = reports_parser()
    parser.prog = "python -m studies.report"
    parser.description, _, parser.epilog = (__doc__ or "").partition("\n")
    parser.add_argument(
        "--tracking",
        metavar="URI",
        help="MLflow server, or off; default: $MLFLOW_TRACKING_URI or local SQLite",
    )
    options = parser.parse_args(arguments)
    if options.all:
        parser.error("--all is for python -m reports: what goes to MLflow is the report of one study")
    if options.keep or options.kept:
        parser.error("--keep and --kept are for python -m reports: what is kept does not go to MLflow")
    with suppress(ValueError):  # the report says what is wrong
        options.study = options.study or only_study(options.runs)
    if options.study is not None and (options.runs / options.study / SEARCH).exists():
        from studies.searching.importances import refresh  # Optuna: only for a search

        if trouble := refresh(options.runs / options.study):
            print(f"warning: {trouble}", file=sys.stderr)
    status = build_and_show(options)
    if options.study is None:
        return status
    for run in never_started(options.runs, options.study):
        print(
            f"never started: {run}; python -m slurm status --study {options.study} says more", file=sys.stderr
        )
    if status not in (0, CLAIM_FAILED):
        return status
    if options.out is None:
        problem = mirror_study(options.runs, options.study, options.tracking)
    else:
        problem = "the report is not mirrored: MLflow shows the one beside the runs; leave --out away"
    if problem:
        print(f"warning: {problem}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
