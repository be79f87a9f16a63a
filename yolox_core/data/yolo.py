"""A dataset in YOLO's layout, read into COCO's: data.yaml, images, and a text file of boxes per image.

    images/train/a.jpg
    labels/train/a.txt    one line per object: class, centre x, centre y, width, height; or class and
                          x, y of an outline's points; all as shares of the image's sides

An image without a text file shows no object. Boxes refer to the image as viewers show it: one that its EXIF
data rotate is written anew upright, since annotations in COCO's layout refer to the pixels as stored.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import yaml
from PIL import ExifTags, Image, UnidentifiedImageError

SPLITS = ("train", "val", "test")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

#: Shares may pass the border by this much before they are taken for pixels.
_TOLERANCE = 0.1


@dataclass(frozen=True)
class YoloDataset:
    """What a data.yaml says. images: of each split that it names, in order."""

    names: tuple[str, ...]
    images: dict[str, tuple[Path, ...]]


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


def convert(dataset: YoloDataset, out: Path, copy: bool = False) -> dict[str, dict[str, int]]:
    """Write a dataset in COCO's layout to a new folder; images are linked, or copied.

    Returns images, boxes and images written upright of each split. Raises ValueError naming the file (and
    line) that is broken, or when the folder exists; nothing is then left behind.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists already; give a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        (temporary / "annotations").mkdir()
        counts = {
            split: _write_split(temporary, split, images, dataset.names, copy)
            for split, images in dataset.images.items()
        }
        temporary.chmod(0o777 & ~_umask())  # mkdtemp makes private folders
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # gone already unless something was raised
    return counts


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


def _write_split(
    root: Path, split: str, images: tuple[Path, ...], names: tuple[str, ...], copy: bool
) -> dict[str, int]:
    (root / split).mkdir()
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    taken: set[str] = set()
    upright = 0
    for number, image in enumerate(images, start=1):
        width, height, rotated = _size(image)
        name = image.name if image.name.lower() not in taken else f"{number}-{image.name}"
        taken.add(name.lower())
        if rotated:
            name = f"{name}.png"
            cv2.imwrite(str(root / split / name), cv2.imread(str(image)))
            upright += 1
        elif copy:
            shutil.copyfile(image, root / split / name)
        else:
            (root / split / name).symlink_to(image.resolve())
        entries.append({"id": number, "file_name": name, "width": width, "height": height})
        for label, box in read_labels(_label_file(image), width, height, len(names)):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": round(box[2] * box[3], 2),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    file = root / "annotations" / f"instances_{split}.json"
    file.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    return {"images": len(entries), "boxes": len(annotations), "upright": upright}


def _size(path: Path) -> tuple[int, int, bool]:
    """(width, height) as viewers show an image, and whether its EXIF data turn or mirror it."""
    try:
        with Image.open(path) as image:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            width, height = image.size
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"{path} is no readable image: {error}") from error
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    return width, height, orientation in range(2, 9)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
