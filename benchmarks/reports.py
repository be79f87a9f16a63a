"""How long a report over many run records takes: python -m benchmarks.reports [--runs 1000].

Writes the records of a roadmap with as many seeds as it takes (300 epochs each, as under the paper's
protocol), builds the report and prints seconds by part. The goal is 10 seconds for 1,000 records.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from roadmap.stages import STAGE_NAMES
from tests.reports.factory import COCO, write_run


def write_records(folder: Path, count: int) -> None:
    """``count`` finished runs spread evenly over the stages."""
    for index in range(count):
        write_run(folder, STAGE_NAMES[index % len(STAGE_NAMES)], index // len(STAGE_NAMES), "paper", COCO)


def main() -> None:
    """Print the seconds of each part and in all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000, help="records to write (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder, options.runs)
        size = sum(path.stat().st_size for path in folder.rglob("*.json*"))
        seconds = measure(folder)
    if options.json:
        print(json.dumps({"runs": options.runs, "megabytes": size / 1e6, "seconds": seconds}))
        return
    print(f"{options.runs} records, {size / 1e6:.0f} MB")
    for part, value in seconds.items():
        print(f"{part:<24}{value:7.2f} s")


def measure(folder: Path) -> dict[str, float]:
    """Seconds for importing, reading, tables and pages, and the whole report with figures."""
    start = time.perf_counter()
    from reports.build import build_report
    from reports.collect import collect

    imported = time.perf_counter()
    collect(folder, "roadmap")
    read = time.perf_counter()
    build_report(folder, figures=False)
    tables = time.perf_counter()
    build_report(folder)
    whole = time.perf_counter()
    return {
        "import": imported - start,
        "read the records": read - imported,
        "report without figures": tables - read,
        "whole report": whole - tables,
    }


if __name__ == "__main__":
    main()
