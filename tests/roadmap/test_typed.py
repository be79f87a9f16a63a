"""JSON and TOML become dataclasses strictly, and every error says where and what was expected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Interval, MultipleOf

from roadmap.typed import parse, to_json


@dataclass(frozen=True)
class Wheel:
    size: Annotated[int, Ge(1), MultipleOf(2)]
    share: Annotated[float, Interval(ge=0, lt=1)] = 0.5

    def __post_init__(self) -> None:
        if self.size == 13 * 2:
            raise ValueError("26 is unlucky")


@dataclass(frozen=True)
class Car:
    name: str
    wheels: tuple[Wheel, ...] = ()
    spare: Wheel | None = None
    colours: tuple[str, ...] = ()
    range_km: tuple[float, float] = (0.0, 1.0)
    fuel: Literal["none", "sun"] = "sun"
    notes: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, Wheel] = field(default_factory=dict)
    anything: Any = None
    parts: tuple[str | Wheel, ...] = ()


def test_there_and_back() -> None:
    wheel = Wheel(18)
    car = Car("x", (wheel,), wheel, ("red",), (1.0, 2.0), "none", {"a": "b"}, {"c": wheel}, [1], ("d", wheel))
    assert parse(Car, to_json(car)) == car


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, "name is missing"),
        ([], "must be a table of keys and values, not []"),
        ({"name": 1}, "name must be a string, not 1"),
        ({"name": "x", "nam": 1}, "unknown key 'nam'; did you mean name?"),
        ({"name": "x", "zzz": 1}, "unknown key 'zzz'; valid keys: name, wheels, spare"),
        ({"name": "x", "wheels": 3}, "wheels must be a list, not 3"),
        ({"name": "x", "colours": "red"}, "colours must be a list of strings, not 'red'"),
        ({"name": "x", "colours": ["a", 2]}, "colours[1] must be a string, not 2"),
        ({"name": "x", "range_km": 2}, "range_km must be a list of numbers, not 2"),
        ({"name": "x", "range_km": [1, 2, 3]}, "range_km must be a list of 2, not [1, 2, 3]"),
        ({"name": "x", "range_km": [1]}, "range_km[1] is missing"),
        ({"name": "x", "fuel": "coal"}, "fuel must be one of 'none', 'sun', not 'coal'"),
        ({"name": "x", "notes": 3}, "notes must be a table of strings, not 3"),
        ({"name": "x", "notes": {"a": 1}}, "notes.a must be a string, not 1"),
        ({"name": "x", "wheels": [3]}, "wheels[0] must be a table of keys and values, not 3"),
        ({"name": "x", "wheels": [{"size": 2}, {"size": 3}]}, "wheels[1].size must be a multiple of 2"),
        ({"name": "x", "wheels": [{"siz": 2}]}, "wheels[0].size is missing"),
        ({"name": "x", "wheels": [{"size": 2, "shar": 0}]}, "did you mean wheels[0].share?"),
        ({"name": "x", "others": {"a": {"size": 2, "shar": 0}}}, "did you mean others.a.share?"),
        ({"name": "x", "others": {"a": {"size": 0}}}, "others.a.size must be at least 1, not 0"),
        ({"name": "x", "spare": {"size": 2, "share": 1}}, "spare.share must be less than 1, not 1"),
        ({"name": "x", "spare": {"size": 26}}, "spare: 26 is unlucky"),
        ({"name": "x", "spare": {"size": 2, "share": float("nan")}}, "must be a finite number, not nan"),
        ({"name": "x", "parts": [3]}, "parts[0].str must be a string, not 3"),
        ({"name": "x", "parts": [{"size": 2, "shar": 1}]}, "parts[0]"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(data: Any, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(Car, data, "cars.toml")
    assert str(caught.value).startswith("cars.toml: ")
    assert reason in str(caught.value)


def test_a_whole_record_lacks_nothing() -> None:
    assert parse(Wheel, {"size": 2}).share == 0.5
    with pytest.raises(ValueError, match="share is missing"):
        parse(Wheel, {"size": 2}, whole=True)


def test_an_error_names_six_keys_and_counts_the_others() -> None:
    with pytest.raises(ValueError, match=r"name is missing; unknown key 'k0'.*; and 5 more"):
        parse(Car, {f"k{i}": 1 for i in range(10)})
