"""Settings of the user's own: a protocol's file, and single settings from the command line.

    python -m studies.roadmap --protocol mine.toml --set training.epochs=50

    extends = "paper"                 # a built-in protocol, or another file beside this one
    summary = "half the schedule"

    [training]
    epochs = 150
    closing_epochs = 8

    [augmentation]                    # training.augmentation in short; so are [assigner] and [loss]
    mixup = 0.5

They have the last word, after what a stage or a model brings along. docs/settings.md lists them all.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, Le, Lt, MultipleOf

from roadmap.anchors import ANCHOR_CHOICES
from roadmap.protocols import PROTOCOLS, Protocol, find_protocol
from roadmap.recipe import Recipe, flatten, recipe_from_json, to_json
from roadmap.typed import dataclass_of, nearest, parse_value
from yolox_core.config import ModelConfig, TrainConfig

SECTIONS: dict[str, type[Any]] = {"model": ModelConfig, "training": TrainConfig}
#: What a protocol's file may call a section that lies inside another one.
SHORT = {"assigner": "model.assigner", "loss": "model.loss", "augmentation": "training.augmentation"}
#: Settings that something else decides, and what.
DECIDED = {
    "model.name": "the arm decides it",
    "model.num_classes": "the dataset decides it",
    "training.pretrained": "give --weights or --imagenet-weights",
}
_KEYS = ("extends", "summary", "anchors")
#: Takes numbers, or the name of a way to find them.
_ANCHORS = "model.anchors"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
#: A protocol's name with its changes, up to so many characters, is spelled out.
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Described:
    """A setting in words: what it takes and, as TOML, what the paper's protocol has."""

    key: str
    kind: str
    bounds: str
    default: str


def choose_protocol(name_or_file: str, assignments: Sequence[str] = ()) -> Protocol:
    """A protocol by its name or its TOML file, with single settings (``training.epochs=50``) changed.

    Raises ValueError naming the file or the assignment at fault, and the valid names.
    """
    path = Path(name_or_file).expanduser()
    if path.suffix == ".toml":
        protocol = load_protocol(path)
    else:
        try:
            protocol = find_protocol(name_or_file)
        except ValueError as error:
            raise ValueError(f"{error}, or give a .toml file (docs/settings.md)") from error
    return _changed(protocol, dict(map(_assignment, assignments))) if assignments else protocol


def load_protocol(path: Path, seen: tuple[Path, ...] = ()) -> Protocol:
    """A protocol from its file; its name is the file's. Raises ValueError naming the file and the key."""
    path = path.resolve()
    if path in seen:
        raise ValueError(f"{path}: it extends itself, by way of {', '.join(p.name for p in seen)}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"protocol {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    if path.stem in PROTOCOLS:
        raise ValueError(f"{path}: {path.stem!r} is the name of a built-in protocol; rename the file")
    if not _NAME.fullmatch(path.stem):
        raise ValueError(
            f"{path}: a protocol's name must be letters, digits, '.', '_' and '-'; rename the file"
        )
    try:
        return _extended(content, path, seen)
    except ValueError as error:
        raise error if str(path) in str(error) else ValueError(f"{path}: {error}") from error


def _extended(content: Mapping[str, Any], path: Path, seen: tuple[Path, ...]) -> Protocol:
    sections = (*SECTIONS, *SHORT)
    for key in content:
        if key not in (*_KEYS, *sections):
            raise ValueError(f"unknown key {key!r}; {nearest(key, (*_KEYS, *sections, *valid_settings()))}")
        if key in sections and not isinstance(content[key], Mapping):
            raise ValueError(f"{key} must be a table: [{key}]")
        if key in _KEYS and not isinstance(content[key], str):
            raise ValueError(f"{key} must be a string, not {content[key]!r}")
    extends = content.get("extends", "paper")
    if extends.endswith(".toml"):
        base = load_protocol(path.parent / extends, (*seen, path))
    else:
        base = find_protocol(extends)
    anchors = content.get("anchors", base.anchors)
    if anchors not in ANCHOR_CHOICES:
        raise ValueError(f"anchors must be one of {', '.join(ANCHOR_CHOICES)}, not {anchors!r}")
    given: dict[str, Any] = {}
    for key, value in flatten({key: content[key] for key in sections if key in content}).items():
        name, checked = _setting(key, value)
        if name in given:
            raise ValueError(f"{name} is given twice")
        given[name] = checked
    summary = content.get("summary", f"{base.name}, changed by {path.name}")
    return _set(replace(base, name=path.stem, summary=summary, anchors=anchors), given)


def _assignment(text: str) -> tuple[str, Any]:
    """``key=value`` as a setting. The value is TOML's; a bare word is a string."""
    key, equals, written = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise ValueError(f"--set {text}: expected KEY=VALUE, for example --set training.epochs=50")
    try:
        value: Any = tomllib.loads(f"value = {written}")
    except tomllib.TOMLDecodeError:
        value = {"value": written}
    try:
        return _setting(key, value["value"] if len(value) == 1 else written)
    except ValueError as error:
        raise ValueError(f"--set {text}: {error}") from error


def _setting(key: str, value: Any) -> tuple[str, Any]:
    """A setting's whole name and its value as the field's type. Raises ValueError."""
    if key.split(".")[0] == "ingredients":
        raise ValueError("ingredients are the study's: python -m studies.run --on decoupled_head,simota")
    if (name := whole_name(key)) == _ANCHORS and value in ANCHOR_CHOICES:
        return name, value
    check_setting(key)
    return name, parse_value(valid_settings()[name], value, name)


def whole_name(key: str) -> str:
    """A setting's whole name: ``augmentation.mixup`` is ``training.augmentation.mixup``."""
    head, dot, rest = key.partition(".")
    return f"{SHORT[head]}.{rest}" if dot and head in SHORT else key


def check_setting(key: str) -> None:
    """Raises ValueError for what is no setting, or decided elsewhere, with what to do."""
    name, valid = whole_name(key), valid_settings()
    if name in DECIDED:
        raise ValueError(f"{name} cannot be set: {DECIDED[name]}")
    if name not in valid:
        raise ValueError(f"unknown key {key!r}; {nearest(name, tuple(valid))}")


def _changed(protocol: Protocol, changes: Mapping[str, Any]) -> Protocol:
    """The protocol with changes, which its name says: it is no longer the one of that name."""
    said = [f"{key.rsplit('.', 1)[-1]}={_brief(value)}" for key, value in changes.items()]
    name = "+".join([protocol.name, *said])
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(json.dumps(sorted(changes.items())).encode()).hexdigest()[:6]
        name = f"{protocol.name}+{len(changes)}-changes-{digest}"
    summary = f"{protocol.summary}; changed: {', '.join(said)}"
    return _set(replace(protocol, name=name, summary=summary), changes)


def _set(protocol: Protocol, changes: Mapping[str, Any]) -> Protocol:
    settings = {**dict(protocol.settings), **changes}
    if isinstance(chosen := settings.get(_ANCHORS), str):
        del settings[_ANCHORS]
        protocol = replace(protocol, anchors=chosen)
    return replace(protocol, settings=tuple(settings.items()))


def _brief(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def with_settings(recipe: Recipe, settings: Sequence[tuple[str, Any]]) -> Recipe:
    """The recipe with settings (dotted names) changed, and every value of its declared type.

    Raises ValueError for values out of range, or that do not fit together.
    """
    data = to_json(recipe)
    for key, value in settings:
        *path, name = key.split(".")
        inside = data
        for step in path:
            inside = inside[step]
        inside[name] = value
    return recipe_from_json(data)


@cache
def valid_settings() -> dict[str, Any]:
    """Dotted name -> type with its range, of everything a user may set."""
    found: dict[str, Any] = {}
    for section, cls in SECTIONS.items():
        found.update(_leaves(cls, section))
    return {key: kind for key, kind in found.items() if key not in DECIDED}


def _leaves(cls: type[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    kinds = get_type_hints(cls, include_extras=True)
    for entry in fields(cls):
        name, inner = f"{prefix}.{entry.name}", dataclass_of(kinds[entry.name])
        if inner is not None:
            yield from _leaves(inner, name)
        else:
            yield name, kinds[entry.name]


def described() -> list[Described]:
    """Every setting with its type, its range and the paper's value."""
    defaults = {section: to_json(cls()) for section, cls in SECTIONS.items()}
    values = {key: json.dumps(value) for key, value in flatten(defaults).items()}
    return [Described(key, _kind(kind), _bounds(kind), values[key]) for key, kind in valid_settings().items()]


_KINDS = {int: "whole number", float: "number", bool: "true or false", str: "string"}


def _plain(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its annotations, and these."""
    return (kind.__origin__, kind.__metadata__) if hasattr(kind, "__metadata__") else (kind, ())


def _kind(kind: Any) -> str:
    plain, _ = _plain(kind)
    if get_origin(plain) is Literal:
        return "string"
    if get_origin(plain) is not tuple:
        return _KINDS[plain]
    inner = get_args(plain)
    if inner[-1] is ...:
        return f"list of: {_kind(inner[0])}"
    return f"list of {len(inner)}: {_kind(inner[0])}"


def _bounds(kind: Any) -> str:
    plain, metadata = _plain(kind)
    if get_origin(plain) is Literal:
        return ", ".join(get_args(plain))
    if get_origin(plain) is tuple:
        return _bounds(get_args(plain)[0])
    limits: list[Any] = []
    for item in metadata:
        limits += list(item) if isinstance(item, Interval) else [item]
    return ", ".join(f"{_LIMITS[type(limit)]} {getattr(limit, fields(limit)[0].name):g}" for limit in limits)


_LIMITS = {Ge: "at least", Gt: "above", Le: "at most", Lt: "below", MultipleOf: "a multiple of"}
