"""A dataset in YOLO's layout, read into COCO's: data.yaml, images, and a text file of boxes per image.

    images/train/a.jpg
    labels/train/a.txt    one line per object: class, centre x, centre y, width, height; or class and
                          x, y of an outline's points; all as shares of the image's sides

An image without a text file shows no object. Boxes refer to the image as viewers show it: one that its EXIF
data rotate is written anew upright, since annotations in COCO's layout refer to the pixels as stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from yolox_core.data.converting import LabelledBox

SPLITS = ("train", "val", "test")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

#: Shares may pass the border by this much before they are taken for pixels.
_TOLERANCE = 0.1


@dataclass(frozen=True)
class YoloDataset:
    """What a data.yaml says. images: of each split that it names, in order."""

    names: tuple[str, ...]
    images: dict[str, tuple[Path, ...]]

    def objects(self, image: Path, width: int, height: int) -> Iterator[LabelledBox]:
        """What an image's text file says. Raises ValueError naming file and line."""
        for label, box in read_labels(_label_file(image), width, height, len(self.names)):
            yield LabelledBox(label, box)


def find_yaml(path: Path) -> Path:
    """The data.yaml that is meant by itself or by its folder. Raises ValueError naming what is missing."""
    if path.is_file():
        return path
    found = [path / "data.yaml"] if (path / "data.yaml").is_file() else sorted(path.glob("*.y*ml"))
    if len(found) != 1:
        raise ValueError(f"{path} has no data.yaml; give the YAML file that names the splits and classes")
    return found[0]


def read_yaml(path: Path) -> YoloDataset:
    """The classes and images of a data.yaml. Raises ValueError naming what is missing or unreadable."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is not readable YAML: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold keys (train, val, names), not {content!r:.60}")
    root = path.parent / str(content.get("path") or "")
    if not root.is_dir():
        root = path.parent  # written on another machine
    images = {
        split: tuple(image for place in _listed(content[split]) for image in _images(root, place, path))
        for split in SPLITS
        if content.get(split)
    }
    for split in SPLITS[:2]:
        if not images.get(split):
            raise ValueError(f"{path} names no images for {split!r}; it needs train, val and names")
    return YoloDataset(_names(content, path), images)


def read_labels(path: Path, width: int, height: int, classes: int) -> Iterator[tuple[int, list[float]]]:
    """Class and box (left, top, width, height in pixels) of each line; nothing for a file that is missing.

    Raises ValueError naming file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable text: {error}") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield _label(line.split(), width, height, classes)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error


def _label(words: list[str], width: int, height: int, classes: int) -> tuple[int, list[float]]:
    number, *values = (float(word) for word in words)
    if not number.is_integer() or not 0 <= number < classes:
        raise ValueError(f"class {words[0]} is none of the {classes} classes of data.yaml, counted from 0")
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise ValueError(f"{len(values)} numbers after the class; a box has 4, an outline pairs of x and y")
    if not all(-_TOLERANCE <= value <= 1 + _TOLERANCE for value in values):
        raise ValueError(f"{' '.join(words[1:5])} …: positions are shares of the image, from 0 to 1")
    if len(values) == 4:
        x, y, w, h = values
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    else:
        left, top, right, bottom = (
            *(min(values[::2]), min(values[1::2])),
            *(max(values[::2]), max(values[1::2])),
        )
    # A hundredth of a pixel, as COCO has: beyond lies only the rounding of the shares.
    box = [left * width, top * height, (right - left) * width, (bottom - top) * height]
    return int(number), [round(side, 2) for side in box]


def _names(content: dict[str, Any], path: Path) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise ValueError(f"{path}: names must be numbered from 0 without gaps, not {sorted(names)}")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError(f"{path}: names must list the classes")
    if content.get("nc", len(names)) != len(names):
        raise ValueError(f"{path}: nc is {content['nc']}, but names lists {len(names)} classes")
    return tuple(str(name) for name in names)


def _listed(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def _images(root: Path, place: str, yaml_file: Path) -> list[Path]:
    """Images of a folder, below it too, or of a text file that lists them."""
    found = root / place
    if not found.exists() and place.startswith("../"):
        found = root / place.removeprefix("../")  # exports for a notebook that stands one folder deeper
    if found.is_dir():
        return sorted(p for p in found.rglob("*") if p.suffix.lower() in SUFFIXES)
    if found.is_file():
        lines = found.read_text(encoding="utf-8").split("\n")
        base = found.parent
        return [
            base / line if (base / line).exists() else root / line for line in map(str.strip, lines) if line
        ]
    raise ValueError(f"{yaml_file}: {place} is neither a folder of images nor a file that lists them")


def _label_file(image: Path) -> Path:
    """The last folder called ``images`` becomes ``labels``; without one, the text lies beside the image."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return Path(*parts).with_suffix(".txt")
