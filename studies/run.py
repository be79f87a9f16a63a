"""Run a study of your own, or what was planned in a run's folder.

    python -m studies.run my_study.py --help              a file that holds STUDY; the options of every study
    python -m studies.run my_study.py --seeds 3 --dry-run
    python -m studies.run runs/mine/an-arm-s0-1a2b3c4d    what recipe.json there says, exactly that

A study file is a few lines of data:

    from roadmap.stages import stage_arm
    from roadmap.study import Study

    STUDY = Study("my-heads", "Which head?", arms=(
        stage_arm("baseline"),
        stage_arm("decoupled-head", against="baseline"),
    ))

Jobs on a cluster are started with folders. A recipe that this code cannot carry out is refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from studies.command.cli import main as run_study
from studies.command.folders import run_folders
from studies.command.study_file import load_study


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit status as that of a study, 2 for a wrong call or a recipe that is refused."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0].startswith("-"):
        parser = argparse.ArgumentParser(
            prog="python -m studies.run",
            description=__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("what", metavar="FILE|FOLDER", help="a study's file, or folders of planned runs")
        parser.parse_args(words)
        parser.error("name the study's file or a run's folder first, options behind it")
    if Path(words[0]).is_dir():
        return run_folders(words)
    try:
        study = load_study(Path(words[0]))
    except ValueError as error:
        print(f"python -m studies.run: error: {error}", file=sys.stderr)
        return 2
    return run_study(study, words[1:], f"python -m studies.run {words[0]}")


if __name__ == "__main__":
    sys.exit(main())
