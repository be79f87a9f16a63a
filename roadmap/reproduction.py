"""The whole paper as a reproduction has it: its tables and figures, and the study that measures each.

Which study measures a table follows from its tables: a layout names the paper's table that it prints. A study
that measures something the paper prints is one line of :func:`paper_studies`; everything else follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from roadmap.heads import head_arms, head_table
from roadmap.models import model_arms, model_tables
from roadmap.stages import roadmap_arms, roadmap_table
from roadmap.study import Study

#: What the user types to run a study of the project's own.
COMMAND = "python -m studies.{}"

_SIZE = {"params_m": "Params (M)", "gflops": "GFLOPs", "latency_ms": "Latency (ms)", "fps": "FPS"}
_MAKERS: tuple[Callable[[], Study], ...] = (
    lambda: Study("roadmap", "", roadmap_arms(), (roadmap_table(),), noun="stage"),
    lambda: Study("heads", "", head_arms(), (head_table(),)),
    lambda: Study("scaling", "", model_arms(), model_tables(), noun="model"),
)


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper. source: as arms and published rows name it, ``Table 2``. title: as its caption.

    data: its figures, a key of :data:`roadmap.paper.TABLES`. headings: the column's heading of each of these
    that is shown, the names of rows first. across: the column whose values become columns, each with what
    ``ap`` holds there; empty for none. words: of values that are shown otherwise than the data have them.
    unmeasurable: why no study measures it; empty where one does.
    """

    source: str
    title: str
    data: str
    headings: Mapping[str, str]
    across: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    unmeasurable: str = ""


@dataclass(frozen=True)
class PaperFigure:
    """A figure of the paper that is drawn from measured figures. drawn: names of figures of a report.

    study: the one whose arms it shows.
    """

    source: str
    title: str
    drawn: tuple[str, ...]
    study: str


PAPER_TABLES: tuple[PaperTable, ...] = (
    PaperTable(
        "Table 1",
        "The effect of the decoupled head for end-to-end YOLO in AP (%) on COCO",
        "table1_end_to_end",
        {"variant": "Models"},
        across="head",
        words={
            "vanilla": "Vanilla YOLO",
            "end_to_end": "End-to-end YOLO",
            "coupled": "Coupled head",
            "decoupled": "Decoupled head",
        },
    ),
    PaperTable(
        "Table 2",
        "Roadmap of YOLOX in AP (%) on COCO val",
        "table2_roadmap",
        {"method": "Methods", "ap": "AP (%)", "ap_delta": "Gain", **_SIZE},
    ),
    PaperTable(
        "Table 3",
        "Comparison of YOLOX and YOLOv5 in AP (%) on COCO",
        "table3_yolov5",
        {"model": "Models", "ap": "AP (%)", **{k: v for k, v in _SIZE.items() if k != "fps"}},
    ),
    PaperTable(
        "Table 4",
        "Comparison of YOLOX-Tiny and YOLOX-Nano and their counterparts in AP (%) on COCO val",
        "table4_tiny_nano",
        {"model": "Models", "ap": "AP (%)", "params_m": "Params (M)", "gflops": "GFLOPs"},
    ),
    PaperTable(
        "Table 5",
        "Effects of data augmentation under different model sizes",
        "table5_augmentation",
        {
            "model": "Models",
            "scale_jitter_min": "Scale jitter from",
            "scale_jitter_max": "to",
            "extra_augmentation": "Extra augmentation",
            "ap": "AP (%)",
        },
    ),
    PaperTable(
        "Table 6",
        "Comparison of the speed and accuracy of different object detectors on COCO 2017 test-dev",
        "table6_sota",
        {
            "method": "Method",
            "backbone": "Backbone",
            "size": "Size",
            "fps_v100": "FPS (V100)",
            "ap": "AP (%)",
            "ap50": "AP50",
            "ap75": "AP75",
            "ap_s": "APs",
            "ap_m": "APm",
            "ap_l": "APl",
        },
        unmeasurable="COCO test-dev has no public annotations: its figures come from the evaluation server",
    ),
)

PAPER_FIGURES: tuple[PaperFigure, ...] = (
    PaperFigure(
        "Figure 1",
        "Speed and accuracy of accurate models, size and accuracy of light ones",
        ("speed_accuracy", "size_accuracy"),
        "scaling",
    ),
    PaperFigure(
        "Figure 3", "Training curves of detectors with the coupled and the decoupled head", ("head_curves",),
        "heads",
    ),
)  # fmt: skip


def paper_studies() -> tuple[Study, ...]:
    """The studies that measure what the paper prints, with their arms and tables and without the question
    that their own module asks.
    """
    return tuple(make() for make in _MAKERS)


def studies_of(source: str) -> tuple[Study, ...]:
    """Those of :func:`paper_studies` with a table of the paper in its own layout, which
    ``reports.tables.printed.printed_table`` prints, measured or not. source: ``Table 1``.
    """
    return tuple(
        study
        for study in paper_studies()
        if any(table.layout is not None and table.layout.source == source for table in study.tables)
    )
