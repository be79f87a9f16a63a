"""Rebuild every table and figure of a study from its run records.

    python -m reports                          the only study below runs/, into runs/STUDY/report/
    python -m reports --study heads --runs DIR --out DIR
    python -m reports --json                   the figures as one JSON document on stdout
    python -m reports --all                    the whole paper: Tables 1 to 6, Figures 1 and 3, of all studies
                                               below runs/, into runs/report/

    python -m reports --check                  fail when a claim of the paper fails, for a CI

Nothing is trained or measured; runs may still be going on. Exit status: 0 built, 1 with --check when a
claim measured under the paper's protocol fails, 2 wrong usage, 3 no finished runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from roadmap.text_table import say

if TYPE_CHECKING:
    from reports.build import Report

CLAIM_FAILED, WRONG_USAGE, NO_FINISHED_RUNS = 1, 2, 3


def parser() -> argparse.ArgumentParser:
    """The command line."""
    doc = __doc__ or ""
    result = argparse.ArgumentParser(
        "python -m reports",
        description=doc.partition("\n")[0],
        epilog=doc.partition("\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = result.add_mutually_exclusive_group()
    which.add_argument("--study", help="which study's runs; default: the only one there is")
    which.add_argument(
        "--all",
        action="store_true",
        help="one document of every table of the paper, from the runs of all studies; what was not measured "
        "stands there with the paper's figures and the command that would measure it",
    )
    result.add_argument("--runs", type=Path, default=Path("runs"), help="run records (default: %(default)s)")
    result.add_argument(
        "--out", type=Path, help="where the report goes (default: RUNS/STUDY/report, with --all RUNS/report)"
    )
    which.add_argument(
        "--kept",
        type=Path,
        metavar="DIR",
        help="rebuild the report of a study that --keep has kept in DIR, into DIR/report",
    )
    result.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="keep the study in DIR: its finished runs' records in one small archive, without checkpoints, "
        "detections and names of machines, and the report built from that; with --images also what those say",
    )
    result.add_argument("--no-figures", action="store_true", help="tables only, in a fraction of the time")
    result.add_argument(
        "--images",
        action="store_true",
        help="add each step's interval over validation images, and what is missed, by kind of error, "
        "size and category; reads the annotation files the records name",
    )
    result.add_argument(
        "--check",
        action="store_true",
        help="exit with status 1 when a claim measured under the paper's protocol fails",
    )
    result.add_argument("--json", action="store_true", help="print the figures as JSON and nothing else")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Build the report and print its tables; the exit status."""
    return build_and_show(parser().parse_args(arguments))


def build_and_show(options: argparse.Namespace) -> int:
    """What :func:`main` does with its options."""
    from reports.build import build_report
    from reports.document import build_document
    from reports.records.collect import NoFinishedRunsError, only_study

    how = (options.out, not options.no_figures, options.images)
    try:
        if options.kept or options.keep:
            report = _kept(options)
        elif options.all:
            report = build_document(options.runs, *how)
        else:
            report = build_report(options.runs, options.study or only_study(options.runs), *how)
    except NoFinishedRunsError as error:
        print(error, file=sys.stderr)
        return NO_FINISHED_RUNS
    except ValueError as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE
    if options.json:
        say(json.dumps(report.data, indent=1, ensure_ascii=False, allow_nan=False))
    else:
        say(report.summary)
        say(f"\nreport: {report.out / 'report.html'} and {report.out / 'report.md'}")
    return _check(report) if options.check else 0


def _kept(options: argparse.Namespace) -> Report:
    """The report of a kept study, kept now or earlier. Raises ValueError for options that exclude it."""
    from tempfile import TemporaryDirectory

    from reports.build import build_report
    from reports.records.collect import only_study
    from reports.records.keep import keep_records, read_images, unpack_records
    from reports.tables.from_images import keep_images

    if options.keep and options.kept:
        raise ValueError("--keep makes what --kept rebuilds: give one of them")
    if options.all or (options.kept and options.images):
        raise ValueError("what is kept is one study, without detections: leave out --all and --images")
    folder = options.kept or options.keep
    if options.keep:
        study = options.study or only_study(options.runs)
        keep_records(
            options.runs, study, folder, keep_images(options.runs, study) if options.images else None
        )
    with TemporaryDirectory() as runs:
        study = unpack_records(folder, Path(runs))
        out = options.out or folder / "report"
        return build_report(Path(runs), study, out, not options.no_figures, read_images(folder))


def _check(report: Report) -> int:
    """Status of ``--check``, said on stderr."""
    from reports.judging.verdicts import NOT_MEASURED

    failing = [verdict for verdict in report.verdicts if verdict.fails]
    measured = [verdict for verdict in report.verdicts if verdict.label != NOT_MEASURED]
    for verdict in failing:
        print(
            f"failed: {verdict.claim.statement} ({verdict.claim.source}): {verdict.reason}", file=sys.stderr
        )
    if not measured:
        print("check: no claim was measured under the paper's protocol", file=sys.stderr)
    else:
        print(f"check: {len(failing)} of {len(measured)} measured claims failed", file=sys.stderr)
    return CLAIM_FAILED if failing else 0


if __name__ == "__main__":
    sys.exit(main())
