"""What do depth and width give? The paper's named models (Tables 3 and 4, Figure 1), trained with all of
YOLOX's ingredients but NMS-free.

    python -m studies.scaling --model yolox-s --data /data/coco     the paper's protocol
    python -m studies.scaling --model yolox-nano                    embedded dataset, minutes

Nano and Tiny train at 320…640 px and test at 416; Nano, Tiny and S train without MixUp at scales 0.5–1.5
(paper §2.1 and Table 5). What the paper printed (COCO val AP):

    yolox-nano 25.3, yolox-tiny 32.8, yolox-s 39.6, yolox-m 46.4, yolox-l 50.0, yolox-x 51.2,
    yolox-darknet53 47.3

The models keep their size under every protocol. Beside them stand the rows that the paper sets against them:
YOLOv5, YOLOv4-Tiny, PPYOLO-Tiny, NanoDet and YOLOv3. YOLOX-DarkNet53 is the roadmap's model, with SimOTA.
"""

from __future__ import annotations

import sys

from roadmap.models import model_arms, model_tables
from roadmap.study import Study
from studies.command.cli import main

STUDY = Study("scaling", __doc__, model_arms(), model_tables(), noun="model")

if __name__ == "__main__":
    sys.exit(main(STUDY))
