"""One is no plural."""

from __future__ import annotations

import pytest

from roadmap.words import counted


@pytest.mark.parametrize(
    ("number", "noun", "expected"),
    [
        (0, "run", "0 runs"),
        (1, "run", "1 run"),
        (2, "run", "2 runs"),
        (1, "class", "1 class"),
        (80, "class", "80 classes"),
        ("12/24", "epoch", "12/24 epochs"),
        ("1", "epoch", "1 epoch"),
        ("?", "box", "? boxes"),
    ],
)
def test_words_follow_numbers(number: int | str, noun: str, expected: str) -> None:
    assert counted(number, noun) == expected


def test_a_noun_may_have_a_plural_of_its_own() -> None:
    assert counted(2, "category", "categories") == "2 categories"
