"""A dataset in Pascal VOC's layout, read into COCO's.

    Annotations/a.xml          size, and of each object name, difficult, bndbox (xmin, ymin, xmax, ymax)
    ImageSets/Main/train.txt   names of a split's images, without suffix; also val, trainval, test
    JPEGImages/a.jpg

Where ``trainval`` and ``test`` are both there, they are the two splits, else ``train`` and ``val``. Corners
are taken as they stand, the width being xmax - xmin, as the tools take them that write such files today;
VOC's own count pixels from 1 and include the last, which is a pixel's difference at most.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from yolox_core.data.converting import LabelledBox

LISTS, ANNOTATIONS, IMAGES = "ImageSets/Main", "Annotations", "JPEGImages"
#: Lists for training and validation, the first pair that is there.
_PAIRS = (("trainval", "test"), ("train", "val"))
_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


@dataclass(frozen=True)
class VocDataset:
    """Classes in alphabetical order, and the images of ``train`` and ``val``."""

    root: Path
    names: tuple[str, ...]
    images: dict[str, tuple[Path, ...]]

    def objects(self, image: Path, width: int, height: int) -> Iterator[LabelledBox]:
        """What an image's XML file says. Raises ValueError naming the file."""
        path = _xml(self.root, image.stem)
        for element in _objects(path):
            name = _text(element, "name", path)
            corners = [_number(element, f"bndbox/{side}", path) for side in ("xmin", "ymin", "xmax", "ymax")]
            left, top, right, bottom = corners
            if not (0 <= left <= right <= width + 1 and 0 <= top <= bottom <= height + 1):
                raise ValueError(f"{path}: {name} at {corners} is not inside {width} x {height} pixels")
            difficult = (element.findtext("difficult") or "0").strip() == "1"
            yield LabelledBox(self.names.index(name), [left, top, right - left, bottom - top], difficult)


def is_voc(path: Path) -> bool:
    """Whether a folder is in this layout."""
    return (path / LISTS).is_dir() and (path / ANNOTATIONS).is_dir()


def read_voc(root: Path, train: str | None = None, val: str | None = None) -> VocDataset:
    """The dataset in a folder. train, val: lists in ImageSets/Main, by their names.

    Raises ValueError naming what is missing or unreadable.
    """
    lists = {path.stem for path in (root / LISTS).glob("*.txt")}
    pair = next((pair for pair in _PAIRS if lists.issuperset(pair)), _PAIRS[-1])
    chosen = {"train": train or pair[0], "val": val or pair[1]}
    for name in chosen.values():
        if name not in lists:
            raise ValueError(
                f"{root / LISTS / name}.txt is missing; there are {', '.join(sorted(lists)) or 'none'}: "
                "--train-split and --val-split choose"
            )
    stems = {split: _stems(root / LISTS / f"{name}.txt") for split, name in chosen.items()}
    if both := sorted(set(stems["train"]) & set(stems["val"])):
        raise ValueError(f"{chosen['train']} and {chosen['val']} share {len(both)} images, as {both[0]}")
    images = {split: tuple(_image(root, stem) for stem in found) for split, found in stems.items()}
    paths = [_xml(root, stem) for found in stems.values() for stem in found]
    names = {_text(element, "name", path) for path in paths for element in _objects(path)}
    if not names:
        raise ValueError(f"{root / ANNOTATIONS} names no objects")
    return VocDataset(root, tuple(sorted(names)), images)


def _stems(path: Path) -> list[str]:
    """The names in a list; lists of one class have 1, 0 or -1 behind each."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable text: {error}") from error
    found = [line.split()[0] for line in lines if line.strip()]
    if not found:
        raise ValueError(f"{path} lists no images")
    return list(dict.fromkeys(found))


def _image(root: Path, stem: str) -> Path:
    found = next((p for s in _SUFFIXES if (p := root / IMAGES / f"{stem}{s}").is_file()), None)
    if found is None:
        raise ValueError(f"{root / IMAGES / stem}.jpg is missing")
    return found


def _xml(root: Path, stem: str) -> Path:
    return root / ANNOTATIONS / f"{stem}.xml"


def _objects(path: Path) -> list[ET.Element]:
    try:
        return ET.parse(path).getroot().findall("object")  # a user's own files
    except (OSError, ET.ParseError) as error:
        raise ValueError(f"{path} is no readable XML: {error}") from error


def _text(element: ET.Element, key: str, path: Path) -> str:
    text = (element.findtext(key) or "").strip()
    if not text:
        raise ValueError(f"{path}: an object has no {key}")
    return text


def _number(element: ET.Element, key: str, path: Path) -> float:
    text = _text(element, key, path)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{path}: {key} is no number: {text}") from None
