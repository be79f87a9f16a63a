"""The run-time type checker of the tests."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

#: As mypy does, take an int where a float is asked for (PEP 484).
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
