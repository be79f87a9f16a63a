"""Records survive what a full disk leaves: a last line that was written in part."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadmap.record import append_line, read_lines


@pytest.mark.parametrize("torn", ["{", '{"epoch": 2, "AP"', '{"epoch": 2}'])
def test_a_torn_line_is_dropped_by_readers_and_cut_off_by_the_next_line(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "metrics.jsonl"
    append_line(path, {"epoch": 1})
    with path.open("a") as file:
        file.write(torn)
    append_line(path, {"epoch": 3})
    assert read_lines(path) == [{"epoch": 1}, {"epoch": 3}]


@given(rows=st.lists(st.dictionaries(st.text(), st.integers(), max_size=3), max_size=5), data=st.data())
def test_cut_anywhere_the_lines_before_stay(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, int]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("torn") / "attempts.jsonl"
    for row in rows:
        append_line(path, row)
    content = path.read_bytes() if rows else b""
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    append_line(path, {"end": 1})
    assert read_lines(path) == [*rows[:whole], {"end": 1}]
