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
from typing import Any

from roadmap.paper import roadmap_row
from roadmap.protocols import paper_recipe, stage_recipe
from roadmap.stages import STAGE_NAMES, STAGES
from studies.command.cli import main
from studies.command.plan import Study


def _rows() -> list[dict[str, Any]]:
    rows = []
    for stage in STAGES:
        published = roadmap_row(stage.row)
        rows.append(
            {
                "arm": stage.name,
                "adds": stage.adds or "(nothing)",
                "paper AP": published["ap"],
                "paper gain": published["ap_delta"],
                "what": stage.summary,
                "companions": "; ".join(f"{c.field}={c.value!r}" for c in stage.companions),
            }
        )
    return rows


STUDY = Study(
    name="roadmap",
    module="studies.roadmap",
    description=__doc__ or "",
    names=STAGE_NAMES,
    recipe=stage_recipe,
    reference=paper_recipe,
    rows=_rows,
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
