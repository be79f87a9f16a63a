"""A user's own study: a Python file that holds STUDY."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path

import studies
from roadmap.study import Study


def load_study(path: Path) -> Study:
    """The ``STUDY`` of a file. The file may import its neighbours.

    Raises ValueError saying what is wrong with the file, and where.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; name a Python file that holds STUDY, or a run's folder")
    spec = importlib.util.spec_from_file_location("study_file", path.absolute())
    if path.suffix != ".py" or spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file; a study's file ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.absolute().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's code raises is the user's to see, with its line
        raise ValueError(f"{path}{_line(path, error)}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    study = getattr(module, "STUDY", None)
    if study is None:
        raise ValueError(f"{path} holds no STUDY; end it with: STUDY = Study(name, question, arms)")
    if not isinstance(study, Study):
        raise ValueError(f"{path}: STUDY must be a roadmap.study.Study, not {type(study).__name__}")
    if study.name in ours():
        raise ValueError(
            f"{path}: a study called {study.name!r} comes with the project (python -m studies.{study.name}); "
            "choose another name, for its runs would be mixed with yours"
        )
    return study


def ours() -> tuple[str, ...]:
    """Names that the project's own commands take, studies among them."""
    folder = Path(studies.__path__[0])
    return tuple(sorted(path.stem for path in folder.glob("[a-z]*.py")))


def _line(path: Path, error: Exception) -> str:
    """Where in the file: its innermost line that led to the error."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.absolute()]
    return f", line {lines[-1]}" if lines else ""
