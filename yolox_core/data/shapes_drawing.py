"""How a scene of the embedded dataset is drawn: background, shapes, textures.

Shapes are drawn at twice the size and averaged, so that their edges are smooth at any rotation.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from yolox_core.config import ShapesSpec

Image = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Box = tuple[int, int, int, int]

#: Smallest visible side of an object, in pixels.
_MIN_SIDE = 4
_PLACE_ATTEMPTS = 20
_TEXTURES = ("plain", "stripes", "checks", "dots", "rings", "gradient")


class Drawn(NamedTuple):
    """An object of a scene. box: x1, y1, x2, y2 in whole pixels around the part of the shape inside the
    image, hidden parts included. mask: (height, width) of the image, 1 where the shape is seen.
    """

    label: int
    box: Box
    mask: Mask


def draw_scene(spec: ShapesSpec, rng: np.random.Generator) -> tuple[Image, list[Drawn]]:
    """One image (height, width, 3) BGR and its objects, each in front of those before it."""
    height, width = rng.integers(spec.sides[0], spec.sides[1] + 1, 2).tolist()
    image = background(spec, height, width, rng)
    masks: list[Mask] = []
    objects: list[tuple[int, Box]] = []
    seen: list[NDArray[np.bool_]] = []
    for _ in range(int(rng.integers(spec.objects[0], spec.objects[1] + 1))):
        label = int(rng.integers(len(spec.classes)))
        mask = _place(spec, spec.classes[label], (height, width), masks, rng)
        if mask is None:
            continue  # no room was found: the image has one object less
        _paint(image, mask, spec, label, rng)
        masks.append(mask)
        x, y, w, h = cv2.boundingRect((mask > 127).view(np.uint8))
        objects.append((label, (x, y, x + w, y + h)))
        seen = [other & (mask <= 127) for other in seen] + [mask > 127]
    image += np.float32(spec.noise) * rng.standard_normal(image.shape, np.float32)
    drawn = [Drawn(*known, shown.astype(np.uint8)) for known, shown in zip(objects, seen, strict=True)]
    return np.clip(image, 0, 255).astype(np.uint8), drawn


def _place(
    spec: ShapesSpec, name: str, shape: tuple[int, int], others: list[Mask], rng: np.random.Generator
) -> Mask | None:
    """Coverage (0…255) of a new shape that hides no other one too much; None when no place is found."""
    for _ in range(_PLACE_ATTEMPTS):
        low, high = spec.object_side
        side = math.exp(rng.uniform(math.log(low), math.log(high)))
        centre = rng.uniform(0.1, 0.9, 2) * (shape[1], shape[0])
        mask = outline(name, side, (centre[0], centre[1]), rng.uniform(0, 2 * math.pi), shape)
        inside = mask > 127
        columns, rows = inside.any(axis=0).sum(), inside.any(axis=1).sum()
        # A shape cut to a sliver by the image's border can't be told from another.
        if min(columns, rows) < max(_MIN_SIDE, 0.5 * side):
            continue
        covered = max((float((inside & (o > 127)).sum() / (o > 127).sum()) for o in others), default=0.0)
        if covered <= spec.max_covered:
            return mask
    return None


def outline(
    name: str, side: float, centre: tuple[float, float], angle: float, shape: tuple[int, int]
) -> Mask:
    """Antialiased mask of a rotated shape that fits into a circle-ish region of diameter ``side``."""
    zoom, shift = 2, 4
    mask = np.zeros((shape[0] * zoom, shape[1] * zoom), np.uint8)
    unit = 1 << shift
    middle = np.array(centre) * zoom
    if name in ("disc", "ring"):
        point = tuple(np.rint(middle * unit).astype(int).tolist())
        radius = side / 2 * zoom
        cv2.circle(mask, point, round(radius * unit), 255, -1, cv2.LINE_8, shift)
        if name == "ring":
            cv2.circle(mask, point, round(radius * 0.5 * unit), 0, -1, cv2.LINE_8, shift)
    else:
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        points = _POLYGONS[name] @ turn.T * side / 2 * zoom + middle
        cv2.fillPoly(mask, [np.rint(points * unit).astype(np.int32)], 255, cv2.LINE_8, shift)
    return cv2.resize(mask, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)


def _regular(corners: int, radii: tuple[float, ...]) -> NDArray[np.float64]:
    angles = np.arange(corners) * 2 * math.pi / corners
    radius = np.resize(np.array(radii), corners)
    return np.stack([np.cos(angles) * radius, np.sin(angles) * radius], axis=1)


def _cross(arm: float) -> NDArray[np.float64]:
    a, b = arm, 1.0
    return np.array(
        [
            (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b),
            (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a), (-a, -b),
        ]
    )  # fmt: skip


#: Corners in a circle of radius 1 or so.
_POLYGONS = {
    "square": _regular(4, (1.1,)),
    "triangle": _regular(3, (1.15,)),
    "star": _regular(10, (1.15, 0.45)),
    "cross": _cross(0.33),
}


def _paint(
    image: NDArray[np.float32], mask: Mask, spec: ShapesSpec, label: int, rng: np.random.Generator
) -> None:
    """Paint an object's surface over the image where the mask covers it."""
    x, y, width, height = cv2.boundingRect(mask)
    part = image[y : y + height, x : x + width]
    weight = (mask[y : y + height, x : x + width] / np.float32(255.0))[..., None]
    part += weight * (surface(spec, label, height, width, rng) - part)


def surface(
    spec: ShapesSpec, label: int, height: int, width: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Colour and texture of an object of this size in pixels."""
    classes = len(spec.classes)
    own = rng.random() < spec.class_texture
    texture = _TEXTURES[label % len(_TEXTURES) if own else int(rng.integers(len(_TEXTURES)))]
    hue = 180.0 * label / classes if rng.random() < spec.class_hue else rng.uniform(0, 180)
    hue = (hue + rng.uniform(-spec.hue_spread, spec.hue_spread)) % 180
    colour = _bgr(hue, rng.uniform(130, 240), rng.uniform(150, 250))
    shade = _bgr(hue + rng.uniform(-12, 12), rng.uniform(100, 230), rng.uniform(20, 80))
    strength = rng.uniform(*spec.contrast) * _pattern(texture, height, width, rng)[..., None]
    return ((1 - strength) * colour + strength * shade).astype(np.float32)


def _pattern(name: str, height: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(height, width) weights 0…1 of a texture's second colour."""
    angle, period, phase = rng.uniform(0, math.pi), rng.uniform(5, 12), rng.uniform(0, 10, 2)
    y, x = np.mgrid[:height, :width]
    u = (x * math.cos(angle) + y * math.sin(angle)) / period + phase[0]
    v = (y * math.cos(angle) - x * math.sin(angle)) / period + phase[1]
    match name:
        case "stripes":
            return (u % 1 < 0.5).astype(float)
        case "checks":
            return ((u % 1 < 0.5) ^ (v % 1 < 0.5)).astype(float)
        case "dots":
            return (((u % 1) - 0.5) ** 2 + ((v % 1) - 0.5) ** 2 < 0.09).astype(float)
        case "rings":
            return (np.hypot(u - u.mean(), v - v.mean()) % 1 < 0.5).astype(float)
        case "gradient":
            return (np.sin(u * 0.6) + 1) / 2
        case _:
            return np.zeros((height, width))


def background(spec: ShapesSpec, height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Blurred noise at two scales in muted colours, with meaningless lines, bars and blobs on it."""
    base = _bgr(rng.uniform(0, 180), rng.uniform(0, 90), rng.uniform(60, 200))
    image = np.empty((height, width, 3), np.float32)
    image[:] = base
    for cells, amplitude in ((4, spec.background), (24, spec.background / 2)):
        # Mostly light and dark: saturated colours are for the objects.
        coarse = rng.normal(0, amplitude, (cells, cells, 1)) + rng.normal(0, amplitude / 2, (cells, cells, 3))
        image += cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(int(rng.integers(spec.clutter[0], spec.clutter[1] + 1))):
        _mark(image, rng)
    return image


def _mark(image: NDArray[np.float32], rng: np.random.Generator) -> None:
    """One meaningless mark: a line, an open arc or a small quadrilateral, in any colour."""
    height, width = image.shape[:2]
    colour = tuple(_bgr(rng.uniform(0, 180), rng.uniform(0, 200), rng.uniform(30, 230)).tolist())
    x, y = (rng.uniform(0, 1, 2) * (width, height)).astype(int).tolist()
    length, angle = rng.uniform(6, 50), rng.uniform(0, 360)
    turn = math.radians(angle)
    dx, dy = round(length * math.cos(turn)), round(length * math.sin(turn))
    thickness = int(rng.integers(1, 4))
    match int(rng.integers(3)):
        case 0:
            cv2.line(image, (x, y), (x + dx, y + dy), colour, thickness, cv2.LINE_AA)
        case 1:
            axes = (max(2, round(length / 2)), max(2, round(length / 4)))
            cv2.ellipse(image, (x, y), axes, angle, 0, rng.uniform(60, 200), colour, thickness, cv2.LINE_AA)
        case _:
            points = np.array(
                [[x, y], [x + dx // 2, y + dy // 3], [x + dx // 3, y + dy], [x - dy // 3, y + dx // 4]]
            )
            cv2.fillPoly(image, [points.astype(np.int32)], colour, cv2.LINE_AA)


def _bgr(hue: float, saturation: float, value: float) -> NDArray[np.float64]:
    """Colour from OpenCV's HSV (hue 0…180, the others 0…255)."""
    pixel = np.array([[[hue % 180, saturation, value]]]).astype(np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0].astype(float)
