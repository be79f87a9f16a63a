"""Rebuild every table and figure of a study from its run records.

    python -m reports                          the roadmap below runs/, into runs/roadmap/report/
    python -m reports --study head --runs DIR --out DIR
    python -m reports --json                   the figures as one JSON document on stdout

Nothing is trained or measured; runs may still be going on. Exit status: 0 built, 2 wrong usage,
3 no finished runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

WRONG_USAGE, NO_FINISHED_RUNS = 2, 3


def parser() -> argparse.ArgumentParser:
    """The command line."""
    doc = __doc__ or ""
    result = argparse.ArgumentParser(
        "python -m reports",
        description=doc.partition("\n")[0],
        epilog=doc.partition("\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--study", default="roadmap", help="which study's runs (default: %(default)s)")
    result.add_argument("--runs", type=Path, default=Path("runs"), help="run records (default: %(default)s)")
    result.add_argument("--out", type=Path, help="where the report goes (default: RUNS/STUDY/report)")
    result.add_argument("--no-figures", action="store_true", help="tables only, in a fraction of the time")
    result.add_argument("--json", action="store_true", help="print the figures as JSON and nothing else")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Build the report and print its tables; the exit status."""
    options = parser().parse_args(arguments)
    from reports.build import build_report
    from reports.collect import NoFinishedRunsError

    try:
        report = build_report(options.runs, options.study, options.out, not options.no_figures)
    except NoFinishedRunsError as error:
        print(error, file=sys.stderr)
        return NO_FINISHED_RUNS
    except ValueError as error:
        print(error, file=sys.stderr)
        return WRONG_USAGE
    if options.json:
        print(json.dumps(report.data, indent=1, ensure_ascii=False, allow_nan=False))
        return 0
    print(report.summary)
    print(f"\nreport: {report.out / 'report.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
