"""What the paper leaves open, and what this project chose: a line of the decision notes that decide it.

Such a note has, below its heading, ``**Open in the paper:** a question? **Chosen:** an answer.`` Notes
without it are about the project itself, and no reader of a report needs them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_INSTALLED = Path(__file__).parents[1] / "decisions"
#: In a checkout beside the packages; an installed package carries a copy (setup.py).
DECISIONS = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "docs" / "decisions"

_LINE = re.compile(
    r"^\*\*Open in the paper:\*\*\s+(.+?)\?\s+\*\*Chosen:\*\*\s+(.+?)\s*(?:\n\s*\n|\Z)", re.M | re.S
)


@dataclass(frozen=True)
class Assumption:
    """number: of the note's file, ``0012``. question: without its mark. chosen: a sentence."""

    number: str
    question: str
    chosen: str


def read_assumptions(folder: Path = DECISIONS) -> tuple[Assumption, ...]:
    """The open choices among the notes ``NNNN-*.md`` of a folder, in order; none where there is no folder."""
    found = []
    for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]-*.md")):
        line = _LINE.search(path.read_text(encoding="utf-8", errors="replace"))
        if line is not None:
            question, chosen = (re.sub(r"\s+", " ", part).replace("`", "") for part in line.groups())
            found.append(Assumption(path.name[:4], question, chosen))
    return tuple(found)
