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
    print(f"{'':<24}{'wall':>9}{'CPU':>9}")
    for part, (wall, cpu) in seconds.items():
        print(f"{part:<24}{wall:7.2f} s{cpu:7.2f} s")


def measure(folder: Path) -> dict[str, tuple[float, float]]:
    """(wall, CPU) seconds for importing, reading, tables and pages, and the whole report with figures.

    On a shared machine the CPU time is the one to look at: all of it is one thread's.
    """
    clocks = [_clocks()]
    from reports.build import build_report
    from reports.records.collect import collect

    clocks.append(_clocks())
    collect(folder, "roadmap")
    clocks.append(_clocks())
    build_report(folder, figures=False)
    clocks.append(_clocks())
    build_report(folder)
    clocks.append(_clocks())
    names = ("import", "read the records", "report without figures", "whole report")
    return {
        name: (after[0] - before[0], after[1] - before[1])
        for name, before, after in zip(names, clocks, clocks[1:], strict=False)
    }


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


if __name__ == "__main__":
    main()
