"""What does OTA's transport give that SimOTA saves, and what do SimOTA's own choices give?

    python -m studies.assignment                                          embedded dataset, minutes
    python -m studies.assignment --only simota --only ota --seeds 3 --data /data/coco
    python -m benchmarks.transport                                        time per assignment and per step

Every arm is the roadmap's detector with SimOTA (paper's Table 2: 47.3 AP) and another assigner: OTA by
Sinkhorn's iterations (arXiv 2103.14259), radius 1.5 for 2.5 strides, candidates in the centre square alone,
5 or 20 IoUs for 10, weight 1 or 5 of the IoU cost for 3. Of OTA the paper prints no AP; it "brings 25 % extra
training time", which the report sets beside the time per training step of the runs.
"""

from __future__ import annotations

import sys

from roadmap.assignment import assignment_arms, assignment_table
from roadmap.study import Study
from studies.command.cli import main

STUDY = Study("assignment", __doc__, assignment_arms(), (assignment_table(),))

if __name__ == "__main__":
    sys.exit(main(STUDY))
