"""A search's space from its TOML file: which recipe fields are tuned, in which range, for what.

python -m studies.search simota-lr        a file of roadmap/spaces, or one of your own

base = "simota"                     # a stage or a model
objective = "AP"                    # or two: ["AP", "latency_ms"]
sampler = "tpe"
trials = 32

[training]                          # the sections of a protocol's file (docs/settings.md)
learning_rate = {low = 1e-3, high = 5e-2, log = true}
batch_size = {low = 8, high = 32, step = 8}

[assigner]
solver = ["simota", "ota"]          # one of these

[ingredients]
nms_free = [false, true]
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from roadmap.search import FIRST_FRESH_SEED, OBJECTIVES, Objective, Parameter, Space
from roadmap.settings import SECTIONS, SHORT, check_setting, valid_settings, whole_name
from roadmap.stages import STAGE_NAMES
from roadmap.typed import nearest, parse, parse_value
from yolox_core.config import INGREDIENTS, MODELS

SAMPLERS = {
    "tpe": "tree-structured Parzen estimator",
    "gp": "Gaussian process",
    "nsga2": "NSGA-II, an evolutionary algorithm for two objectives",
    "qmc": "Sobol sequence: even cover, learns nothing",
    "random": "uniform draws, learns nothing",
    "grid": "every combination, in a shuffled order; ranges of numbers need a step",
}
PRUNERS = {
    "none": "every trial runs to its end",
    "median": "stops what is below the median of the trials before it at the same epoch",
    "hyperband": "successive halving in several brackets",
}
_PLAIN = ("sampler", "pruner", "trials", "at_once", "seed", "run_seed", "in_order", "best", "fresh_seeds")
_KEYS = ("summary", "base", "objective", *_PLAIN)
_SECTIONS = (*SECTIONS, *SHORT, "ingredients")
_RANGE = ("low", "high", "log", "step")
#: More combinations than this are no grid.
_LARGEST_GRID = 10_000


def kept_spaces() -> dict[str, Path]:
    """The examples that come with the project: name -> file."""
    folder = Path(str(resources.files("roadmap") / "spaces"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find_space(name_or_file: str) -> Path:
    """A kept example by its name, or a file. Raises ValueError with the valid names."""
    path, kept = Path(name_or_file).expanduser(), kept_spaces()
    if path.suffix == ".toml" or path.is_file():
        return path
    if name_or_file not in kept:
        raise ValueError(
            f"unknown search {name_or_file!r}; choose one of: {', '.join(kept)}, or give a .toml file"
        )
    return kept[name_or_file]


def load_space(path: Path) -> Space:
    """A space from its file. Raises ValueError naming the file and the key, and the valid ones."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"space {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    try:
        return space_of(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def space_of(content: Mapping[str, Any]) -> Space:
    """A space from a file's content. Raises ValueError naming the key at fault and the valid ones."""
    for key in content:
        if key not in (*_KEYS, *_SECTIONS):
            raise ValueError(f"unknown key {key!r}; {nearest(key, (*_KEYS, *_SECTIONS, *_tunable()))}")
        if key in _SECTIONS and not isinstance(content[key], Mapping):
            raise ValueError(f"{key} must be a table: [{key}]")
    parameters = tuple(_parameters({key: content[key] for key in _SECTIONS if key in content}))
    if not parameters:
        raise ValueError("nothing is tuned; give a field a range or choices: learning_rate = {low = …, …}")
    keys = [parameter.key for parameter in parameters]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise ValueError(f"{twice[0]} is given twice")
    given = {key: content[key] for key in _PLAIN if key in content}
    space = parse(
        Space,
        {
            "summary": content.get("summary", ""),
            "base": list(known_bases(_several(content, "base", "simota"))),
            "objectives": [vars(each) for each in _objectives(_several(content, "objective", "AP"))],
            "parameters": [],
            **given,
        },
    )
    return checked_space(Space(**{**vars(space), "parameters": parameters}))


def checked_space(space: Space) -> Space:
    """The space, if its parts go together. Raises ValueError with what would."""
    for key, known in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        if getattr(space, key) not in known:
            raise ValueError(f"{key} must be one of {', '.join(known)}, not {getattr(space, key)!r}")
    known_bases(space.base)
    if space.run_seed >= FIRST_FRESH_SEED:
        raise ValueError(
            f"run_seed must be below {FIRST_FRESH_SEED}, not {space.run_seed}: the confirming runs' seeds "
            "start there"
        )
    if len(space.objectives) > 1 and space.pruner != "none":
        raise ValueError("a pruner needs one objective; leave out pruner, or the second objective")
    if space.pruner != "none" and not space.objectives[0].name.startswith("AP"):
        raise ValueError(f"a pruner follows the AP of epochs; with {space.objectives[0].name} leave it out")
    if space.sampler == "grid":
        for parameter in space.parameters:
            grid_values(parameter)
        if (points := grid_size(space)) > _LARGEST_GRID:
            raise ValueError(f"the grid has {points} combinations, above {_LARGEST_GRID}; widen the steps")
    return space


def grid_values(parameter: Parameter) -> list[Any]:
    """Every value of a parameter. Raises ValueError for a range without a step."""
    if parameter.kind == "choice":
        return list(parameter.choices)
    step = parameter.step or (1 if parameter.kind == "whole" and not parameter.log else None)
    if step is None:
        raise ValueError(f"{parameter.key}: the sampler grid needs a step, or choices: [0.01, 0.02]")
    count = math.floor((parameter.high - parameter.low) / step + 1e-9) + 1
    values = [parameter.low + i * step for i in range(count)]
    return [int(value) for value in values] if parameter.kind == "whole" else values


def grid_size(space: Space) -> int:
    """How many combinations a grid has. Raises ValueError for a range without a step."""
    return math.prod(len(grid_values(parameter)) for parameter in space.parameters)


def known_bases(names: Sequence[str]) -> tuple[str, ...]:
    """Names of stages and models, each once. Raises ValueError with the valid ones."""
    if not names:
        raise ValueError("base names nothing to tune")
    for name in names:
        if name not in (*STAGE_NAMES, *MODELS):
            valid = ", ".join((*STAGE_NAMES, *MODELS))
            raise ValueError(f"unknown base {name!r}; choose a stage or a model: {valid}")
    return tuple(dict.fromkeys(names))


def _several(content: Mapping[str, Any], key: str, default: str) -> list[str]:
    """One string or a list of them."""
    value = content.get(key, default)
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{key} must be a string or a list of strings, not {value!r}")
    return words


def _objectives(names: Sequence[str]) -> tuple[Objective, ...]:
    for name in names:
        if name not in OBJECTIVES:
            raise ValueError(f"unknown objective {name!r}; choose one of: {', '.join(OBJECTIVES)}")
    if len(names) not in (1, 2) or len(set(names)) != len(names):
        raise ValueError(f"objective must be one or two different ones of: {', '.join(OBJECTIVES)}")
    return tuple(Objective(name, OBJECTIVES[name][0]) for name in names)


def _tunable() -> dict[str, Any]:
    """Every field that may be tuned, with its type."""
    return {**valid_settings(), **{f"ingredients.{name}": bool for name in INGREDIENTS}}


def _parameters(sections: Mapping[str, Any], prefix: str = "") -> Iterator[Parameter]:
    valid = _tunable()
    for name, value in sections.items():
        written = f"{prefix}.{name}" if prefix else name
        key = whole_name(written)
        if key in valid:
            yield _parameter(key, valid[key], value)
        elif isinstance(value, Mapping) and not set(value) & {*_RANGE, "choices"}:
            yield from _parameters(value, written)
        elif key.startswith("ingredients."):
            raise ValueError(f"unknown ingredient {name!r}; {nearest(name, INGREDIENTS)}")
        else:
            check_setting(written)


def _parameter(key: str, kind: Any, value: Any) -> Parameter:
    if isinstance(value, Mapping) and set(value) == {"choices"}:
        value = value["choices"]
    if isinstance(value, list):
        if len(value) < 2:
            raise ValueError(f"{key}: give two values or more to choose from, or leave it out")
        choices = tuple(parse_value(kind, each, key) for each in value)
        return Parameter(key, "choice", choices=tuple(_plain(each) for each in choices))
    if not isinstance(value, Mapping):
        raise ValueError(
            f"{key} must be a range ({{low = 1e-3, high = 1e-1, log = true}}) or a list of choices, not "
            f"{value!r}; a fixed value goes to --set {key}=…"
        )
    for name in value:
        if name not in _RANGE:
            raise ValueError(f"{key}: unknown key {name!r}; valid keys: {', '.join((*_RANGE, 'choices'))}")
    if missing := [name for name in ("low", "high") if name not in value]:
        raise ValueError(f"{key}: {missing[0]} is missing")
    low, high = (parse_value(kind, value[name], f"{key}: {name}") for name in ("low", "high"))
    if isinstance(low, bool) or not isinstance(low, (int, float)):
        raise ValueError(f"{key} is no number; give a list of choices")
    log, step = value.get("log", False), value.get("step")
    if not low < high:
        raise ValueError(f"{key}: low must be below high, not {low:g} and {high:g}")
    if not isinstance(log, bool) or (log and (low <= 0 or step is not None)):
        raise ValueError(f"{key}: log must be true or false, with a low above 0 and without a step")
    if step is not None and (isinstance(step, bool) or not isinstance(step, (int, float)) or step <= 0):
        raise ValueError(f"{key}: step must be a number above 0, not {step!r}")
    whole = isinstance(low, int)
    if whole and step is not None and step != int(step):
        raise ValueError(f"{key}: step must be a whole number, not {step!r}")
    return Parameter(key, "whole" if whole else "number", float(low), float(high), log, step)


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
