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
from typing import Any

from roadmap.paper import table
from roadmap.protocols import COCO_2017, PAPER, Protocol, model_recipe
from roadmap.recipe import DatasetConfig, Recipe
from studies.command.cli import main
from studies.command.plan import Study
from yolox_core.config import MODELS, input_size

NAMES = tuple(name for name in MODELS if MODELS[name].backbone == "csp-darknet")


def _recipe(name: str, protocol: Protocol, dataset: DatasetConfig, imagenet: str) -> Recipe:
    return model_recipe(name, protocol, dataset)


def _reference(name: str) -> Recipe:
    return model_recipe(name, PAPER, COCO_2017)


def _rows() -> list[dict[str, Any]]:
    published = {
        str(row["model"]).lower(): row for t in ("table3_yolov5", "table4_tiny_nano") for row in table(t)
    }
    return [
        {
            "arm": name,
            "paper AP": published[name]["ap"],
            "paper params (M)": published[name]["params_m"],
            "paper GFLOPs": published[name]["gflops"],
            "test side (px)": input_size(name),
        }
        for name in NAMES
    ]


STUDY = Study(
    name="scaling",
    module="studies.scaling",
    description=__doc__ or "",
    names=NAMES,
    recipe=_recipe,
    reference=_reference,
    rows=_rows,
    noun="model",
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
