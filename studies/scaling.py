"""What do depth and width give? The paper's named models (Tables 3 and 4), trained with all of YOLOX's
ingredients but NMS-free.

    python -m studies.scaling --model yolox-s --data /data/coco     the paper's protocol
    python -m studies.scaling --model yolox-nano                    embedded dataset, minutes

Nano and Tiny train at 320…640 px and test at 416; Nano, Tiny and S train without MixUp at scales 0.5–1.5
(paper §2.1 and Table 5). What the paper printed (COCO val AP):

    yolox-nano 25.3, yolox-tiny 32.8, yolox-s 39.6, yolox-m 46.4, yolox-l 50.0, yolox-x 51.2
"""

from __future__ import annotations

import sys

from roadmap.models import model_arm
from roadmap.paper import published_model
from roadmap.study import PublishedRow, Study, Table
from studies.command.cli import main

SMALL, STANDARD = ("yolox-nano", "yolox-tiny"), ("yolox-s", "yolox-m", "yolox-l", "yolox-x")


def _other(model: str, rival: str) -> PublishedRow:
    return PublishedRow(model, published_model(model), rival)


def _same_size(name: str) -> str:
    return name.upper().replace("YOLOX", "YOLOv5")


STUDY = Study(
    name="scaling",
    question=__doc__,
    arms=tuple(model_arm(name) for name in SMALL + STANDARD),
    tables=(
        Table(
            "Table 4 of the paper: the small models at 416 px",
            (
                _other("NanoDet", "yolox-nano"),
                _other("YOLOv4-Tiny", "yolox-tiny"),
                _other("PPYOLO-Tiny", "yolox-tiny"),
                *SMALL,
            ),
        ),
        Table(
            "Table 3 of the paper: the standard models at 640 px",
            tuple(row for name in STANDARD for row in (_other(_same_size(name), name), name)),
        ),
    ),
    noun="model",
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
