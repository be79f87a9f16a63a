"""Whose a file is, for messages to somebody who may not use it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path


def account() -> str:
    """The name of the account that we work as; its number where it has no name."""
    return _name(os.geteuid())


def whose(path: str | Path | None) -> str:
    """`` (it belongs to alice)`` of a file, or of the nearest folder above it that we can see; empty when it
    is our own.
    """
    if path is None:
        return ""
    for place in (Path(path).absolute(), *Path(path).absolute().parents):
        try:
            owner = place.stat().st_uid
        except OSError:
            continue
        return "" if owner == os.geteuid() else f" ({place} belongs to {_name(owner)})"
    return ""


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
