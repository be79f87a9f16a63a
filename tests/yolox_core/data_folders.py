"""Small datasets in COCO's layout, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from yolox_core.augmentation.sample import Image, ImageTargets, Mask
from yolox_core.data.coco import CocoDataset

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]


def gradient(height: int, width: int, blue: int = 90) -> Image:
    """A smooth picture that compresses almost without loss: green grows to the right, red downwards."""
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = blue
    image[..., 1] = np.linspace(20, 230, width)[None]
    image[..., 2] = np.linspace(20, 230, height)[:, None]
    return image


def write_split(
    root: Path,
    images: dict[str, Image | None],
    annotations: list[dict[str, Any]],
    split: str = "train2017",
    categories: list[dict[str, Any]] | None = None,
    **image_fields: Any,
) -> Path:
    """Write image files (none for None) and their annotations; ids count from 1 in order."""
    (root / split).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    entries = []
    for number, (name, image) in enumerate(images.items(), start=1):
        height, width = (48, 64) if image is None else image.shape[:2]
        entries.append({"id": number, "file_name": name, "height": height, "width": width} | image_fields)
        if image is not None:
            cv2.imwrite(str(root / split / name), image, [cv2.IMWRITE_JPEG_QUALITY, 98])
    content = {"images": entries, "annotations": annotations, "categories": categories or CATEGORIES}
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def box(image: int, category: int, bbox: list[float], **more: Any) -> dict[str, Any]:
    """One annotation; bbox is left, top, width, height."""
    return {"image_id": image, "category_id": category, "bbox": bbox, "area": 1.0, "iscrowd": 0} | more


def make_dataset(root: Path, count: int = 8, shape: tuple[int, int] = (48, 64)) -> CocoDataset:
    """``count`` gradients of different blue, with ``i % 3`` objects each."""
    images: dict[str, Image | None] = {
        f"{i}.jpg": gradient(*shape, blue=20 + 25 * i % 230) for i in range(count)
    }
    boxes = [
        box(i + 1, 3 + 4 * (k % 2), [4 + 20 * k, 6, 16, 20 + i]) for i in range(count) for k in range(i % 3)
    ]
    return CocoDataset(write_split(root, images, boxes), "train2017")


class ArraySource:
    """Images and objects in memory, for tests of geometry."""

    def __init__(
        self, images: list[Image], objects: list[ImageTargets], masks: list[list[Mask | None]] | None = None
    ) -> None:
        self.images, self.targets, self.masks = images, objects, masks
        self.opened: list[tuple[int, int]] = []

    @property
    def nonempty(self) -> np.ndarray:
        return np.flatnonzero([len(t.labels) > 0 for t in self.targets])

    def __len__(self) -> int:
        return len(self.images)

    def size(self, index: int) -> tuple[int, int]:
        height, width = self.images[index].shape[:2]
        return height, width

    def load_image(self, index: int, reduction: int = 1) -> Image:
        self.opened.append((index, reduction))
        image = self.images[index]
        if reduction == 1:
            return image.copy()
        height, width = (-(-side // reduction) for side in image.shape[:2])
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    def objects(self, index: int) -> ImageTargets:
        return self.targets[index]

    def mask(self, index: int, number: int) -> Mask | None:
        assert self.masks is not None, "masks are read only where they are needed"
        return self.masks[index][number]


def objects(*rows: tuple[int, float, float, float, float]) -> ImageTargets:
    """Targets from (label, x1, y1, x2, y2) rows."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    return ImageTargets(table[:, 1:], table[:, 0].astype(np.int64))
