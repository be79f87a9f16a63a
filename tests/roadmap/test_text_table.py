"""Tables for a terminal."""

from roadmap.text_table import aligned, format_table


def test_columns_are_as_wide_as_their_longest_cell_and_numbers_flush_right() -> None:
    rows = [{"arm": "baseline", "AP": 9.5, "note": None}, {"arm": "simota", "AP": 10.25, "note": "x"}]
    assert format_table(rows).splitlines() == [
        "arm          AP  note",
        "--------  -----  ----",
        "baseline    9.5",
        "simota    10.25  x",
    ]


def test_a_missing_number_leaves_its_column_one_of_numbers() -> None:
    assert format_table([{"AP": None}, {"AP": 10}]).splitlines() == ["AP", "--", "", "10"]


def test_nothing_is_said_to_be_nothing() -> None:
    assert format_table([]) == "(nothing)"


def test_given_widths_are_kept() -> None:
    assert aligned([["a", "b"]], right=(1,), widths=(3, 4)) == ["a       b"]
