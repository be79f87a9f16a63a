"""A dataset in another layout, written once in COCO's.

Boxes refer to the image as viewers show it: one that its EXIF data rotate is written anew upright, since
annotations in COCO's layout refer to the pixels as stored.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
from PIL import ExifTags, Image, UnidentifiedImageError


@dataclass(frozen=True)
class LabelledBox:
    """An object. label: index of its class. box: left, top, width, height in pixels. difficult: not to be
    learnt, and neither right nor wrong when it is found.
    """

    label: int
    box: list[float]
    difficult: bool = False


class Convertible(Protocol):
    """A dataset in another layout."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its classes."""
        ...

    @property
    def images(self) -> Mapping[str, tuple[Path, ...]]:
        """The images of each split, in order."""
        ...

    def objects(self, image: Path, width: int, height: int) -> Iterable[LabelledBox]:
        """The objects of an image of this size. Raises ValueError naming the file that is broken."""
        ...


def convert(dataset: Convertible, out: Path, copy: bool = False) -> dict[str, dict[str, int]]:
    """Write a dataset in COCO's layout to a new folder; images are linked, or copied.

    Returns images, boxes, boxes of difficult objects and images written upright of each split. Raises
    ValueError naming the file (and line) that is broken, or when the folder exists; nothing is then left
    behind.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists already; give a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        (temporary / "annotations").mkdir()
        counts = {
            split: _write_split(temporary, split, images, dataset, copy)
            for split, images in dataset.images.items()
        }
        temporary.chmod(0o777 & ~_umask())  # mkdtemp makes private folders
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # gone already unless something was raised
    return counts


def _write_split(
    root: Path, split: str, images: tuple[Path, ...], dataset: Convertible, copy: bool
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
        for found in dataset.objects(image, width, height):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": found.label + 1,
                    "bbox": found.box,
                    "area": round(found.box[2] * found.box[3], 2),
                    "iscrowd": int(found.difficult),  # the one flag that COCO's evaluation passes over
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(dataset.names, start=1)]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    file = root / "annotations" / f"instances_{split}.json"
    file.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    difficult = sum(row["iscrowd"] for row in annotations)
    return {"images": len(entries), "boxes": len(annotations), "difficult": difficult, "upright": upright}


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
