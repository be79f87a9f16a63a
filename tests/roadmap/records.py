"""Results for the tests, as a run would write them, without training anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from roadmap.protocols import Deviation
from roadmap.recipe import Run, to_json
from roadmap.record import (
    SCHEMA,
    DatasetFacts,
    Figures,
    Hardware,
    Identity,
    Latency,
    Profile,
    Result,
    RunFolder,
    Spread,
    TrainingFacts,
    write_result,
)

SPREAD = Spread(median=8.0, mean=8.2, p5=7.5, p95=9.9)
PROFILE = Profile("yolox-darknet53", 160, 1_500_000, 400_000_000, 0.8, 0.81)


def figures(ap: float | None, epoch: int, **others: float | None) -> Figures:
    """AP of an epoch; the other eleven figures undefined, or given."""
    names = ("AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
    return Figures(epoch, ap, **{name: others.get(name) for name in names})


def result_of(run: Run, ap: float | None = 10.0, **changes: Any) -> Result:
    """The result of a run whose best epoch is the last. changes: fields that differ."""
    recipe, epochs = run.recipe, run.recipe.training.epochs
    result = Result(
        schema=SCHEMA,
        study=run.study,
        arm=run.arm,
        seed=run.seed,
        run=run.name,
        recipe_hash=recipe.hash,
        protocol=recipe.protocol,
        finished="2026-01-01T00:10:00+00:00",
        best=figures(ap, epochs),
        last=figures(ap, epochs),
        profile=PROFILE,
        full_size_profile=replace(PROFILE, image_size=640, params=63_724_767, gflops_paper=185.273),
        latency=Latency("cpu", "float32", 1, 160, True, 0.001, 0.65, SPREAD, SPREAD, SPREAD, 50, 200, 1, 0.5),
        training=TrainingFacts(epochs, 30 * epochs, 12.0, 240.0, 0.03, 900.0, 1),
        dataset=DatasetFacts(**vars(recipe.dataset)),
        hardware=Hardware("cpu", "a stand-in", "a stand-in", 2, 0, 1, 1, "here"),
        deviations=(Deviation("training.epochs", 300, epochs),),
    )
    return replace(result, **changes)


def identity_of(run: Run) -> dict[str, Any]:
    """The content of recipe.json."""
    return to_json(Identity.of(run, ()))


def finish(folder: RunFolder, run: Run, ap: float | None = 10.0, **changes: Any) -> Result:
    """Write the result of a run into its folder."""
    result = result_of(run, ap, **changes)
    write_result(folder, result)
    return result
