"""What MLflow says of an arm of a study: its place, its colour, and a description; from study.json."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import Any

from roadmap.paper import Published
from roadmap.study import ArmRecord, StudyRecord

#: Tags that MLflow's page reads; a description and a colour that a user has changed there are kept.
NOTE, COLOUR = "mlflow.note.content", "mlflow.runColor"

#: The first arms' colours: those of the figures, which the colour-blind tell apart (Okabe and Ito).
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#e69f00", "#56b4e9", "#999933", "#882255")
_GOLDEN = 0.618034


def colour(place: int) -> str:
    """The colour of a study's arm by its place from 1; by chance MLflow gives two the same."""
    if place <= len(_COLOURS):
        return _COLOURS[place - 1]
    # Hues that never come back, light and dark in turn: at least 27 of 255 apart up to 32 arms.
    number = place - len(_COLOURS) - 1
    red, green, blue = colorsys.hsv_to_rgb((0.45 + number * _GOLDEN) % 1, 0.8, (0.9, 0.55)[number % 2])
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def describe_arm(study: StudyRecord, arm: ArmRecord, identity: Mapping[str, Any]) -> str:
    """The description of an arm's run, Markdown. identity: recipe.json of one of its runs."""
    paragraphs = [f"**{arm.label}**" + (f": {arm.summary}" if arm.summary else "")]
    if arm.against:
        against = study.find(arm.against)
        label = against.label if against is not None else arm.against
        paragraphs.append(f"Compared with **{label}** (`{arm.against}`); changes {_list(arm.changes)}.")
    paragraphs += [f"With it changes {c.field} to {c.value!r}: {c.why}." for c in arm.companions]
    if arm.paper is not None:
        paragraphs.append(f"The paper ({arm.paper.source}): {_published(arm.paper)}.")
    dataset = identity["recipe"]["dataset"]["name"]
    paragraphs.append(
        f"All seeds of one recipe, {identity['protocol']} protocol on {dataset}: figures are means."
    )
    return "\n\n".join(paragraphs)


def _published(paper: Published) -> str:
    figures = [
        ("AP {:.1f}", paper.ap),
        ("gain {:+.1f}", paper.gain),
        ("{:g} M parameters", paper.params_m),
        ("{:g} GFLOPs", paper.gflops),
        ("{:g} ms on a V100", paper.latency_ms),
    ]
    return ", ".join(text.format(value) for text, value in figures if value is not None) or "no figures"


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"
