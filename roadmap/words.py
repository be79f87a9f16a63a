"""Numbers and words in sentences."""

from __future__ import annotations


def counted(number: int | str, noun: str, plural: str = "") -> str:
    """``1 run``, ``2 runs``, ``0 classes``; plural: of a noun whose ending does not tell.

    number: may be a text such as ``12/24`` or ``?``, which is more than one.
    """
    return f"{number} {noun if str(number) == '1' else plural or _plural(noun)}"


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith(("s", "x", "sh")) else f"{noun}s"
