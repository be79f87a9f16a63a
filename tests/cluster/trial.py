"""A stand-in for the training of a search's trial: the counter, whose AP is a function of the trial's recipe.

Jobs find it in the place of ``python -m studies.run FOLDER`` by a sitecustomize.py on their path; everything
else of the search is the real thing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roadmap.planned import read_planned
from roadmap.record import RunFolder
from tests.cluster.counter import Counter
from tests.studies.search_bench import hill

#: Seconds per iteration, of which an epoch has ten.
PAUSE = 0.04

SITECUSTOMIZE = """
import sys
if sys.orig_argv[1:3] == ["-m", "studies.run"]:
    import os
    from tests.cluster.trial import main
    os._exit(main(sys.orig_argv[3:]))
"""


class TrialCounter(Counter):
    """A planned run, counted to its end; it waits behind an epoch while there is a file ``hold`` beside the
    studies.
    """

    def _end_epoch(self, state: dict[str, Any]) -> None:
        super()._end_epoch(state)
        while (self.folder.path.parents[1] / "hold").exists() and not self.stop:
            time.sleep(0.05)

    def figure(self, state: dict[str, Any]) -> float:
        return hill(self.run.recipe)


def main(words: Sequence[str]) -> int:
    """Carry out the first word, a run's folder, as the runner would."""
    folder = RunFolder(Path(words[0]))
    run = read_planned(folder).run
    return TrialCounter(run, folder.path.parent.parent, PAUSE, 0, False).carry_out()
