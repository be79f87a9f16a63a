"""From JSON or TOML to dataclasses: strict, and with errors that say where, what was expected and what fits.

pydantic does the checking (types and ranges are those of the annotations) and is imported only when
something is read, so that command lines answer at once. Its errors are put into our words here, nowhere else.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from yolox_core.config import NEUTRAL

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

T = TypeVar("T")

#: An error names this many wrong keys.
_SAID = 6


def parse(cls: type[T], data: Any, where: str = "", whole: bool = False) -> T:
    """``data`` (as JSON or TOML gives it) as an instance of the dataclass ``cls``.

    whole: every field must be there, whatever its default; only fields with a neutral value may be absent,
    and take it. Raises ValueError that begins with ``where`` and names the wrong keys.
    """
    from pydantic import ValidationError

    begin = f"{where}: " if where else ""
    if not isinstance(data, Mapping):
        raise ValueError(f"{begin}must be a table of keys and values, not {_shown(data)}")
    missing: list[str] = []
    kind: Any = cls
    completed = _completed(cls, data, "", whole, missing)
    try:
        (value,) = _adapter(kind).validate_json(json.dumps([completed], default=str))
    except ValidationError as error:
        problems = [_in_words(cls, detail) for detail in error.errors(include_url=False)]
    else:
        problems = []
    problems = list(dict.fromkeys([f"{key} is missing" for key in missing] + problems))
    if problems:
        more = f"; and {len(problems) - _SAID} more" if len(problems) > _SAID else ""
        raise ValueError(begin + "; ".join(problems[:_SAID]) + more)
    return value


def parse_value(kind: Any, value: Any, name: str) -> Any:
    """A single value as a type (with its range). Raises ValueError that begins with ``name``."""
    from pydantic import ValidationError

    try:
        (checked,) = _adapter(kind).validate_json(json.dumps([value], default=str))
    except ValidationError as error:
        problems = [_in_words(kind, detail, name) for detail in error.errors(include_url=False)]
        raise ValueError("; ".join(problems)) from error
    return checked


def to_json(value: Any, identity: bool = False) -> dict[str, Any]:
    """A dataclass as plain JSON, every value brought to its declared type: 1 is 1.0 where a float is
    declared, a tuple is a list.

    identity: leave out the fields that have their neutral value, and add those that are no more.
    """
    result, types = {}, hints(type(value))
    for entry in fields(value):
        kind = types[entry.name]
        item = _as_declared(kind, getattr(value, entry.name), identity)
        added = identity and NEUTRAL in entry.metadata
        if not (added and item == _as_declared(kind, entry.metadata[NEUTRAL], identity)):
            result[entry.name] = item
    return result | retired(type(value)) if identity else result


def _as_declared(kind: Any, value: Any, identity: bool) -> Any:
    if is_dataclass(value):
        return to_json(value, identity)
    members = [one for one in get_args(kind) if one is not type(None)]
    if isinstance(kind, UnionType) and len(members) == 1:
        kind = members[0]
    if isinstance(value, (list, tuple)):
        inner = get_args(kind) or (Any, ...)
        each = inner if len(inner) == len(value) and inner[-1] is not ... else [inner[0]] * len(value)
        return [_as_declared(one, item, identity) for one, item in zip(each, value, strict=True)]
    if isinstance(value, Mapping):
        of = (get_args(kind) or (Any,))[-1]
        return {key: _as_declared(of, item, identity) for key, item in value.items()}
    if kind is float and isinstance(value, (int, float)):
        return float(value) + 0.0  # no negative zero
    if kind is int and isinstance(value, (int, float)) and float(value).is_integer():
        return int(value)
    if kind is bool and value in (0, 1):
        return bool(value)
    return value


def nearest(key: str, valid: Sequence[str]) -> str:
    """What to say behind an unknown key: the nearest valid ones, else those beside it, else all."""
    tails = {name: name.rsplit(".", 1)[-1] for name in valid}
    alike = difflib.get_close_matches(key.rsplit(".", 1)[-1], tails.values(), n=3, cutoff=0.7)
    near = [name for tail in dict.fromkeys(alike) for name in valid if tails[name] == tail]
    if near:
        return f"did you mean {' or '.join(near)}?"
    inside = key if any(name.startswith(f"{key}.") for name in valid) else key.rpartition(".")[0]
    beside = [name for name in valid if inside and name.startswith(f"{inside}.")]
    return f"valid keys: {', '.join(beside or valid)}"


def hints(cls: Any) -> dict[str, Any]:
    """Types of a dataclass's fields, without their ranges."""
    return _cached_hints(cls)


_cached_hints = cache(get_type_hints)


@cache
def _adapter(cls: Any) -> TypeAdapter[tuple[Any]]:
    from pydantic import ConfigDict, TypeAdapter

    # Inside a tuple, because an adapter of a dataclass itself takes no configuration; inner ones inherit it.
    config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return TypeAdapter(tuple[cls], config=config)


def with_neutral_values(cls: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """A record's own JSON of a dataclass, with the fields that were added since and what was done without
    them; nothing is checked.
    """
    return _completed(cls, data, "", whole=False, missing=[])


def _completed(
    cls: type[Any], data: Mapping[str, Any], prefix: str, whole: bool, missing: list[str]
) -> dict[str, Any]:
    """The data with neutral values filled in; what is missing for good is added to ``missing``."""
    gone = retired(cls)
    result = {key: value for key, value in data.items() if key not in gone or value != gone[key]}
    for entry in fields(cls):
        inner = dataclass_of(hints(cls)[entry.name])
        if entry.name in data:
            if inner is not None and isinstance(data[entry.name], Mapping):
                result[entry.name] = _completed(
                    inner, data[entry.name], f"{prefix}{entry.name}.", whole, missing
                )
        elif NEUTRAL in entry.metadata:
            kind, neutral = hints(cls)[entry.name], entry.metadata[NEUTRAL]
            result[entry.name] = _as_declared(kind, neutral, identity=False)
        elif whole and _has_default(entry):
            missing.append(prefix + entry.name)  # pydantic names those without a default
    return result


def retired(cls: Any) -> dict[str, Any]:
    """Fields that a dataclass had once, and the value that all its records have: part of their identity."""
    return getattr(cls, "RETIRED", {})


def _has_default(entry: Field[Any]) -> bool:
    return entry.default is not MISSING or entry.default_factory is not MISSING


def dataclass_of(hint: Any) -> type[Any] | None:
    """The dataclass that a type is, or may be beside None."""
    for candidate in (hint, *get_args(hint)):
        if isinstance(candidate, type) and is_dataclass(candidate):
            return candidate
    return None


_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a string",
    "dataclass_type": "a table of keys and values",
}
_MANY: dict[Any, str] = {str: " of strings", int: " of whole numbers", float: " of numbers"}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}


def _in_words(cls: Any, detail: ErrorDetails, begin: str = "") -> str:
    kind, where = detail["type"], detail["loc"][1:]
    name, given, context = _path(where, begin), _shown(detail["input"]), detail.get("ctx", {})
    if kind == "unexpected_keyword_argument":
        return f"unknown key {name!r}; {nearest(name, _siblings(cls, where))}"
    if kind == "missing":
        return f"{name} is missing"
    if kind == "too_long":
        return f"{name} must be a list of {context['max_length']}, not {given}"
    if kind == "literal_error":
        return f"{name} must be one of {context['expected'].replace(' or ', ', ')}, not {given}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{name} must be {words} {context[key]:g}, not {given}"
    if kind in ("tuple_type", "dict_type"):
        of = get_args(_type_at(cls, where)) or (None,)
        several, inner = ("list", of[0]) if kind == "tuple_type" else ("table", of[-1])
        inner = _MANY.get(inner, "")
        return f"{name} must be a {several}{inner}, not {given}"
    if kind in _KINDS:
        return f"{name} must be {_KINDS[kind]}, not {given}"
    if kind == "value_error":
        return f"{name}: {context['error']}" if name else str(context["error"])
    return f"{name}: {detail['msg']}, not {given}"


def _path(where: Sequence[int | str], text: str = "") -> str:
    for step in where:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _type_at(kind: Any, where: Sequence[int | str]) -> Any:
    """The type of what lies at a place inside a value of type ``kind``; None where that is unclear."""
    for step in where:
        inner, inside = dataclass_of(kind), get_args(kind)
        if get_origin(kind) in (dict, Mapping):
            kind = inside[-1]
        elif inner is None or isinstance(step, int):
            kind = inside[0] if inside else None
        else:
            kind = inner if step == inner.__name__ else hints(inner).get(step)
    return kind


def _siblings(cls: Any, where: Sequence[int | str]) -> list[str]:
    """Every key that is valid where an unknown one was found, with its whole name."""
    inside = dataclass_of(_type_at(cls, where[:-1]))
    names = [entry.name for entry in fields(inside)] if inside else []
    return [_path((*where[:-1], name)) for name in names]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
