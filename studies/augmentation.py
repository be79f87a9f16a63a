"""Which augmentation suits which model? The paper's Table 5.

    python -m studies.augmentation --data /data/coco --seeds 3      the paper's protocol
    python -m studies.augmentation                                  embedded dataset, minutes
    python -m studies.augmentation --only yolox-nano-plain --only yolox-nano-mixup

A small model wants Mosaic at moderate scales and no MixUp, a large one the full range and MixUp; Copy-Paste
in MixUp's place gives as much and needs instance masks. What the paper printed (COCO val AP):

    yolox-nano-plain 25.3, yolox-nano-mixup 24.0,
    yolox-l-plain 48.6, yolox-l-mixup 49.5, yolox-l-copy-paste 49.4

Under the protocols demo and smoke no model is larger than the protocol's own, so that YOLOX-L differs from
Nano in its convolutions alone: their figures say that every arm trains, and nothing about sizes.
"""

from __future__ import annotations

import sys

from roadmap.augmentation import augmentation_arms, augmentation_table
from roadmap.study import Study
from studies.command.cli import main

STUDY = Study("augmentation", __doc__, augmentation_arms(), (augmentation_table(),))

if __name__ == "__main__":
    sys.exit(main(STUDY))
