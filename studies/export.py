"""Can the official tools use what was trained here?

    python -m studies.export --run runs/scaling/yolox-s-s0-1a2b3c4d --output yolox_s.pth
    python -m studies.export --model yolox-s --classes 20 --weights best.pt --output yolox_s.pth

Writes ``{"model": …}`` with the official code's names (0.3.0), averaged weights where there are any. Parts
that the official code does not have (coupled head, one-to-one branch) keep our names and are listed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from roadmap.record import RunFolder
from roadmap.words import counted
from studies.evaluate import recipe_of
from yolox_core.config import MODELS, YOLOX_INGREDIENTS, Ingredients, ModelConfig, model_config


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 when the file was written, 1 with a message when it was not."""
    options = _parser().parse_args(arguments)
    try:
        print(export(*_source(options), options.output))
    except (ValueError, OSError) as error:
        print(f"export: {error}", file=sys.stderr)
        return 1
    return 0


def export(model: ModelConfig, ingredients: Ingredients, weights: Path, output: Path) -> str:
    """Convert a checkpoint; what was written, in words."""
    from yolox_core.build import build_detector
    from yolox_core.deploy.weights import load_official, save_official, unofficial_parts

    detector = build_detector(model, ingredients)
    report = load_official(detector, weights)
    if not report.complete:
        raise ValueError(f"{weights} does not fill {model.name}:\n{report}")
    save_official(detector, output)
    own = unofficial_parts(detector)
    remark = f"; the official code does not have: {', '.join(own)}" if own else ""
    filled = f"{counted(len(report.loaded), 'tensor')} of {model.name}, {counted(model.num_classes, 'class')}"
    return f"{output}: {filled}{remark}"


def _source(options: argparse.Namespace) -> tuple[ModelConfig, Ingredients, Path]:
    if options.run is None:
        if options.weights is None:
            raise ValueError("--weights FILE is missing: the checkpoint to export")
        return model_config(options.model, options.classes), YOLOX_INGREDIENTS, options.weights
    folder = RunFolder(options.run)
    recipe = recipe_of(folder)
    return recipe.model, recipe.ingredients, options.weights or folder.checkpoints / "best.pt"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", type=Path, metavar="FOLDER", help="a run's folder")
    what.add_argument("--model", choices=tuple(MODELS), help="a named model of the paper")
    parser.add_argument("--classes", type=int, default=80, help="with --model (default: %(default)s)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="checkpoint (a run's: its best epoch)")
    parser.add_argument("--output", type=Path, metavar="FILE", required=True, help="where to write")
    return parser


if __name__ == "__main__":
    sys.exit(main())
