"""The embedded video: shapes that move, drawn once, stored in Argoverse-HD's layout.

It exists so that streaming perception can be tried without a download, by the detectors that were trained on
the embedded dataset: the classes, textures and backgrounds are the same. Its figures say nothing about any
other video.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from yolox_core.config import ShapesSpec
from yolox_core.data.generated import ensure_generated
from yolox_core.data.shapes_drawing import Image, Mask, background, outline, surface

#: Of the embedded video, in its folder.
ANNOTATIONS = Path("annotations") / "val.json"
#: What is annotated: the least side of its box in pixels, and the least share of it that is seen.
_MIN_SIDE, _SEEN = 4, 0.35


@dataclass(frozen=True)
class VideoSpec:
    """Everything that decides the video's pixels and boxes.

    sequences: videos. frames: of each. height, width: in pixels. objects: range of objects per video. side:
    range of their nominal sides, drawn log-uniformly, as their speeds are. speed: range in pixels per frame.
    shapes: classes, textures, clutter, noise. version: of the drawing code; raise it when it draws something
    else.
    """

    version: int = 1
    seed: int = 2005
    sequences: int = 6
    frames: int = 50
    height: int = 128
    width: int = 160
    objects: tuple[int, int] = (3, 5)
    side: tuple[float, float] = (22.0, 64.0)
    speed: tuple[float, float] = (0.5, 4.0)
    shapes: ShapesSpec = field(default_factory=ShapesSpec)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the canonical JSON of all fields, in hex."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class _Mover:
    """A shape on its straight way, mirrored at the borders. patch: its surface, wherever it is."""

    def __init__(self, spec: VideoSpec, rng: np.random.Generator) -> None:
        self.label = int(rng.integers(len(spec.shapes.classes)))
        self.side = math.exp(rng.uniform(*np.log(spec.side)))
        self.angle = rng.uniform(0, 2 * math.pi)
        self._start = rng.uniform(0.15, 0.85, 2) * (spec.width, spec.height)
        speed, way = math.exp(rng.uniform(*np.log(spec.speed))), rng.uniform(0, 2 * math.pi)
        self._velocity = speed * np.array([math.cos(way), math.sin(way)])
        self._low = np.array([0.1 * spec.width, 0.1 * spec.height])
        self._room = np.array([0.8 * spec.width, 0.8 * spec.height])
        reach = math.ceil(1.3 * self.side) + 4
        self.patch = surface(spec.shapes, self.label, reach, reach, rng)

    def centre(self, frame: int) -> tuple[float, float]:
        """(x, y): a straight line folded back and forth between the limits."""
        way = np.mod(self._start - self._low + frame * self._velocity, 2 * self._room)
        x, y = (self._low + np.minimum(way, 2 * self._room - way)).tolist()
        return x, y


def ensure_moving_shapes(root: Path, spec: VideoSpec | None = None) -> Path:
    """Folder of the embedded video below ``root``, generated when it is absent, incomplete or damaged."""
    spec = spec or VideoSpec()
    folder = Path(root) / f"moving-shapes-{spec.fingerprint[:12]}"
    return ensure_generated(folder, spec.fingerprint, partial(_generate, spec=spec))


def draw_video(spec: VideoSpec, number: int) -> list[tuple[Image, list[tuple[int, int, tuple[int, ...]]]]]:
    """The frames of one video, (height, width, 3) BGR, each with its objects: track, label, box.

    box: x1, y1, x2, y2 in whole pixels around the part inside the image, hidden parts included.
    """
    rng = np.random.default_rng((spec.seed, number))
    scene = background(spec.shapes, spec.height, spec.width, rng)
    movers = [_Mover(spec, rng) for _ in range(int(rng.integers(spec.objects[0], spec.objects[1] + 1)))]
    frames = []
    for frame in range(spec.frames):
        image = scene.copy()
        outlines = []
        for mover in movers:
            centre = mover.centre(frame)
            name = spec.shapes.classes[mover.label]
            mask = outline(name, mover.side, centre, mover.angle, (spec.height, spec.width))
            _paste(image, mask, mover.patch, centre)
            outlines.append(mask > 127)
        objects = [
            (track, mover.label, box)
            for track, (mover, box) in enumerate(zip(movers, boxes_of(outlines), strict=True))
            if box is not None
        ]
        image += np.float32(spec.shapes.noise) * rng.standard_normal(image.shape, np.float32)
        frames.append((np.clip(image, 0, 255).astype(np.uint8), objects))
    return frames


def boxes_of(outlines: list[NDArray[np.bool_]]) -> list[tuple[int, ...] | None]:
    """Around each shape, in front of those before it; None for what is hardly there, or hardly seen."""
    found: list[tuple[int, ...] | None] = []
    hidden = np.zeros_like(outlines[0])
    for inside in reversed(outlines):
        x, y, w, h = cv2.boundingRect(inside.view(np.uint8))
        seen = (inside & ~hidden).sum() >= _SEEN * inside.sum()
        found.append((x, y, x + w, y + h) if seen and min(w, h) >= _MIN_SIDE else None)
        hidden |= inside
    return found[::-1]


def _paste(
    image: NDArray[np.float32], mask: Mask, patch: NDArray[np.float32], centre: tuple[float, float]
) -> None:
    """Paint a patch around a centre over the image where the mask covers it."""
    x, y, width, height = cv2.boundingRect(mask)
    left, top = (round(c - side / 2) for c, side in zip(centre, patch.shape[1::-1], strict=True))
    shown = patch[y - top : y - top + height, x - left : x - left + width]
    part = image[y : y + height, x : x + width]
    weight = (mask[y : y + height, x : x + width] / np.float32(255.0))[..., None]
    part += weight * (shown - part)


def _generate(folder: Path, spec: VideoSpec) -> None:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    names = [f"moving-shapes-{number}" for number in range(spec.sequences)]
    for number, sequence in enumerate(names):
        (folder / sequence).mkdir()
        for frame, (image, objects) in enumerate(draw_video(spec, number)):
            _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, spec.shapes.quality])
            name = f"{frame:06d}.jpg"
            (folder / sequence / name).write_bytes(data.tobytes())
            size = {"height": spec.height, "width": spec.width}
            images.append({"id": len(images), "sid": number, "fid": frame, "name": name, **size})
            for track, label, (x1, y1, x2, y2) in objects:
                box, area = [x1, y1, x2 - x1, y2 - y1], (x2 - x1) * (y2 - y1)
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": len(images) - 1,
                        "category_id": label,
                        "bbox": box,
                        "area": area,
                        "iscrowd": 0,
                        "track": track,
                    }
                )
    content = {
        "info": {"description": "embedded video of moving shapes", "spec": spec.fingerprint},
        "categories": [{"id": i, "name": name} for i, name in enumerate(spec.shapes.classes)],
        "images": images,
        "annotations": annotations,
        "sequences": names,
        "seq_dirs": names,
    }
    (folder / ANNOTATIONS).parent.mkdir()
    (folder / ANNOTATIONS).write_text(json.dumps(content), encoding="utf-8")
