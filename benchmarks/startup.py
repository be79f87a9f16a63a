"""Start-up: how long a command takes to show help, a list or a plan, ours and the official code's in turn.

    make peer                                    once
    python -m benchmarks.startup [--rounds 10]

Goals: help and list under half a second, a plan of 70 runs under one. A user's own study file counts too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.in_turn import PEER, Measured, report, run_in_turn

REPOSITORY = Path(__file__).resolve().parents[1]
OURS = {
    "ours": ["-m", "studies.roadmap", "--help"],
    "ours, --list": ["-m", "studies.roadmap", "--list"],
    "ours, --dry-run of 70": [
        "-m", "studies.roadmap", "--dry-run", "--embedded", "--launcher", "local", "--seeds", "10"
    ],
}  # fmt: skip
#: A user's own study, as short as they come.
STUDY = """from roadmap.stages import stage_arm
from roadmap.study import Study
STUDY = Study("mine", "Which head?", (stage_arm("baseline"), stage_arm("decoupled-head", against="baseline")))
"""


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
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "my_study.py"
    file.write_text(STUDY)
    ours = OURS | {"a user's study, --list": ["-m", "studies.run", str(file), "--list"]}
    sides = {name: command(arguments) for name, arguments in ours.items()}
    # its training command needs tensorboard too; the demo command starts with the same imports
    sides["official"] = command(["-m", "yolox.tools.demo", "--help"])
    results: dict[str, Measured] = run_in_turn(sides, options.rounds, 1)
    for result in results.values():
        result.memory = None  # of another process
    report("start-up", results, 1.0)
    folder.cleanup()


if __name__ == "__main__":
    main()
