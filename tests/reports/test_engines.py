"""The page and the figure of engines, from a record."""

from __future__ import annotations

from typing import Any

import pytest

from reports.figures.engines import draw
from reports.figures.style import drawing
from reports.tables.engines import page


def spread(median: float) -> dict[str, float]:
    return {"median": median, "mean": median, "p5": median - 1, "p95": median + 2}


def row(engine: str, precision: str, ap: float, total: float, size: int | None = None) -> dict[str, Any]:
    return {
        "model": "yolox-nano",
        "image_size": 416,
        "images": 32,
        "split": "val2017",
        "engine": engine,
        "version": f"{engine} 1.0",
        "provider": "CPU",
        "precision": precision,
        "computed": "fp32",
        "bytes": size,
        "ap": ap,
        "ap50": 50.0,
        "parity": {"images": 8, "boxes": 2e-5, "pixels": 0.01, "scores": 3e-6},
        "forward_ms": spread(total - 2),
        "postprocess_ms": spread(2.0),
        "total_ms": spread(total),
    }


def record(others: float = 0.0) -> dict[str, Any]:
    rows = [
        row("pytorch", "fp32", 38.0, 30.0),
        row("onnxruntime", "fp32", 38.0, 12.0, 3_760_000),
        row("onnxruntime", "int8", 37.5, 9.0, 1_380_000),
    ]
    conditions = {
        "measured": "2030-01-02T03:04:05+00:00",
        "processor": "A processor",
        "threads": 1,
        "repeats": 100,
        "warmup": 10,
        "confidence": 0.01,
        "nms_iou": 0.65,
        "calibration_images": 32,
        "others_load": others,
    }
    return {"rows": rows, "conditions": conditions}


def test_every_engine_has_a_line_and_loss_is_told() -> None:
    lines = page(record()).splitlines()
    assert (
        "| yolox-nano | onnxruntime | int8 | 1.38 | 37.50 | −0.50 | 2e-05 | 3e-06 | 7.0 (6.0–9.0) "
        "| 2.0 (1.0–4.0) | 9.0 (8.0–11.0) |" in lines
    )
    assert any(line.startswith("| yolox-nano | pytorch | fp32 | – | 38.00 | – | – | – |") for line in lines)


def test_the_conditions_are_on_the_page_and_a_busy_machine_is_said() -> None:
    quiet, busy = page(record()), page(record(others=1.7))
    for part in ("A processor, 1 thread", "onnxruntime 1.0", "32 images of val2017", "confidence 0.01"):
        assert part in quiet
    assert "too high" not in quiet
    assert "kept 1.7 cores busy meanwhile: latencies are too high" in busy


@pytest.mark.parametrize("others", [0.0, 1.7])
def test_a_panel_per_engine_on_the_same_axes(others: float) -> None:
    with drawing():
        figure = draw(record(others))
        panels = [axes for axes in figure.axes if axes.get_visible()]
        assert [axes.get_title() for axes in panels] == ["pytorch", "onnxruntime"]
        assert panels[0].get_xlim() == panels[1].get_xlim()
        assert panels[0].get_ylim() == panels[1].get_ylim()
        assert "A processor" in figure._suptitle.get_text().replace("\n", " ")  # type: ignore[attr-defined]
        points = {tuple(line.get_xydata()[0]) for line in panels[1].lines if len(line.get_xydata()) == 1}
        assert {(12.0, 38.0), (9.0, 37.5)} <= points
