"""Which dataset a command line means, and what identifies it.

Light, and fast enough for ``--dry-run`` even on COCO's 450 MB of annotations: a large
annotation file is hashed and its images are counted without parsing it, once, and the result is cached.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import platformdirs

from roadmap.recipe import DatasetConfig
from yolox_core.config import ShapesSpec

EMBEDDED_NAME = "embedded-shapes"
#: The embedded dataset; its pixels come from yolox_core.data.shapes.
EMBEDDED = ShapesSpec()

SPLITS = ("train2017", "val2017")
LAYOUT = (
    "expected DIR/annotations/instances_train2017.json, DIR/annotations/instances_val2017.json, "
    "DIR/train2017/ and DIR/val2017/ (COCO's layout)"
)

#: COCO 2017: training images, validation images, classes.
COCO_COUNTS = (118287, 5000, 80)

#: Files up to this size are parsed; parsing more takes too long for a command line.
_PARSE_UP_TO = 4 << 20
_CHUNK = 8 << 20


def resolve_dataset(argument: str | None) -> Path | None:
    """Folder of ``--data``, else of the environment variable COCO_DIR, else None: the embedded dataset.

    Raises ValueError naming what is missing and the expected layout.
    """
    given = argument or os.environ.get("COCO_DIR")
    if not given:
        return None
    origin = "--data" if argument else "COCO_DIR"
    root = Path(given).expanduser()
    if not root.is_dir():
        raise ValueError(f"{origin}: {root} is not a folder; {LAYOUT}")
    for split in SPLITS:
        if not annotation_file(root, split).is_file():
            raise ValueError(f"{origin}: {annotation_file(root, split)} is missing; {LAYOUT}")
        if not (root / split).is_dir():
            raise ValueError(f"{origin}: {root / split}/ is missing; {LAYOUT}")
    return root


def annotation_file(root: Path, split: str) -> Path:
    """Annotations of a split in COCO's layout."""
    return root / "annotations" / f"instances_{split}.json"


def describe_dataset(root: Path | None) -> DatasetConfig:
    """Identity of a dataset in COCO's layout, or of the embedded one for None.

    Raises ValueError naming the file that is missing, broken or at odds with the other.
    """
    if root is None:
        return DatasetConfig(
            EMBEDDED_NAME,
            EMBEDDED.fingerprint,
            len(EMBEDDED.classes),
            EMBEDDED.train_images,
            EMBEDDED.val_images,
        )
    train, val = (_facts(annotation_file(root, split)) for split in SPLITS)
    if train.categories != val.categories:
        raise ValueError(
            f"{annotation_file(root, SPLITS[0])} and {annotation_file(root, SPLITS[1])} "
            "must list the same categories"
        )
    fingerprint = hashlib.sha256(f"{train.sha256} {val.sha256}".encode()).hexdigest()
    counts = (train.images, val.images, len(val.categories))
    return DatasetConfig(
        root.resolve().name, fingerprint, counts[2], counts[0], counts[1], coco=counts == COCO_COUNTS
    )


@dataclass(frozen=True)
class _Facts:
    """What is known of an annotation file. categories: [id, name] in ascending order."""

    sha256: str
    images: int
    categories: list[list[Any]]


def _facts(path: Path) -> _Facts:
    """Facts of a file, from the cache when it has not changed since."""
    try:
        state = path.stat()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; {LAYOUT}") from error
    key = [str(path.resolve()), state.st_size, state.st_mtime_ns]
    cache = _cache_file(key)
    known = _read_cache(cache, key)
    if known is None:
        known = _parsed(path) if state.st_size <= _PARSE_UP_TO else _skimmed(path)
        _write_cache(cache, key, known)
    return known


def _parsed(path: Path) -> _Facts:
    data = path.read_bytes()
    try:
        content = json.loads(data)
        images, categories = len(content["images"]), _sorted_categories(content["categories"])
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); download or export it again") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not in COCO's instances layout ({error!r})") from error
    return _Facts(hashlib.sha256(data).hexdigest(), images, categories)


def _sorted_categories(categories: list[dict[str, Any]]) -> list[list[Any]]:
    return sorted([category["id"], category["name"]] for category in categories)


def _skimmed(path: Path) -> _Facts:
    """Hash a file, count its images and find its categories; parse it when in doubt."""
    digest, skim = hashlib.sha256(), _Skim()
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        with memoryview(content) as view:
            # Hashing releases the interpreter's lock, so both take the time of one.
            hashing = threading.Thread(target=digest.update, args=(view,))
            hashing.start()
            for start, stop in _pieces(content):
                skim.look(content[start:stop])
            hashing.join()
        tail = content[-64:]
    categories = skim.categories()
    # A file that was cut off does not end in a brace.
    if skim.doubt or categories is None or not tail.rstrip().endswith(b"}"):
        return _parsed(path)
    return _Facts(digest.hexdigest(), skim.images, categories)


def _pieces(content: mmap) -> Iterator[tuple[int, int]]:
    """Cut a file where objects begin, so that the keys of an image stay together."""
    start, size = 0, len(content)
    while start < size:
        stop = min(start + _CHUNK, size)
        if stop < size:
            brace = content.rfind(b"{", start + 1, stop)
            stop = brace if brace > 0 else stop
        yield start, stop
        start = stop


class _Skim:
    """Counts images by their ``file_name`` and finds the categories in the pieces of a file.

    doubt: some ``file_name`` is not an image's, as far as one can tell: an image also has a ``height`` and
    a ``width``, and nothing else in COCO's files has any of the three.
    """

    def __init__(self) -> None:
        self.images = 0
        self.doubt = False
        self._found: list[bytes] = []
        self._collecting = False

    def look(self, text: bytes) -> None:
        if names := text.count(b'"file_name"'):
            self.images += names
            self.doubt |= not names == text.count(b'"height"') == text.count(b'"width"')
        self._collecting |= _CATEGORIES in text
        if self._collecting:
            # Kept to the end of the file or, where annotations follow, to the first of them.
            self._found.append(text)
            self._collecting = b'"bbox"' not in text.partition(_CATEGORIES)[2]

    def categories(self) -> list[list[Any]] | None:
        """[id, name] in ascending order; None unless there is one list of categories and it is readable."""
        found = b"".join(self._found)
        if found.count(_CATEGORIES) != 1:
            return None
        text = found[found.index(_CATEGORIES) + len(_CATEGORIES) :].decode(errors="replace")
        try:
            listed, _ = json.JSONDecoder().raw_decode(text.lstrip(" \t\r\n:"))
            return _sorted_categories(listed)
        except (ValueError, KeyError, TypeError):
            return None  # the parser will say what is wrong


_CATEGORIES = b'"categories"'


def cache_folder() -> Path:
    """This user's cache of the project; XDG_CACHE_HOME is respected."""
    return Path(platformdirs.user_cache_dir("yolox-roadmap", appauthor=False))


def embedded_folder() -> Path:
    """Where the embedded dataset is made."""
    return cache_folder() / "embedded"


def _cache_file(key: list[Any]) -> Path:
    name = hashlib.sha256(str(key[0]).encode()).hexdigest()[:32]
    return cache_folder() / "annotations" / f"{name}.json"


def _read_cache(path: Path, key: list[Any]) -> _Facts | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return _Facts(**data["facts"]) if data["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # absent or damaged: it is made again


def _write_cache(path: Path, key: list[Any], facts: _Facts) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps({"key": key, "facts": asdict(facts)}), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        pass  # a home that can't be written costs the time of another look, nothing else
