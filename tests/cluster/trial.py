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
    """A planned run, counted to its end. While there is a file ``hold`` beside the studies, one with less
    than the AP that the file says waits behind its epochs.
    """

    def figure(self, state: dict[str, Any]) -> float:
        return hill(self.run.recipe)

    def _end_epoch(self, state: dict[str, Any]) -> None:
        super()._end_epoch(state)
        while self._held() and not self.stop and self.folder.stop_order() is None:
            time.sleep(0.05)

    def _held(self) -> bool:
        try:
            return hill(self.run.recipe) < float((self.folder.path.parents[1] / "hold").read_text())
        except FileNotFoundError:
            return False


def main(words: Sequence[str]) -> int:
    """Carry out the first word, a run's folder, as the runner would."""
    folder = RunFolder(Path(words[0]))
    run = read_planned(folder).run
    return TrialCounter(run, folder.path.parent.parent, PAUSE, 0, False).carry_out()
