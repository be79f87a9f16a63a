"""Find missing, truncated, mislabelled and (where asked) undecodable image files before training.

A JPEG or PNG passes when it exists, starts and ends as its format demands, and its header has the size that
the annotations state. Whatever else calls itself an image is decoded. Damage in the middle of a JPEG or PNG
only shows when it is decoded too, which takes milliseconds per file: the validation split, whose images must
all be there in every evaluation, is decoded; in training others take a damaged image's place (see
:class:`yolox_core.data.coco.ImageError`).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from yolox_core.augmentation.sample import Image
from yolox_core.files import write_json

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
#: Some cameras and tools write a little after the end marker; more than this is taken for damage.
_TAIL = 4096
#: Below this many files a scan takes less than a second and is not worth a cache that could be stale.
_CACHE_FROM = 5000
_THREADS = 16
#: Files between two moments at which a scan of a large folder is written down.
_AT_ONCE = 20_000

Size = tuple[int, int]

_READ_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def decode(data: NDArray[np.uint8], reduction: int = 1) -> Image | None:
    """An image file's bytes as BGR, None if they can't be decoded; reduction (2, 4, 8) divides both sides."""
    if not len(data):
        return None
    try:
        return cv2.imdecode(data, _READ_FLAGS[reduction] | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None  # the caller names the file


def scan_images(
    folder: Path,
    names: NDArray[np.bytes_],
    sizes: NDArray[np.int32],
    cache_key: str,
    decoding: bool = False,
) -> tuple[dict[int, str], dict[int, Size]]:
    """Check every file in a folder.

    names: UTF-8. sizes: (n, 2) height and width that each must have, 0 where unknown. cache_key: changes with
    the annotations; large folders are scanned once per key and state of the folder, and a scan that was
    stopped goes on. decoding: also decode every file. Returns the reason for each position that can't be
    used, and the size of each that had none.
    """
    cache_key += " decoded" if decoding else ""
    cache = _cache_file(folder, cache_key) if len(names) >= _CACHE_FROM else None
    known = _read_cache(cache) if cache is not None else None
    scanned = known or _Scanned(0, {}, {})
    if scanned.done == len(names):
        return scanned.bad, scanned.sizes
    unknown: NDArray[np.bool_] = np.any(sizes <= 0, axis=1)

    def check(index: int) -> tuple[str, Size | None]:
        height, width = sizes[index].tolist()
        return check_image(
            folder / names[index].decode(), None if unknown[index] else (height, width), decoding
        )

    with (
        ThreadPoolExecutor(_THREADS) as pool,
        tqdm(
            desc=f"checking {folder.name}",
            total=len(names),
            initial=scanned.done,
            unit="image",
            disable=True if cache is None else None,
            dynamic_ncols=True,
        ) as bar,
    ):
        while scanned.done < len(names):
            part = range(scanned.done, min(scanned.done + _AT_ONCE, len(names)))
            for index, (reason, size) in zip(part, pool.map(check, part), strict=True):
                if reason:
                    scanned.bad[index] = reason
                if unknown[index] and size is not None:
                    scanned.sizes[index] = size
            scanned = scanned._replace(done=part.stop)
            bar.update(len(part))
            if cache is not None:
                _write_cache(cache, scanned)
    return scanned.bad, scanned.sizes


class _Scanned(NamedTuple):
    """What a scan knows. done: files checked, from the first. bad, sizes: reasons and sizes by position."""

    done: int
    bad: dict[int, str]
    sizes: dict[int, Size]


def check_image(path: Path, size: Size | None, decoding: bool = False) -> tuple[str, Size | None]:
    """Why a file can't be used (empty when it can), and its (height, width) if that can be told.

    Formats other than JPEG and PNG are decoded in any case.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return "unreadable: not a regular file", None
            head = file.read(24)
            if not head:
                return "empty file", None
            if head.startswith(_JPEG):
                complete, found, reduction = _tail_has(file, _JPEG_END), _jpeg_size(file), 8
            elif head.startswith(_PNG):
                complete, found, reduction = _tail_has(file, b"IEND"), _png_size(head), 1
            else:
                complete, found, reduction, decoding = True, None, 1, True
            if not complete:
                return "truncated", found
            decoded = _decoded_size(file, reduction) if decoding else None
    except FileNotFoundError:
        return "missing", None
    except OSError as error:
        return f"unreadable: {error.strerror}", None
    if decoding and decoded is None:
        return "can't be decoded", None
    found = found or (decoded if reduction == 1 else None)
    if found is None:
        return "damaged header", None
    if decoded is not None and decoded != (-(-found[0] // reduction), -(-found[1] // reduction)):
        return "damaged header: it decodes to another size", None
    if size is not None and found != size:
        return (
            f"is {found[1]}×{found[0]} pixels, the annotations say {size[1]}×{size[0]} "
            "(EXIF orientation is not applied)"
        ), found
    return "", found


def _open_without_waiting(path: str, flags: int) -> int:
    """A named pipe would otherwise block until somebody writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _decoded_size(file: BinaryIO, reduction: int) -> Size | None:
    """(height, width) that a file decodes to, None when it can't be decoded."""
    file.seek(0)
    image = decode(np.frombuffer(file.read(), np.uint8), reduction)
    return None if image is None else (image.shape[0], image.shape[1])


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


def _read_cache(path: Path) -> _Scanned | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return _Scanned(
            int(data["done"]),
            {int(i): str(reason) for i, reason in data["bad"].items()},
            {int(i): (int(s[0]), int(s[1])) for i, s in data["sizes"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # a cache that can't be used is made again


def _write_cache(path: Path, scanned: _Scanned) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, scanned._asdict(), indent=None)
    except OSError:
        pass  # a home that can't be written costs a scan per start, nothing else
