"""The paper's Table 1 as data: the coupled and the decoupled head, each with NMS and end-to-end.

End-to-end is NMS-free: the one-to-one branch beside the others (docs/decisions/0006-one-to-one-assigner.md).
The two vanilla detectors are the roadmap's first two stages, whose curves Figure 3 shows.
"""

from __future__ import annotations

from dataclasses import replace

from roadmap.layout import Entry, Layout, Line
from roadmap.paper import published_head
from roadmap.recipe import Recipe
from roadmap.stages import stage_arm
from roadmap.study import Arm, Setting, Table

VARIANTS = {"vanilla": "Vanilla YOLO", "end-to-end": "End-to-end YOLO"}
HEADS = {"coupled": "Coupled Head", "decoupled": "Decoupled Head"}
#: The roadmap's stage with each head and nothing else of the paper's.
_STAGES = {"coupled": "baseline", "decoupled": "decoupled-head"}


def head_arm(variant: str, head: str) -> Arm:
    """One of Table 1's four detectors. variant: a key of VARIANTS. head: a key of HEADS.

    End-to-end is compared with the vanilla detector of the same head, as in the paper, and between heads.
    """
    stage = stage_arm(_STAGES[head], against=_STAGES["coupled"] if head == "decoupled" else "")
    if variant == "vanilla":
        before = name("vanilla", "coupled") if head == "decoupled" else ""
        return Arm(
            name(variant, head), stage.recipe, _label(variant, head), before, published_head(variant, head),
            f"{head} head, NMS", stage.companions,
        )  # fmt: skip

    def end_to_end(setting: Setting) -> Recipe:
        recipe = stage.recipe(setting)
        return replace(recipe, ingredients=replace(recipe.ingredients, nms_free=True))

    return Arm(
        name(variant, head), end_to_end, _label(variant, head), name("vanilla", head),
        published_head("end_to_end", head), f"{head} head and a one-to-one branch, no NMS",
        also=(name(variant, "coupled"),) if head == "decoupled" else (),
    )  # fmt: skip


def name(variant: str, head: str) -> str:
    """What the user types for a detector of Table 1."""
    return f"{variant}-{head}"


def _label(variant: str, head: str) -> str:
    return f"{head} head" + ("" if variant == "vanilla" else f", {variant}")


def head_arms() -> tuple[Arm, ...]:
    """The four detectors, the vanilla ones first."""
    return tuple(head_arm(variant, head) for variant in VARIANTS for head in HEADS)


def head_table() -> Table:
    """Table 1: variants down, heads across; end-to-end's brackets are the distance to the line above."""
    lines = tuple(
        Line((words,), tuple(_entry(variant, head) for head in HEADS)) for variant, words in VARIANTS.items()
    )
    layout = Layout("Table 1", ("Models",), tuple(f"{title}, AP (%)" for title in HEADS.values()), lines)
    title = "Table 1 of the paper (arXiv 2107.08430): the decoupled head for end-to-end YOLO"
    return Table(title, tuple(arm.name for arm in head_arms()), layout)


def _entry(variant: str, head: str) -> Entry:
    return Entry(name(variant, head), "ap", "" if variant == "vanilla" else name("vanilla", head))
