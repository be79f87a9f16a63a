"""Datasets that are drawn rather than downloaded: a folder that is whole or absent, whoever makes it."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

MANIFEST = "manifest.json"


def ensure_generated(folder: Path, fingerprint: str, write: Callable[[Path], None]) -> Path:
    """The folder, written by ``write`` into an empty one when it is absent, incomplete or damaged.

    fingerprint: of everything that decides its content. Safe when several processes call it at once: one
    writes, the others wait. Raises OSError naming the folder when it can't be written.
    """
    if is_intact(folder, fingerprint):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if not is_intact(folder, fingerprint):  # another process may have made it while this one waited
            _replace(folder, fingerprint, write)
    return folder


def is_intact(folder: Path, fingerprint: str) -> bool:
    """Whether every file is there and unchanged since the folder was written."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return manifest == {"spec": fingerprint, "content": _content_hash(folder)}
    except (OSError, ValueError):
        return False


def _replace(folder: Path, fingerprint: str, write: Callable[[Path], None]) -> None:
    """Write beside the folder, then put the result in its place at once."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        write(temporary)
        manifest = {"spec": fingerprint, "content": _content_hash(temporary)}
        (temporary / MANIFEST).write_text(json.dumps(manifest) + "\n", encoding="utf-8")
        temporary.chmod(0o755)  # mkdtemp makes private folders
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # it is gone already unless something was raised


def _content_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of all files but the manifest."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()
