"""Which code this is: its commit, and whether it was changed since."""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit_state() -> tuple[str | None, bool | None]:
    """Commit of this code and whether it was changed since; (None, None) outside a git checkout."""
    file = Path(__file__).resolve()
    root = file.parents[2]
    if _git(root, "ls-files", "--error-unmatch", str(file)) is None:
        return None, None  # installed, perhaps inside somebody else's checkout
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None, None
    status = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit, bool(status)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
