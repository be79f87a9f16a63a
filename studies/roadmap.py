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

from roadmap.stages import roadmap_arms, roadmap_table
from roadmap.study import Study
from studies.command.cli import main

STUDY = Study("roadmap", __doc__, roadmap_arms(), (roadmap_table(),), noun="stage")

if __name__ == "__main__":
    sys.exit(main(STUDY))
