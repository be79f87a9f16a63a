"""Large annotation files, parsed once: their arrays lie in the user's cache, mapped into every process that
needs them, so that workers and ranks share one copy in memory.

    CACHE/packed/<hash of the path>/
        meta.json      the file's state (size, time of change), class names, what was dropped
        <array>.npy    the arrays of :class:`yolox_core.data.annotations.Annotations`
    CACHE/packed/<hash of the path>-masks/
                       the same with masks, for runs that need them
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock

from yolox_core.data.annotations import LARGE, Annotations, read_annotations
from yolox_core.data.masks import PackedMasks

log = logging.getLogger(__name__)

#: Raise it when the arrays or their meaning change.
_VERSION = 1
_ARRAYS = ("ids", "sizes", "names", "category_ids", "offsets", "boxes_xyxy", "labels")
_MASK_ARRAYS = ("codes", "starts", "lengths")


def open_annotations(path: Path, masks: bool = False) -> Annotations:
    """The annotations of a file, as :func:`yolox_core.data.annotations.read_annotations` gives them; those of
    a large file from the cache, read-only, where it has not changed since it was parsed.

    Raises ValueError as that function does. A cache that can't be written costs time and memory, no more.
    """
    try:
        state = path.stat()
    except OSError:
        return read_annotations(path, masks)  # which says what is wrong
    if state.st_size <= LARGE:
        return read_annotations(path, masks)
    key = [_VERSION, str(path.resolve()), state.st_size, state.st_mtime_ns]
    place = _folder(path, masks)
    if (known := _load(place, key)) is not None:
        return known
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_suffix(".lock")):  # of many processes that start together, one parses
            if (known := _load(place, key)) is not None:
                return known
            log.info("reading %s (%.1f GB) for the first time", path, state.st_size / 1e9)
            annotations = read_annotations(path, masks)
            _save(place, key, annotations)
    except OSError as error:
        log.warning("parsed annotations are not kept: %s", error)
        return read_annotations(path, masks)
    return _load(place, key) or annotations


def _folder(path: Path, masks: bool) -> Path:
    cache = Path(platformdirs.user_cache_dir("yolox-roadmap", appauthor=False))
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]
    return cache / "packed" / (f"{name}-masks" if masks else name)


def _load(place: Path, key: list[Any]) -> Annotations | None:
    try:
        meta = json.loads((place / "meta.json").read_text(encoding="utf-8"))
        if meta["key"] != key:
            return None
        arrays = {name: _mapped(place, name) for name in _ARRAYS}
        masks = None
        if place.name.endswith("-masks"):
            masks = PackedMasks(*(_mapped(place, f"mask_{name}") for name in _MASK_ARRAYS))
        names = tuple(meta["class_names"])
        return Annotations(**arrays, class_names=names, dropped=meta["dropped"], masks=masks)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or damaged: it is made again


def _mapped(place: Path, name: str) -> Any:
    return np.load(place / f"{name}.npy", mmap_mode="r")


def _save(place: Path, key: list[Any], annotations: Annotations) -> None:
    """Write beside its place, then move it there as a whole."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        for name in _ARRAYS:
            np.save(temporary / f"{name}.npy", getattr(annotations, name))
        for name in _MASK_ARRAYS if annotations.masks is not None else ():
            np.save(temporary / f"mask_{name}.npy", getattr(annotations.masks, name))
        meta = {"key": key, "class_names": annotations.class_names, "dropped": annotations.dropped}
        (temporary / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        if place.exists():
            os.rename(place, temporary / "before")
        os.rename(temporary, place)
        shutil.rmtree(place / "before", ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
