"""Tables and figures of a streaming study, and who overtakes whom, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reports.grid import text_table
from reports.judging.overtaking import Overtaking, overtakings, pairs_without
from reports.pages.streaming import write_streaming
from reports.tables.streaming import (
    MARK,
    overtaking_sentence,
    streaming_caption,
    streaming_grid,
)
from roadmap.streaming import NAME, read_streaming
from roadmap.typed import to_json
from tests.reports.streaming_records import arm, record

PLAIN = (False, False)
SLOW = arm("slow", 50, {15: 45, 30: 40, 60: 20, 120: 5}, ms=60)
FAST = arm("fast", 40, {15: 35, 30: 35, 60: 33, 120: 20}, ms=10)


def test_a_faster_arm_overtakes_between_two_rates() -> None:
    assert overtakings(record(SLOW, FAST), PLAIN) == (Overtaking("slow", "fast", 30, 60, 15),)
    assert overtakings(record(FAST, SLOW), PLAIN) == (Overtaking("slow", "fast", 30, 60, 15),)
    assert pairs_without(record(SLOW, FAST), PLAIN) == 0


def test_an_arm_that_leads_by_ap_alone_is_overtaken_at_the_lowest_rate() -> None:
    other = arm("other", 60, {15: 30, 30: 20, 60: 10, 120: 1})
    assert overtakings(record(FAST, other), PLAIN) == (Overtaking("other", "fast", None, 15, 23),)


def test_who_is_level_overtakes_nobody_and_who_falls_back_is_overtaken_in_turn() -> None:
    level = arm("level", 50, {15: 45, 30: 40, 60: 20, 120: 5})
    assert overtakings(record(SLOW, level), PLAIN) == ()
    wave = arm("wave", 51, {15: 44, 30: 40, 60: 21, 120: 4})
    assert overtakings(record(SLOW, wave), PLAIN) == (
        Overtaking("wave", "slow", None, 15, 1),
        Overtaking("slow", "wave", 15, 60, 1),
        Overtaking("wave", "slow", 60, 120, 1),
    )


def test_where_nobody_overtakes_it_is_said_with_the_rates_that_were_tried() -> None:
    behind = arm("behind", 30, {15: 25, 30: 20, 60: 10, 120: 1})
    sentence = overtaking_sentence(record(FAST, behind), PLAIN)
    assert sentence.startswith("No arm overtakes another (plain)")
    assert "15, 30, 60, 120 fps" in sentence
    assert "of 2 other pairs" in overtaking_sentence(record(SLOW, FAST, behind), PLAIN)


def test_undefined_figures_are_shown_as_nothing_and_compared_with_nothing() -> None:
    nothing = arm("nothing", None, {15: None, 30: None, 60: None, 120: None})
    found = record(SLOW, nothing)
    assert overtakings(found, PLAIN) == ()
    assert text_table(streaming_grid(found)).splitlines()[-1].count("–") == 5


def test_the_table_has_ap_beside_streaming_ap_at_the_records_rate() -> None:
    text = text_table(streaming_grid(record(SLOW, FAST)))
    slow = next(line for line in text.splitlines() if line.startswith("+slow")).split()
    assert slow == [
        "+slow",
        "60.0",
        "72.0",
        "50.0",
        "40.0",
        "40.0",
        "40.0",
        "40.0",
        "1.50",
        "40",
        "of",
        "100",
    ]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The pages of a demo, and their summary."""
    out = tmp_path_factory.mktemp("pages")
    return out, write_streaming(record(SLOW, FAST), out).summary


def test_figures_of_the_embedded_video_carry_their_mark_wherever_they_can_be_cut_from(
    pages: tuple[Path, str],
) -> None:
    demo, (out, summary) = record(SLOW, FAST), pages
    assert streaming_caption(demo).mark.startswith(MARK.upper())
    headings = [column.heading for column in streaming_grid(demo).columns]
    assert sum(MARK in heading for heading in headings) == sum("AP" in heading for heading in headings) == 5
    assert MARK.upper() in summary
    for name in ("streaming.md", "streaming.tex", "streaming.html"):
        assert MARK in (out / name).read_text()
    own = record(SLOW, FAST, embedded=False)
    assert streaming_caption(own).mark == ""
    assert "val.json" in streaming_caption(own).sentences[0]
    assert "Argoverse" not in " ".join([*streaming_caption(own).sentences, text_table(streaming_grid(own))])


def test_the_same_record_gives_the_same_bytes_and_can_be_read_back(
    pages: tuple[Path, str], tmp_path: Path
) -> None:
    made = record(SLOW, FAST)
    (tmp_path / NAME).write_text(json.dumps(to_json(made)))
    again = read_streaming(tmp_path / NAME)
    assert again == made
    (tmp_path / NAME).unlink()
    write_streaming(again, tmp_path)
    first, second = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in (pages[0], tmp_path))
    assert set(first) == {f"streaming.{kind}" for kind in ("html", "md", "tex", "png", "svg", "pdf")}
    assert first == second


def test_a_single_arm_at_a_single_rate_has_nobody_to_overtake(tmp_path: Path) -> None:
    written = write_streaming(record(arm("one", 50, {30: 40})), tmp_path)
    assert "overtake" not in written.summary
    assert (tmp_path / "streaming.png").stat().st_size > 1000


def test_latencies_of_a_busy_machine_are_called_too_high() -> None:
    made = record(SLOW, FAST)
    busy = replace(made, conditions=replace(made.conditions, others_load=1.5))
    assert "1.5 cores busy" in " ".join(streaming_caption(busy).sentences)
    assert "cores busy" not in " ".join(streaming_caption(made).sentences)


def test_threads_are_told_where_they_decide() -> None:
    made = record(SLOW, FAST)
    gpu = replace(made, conditions=replace(made.conditions, device="cuda", threads=8))
    assert "batch 1, 1 thread; drawn" in " ".join(streaming_caption(made).sentences)
    assert "batch 1; drawn" in " ".join(streaming_caption(gpu).sentences)


@pytest.mark.parametrize(
    ("content", "message"),
    [("[]", "not a JSON object"), ("{", "not valid JSON"), ('{"schema": 99}', "newer than"), ("{}", "video")],
)
def test_records_that_are_none_are_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_streaming(tmp_path / NAME)
    assert NAME in str(caught.value)
    with pytest.raises(ValueError, match="python -m studies"):
        read_streaming(tmp_path / "absent.json")
