"""Time ours against the official code (0.3.0), one benchmark after the other, and print ratios.

    make peer                                  once
    python -m benchmarks [NAME ...]            some minutes for all; alone on the machine, please

Each is a program of its own with options of its own: ``python -m benchmarks.training_step --help``. Not among
them, for they take longer or need other things: throughput (training with real data loading; for a GPU),
transport (OTA beside SimOTA, both ours), mosaic_extras (what MixUp and Copy-Paste add to a sample, both
ours), tracking, bootstrap, reports. What needs photographs is skipped where there are none.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks.photographs import SKIPPED

NAMES = (
    "startup",
    "augmentation",
    "loading",
    "assignment",
    "loss",
    "training_step",
    "inference",
    "evaluation",
)


def main() -> int:
    """Run them all, or those that are named; 1 when one could not run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(NAMES)}; default: all")
    names = parser.parse_args().names or NAMES
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"no benchmark called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    failed, skipped = [], []
    for name in names:
        print(f"\n== {name}", flush=True)
        status = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
        if status == SKIPPED:
            skipped.append(name)
        elif status:
            failed.append(name)
    if skipped:
        print(f"\nskipped: {', '.join(skipped)}", file=sys.stderr)
    if failed:
        print(f"\ncould not run: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
