"""How much each searched setting decided, as data: computed where Optuna may be imported, shown elsewhere.

``runs/<search>/importances.json`` lies beside search.json and can be made from it at any time (``python -m
studies.report``); what is not there is not shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roadmap.record import SCHEMA, check_schema, read_json, write_json
from roadmap.typed import parse, to_json

FILE = "importances.json"


@dataclass(frozen=True)
class Importance:
    """Of one setting for one objective, in the search of one base.

    value: share of what all settings of the search decide together, 0 to 1. chance: the share that it gets
    in 95 of 100 searches whose figures were dealt out anew among the trials: a value below it says nothing.
    """

    base: str
    objective: str
    key: str
    value: float
    chance: float


@dataclass(frozen=True)
class Importances:
    """Of every setting, objective and base. method: what they are. trials: finished ones, by base."""

    method: str
    trials: dict[str, int]
    found: tuple[Importance, ...]

    def of(self, base: str, objective: str) -> tuple[Importance, ...]:
        """Of one base and objective, the largest first."""
        mine = [i for i in self.found if (i.base, i.objective) == (base, objective)]
        return tuple(sorted(mine, key=lambda i: (-i.value, i.key)))


def write_importances(folder: Path, importances: Importances) -> None:
    """Write importances.json into ``folder`` (``runs/<search>``)."""
    write_json(folder / FILE, {"schema": SCHEMA, **to_json(importances)})


def read_importances(folder: Path) -> Importances | None:
    """A search's importances from its folder; None where there are none. Raises ValueError naming a broken
    file.
    """
    data = read_json(folder / FILE)
    if data is None:
        return None
    try:
        if not isinstance(data, dict):
            raise ValueError("it is not a JSON object")
        check_schema(data, "it")
        return parse(Importances, {key: value for key, value in data.items() if key != "schema"})
    except ValueError as error:
        raise ValueError(f"{folder / FILE}: {error}; python -m studies.report makes it anew") from error
