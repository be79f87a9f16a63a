"""The paper's Table 2 as data: each stage is the previous one plus one ingredient.

What else the paper changes at a step is declared beside it as a companion, so that no gain is credited
to an ingredient alone when something travelled with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from roadmap.layout import listed
from roadmap.paper import published_stage
from roadmap.protocols import COCO_2017, IMAGENET, PAPER, Protocol, scaled_model
from roadmap.recipe import DatasetConfig, Recipe
from roadmap.study import Arm, Companion, PublishedRow, Setting, Table
from yolox_core.config import MODELS, Ingredients


@dataclass(frozen=True)
class Stage:
    """A row of Table 2.

    name: what the user types. row: the paper's name in table2_roadmap.csv. adds: the ingredient switched
    on, None for the baseline. companions: settings that hold from this stage on.
    """

    name: str
    row: str
    adds: str | None
    summary: str
    companions: tuple[Companion, ...] = ()


STAGES: tuple[Stage, ...] = (
    Stage(
        "baseline",
        "YOLOv3 baseline",
        None,
        "YOLOv3-SPP: DarkNet53, coupled head, anchors, weak augmentation",
        (
            Companion(
                "training.pretrained",
                IMAGENET,
                "the first two stages start from ImageNet weights of the backbone (paper §2.1)",
            ),
        ),
    ),
    Stage("decoupled-head", "+decoupled head", "decoupled_head", "separate classification and box branches"),
    Stage(
        "strong-augmentation",
        "+strong augmentation",
        "strong_augmentation",
        "Mosaic, random affine and MixUp, closed for the last epochs",
        (
            Companion(
                "training.pretrained",
                "",
                "with strong augmentation ImageNet weights no longer help; from scratch from here (§2.1)",
            ),
        ),
    ),
    Stage("anchor-free", "+anchor-free", "anchor_free", "one point per cell instead of three anchors"),
    Stage("multi-positives", "+multi positives", "multi_positives", "the centre 3×3 cells are positive"),
    Stage("simota", "+SimOTA", "simota", "positives by cost, a dynamic number per object"),
    Stage("nms-free", "+NMS free (optional)", "nms_free", "a one-to-one branch, top-k instead of NMS"),
)

#: What the paper calls an ingredient.
INGREDIENT_LABELS: dict[str, str] = {
    stage.adds: stage.row.removeprefix("+").partition(" (")[0] for stage in STAGES if stage.adds
}

STAGE_NAMES: tuple[str, ...] = tuple(stage.name for stage in STAGES)


def find_stage(name: str) -> Stage:
    """Stage by name. Raises ValueError with the valid names."""
    for stage in STAGES:
        if stage.name == name:
            return stage
    raise ValueError(f"unknown stage {name!r}; choose one of: {', '.join(STAGE_NAMES)}")


def previous_stage(stage: Stage) -> Stage | None:
    """The stage that ``stage`` builds on, None for the baseline."""
    position = STAGES.index(stage)
    return STAGES[position - 1] if position else None


def ingredients_at(name: str) -> Ingredients:
    """Ingredients switched on at a stage: those of all stages up to it."""
    result = Ingredients()
    for stage in _up_to(name):
        if stage.adds is not None:
            result = replace(result, **{stage.adds: True})
    return result


def companions_at(name: str) -> dict[str, Any]:
    """Training settings that the companions up to a stage decide, by their name there; the latest wins."""
    return {c.field.removeprefix("training."): c.value for stage in _up_to(name) for c in stage.companions}


def stage_recipe(stage: str, protocol: Protocol, dataset: DatasetConfig, imagenet: str = "") -> Recipe:
    """The recipe of a roadmap stage under a protocol on a dataset.

    imagenet: identity of the ImageNet weights that stages with that companion start from, empty to start
    them from scratch (then a deviation).
    """
    companions = companions_at(stage)
    if companions.get("pretrained") == IMAGENET:
        companions["pretrained"] = imagenet
    training = replace(protocol.training, **companions)
    model = scaled_model(MODELS["yolox-darknet53"], protocol, dataset)
    return Recipe(protocol.name, model, ingredients_at(stage), training, dataset)


def paper_recipe(stage: str) -> Recipe:
    """What the paper did at a stage."""
    return stage_recipe(stage, PAPER, COCO_2017, IMAGENET)


def stage_arm(name: str, against: str = "") -> Arm:
    """A stage as an arm of any study. against: the arm that its gain is counted from.

    Raises ValueError for an unknown stage.
    """
    stage = find_stage(name)
    before = previous_stage(stage)
    published = published_stage(stage.row)
    if before is None or against != before.name:
        published = replace(published, gain=None)  # the paper prints the gain over the previous stage only

    def recipe(setting: Setting) -> Recipe:
        return stage_recipe(name, setting.protocol, setting.dataset, setting.imagenet)

    return Arm(name, recipe, stage.row, against, published, stage.summary, _companions(name, against))


def roadmap_arms() -> tuple[Arm, ...]:
    """All stages, each against the one before it."""
    return tuple(
        stage_arm(stage, against=before)
        for before, stage in zip(("", *STAGE_NAMES), STAGE_NAMES, strict=False)
    )


def roadmap_table() -> Table:
    """Table 2: the paper's starting point, by other authors, and the stages."""
    start = "YOLOv3-ultralytics"
    title = "Table 2 of the paper (arXiv 2107.08430) replayed: the roadmap in AP, size and speed"
    rows = {start: (start,)} | {stage.name: (stage.row,) for stage in STAGES}
    figures = ("ap", "params_m", "gflops", "latency_ms", "fps")
    layout = listed(
        "Table 2", ("Methods",), rows, figures, dict(zip(STAGE_NAMES[1:], STAGE_NAMES, strict=False))
    )
    return Table(title, (PublishedRow(start, published_stage(start), rival="simota"), *STAGE_NAMES), layout)


def _companions(name: str, against: str) -> tuple[Companion, ...]:
    """What else the paper changes from one stage to another; a stage's own where ``against`` is none."""
    start = STAGE_NAMES.index(against) + 1 if against in STAGE_NAMES else STAGE_NAMES.index(name)
    return tuple(c for stage in STAGES[start : STAGE_NAMES.index(name) + 1] for c in stage.companions)


def _up_to(name: str) -> tuple[Stage, ...]:
    return STAGES[: STAGES.index(find_stage(name)) + 1]
