"""The project's open choices, as the titles of its decision notes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_INSTALLED = Path(__file__).parents[1] / "decisions"
#: In a checkout beside the packages; an installed package carries a copy (setup.py).
DECISIONS = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "docs" / "decisions"


@dataclass(frozen=True)
class Assumption:
    """number: of the file name, ``0012``. title: its first heading, without the number."""

    number: str
    title: str


def read_assumptions(folder: Path = DECISIONS) -> tuple[Assumption, ...]:
    """Notes ``NNNN-*.md`` of a folder in order; none where there is no folder."""
    found = []
    for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]-*.md")):
        number = path.name[:4]
        text = path.read_text(encoding="utf-8", errors="replace")
        heading = re.search(r"^#\s+(.+?)\s*#*$", text, re.MULTILINE)
        title = heading.group(1) if heading else path.stem[5:].replace("-", " ")
        found.append(
            Assumption(number, re.sub(rf"^(ADR\s*)?0*{int(number)}\b[\s.:–—-]*", "", title) or title)
        )
    return tuple(found)
