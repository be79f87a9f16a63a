"""Published figures: read as printed, and consistent with each other."""

from __future__ import annotations

from pathlib import Path

import pytest

import roadmap.paper
from roadmap.paper import TABLES, published_head, published_model, roadmap_row, table


def test_every_table_is_there_and_nothing_else() -> None:
    folder = Path(roadmap.paper.__file__).parent / "data"
    assert {path.stem for path in folder.glob("*.csv")} == set(TABLES)
    for name in TABLES:
        assert table(name), name


def test_rows_of_table_2() -> None:
    """The paper's Table 2 as printed."""
    assert roadmap_row("YOLOv3 baseline") == {
        "ap": 38.5,
        "ap_delta": None,
        "params_m": 63.00,
        "gflops": 157.3,
        "latency_ms": 10.5,
        "fps": 95.2,
    }
    assert roadmap_row("+SimOTA")["ap"] == 47.3
    assert roadmap_row("+NMS free (optional)")["gflops"] == 205.1


def test_gains_are_the_differences_of_the_ap_column() -> None:
    rows = [row for row in table("table2_roadmap") if row["ap_delta"] is not None]
    assert len(rows) == 6
    everything = table("table2_roadmap")
    for row in rows:
        before = everything[everything.index(row) - 1]
        assert float(row["ap"] or 0) - float(before["ap"] or 0) == pytest.approx(float(row["ap_delta"] or 0))


def test_frames_per_second_are_the_inverse_of_latency() -> None:
    """Within the rounding of the printed latency (0.05 ms) and rate."""
    for row in table("table2_roadmap"):
        latency, rate = row["latency_ms"], row["fps"]
        if isinstance(latency, float) and isinstance(rate, float):
            assert 1000 / (latency + 0.06) - 0.1 <= rate <= 1000 / (latency - 0.06) + 0.1, row


def test_numbers_are_numbers_and_empty_cells_none() -> None:
    for name in TABLES:
        for row in table(name):
            for key, value in row.items():
                assert value is None or isinstance(value, (float, str))
                if isinstance(value, str):
                    assert value.strip() == value != "", f"{name}, {key}"


def test_the_best_epoch_is_what_table_2_prints() -> None:
    """Figure 3's curves peak at Table 2's 38.5 and 39.6, and end lower (paper notes)."""
    curves = table("figure3_training_curves")
    for column, printed in (("yolo_head_ap", 38.5), ("decoupled_head_ap", 39.6)):
        values = [row[column] for row in curves]
        numbers = [value for value in values if isinstance(value, float)]
        assert len(numbers) == len(values) == 30
        assert round(max(numbers), 1) == printed
        assert numbers[-1] < max(numbers)


def test_unknown_names_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="table1_end_to_end"):
        table("table9")
    with pytest.raises(ValueError, match="no row 'YOLOv9' in Table 2"):
        roadmap_row("YOLOv9")


def test_published_models() -> None:
    nano = published_model("yolox-nano")
    assert (nano.source, nano.ap, nano.params_m, nano.gflops, nano.latency_ms) == (
        "Table 4",
        25.3,
        0.91,
        1.08,
        None,
    )
    assert published_model("YOLOv5-L").source == "Table 3"
    with pytest.raises(ValueError, match="no model 'unheard-of' in Tables 2 to 4; choose one of: YOLOv5-S"):
        published_model("unheard-of")


def test_darknet53_on_val_stands_in_table_2_alone() -> None:
    """Table 6's 47.4 is on test-dev."""
    ours, start = published_model("yolox-darknet53"), published_model("YOLOv3-ultralytics")
    assert (ours.source, ours.ap, ours.gain, ours.params_m) == ("Table 2", 47.3, None, 63.72)
    assert (start.source, start.ap) == ("Table 2", 44.3)


def test_cells_of_table_1_with_figure_3s_curves() -> None:
    """As printed: 38.5, 39.6, 34.3 (-4.2), 38.8 (-0.8); the curves are of the vanilla detectors."""
    cells = [published_head(v, h) for v in ("vanilla", "end_to_end") for h in ("coupled", "decoupled")]
    assert [(c.ap, c.gain) for c in cells] == [(38.5, None), (39.6, None), (34.3, -4.2), (38.8, -0.8)]
    assert [len(c.curve) for c in cells] == [30, 30, 0, 0]
    assert cells[0].curve[4] == (50, 24.3737)
    assert cells[1].curve[4] == (50, 33.7082)
    with pytest.raises(ValueError, match="no 'vanilla' with head 'triple' in Table 1"):
        published_head("vanilla", "triple")
