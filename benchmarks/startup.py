"""Start-up: how long a command takes to show its help, ours and the official code's in turn.

    make peer                                    once
    python -m benchmarks.startup [--rounds 10]

Goal: ours under one second.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.in_turn import PEER, Measured, report, run_in_turn

REPOSITORY = Path(__file__).resolve().parents[1]
OURS = {
    "ours": ["-m", "studies.roadmap", "--help"],
    "ours, --list": ["-m", "studies.roadmap", "--list"],
    "ours, --dry-run": ["-m", "studies.roadmap", "--dry-run", "--embedded", "--launcher", "local"],
}


def command(arguments: list[str]) -> Callable[[], object]:
    """Runs a Python command line and waits for it."""
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{PEER}"}

    def run() -> None:
        subprocess.run(
            [sys.executable, "-W", "ignore", *arguments], env=environment, capture_output=True, check=True
        )

    return run


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.startup",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    sides = {name: command(arguments) for name, arguments in OURS.items()}
    # its training command needs tensorboard too; the demo command starts with the same imports
    sides["official"] = command(["-m", "yolox.tools.demo", "--help"])
    results: dict[str, Measured] = run_in_turn(sides, options.rounds, 1)
    for result in results.values():
        result.memory = None  # of another process
    report("start-up", results, 1.0)


if __name__ == "__main__":
    main()
