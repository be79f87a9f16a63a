"""Training images decoded and fitted once, in one memory-mapped file that all workers and ranks share.

Decoding is more than half of the work of a Mosaic sample. A cache holds every image of a split as it is
after fitting into the training square (:func:`yolox_core.augmentation.letterbox.fit`), uncompressed:

    DIR/<dataset>-<split>-<side>px-<key>/
        pixels.bin    the images one after the other, uint8 BGR
        index.npy     (n, 2) of the file each image was made from: its size in bytes and time of change
        state.bin     one byte per image: 0 not made, 1 made, 2 the file can't be decoded
        lock          held while images are made

The key is a hash over the annotations' fingerprint, the names and sizes of the images and the side, so a
cache is never read for other annotations. An image whose file has changed since is made again. Pixels
reach the disk before the byte that vouches for them, so a kill at any moment costs time, never a pixel.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from tqdm import tqdm

from yolox_core.augmentation.letterbox import fit_ratio, fit_size, resize
from yolox_core.augmentation.mosaic import reduction_for
from yolox_core.augmentation.sample import Image
from yolox_core.data.coco import CocoDataset, ImageError
from yolox_core.files import replacing

log = logging.getLogger(__name__)

_MISSING, _MADE, _DAMAGED = 0, 1, 2
#: Images between two moments at which what was made is put on the disk and vouched for.
_CHUNK = 256
#: Disk space that is left to others, in bytes.
_SPARE = 256 << 20
#: Format of the files; raise it when they change.
_VERSION = 1


class ImageCache:
    """The fitted images of a split, read without decoding.

    Made by :func:`open_image_cache`. Picklable: each process maps the file for itself, and the pages are
    shared by all of them.
    """

    def __init__(self, folder: Path, shapes: NDArray[np.int64]) -> None:
        """shapes: (n, 2) height and width of every image after fitting, pixels."""
        self.folder = folder
        self.shapes = shapes
        self.offsets = _offsets(shapes)
        self._maps: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_maps": None}

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def nbytes(self) -> int:
        """Size of the pixels in bytes."""
        return int(self.offsets[-1])

    def get(self, index: int) -> Image | None:
        """(height, width, 3) uint8 BGR, read-only; None when the cache has no such image."""
        if self._maps is None:
            self._maps = _mapped(self.folder / "pixels.bin"), _mapped(self.folder / "state.bin")
        pixels, state = self._maps
        if state[index] != _MADE:
            return None
        height, width = self.shapes[index].tolist()
        return pixels[self.offsets[index] : self.offsets[index + 1]].reshape(height, width, 3)


def open_image_cache(
    folder: Path, dataset: CocoDataset, side: int, fingerprint: str, workers: int | None = None
) -> ImageCache:
    """The cache of a split for a training square of ``side`` pixels below ``folder``; made where missing.

    fingerprint: of the dataset. workers: threads that decode, default all cores. What a kill left
    behind is continued. Another process that makes the same cache is waited for.
    Raises ValueError when the disk has no room for it, naming the size, or the folder can't be written.
    """
    shapes = np.array([fit_size(*dataset.size(i), side) for i in range(len(dataset))], np.int64)
    key = _key(dataset, side, fingerprint)
    place = Path(folder) / f"{dataset.root.resolve().name}-{dataset.split}-{side}px-{key}"
    cache = ImageCache(place, shapes.reshape(-1, 2))
    threads = workers or len(os.sched_getaffinity(0))
    files = _files(dataset, threads)
    if not _missing(cache, files).any():  # complete, perhaps a colleague's that we may only read
        return cache
    try:
        place.mkdir(parents=True, exist_ok=True)
        with _alone(place):
            _make(cache, dataset, side, files, threads)
    except OSError as error:
        raise ValueError(
            f"the image cache {place} can't be written: {error.strerror or error}; "
            "give --cache another folder"
        ) from error
    return cache


def describe_size(dataset: CocoDataset, side: int) -> str:
    """What a cache would need, in words, before it is made."""
    shapes = np.array([fit_size(*dataset.size(i), side) for i in range(len(dataset))], np.int64)
    return f"{len(dataset)} images at {side} px, {int(_offsets(shapes.reshape(-1, 2))[-1]) / 1e9:.3g} GB"


def _offsets(shapes: NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(shapes) + 1, np.int64)
    np.cumsum(shapes[:, 0] * shapes[:, 1] * 3, out=offsets[1:])
    return offsets


def _key(dataset: CocoDataset, side: int, fingerprint: str) -> str:
    """Twelve hex digits that stand for every image's name and size, the annotations and the side."""
    digest = hashlib.sha256(f"{_VERSION} {fingerprint} {dataset.split} {side}".encode())
    for index in range(len(dataset)):
        digest.update(f"{dataset.name(index)}\0{dataset.size(index)}\0".encode())
    return digest.hexdigest()[:12]


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold the cache's folder, after waiting for whoever makes it."""
    lock = FileLock(place / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that makes the image cache %s", place)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _make(cache: ImageCache, dataset: CocoDataset, side: int, files: NDArray[np.int64], threads: int) -> None:
    missing = _missing(cache, files)
    todo = np.flatnonzero(missing)
    if not len(todo):  # made while we waited
        return
    _reserve(cache, side)
    log.info("image cache: %s, %d to make, in %s", describe_size(dataset, side), len(todo), cache.folder)
    damaged = 0
    with (
        (cache.folder / "pixels.bin").open("r+b") as pixels,
        (cache.folder / "state.bin").open("r+b") as states,
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=len(todo), desc="image cache", unit="image", dynamic_ncols=True) as bar,
    ):
        _forget(states.fileno(), missing)
        _write_index(cache.folder, files)

        def make(index: int) -> int:
            image = _fitted(dataset, index, side)
            if image is None:
                return _DAMAGED
            _write_all(pixels.fileno(), np.ascontiguousarray(image), int(cache.offsets[index]))
            return _MADE

        for start in range(0, len(todo), _CHUNK):
            chunk = todo[start : start + _CHUNK].tolist()
            made = list(pool.map(make, chunk))
            os.fdatasync(pixels.fileno())
            for index, state in zip(chunk, made, strict=True):
                os.pwrite(states.fileno(), bytes([state]), index)
            os.fdatasync(states.fileno())
            damaged += made.count(_DAMAGED)
            bar.update(len(chunk))
    if damaged:
        log.warning("image cache: %d images can't be decoded; training will name and replace them", damaged)


def _forget(states: int, missing: NDArray[np.bool_]) -> None:
    """Vouch no longer for images that are made again, before the index says they are of the new files."""
    kept = np.frombuffer(os.pread(states, len(missing), 0), np.uint8)
    os.pwrite(states, np.where(missing, np.uint8(_MISSING), kept).tobytes(), 0)
    os.fdatasync(states)


def _write_index(folder: Path, files: NDArray[np.int64]) -> None:
    with replacing(folder / "index.npy") as file:
        np.save(file, files)


def _write_all(file: int, image: Image, offset: int) -> None:
    """Write an image at its place. A write may be cut short, by a full disk for one."""
    view = memoryview(image.data).cast("B")
    while len(view):
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


def _fitted(dataset: CocoDataset, index: int, side: int) -> Image | None:
    """The image as the weak pipeline fits it; None when its file can't be decoded."""
    size = dataset.size(index)
    try:
        return resize(dataset.load_image(index, reduction_for(fit_ratio(*size, side))), fit_size(*size, side))
    except ImageError:
        return None


def _files(dataset: CocoDataset, workers: int) -> NDArray[np.int64]:
    """(n, 2) size in bytes and time of change in nanoseconds of every image file; -1 where there is none."""

    def look(index: int) -> tuple[int, int]:
        try:
            state = os.stat(f"{dataset.folder}/{dataset.name(index)}")
        except OSError:
            return -1, -1
        return state.st_size, state.st_mtime_ns

    with ThreadPoolExecutor(4 * workers) as pool:  # a network file system answers slowly, but to many
        return np.array(list(pool.map(look, range(len(dataset)))), np.int64).reshape(-1, 2)


def _missing(cache: ImageCache, files: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n,) which images have to be made: never made, or their file has changed since."""
    try:
        known = np.load(cache.folder / "index.npy")
        state = np.fromfile(cache.folder / "state.bin", np.uint8)
        whole = (cache.folder / "pixels.bin").stat().st_size == cache.nbytes
    except (OSError, ValueError):
        whole = False
    if not whole or known.shape != files.shape or len(state) != len(files):
        return np.ones(len(files), bool)
    return (state == _MISSING) | (known != files).any(axis=1)


def _reserve(cache: ImageCache, side: int) -> None:
    """Take the whole of the disk space at once: a disk that fills up later can't leave holes."""
    pixels, states = cache.folder / "pixels.bin", cache.folder / "state.bin"
    held = pixels.stat().st_blocks * 512 if pixels.exists() else 0
    needed, free = cache.nbytes - held, shutil.disk_usage(cache.folder).free
    if needed + _SPARE > free:
        raise ValueError(
            f"the image cache at {side} px needs {cache.nbytes / 1e9:.3g} GB, {cache.folder} has "
            f"{(free + held) / 1e9:.3g} GB free; give --cache a larger disk, or train without it"
        )
    for path, size in ((pixels, cache.nbytes), (states, len(cache))):
        with path.open("a+b") as file:
            os.truncate(file.fileno(), size)
            os.posix_fallocate(file.fileno(), 0, max(1, size))


def _mapped(path: Path) -> NDArray[np.uint8]:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return np.zeros(0, np.uint8)
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
