"""Whether annotations are COCO 2017's: by their bytes, or by their content when the file was written anew.

Counts alone prove nothing. The official bytes are known by their SHA-256; the content hash leaves out what a
rewritten file may change (order, spacing, masks, further fields) and keeps what training and evaluation read:
ids and sizes of images, categories, and every box with its area (docs/decisions/0024-what-is-coco.md).
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import platformdirs

from roadmap.annotations import Facts, cached, load_annotations
from yolox_core.files import write_json

PARTS = ("train", "val")


@dataclass(frozen=True)
class Official:
    """An official annotation file: counts, size in bytes, and the hashes it is recognised by."""

    images: int
    annotations: int
    categories: int
    bytes: int
    sha256: list[str]
    contents: list[str]


@cache
def official_files() -> dict[str, Official]:
    """The official files, ``train`` and ``val``."""
    text = files("roadmap").joinpath("data/coco2017.toml").read_text(encoding="utf-8")
    return {part: Official(**facts) for part, facts in tomllib.loads(text).items()}


def has_official_bytes(part: str, facts: Facts) -> bool:
    """Whether a file is an official one, byte by byte."""
    return facts.sha256 in official_files()[part].sha256


def is_official(part: str, path: Path, facts: Facts) -> bool:
    """Whether a file holds COCO 2017's annotations of a part, as it was published or written anew.

    The content is read only where the counts fit, and once per state of the file.
    """
    if has_official_bytes(part, facts):
        return True
    official = official_files()[part]
    counts = (official.images, official.annotations, official.categories)
    if (facts.images, facts.annotations, len(facts.categories)) != counts:
        return False
    return content_hash(path) in {*official.contents, *_confirmed().get(part, [])}


def content_hash(path: Path) -> str:
    """SHA-256, in hex, over what training and evaluation read, whatever its order (version 1).

    Raises ValueError naming the file when it is not in COCO's layout.
    """
    return cached(path, "content 1", lambda: _content_hash(path))


def confirm(part: str, path: Path, facts: Facts) -> str:
    """The content hash of a file; that of an official one is remembered, so that copies of it that were
    written anew are recognised on this account from then on.
    """
    digest = content_hash(path)
    if has_official_bytes(part, facts) and digest not in (known := _confirmed()).get(part, []):
        known[part] = [*known.get(part, []), digest]
        file = confirmed_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, known)
    return digest


def confirmed_file() -> Path:
    """Content hashes that were computed on this account from official files; XDG_DATA_HOME is respected."""
    return Path(platformdirs.user_data_dir("yolox-roadmap", appauthor=False)) / "coco2017-contents.json"


def _confirmed() -> dict[str, list[str]]:
    try:
        known = json.loads(confirmed_file().read_text(encoding="utf-8"))
        return {part: [str(digest) for digest in known.get(part, [])] for part in PARTS}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # absent or damaged: nothing was confirmed


def _content_hash(path: Path) -> str:
    content = load_annotations(path)
    try:
        lines = [
            *(f"image {i['id']} {i.get('width')} {i.get('height')}" for i in content["images"]),
            *(f"category {c['id']} {c['name']}" for c in content["categories"]),
            *(_box_line(annotation) for annotation in content.get("annotations") or []),
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not in COCO's instances layout ({error!r})") from error
    lines.sort()
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _box_line(annotation: dict[str, Any]) -> str:
    # 240 and 240.0 are one number: files written anew differ in that.
    left, top, width, height = (float(side) for side in annotation["bbox"])
    crowd = int(bool(annotation.get("iscrowd", 0)))
    place = f"{annotation['image_id']} {annotation['category_id']} {crowd}"
    # Evaluation tells small, medium and large by it; where it is missing, by the box.
    area = float(annotation.get("area", width * height))
    return f"box {place} {left!r} {top!r} {width!r} {height!r} {area!r}"
