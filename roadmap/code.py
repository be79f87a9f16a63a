"""Which code this is: its commit and what was changed since; and a copy of it that nobody edits.

A run of days goes through many attempts. Whether they ran the same code is told by :class:`Code`; that
they do is what a frozen copy is for (:func:`freeze`).
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yolox_core.files import read_json, write_json

#: In a frozen copy: which code it is a copy of.
FROZEN = "frozen.json"

_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Code:
    """commit: None when it is not known, outside a git checkout. dirty: whether tracked files were changed.

    changes: identity of those changes, empty without any.
    """

    commit: str | None = None
    dirty: bool | None = None
    changes: str = ""

    def __str__(self) -> str:
        if self.commit is None:
            return "unknown code"
        return self.commit[:7] + (f" with local changes {self.changes}".rstrip() if self.dirty else "")


def code_state(root: Path = _ROOT) -> Code:
    """The code in a folder, this one by default; unknown when it is installed and no checkout."""
    if (known := read_json(root / FROZEN)) is not None:
        return code_of(known)
    file = root / "roadmap" / "code.py"
    if _git(root, "ls-files", "--error-unmatch", str(file)) is None:
        return Code()  # installed, perhaps inside somebody else's checkout
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return Code()
    if not _git(root, "status", "--porcelain", "--untracked-files=no"):
        return Code(commit.strip(), False)
    difference = _git(root, "diff", "HEAD", "--binary") or ""
    return Code(commit.strip(), True, hashlib.sha256(difference.encode()).hexdigest()[:8])


def code_of(record: dict[str, Any]) -> Code:
    """The code that an environment, a plan or the start of an attempt names; unknown where it names none."""
    return Code(record.get("commit"), record.get("dirty"), str(record.get("changes") or ""))


def freeze(folder: Path, root: Path = _ROOT) -> Path:
    """Copy this code, local changes included, below ``folder``; the copy's folder, made once per code.

    Raises ValueError where there is no git checkout that says what belongs to the code.
    """
    state = code_state(root)
    if state.commit is None:
        raise ValueError(
            "--freeze copies a git checkout, and this code is none; what is installed changes only when it "
            "is installed again"
        )
    copy = folder / "-".join(filter(None, ("code", state.commit[:12], state.changes)))
    if (copy / FROZEN).exists():
        return copy
    for name in (_git(root, "ls-files", "-z") or "").split("\0"):
        if name and (root / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name)
    write_json(copy / FROZEN, asdict(state))  # last: its presence means the copy is whole
    return copy


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout
