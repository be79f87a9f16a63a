"""Find missing, truncated and mislabelled image files before training, without decoding them.

A file passes when it exists, starts and ends as its format demands, and its header has the size that the
annotations state. Damage in the middle of a file only shows when it is decoded (see
:class:`yolox_core.data.coco.ImageError`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
#: Some cameras and tools write a little after the end marker; more than this is taken for damage.
_TAIL = 4096
#: Below this many files a scan takes less than a second and is not worth a cache that could be stale.
_CACHE_FROM = 5000
_THREADS = 16

Size = tuple[int, int]


def scan_images(
    folder: Path, names: Sequence[str], sizes: Sequence[Size | None], cache_key: str
) -> tuple[dict[int, str], dict[int, Size]]:
    """Check every file in a folder.

    sizes: (height, width) that each must have, None where unknown. cache_key: changes with the annotations;
    large folders are scanned once per key and state of the folder. Returns the reason for each position
    that can't be used, and the size of each that had none.
    """
    cache = _cache_file(folder, cache_key) if len(names) >= _CACHE_FROM else None
    if cache is not None and (known := _read_cache(cache)) is not None:
        return known
    with ThreadPoolExecutor(_THREADS) as pool:
        checked = list(
            pool.map(lambda pair: check_image(folder / pair[0], pair[1]), zip(names, sizes, strict=True))
        )
    bad = {i: reason for i, (reason, _) in enumerate(checked) if reason}
    found = {i: size for i, (_, size) in enumerate(checked) if sizes[i] is None and size is not None}
    if cache is not None:
        _write_cache(cache, bad, found)
    return bad, found


def check_image(path: Path, size: Size | None) -> tuple[str, Size | None]:
    """Why a file can't be used (empty when it can), and its (height, width) if the header tells."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
            if not head:
                return "empty file", None
            if head.startswith(_JPEG):
                complete, found = _tail_has(file, _JPEG_END), _jpeg_size(file)
            elif head.startswith(_PNG):
                complete, found = _tail_has(file, b"IEND"), _png_size(head)
            else:
                return "", size
    except FileNotFoundError:
        return "missing", None
    except OSError as error:
        return f"unreadable: {error.strerror}", None
    if not complete:
        return "truncated", found
    if found is None:
        return "damaged header", None
    if size is not None and found != size:
        return (
            f"is {found[1]}×{found[0]} pixels, the annotations say {size[1]}×{size[0]} "
            "(EXIF orientation is not applied)"
        ), found
    return "", found


def _tail_has(file: BinaryIO, marker: bytes) -> bool:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - _TAIL))
    return marker in file.read()


def _png_size(head: bytes) -> Size | None:
    if len(head) < 24:
        return None
    return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")


def _jpeg_size(file: BinaryIO) -> Size | None:
    """Size in a JPEG's frame header; None when there is no such header before the pixels."""
    file.seek(2)
    while True:
        marker = file.read(1)
        while marker == b"\xff":
            marker = file.read(1)
        if not marker:
            return None
        kind = marker[0]
        if kind == 0xDA or kind == 0xD9:  # pixels, end of image
            return None
        if kind == 0x01 or 0xD0 <= kind <= 0xD8:  # markers without a segment
            file.read(1)
            continue
        length = int.from_bytes(file.read(2), "big")
        if length < 2:
            return None
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # SOF0…15 but DHT, JPG, DAC
            frame = file.read(5)
            if len(frame) < 5:
                return None
            return int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
        file.seek(length - 2, os.SEEK_CUR)
        if file.read(1) != b"\xff":
            return None


def _cache_file(folder: Path, key: str) -> Path:
    """One file per dataset state: the folder's own time changes when files come or go."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yolox-roadmap" / "scans"
    state = f"{folder.resolve()} {folder.stat().st_mtime_ns} {key}"
    return root / f"{hashlib.sha256(state.encode()).hexdigest()[:32]}.json"


def _read_cache(path: Path) -> tuple[dict[int, str], dict[int, Size]] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return (
            {int(i): str(reason) for i, reason in data["bad"].items()},
            {int(i): (int(s[0]), int(s[1])) for i, s in data["sizes"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # a cache that can't be used is made again


def _write_cache(path: Path, bad: dict[int, str], sizes: dict[int, Size]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"bad": bad, "sizes": sizes}), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        pass  # a home that can't be written costs a scan per start, nothing else
