"""Label assignment as arms of a study: SimOTA against OTA, and SimOTA's own choices one by one.

All on the roadmap's detector at its stage SimOTA, so that nothing else differs. The paper prints an AP for
SimOTA alone, and of OTA that it takes a quarter more training time. Which OTA this is:
docs/decisions/0091-ota.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from roadmap.paper import OTA_EXTRA_TIME, Published
from roadmap.recipe import Recipe
from roadmap.stages import stage_arm
from roadmap.study import Arm, Setting, Table

#: The roadmap's stage that every arm is, but for its assigner.
STAGE = "simota"


def assigner_arm(name: str, label: str, summary: str, against: str = STAGE, **settings: Any) -> Arm:
    """The stage with other settings of the assigner (fields of ``AssignerConfig``), as an arm of a study."""

    def recipe(setting: Setting) -> Recipe:
        made = stage_arm(STAGE).recipe(setting)
        return replace(made, model=replace(made.model, assigner=replace(made.model.assigner, **settings)))

    return Arm(name, recipe, label, against, None, summary)


def assignment_arms() -> tuple[Arm, ...]:
    """SimOTA as in the paper's Table 2, OTA, and what of SimOTA could have been chosen otherwise."""
    ota = assigner_arm(
        "ota", "OTA", "all objects together, by 50 Sinkhorn iterations on SimOTA's costs", solver="ota"
    )
    return (
        replace(stage_arm(STAGE), label="SimOTA"),
        replace(ota, paper=Published("§2.1", extra_time=OTA_EXTRA_TIME)),
        assigner_arm(
            "ota-own-numbers",
            "OTA, IoU weight 1.5, 20 IoUs",
            "with the IoU cost's weight and the number of IoUs of OTA's own paper",
            "ota",
            solver="ota",
            iou_cost=1.5,
            candidates=20,
        ),
        assigner_arm("radius-1.5", "radius 1.5", "centre square of 1.5 strides for 2.5", center_radius=1.5),
        assigner_arm(
            "center",
            "centre only",
            "candidates in the centre square alone, not in the box",
            simota_geometry="center",
        ),
        assigner_arm(
            "center-1.5",
            "centre only, radius 1.5",
            "the official code after 0.3.0",
            "center",
            simota_geometry="center",
            center_radius=1.5,
        ),
        *(
            assigner_arm(
                f"candidates-{count}",
                f"{count} IoUs",
                f"k from the {count} highest IoUs for 10",
                candidates=count,
            )
            for count in (5, 20)
        ),
        *(
            assigner_arm(
                f"cost-{weight:g}",
                f"IoU weight {weight:g}",
                f"weight {weight:g} of the IoU cost for 3",
                iou_cost=weight,
            )
            for weight in (1.0, 5.0)
        ),
    )


def assignment_table() -> Table:
    """One table of all arms: the paper has none."""
    return Table("SimOTA, OTA and SimOTA's own choices", tuple(arm.name for arm in assignment_arms()))
