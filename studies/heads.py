"""What does a decoupled head give, and what does it save when NMS goes? The paper's Table 1 and Figure 3.

    python -m studies.heads --data /data/coco --seeds 3         the paper's protocol
    python -m studies.heads                                     embedded dataset, minutes
    python -m studies.heads --only vanilla-coupled --only vanilla-decoupled    Figure 3 alone

Four detectors: YOLOv3 with its coupled head or the decoupled one, with NMS (vanilla) or end-to-end, that is
with a one-to-one branch and no NMS. What the paper printed (COCO val AP, best epoch):

    vanilla-coupled 38.5, vanilla-decoupled 39.6, end-to-end-coupled 34.3, end-to-end-decoupled 38.8

Under the paper's protocol AP is evaluated every ten epochs: the points of Figure 3, whose curves the report
draws under ours.
"""

from __future__ import annotations

import sys

from roadmap.heads import head_arms, head_table
from roadmap.study import Study
from studies.command.cli import main

STUDY = Study("heads", __doc__, head_arms(), (head_table(),))

if __name__ == "__main__":
    sys.exit(main(STUDY))
