"""The embedded dataset: textured shapes on cluttered backgrounds, drawn once, stored in COCO's layout.

It exists so that the whole roadmap can be replayed without a download. Every image is drawn from its own
generator, made from (seed, split, number); pixels depend on the specification alone (and, in their last
bits, on the version of OpenCV).
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from yolox_core.config import ShapesSpec
from yolox_core.data.generated import MANIFEST, ensure_generated, is_intact
from yolox_core.data.shapes_drawing import draw_scene

__all__ = ["MANIFEST", "ensure_shapes_dataset", "generate", "is_complete"]

#: What the annotations say; raise it when they say more, so that copies of other versions stay as they are.
_LAYOUT = 2
_SPLITS = ("train2017", "val2017")


def ensure_shapes_dataset(root: Path, spec: ShapesSpec | None = None) -> Path:
    """Folder of the embedded dataset below ``root``, generated when it is absent, incomplete or damaged.

    Named after the specification's hash, so that another specification gets another folder, and after the
    version of its annotations' layout, so that older and newer code do not undo each other's. Safe when
    several processes call it at once: one generates, the others wait. Raises OSError naming the folder
    when it can't be written.
    """
    spec = spec or ShapesSpec()
    folder = Path(root) / f"embedded-shapes-{spec.fingerprint[:12]}-{_LAYOUT}"
    return ensure_generated(folder, spec.fingerprint, partial(generate, spec=spec))


def is_complete(folder: Path, spec: ShapesSpec) -> bool:
    """Whether every file of the dataset is there and unchanged since it was generated."""
    return is_intact(folder, spec.fingerprint)


def generate(folder: Path, spec: ShapesSpec) -> None:
    """Write the dataset into an existing folder."""
    for number, (split, images) in enumerate(zip(_SPLITS, (spec.train_images, spec.val_images), strict=True)):
        (folder / split).mkdir(parents=True)
        annotations = _generate_split(folder / split, spec, number, images)
        path = folder / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(annotations), encoding="utf-8")


def _generate_split(folder: Path, spec: ShapesSpec, split: int, images: int) -> dict[str, Any]:
    """Write one split's images; its annotations in COCO's instances layout.

    ``area`` is the box's, hidden parts included: COCO's small, medium and large refer to boxes. A mask holds
    what is seen, as a compressed run-length code.
    """
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number in range(images):
        rng = np.random.default_rng((spec.seed, split, number))
        image, objects = draw_scene(spec, rng)
        name = f"{number + 1:06d}.jpg"
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, spec.quality])
        (folder / name).write_bytes(data.tobytes())
        height, width = image.shape[:2]
        entries.append({"id": number + 1, "file_name": name, "height": height, "width": width})
        for label, (x1, y1, x2, y2), mask in objects:
            code = coco_mask.encode(np.asfortranarray(mask))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "segmentation": {"size": code["size"], "counts": code["counts"].decode("ascii")},
                }
            )
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(spec.classes)]
    info = {"description": "embedded shapes", "spec": spec.fingerprint}
    return {"info": info, "images": entries, "annotations": annotations, "categories": categories}
