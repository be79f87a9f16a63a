"""The whole paper as a reproduction has it: its tables and figures, and the study that measures each.

Which study measures a table follows from its tables: a layout names the paper's table that it prints. A study
that measures something the paper prints is one line of :func:`paper_studies`; everything else follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from roadmap.augmentation import augmentation_arms, augmentation_table
from roadmap.heads import head_arms, head_table
from roadmap.models import model_arms, model_tables
from roadmap.stages import roadmap_arms, roadmap_table
from roadmap.study import Study, StudyRecord, Table, record_of

#: What the user types to run a study of the project's own.
COMMAND = "python -m studies.{}"

_MAKERS: tuple[Callable[[], Study], ...] = (
    lambda: Study("roadmap", "", roadmap_arms(), (roadmap_table(),), noun="stage"),
    lambda: Study("heads", "", head_arms(), (head_table(),)),
    lambda: Study("scaling", "", model_arms(), model_tables(), noun="model"),
    lambda: Study("augmentation", "", augmentation_arms(), (augmentation_table(),)),
)


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper. source: as layouts and figures name it, ``Table 2``. title: as its caption.

    data: its figures, a key of :data:`roadmap.paper.TABLES`. headings: of its columns that are shown,
    where no study's layout prints the table. unmeasurable: why none does, and command: what makes its figures
    all the same; empty where a study does.
    """

    source: str
    title: str
    data: str
    headings: Mapping[str, str] = field(default_factory=dict)
    unmeasurable: str = ""
    command: str = ""


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
    ),
    PaperTable(
        "Table 2",
        "Roadmap of YOLOX in AP (%) on COCO val",
        "table2_roadmap",
    ),
    PaperTable(
        "Table 3",
        "Comparison of YOLOX and YOLOv5 in AP (%) on COCO",
        "table3_yolov5",
    ),
    PaperTable(
        "Table 4",
        "Comparison of YOLOX-Tiny and YOLOX-Nano and their counterparts in AP (%) on COCO val",
        "table4_tiny_nano",
    ),
    PaperTable(
        "Table 5",
        "Effects of data augmentation under different model sizes",
        "table5_augmentation",
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
        command="python -m studies.evaluate --run FOLDER --split test-dev2017 --submission FILE.zip",
    ),
)

PAPER_FIGURES: tuple[PaperFigure, ...] = (
    PaperFigure(
        "Figure 1",
        "Speed and accuracy of accurate models, size and accuracy of light ones",
        ("speed_accuracy", "light_models"),
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


def study_of(source: str) -> Study | None:
    """The one of :func:`paper_studies` with a table of the paper in its own layout, which
    ``reports.tables.printed.printed_table`` prints, measured or not; None for none. source: ``Table 1``.
    """
    return next((study for study in paper_studies() if _replayed(study, source)), None)


def table_plan(source: str) -> StudyRecord | None:
    """What replays a table of the paper: that table alone and its arms, with the command that runs the whole
    study. None for a table that no study measures.
    """
    study = study_of(source)
    if study is None:
        return None
    tables = _replayed(study, source)
    names = {row for table in tables for row in table.rows if isinstance(row, str)}
    record = study_record(study)
    arms = tuple(
        replace(
            arm,
            against=arm.against if arm.against in names else "",
            also=tuple(name for name in arm.also if name in names),
        )
        for arm in record.arms
        if arm.name in names
    )
    return replace(record, arms=arms, tables=tables)


def study_record(study: Study) -> StudyRecord:
    """A study of :func:`paper_studies` as data, with the command that runs it."""
    return record_of(study, COMMAND.format(study.name))


def _replayed(study: Study, source: str) -> tuple[Table, ...]:
    return tuple(table for table in study.tables if table.layout and table.layout.source == source)
