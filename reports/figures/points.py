"""The points of the paper's Figure 1: every published (latency or size, AP) of Tables 2, 3, 4 and 6."""

from __future__ import annotations

from dataclasses import dataclass

from reports.figures.style import FAINT, GREEN, INK, ORANGE, PURPLE, SKY, VERMILLION
from roadmap.paper import Row, table

#: Colour and marker of a family of published detectors.
FAMILIES: dict[str, tuple[str, str]] = {
    "roadmap (Table 2)": (INK, "o"),
    "YOLOX": (VERMILLION, "s"),
    "YOLOv5": (GREEN, "^"),
    "YOLOv4": (SKY, "v"),
    "YOLOv3": (FAINT, "P"),
    "EfficientDet": (ORANGE, "D"),
    "PP-YOLO": (PURPLE, "X"),
    "NanoDet": (SKY, "h"),
}
ROADMAP = "roadmap (Table 2)"
#: Families whose points are sizes of one design, joined by a line.
LINES = (ROADMAP, "YOLOX", "YOLOv5", "EfficientDet")


@dataclass(frozen=True)
class Point:
    """A published detector. x: latency in ms or parameters in millions, as asked for; AP in percent.

    params_m: None where the paper's table has none. label: what tells it apart within its family, empty
    for a point that another table labels. test_dev: AP on test-dev instead of val.
    """

    family: str
    label: str
    x: float
    ap: float
    params_m: float | None
    test_dev: bool = False


def latency_points() -> tuple[Point, ...]:
    """Latency in ms against AP: Tables 2 and 3 (val), Table 6 (test-dev; latency = 1000 / FPS)."""
    points = _roadmap("latency_ms")
    points += [_named(row, "model", row["latency_ms"]) for row in table("table3_yolov5")]
    start = str(table("table2_roadmap")[0]["method"])
    known = {str(row["model"]) for row in table("table3_yolov5")} | {start}
    for row in table("table6_sota"):
        fps, ap = row["fps_v100"], row["ap"]
        assert isinstance(fps, float)
        assert isinstance(ap, float)
        name = str(row["method"]).rstrip("*")
        family, label = _family(name)
        if name.startswith("YOLOv3 + ASFF"):
            label = f"ASFF {row['size']:.0f}"
        if name == "PP-YOLOv2":
            label = str(row["backbone"]).split("-")[0].replace("ResNet", "R")
        points.append(Point(family, "" if name in known else label, 1000 / fps, ap, None, test_dev=True))
    return tuple(points)


def size_points() -> tuple[Point, ...]:
    """Parameters in millions against AP on val: Tables 2, 3 and 4."""
    rows = [*table("table3_yolov5"), *table("table4_tiny_nano")]
    return (*_roadmap("params_m"), *(_named(row, "model", row["params_m"]) for row in rows))


def light_points() -> tuple[Point, ...]:
    """Parameters in millions against AP on val: Table 4, for which the paper prints no latency."""
    return tuple(_named(row, "model", row["params_m"]) for row in table("table4_tiny_nano"))


def stage_rows() -> tuple[str, ...]:
    """Rows of Table 2 that build on each other: all but the first, the starting point by other authors."""
    return tuple(str(row["method"]) for row in table("table2_roadmap")[1:])


def _roadmap(x: str) -> list[Point]:
    numbers = {row: str(index) for index, row in enumerate(stage_rows(), 1)}
    points = []
    for row in table("table2_roadmap"):
        name, ap, place, params = str(row["method"]), row["ap"], row[x], row["params_m"]
        assert isinstance(ap, float)
        assert isinstance(place, float)
        assert isinstance(params, float)
        if name in numbers:
            points.append(Point(ROADMAP, numbers[name], place, ap, params))
        else:
            points.append(Point("YOLOv3", "ultralytics", place, ap, params))
    return points


def _named(row: Row, key: str, x: str | float | None) -> Point:
    family, label = _family(str(row[key]))
    ap, params = row["ap"], row["params_m"]
    assert isinstance(x, float)
    assert isinstance(ap, float)
    return Point(family, label, x, ap, params if isinstance(params, float) else None)


def _family(name: str) -> tuple[str, str]:
    for family in FAMILIES:
        if name.replace("PPYOLO", "PP-YOLO").startswith(family):
            return family, name.split("-")[-1] if "-" in name else ""
    raise AssertionError(f"no family for {name!r}")
