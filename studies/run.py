"""Run a study of your own, any combination of ingredients, or what was planned in a run's folder.

    python -m studies.run my_study.py --help              a file that holds STUDY; the options of every study
    python -m studies.run my_study.py --seeds 3 --dry-run
    python -m studies.run --on decoupled_head,simota --model yolox-s --dry-run
    python -m studies.run --off simota --help             YOLOX's ingredients but one; the same options
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

from roadmap.combinations import ROADMAP_MODEL, chosen_ingredients, combination_study
from studies.command.cli import main as run_study
from studies.command.folders import run_folders
from studies.command.study_file import load_study
from yolox_core.config import INGREDIENTS, MODELS


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit status as that of a study, 2 for a wrong call or a recipe that is refused."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    named = {word.split("=")[0] for word in words}
    if words and words[0].startswith("-") and named & {"--on", "--off", "--model"}:
        return _run_combination(words)
    if not words or words[0].startswith("-"):
        parser = argparse.ArgumentParser(
            prog="python -m studies.run",
            description=__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("what", metavar="FILE|FOLDER", help="a study's file, or folders of planned runs")
        add_combination(parser)
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


def add_combination(parser: argparse.ArgumentParser) -> None:
    """Options that say which ingredients are on, on which model."""
    what = parser.add_argument_group("instead of a file: any of the 64 combinations on any named model")
    what.add_argument(
        "--on",
        action="append",
        default=[],
        metavar="NAMES",
        help=f"these ingredients and no others, separated by commas: {', '.join(INGREDIENTS)}; or all, none, "
        "yolox (all but nms_free)",
    )
    what.add_argument(
        "--off", action="append", default=[], metavar="NAMES", help="without these; of YOLOX's without --on"
    )
    what.add_argument(
        "--model",
        action="append",
        choices=list(MODELS),
        metavar="NAME",
        help=f"may be repeated; default {ROADMAP_MODEL}; one of: {', '.join(MODELS)}",
    )


def _run_combination(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.run", add_help=False, allow_abbrev=False)
    add_combination(parser)
    chosen, rest = parser.parse_known_args(words)
    models = chosen.model or [ROADMAP_MODEL]
    try:
        ingredients = chosen_ingredients(chosen.on, chosen.off)
        study = combination_study(models, ingredients)
    except ValueError as error:
        print(f"python -m studies.run: error: {error}", file=sys.stderr)
        return 2
    spelled = ["--on", ",".join(ingredients.enabled()) or "none"]
    spelled += [word for model in models for word in ("--model", model)]
    return run_study(study, rest, f"python -m studies.run {' '.join(spelled)}")


if __name__ == "__main__":
    sys.exit(main())
