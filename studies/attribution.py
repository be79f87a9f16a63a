"""Which ingredient gives what, whatever the order? All 64 combinations of the paper's six ingredients.

    python -m studies.attribution --only leave-one-out          7 arms: each ingredient taken from all
    python -m studies.attribution --only fraction --dry-run     16 arms: what they cost and cannot tell apart
    python -m studies.attribution --only factorial --seeds 2    64 arms: every order, every interaction

A gain along the roadmap belongs to the order as much as to the ingredient. From the factorial the report
attributes AP whatever the order (Shapley values), with intervals, and says whose effect changes its sign.
"""

from __future__ import annotations

import sys

from roadmap.attribution import attribution_designs, combination_arms
from roadmap.study import Study
from studies.command.cli import main

STUDY = Study("attribution", __doc__, combination_arms(), designs=attribution_designs())

if __name__ == "__main__":
    sys.exit(main(STUDY))
