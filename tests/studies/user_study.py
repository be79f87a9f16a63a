"""A study as a user writes it, outside the package: ten lines, with a neighbour that it imports."""

from __future__ import annotations

from pathlib import Path

NAME = "heads-and-anchors"
ARMS = ("baseline", "decoupled-head", "pointed")

TEN_LINES = '''"""Does the decoupled head need anchors?"""
from roadmap.stages import stage_arm
from roadmap.study import Arm, Study
from neighbour import without_anchors

STUDY = Study("heads-and-anchors", __doc__, arms=(
    stage_arm("baseline"),
    stage_arm("decoupled-head", against="baseline"),
    Arm("pointed", without_anchors, against="decoupled-head", summary="no anchors"),
))
'''

_NEIGHBOUR = """from dataclasses import replace
from roadmap.stages import stage_arm

def without_anchors(setting):
    recipe = stage_arm("decoupled-head").resolve(setting)
    return replace(recipe, ingredients=replace(recipe.ingredients, anchor_free=True))
"""


def write_user_study(folder: Path) -> Path:
    """The study's file, in a folder of its own."""
    folder.mkdir(parents=True)
    (folder / "neighbour.py").write_text(_NEIGHBOUR)
    (folder / "my_study.py").write_text(TEN_LINES)
    return folder / "my_study.py"
