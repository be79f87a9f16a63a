"""Real photographs for the benchmarks that need some: those beside the project, or the user's."""

from __future__ import annotations

import sys
from pathlib import Path

#: Where the project's own machines have some; a clean clone has none.
DATA = Path(__file__).resolve().parents[2] / "shared" / "coco-mini"
#: Exit status of a benchmark that lacks something that the project does not bring.
SKIPPED = 77


def need_photographs(folder: Path) -> None:
    """Ends the program as skipped where the folder has no photographs in COCO's layout."""
    if not (folder / "annotations").is_dir():
        print(
            f"skipped: it needs photographs in COCO's layout; {folder} has none, --data DIR gives them",
            file=sys.stderr,
        )
        sys.exit(SKIPPED)
