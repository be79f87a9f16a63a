"""A search without training: runs that write what the runner would, their AP a function of the recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from roadmap.protocols import PROTOCOLS
from roadmap.recipe import DatasetConfig, Recipe, Run
from roadmap.record import RunFolder, append_line, write_json
from roadmap.search import Base, Objective, Parameter, SearchRecord, Space, read_search
from roadmap.stages import paper_recipe, stage_recipe
from studies.searching.controller import Step, step
from studies.searching.folders import Look, Seen
from tests.roadmap.records import finish

DATASET = DatasetConfig("bench", "0", 3, 64, 16)
RATE = Parameter("training.learning_rate", "number", 1e-3, 1e-1, log=True)
DECAY = Parameter("training.weight_decay", "number", 1e-5, 1e-2, log=True)


def hill(recipe: Recipe, seed: int = 0) -> float:
    """An AP that is 40 at a learning rate of 0.02 and a weight decay of 0.0005, and less around."""
    rate = math.log10(recipe.training.learning_rate / 0.02)
    decay = math.log10(recipe.training.weight_decay / 5e-4)
    return 40.0 / (1.0 + 3.0 * rate**2 + decay**2)


def new_search(
    name: str = "bench", bases: Sequence[str] = ("simota",), protocol: str = "smoke", **changes: Any
) -> SearchRecord:
    """A search of learning rate and weight decay that nobody has begun."""
    space = Space("a bench", tuple(bases), (Objective("AP", "up"),), (RATE, DECAY), trials=6, at_once=2)
    made = tuple(
        Base(each, stage_recipe(each, PROTOCOLS[protocol], DATASET), paper_recipe(each)) for each in bases
    )
    return SearchRecord(name, replace(space, **changes), made)


class Bench:
    """A launcher that starts nothing: the test carries runs out, loses and cancels them as it likes."""

    def __init__(self, runs: Path, figure: Callable[[Recipe, int], float | None] = hill) -> None:
        self.runs, self.figure = runs, figure
        self.started: list[str] = []
        self.waiting: list[str] = []
        self.cancelled: dict[str, str] = {}

    def look(self, record: SearchRecord) -> Look:
        def seen(run: str) -> Seen:
            if run in self.cancelled:
                return Seen("failed", self.cancelled[run])
            return Seen("running", busy=True) if run in self.waiting else Seen("waiting")

        return seen

    def start(self, record: SearchRecord, runs: Sequence[str]) -> list[str]:
        self.started += runs
        self.waiting += runs
        return []

    def carry_out(self, run: str) -> None:
        """What the runner would leave."""
        folder = RunFolder(self.runs / run)
        identity = folder.verified(folder.identity())
        ap = self.figure(identity.recipe, identity.seed)
        append_line(folder.path / "attempts.jsonl", {"event": "start", "attempt": 1, "pid": 1})
        if ap is not None and math.isnan(ap):
            failure = {"kind": "non-finite-loss", "message": "the loss is nan", "attempt": 1}
            write_json(folder.path / "failure.json", failure)
        else:
            finish(folder, Run(identity.study, identity.arm, identity.seed, identity.recipe), ap)
        self.waiting.remove(run)

    def steps(
        self, folder: Path, given: SearchRecord | None = None, limit: int = 100, **more: Any
    ) -> SearchRecord:
        """Step after step, each run carried out in between, to the end; the record."""
        record = self.step(folder, given, **more).record
        for _ in range(limit):
            if record.phase == "finished":
                return record
            for run in list(self.waiting):
                self.carry_out(run)
            record = self.step(folder, **more).record
        raise AssertionError(f"the search did not end: {read_search(folder)}")

    def step(self, folder: Path, given: SearchRecord | None = None, storage: str = "") -> Step:
        return step(folder, self, storage, given)
