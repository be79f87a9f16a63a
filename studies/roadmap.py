"""Which ingredient gave which AP? The paper's Table 2, stage by stage.

    python -m studies.roadmap                                   all seven stages, embedded dataset, minutes
    python -m studies.roadmap --stage simota --data /data/coco  one stage on COCO, the paper's protocol
    python -m studies.roadmap --data /data/coco --seeds 3 --dry-run

Each stage is the one before it plus one ingredient. What the paper printed (COCO val, best epoch):

    baseline 38.5, decoupled-head 39.6, strong-augmentation 42.0, anchor-free 42.9,
    multi-positives 45.0, simota 47.3, nms-free 46.5

Killed at any moment, the same command goes on where it was. Records, tables and figures are below --runs.
"""

from __future__ import annotations

import sys

from roadmap.paper import published_stage
from roadmap.stages import STAGE_NAMES, stage_arm
from roadmap.study import PublishedRow, Study, Table
from studies.command.cli import main

#: The paper's starting point, by other authors.
ULTRALYTICS = "YOLOv3-ultralytics"

STUDY = Study(
    name="roadmap",
    question=__doc__,
    arms=tuple(
        stage_arm(stage, against=before)
        for before, stage in zip(("", *STAGE_NAMES), STAGE_NAMES, strict=False)
    ),
    tables=(
        Table(
            "Table 2 of the paper (arXiv 2107.08430) replayed: the roadmap in AP, size and speed",
            (PublishedRow(ULTRALYTICS, published_stage(ULTRALYTICS), rival="simota"), *STAGE_NAMES),
        ),
    ),
    noun="stage",
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
