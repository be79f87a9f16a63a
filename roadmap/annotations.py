"""What is known of an annotation file without opening its dataset: counts, categories, hashes.

Light, and fast enough for ``--dry-run`` even on COCO's 450 MB: a large file is hashed and counted without
parsing it, once, and the result is cached.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, TypeVar

from yolox_core.files import cache_folder, write_json

T = TypeVar("T")

#: Files up to this size are parsed; parsing more takes too long for a command line.
_PARSE_UP_TO = 4 << 20
_CHUNK = 8 << 20


@dataclass(frozen=True)
class Facts:
    """What is known of an annotation file.

    sha256: of its bytes. categories: [id, name] in ascending order.
    """

    sha256: str
    images: int
    annotations: int
    categories: list[list[Any]]


def read_facts(path: Path) -> Facts:
    """Facts of an annotation file. Raises ValueError naming the file when it is missing or broken."""
    return Facts(**cached(path, f"facts {[f.name for f in fields(Facts)]}", lambda: asdict(_look(path))))


def cached(path: Path, what: str, make: Callable[[], T]) -> T:
    """Something made from a file, JSON by nature; kept for as long as the file does not change.

    Raises ValueError when the file is missing.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; expected a COCO annotation file there") from error
    key = [str(path.resolve()), state.st_size, state.st_mtime_ns, what]
    name = hashlib.sha256(f"{key[0]} {what}".encode()).hexdigest()[:32]
    file = cache_folder() / "annotations" / f"{name}.json"
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        if known["key"] == key:
            return known["value"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent or damaged: it is made again
    value = make()
    _keep(file, {"key": key, "value": value})
    return value


def load_annotations(path: Path) -> dict[str, Any]:
    """The JSON of an annotation file without its masks. Raises ValueError naming the file when broken."""
    return _loaded(path, path.read_bytes())


def mentions_masks(path: Path) -> bool:
    """Whether any annotation of a file has a mask, by a look at its text. Raises OSError."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        return _MASK.search(content) is not None


def _loaded(path: Path, data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data, object_hook=_without_masks)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); download or export it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not in COCO's instances layout: it holds a {type(content).__name__}")
    return content


def _without_masks(item: dict[str, Any]) -> dict[str, Any]:
    """Polygons are most of a file and would need gigabytes."""
    item.pop("segmentation", None)
    return item


def _look(path: Path) -> Facts:
    return _parsed(path) if path.stat().st_size <= _PARSE_UP_TO else _skimmed(path)


def _parsed(path: Path) -> Facts:
    data = path.read_bytes()
    content = _loaded(path, data)
    try:
        images, categories = len(content["images"]), _sorted_categories(content["categories"])
        annotations = len(content.get("annotations") or [])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is not in COCO's instances layout ({error!r})") from error
    return Facts(hashlib.sha256(data).hexdigest(), images, annotations, categories)


def _sorted_categories(categories: list[dict[str, Any]]) -> list[list[Any]]:
    return sorted([category["id"], category["name"]] for category in categories)


def _skimmed(path: Path) -> Facts:
    """Hash a file, count its images and find its categories; parse it when in doubt."""
    digest, skim, tail = hashlib.sha256(), _Skim(), b""
    # Hashing releases the interpreter's lock, so both take the time of one.
    with path.open("rb") as file, ThreadPoolExecutor(1) as thread:
        hashing, kept = thread.submit(digest.update, b""), b""
        while block := file.read(_CHUNK):
            hashing.result()
            hashing = thread.submit(digest.update, block)
            text = kept + block
            # Cut where an object begins, so that the keys of an image stay together.
            brace = text.rfind(b"{", 1)
            stop = brace if brace > 0 else len(text)
            skim.look(text[:stop])
            kept, tail = text[stop:], (tail + block)[-64:]
        skim.look(kept)
    categories = skim.categories()
    # A file that was cut off does not end in a brace.
    if skim.doubt or categories is None or not tail.rstrip().endswith(b"}"):
        return _parsed(path)
    return Facts(digest.hexdigest(), skim.images, skim.annotations, categories)


class _Skim:
    """Counts images by their ``file_name``, annotations by their ``bbox``, and finds the categories in the
    pieces of a file.

    doubt: some ``file_name`` is not an image's, as far as one can tell: an image also has a ``height`` and
    a ``width``, and nothing else in COCO's files has any of the three; likewise a ``bbox`` and a
    ``category_id``.
    """

    def __init__(self) -> None:
        self.images = 0
        self.annotations = 0
        self.doubt = False
        self._found: list[bytes] = []
        self._collecting = False

    def look(self, text: bytes) -> None:
        if names := text.count(b'"file_name"'):
            self.images += names
            self.doubt |= not names == text.count(b'"height"') == text.count(b'"width"')
        if boxes := text.count(_BOX):
            self.annotations += boxes
            self.doubt |= boxes != text.count(b'"category_id"')
        self._collecting |= _CATEGORIES in text
        if self._collecting:
            # Kept to the end of the file or, where annotations follow, to the first of them.
            self._found.append(text)
            self._collecting = _BOX not in text.partition(_CATEGORIES)[2]

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
_BOX = b'"bbox"'
_MASK = re.compile(rb'"segmentation"\s*:\s*(\{|\[\s*[^\s\]])')


def _keep(path: Path, content: Any) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, content)
    except OSError:
        pass  # a home that can't be written costs the time of another look, nothing else
