"""Small scenes for the assigners' and losses' tests: priors, objects and predictions made to order."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st

from yolox_core.coding import AnchorCoding, PointCoding
from yolox_core.config import YOLOV3_ANCHORS, AnchorShapes
from yolox_core.structures import Assignment, Prediction, Priors, Targets

CPU = torch.device("cpu")
CLASSES = 3

#: Centre x, centre y, width, height in pixels, and class.
Object = tuple[float, float, float, float, int]


def points(*levels: tuple[int, int, int]) -> Priors:
    """Grid points of levels given as (rows, columns, stride)."""
    return PointCoding(tuple(s for *_, s in levels)).priors(tuple((r, c) for r, c, _ in levels), CPU)


def anchors(*levels: tuple[int, int, int], shapes: AnchorShapes = YOLOV3_ANCHORS) -> Priors:
    """Anchors of levels given as (rows, columns, stride)."""
    return AnchorCoding(tuple(s for *_, s in levels), shapes[: len(levels)]).priors(
        tuple((r, c) for r, c, _ in levels), CPU
    )


def targets(*images: list[Object], padding: int = 0) -> Targets:
    """Objects of each image, padded to the longest list plus ``padding``."""
    most = max(len(objects) for objects in images) + padding
    boxes = torch.zeros(len(images), most, 4)
    labels = torch.full((len(images), most), -1)
    for image, objects in enumerate(images):
        for place, (*box, label) in enumerate(objects):
            boxes[image, place] = torch.tensor(box)
            labels[image, place] = label
    return Targets(boxes, labels)


def blank_prediction(priors: Priors, images: int = 1, classes: int = CLASSES) -> Prediction:
    """Every prior predicts a box of one pixel far outside the image, with logits 0 (probability one half)."""
    count = len(priors.strides)
    boxes = torch.tensor((-1000.0, -1000.0, 1.0, 1.0)).repeat(images, count, 1)
    return Prediction(boxes, boxes.clone(), torch.zeros(images, count), torch.zeros(images, count, classes))


def random_prediction(priors: Priors, images: int, seed: int, classes: int = CLASSES) -> Prediction:
    """Boxes around their priors, of sizes from half to four strides, and normally distributed logits."""
    generator = torch.Generator().manual_seed(seed)
    count = len(priors.strides)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(images, count, *shape, generator=generator)

    stride = priors.strides[:, None]
    centre = priors.boxes_cxcywh[:, :2] + normal(2) * 0.5 * stride
    size = (normal(2) * 0.6 + 0.7).exp() * stride
    boxes = torch.cat((centre, size), -1)
    return Prediction(boxes, boxes.clone(), normal(), normal(classes), normal())


def prior_at(priors: Priors, x: float, y: float, stride: float, shape: int = 0) -> int:
    """Index of the only prior centred at (x, y) on the level of this stride."""
    here = (priors.boxes_cxcywh[:, :2] == torch.tensor((x, y))).all(-1)
    (index,) = (here & (priors.strides == stride) & (priors.shapes == shape)).nonzero().flatten().tolist()
    return index


def positives(assignment: Assignment, image: int = 0) -> dict[int, int]:
    """Prior to object, of one image's positives."""
    matched = assignment.matched[image].tolist()
    return {prior: matched[prior] for prior in range(len(matched)) if matched[prior] >= 0}


@dataclass(frozen=True)
class Scene:
    """A batch with a random prediction."""

    priors: Priors
    prediction: Prediction
    targets: Targets
    objects: tuple[list[Object], ...]


GRID = ((8, 8, 8), (4, 4, 16), (2, 2, 32))
POINTS, ANCHORS = points(*GRID), anchors(*GRID)

_inside = st.floats(0, 64, width=32)
_anywhere = st.floats(-40, 104, width=32)
_side = st.one_of(st.floats(1, 64, width=32), st.floats(0.125, 4, width=32), st.floats(64, 200, width=32))
_objects = st.lists(
    st.one_of(
        st.tuples(_inside, _inside, _side, _side, st.integers(0, CLASSES - 1)),
        st.tuples(_anywhere, _anywhere, _side, _side, st.integers(0, CLASSES - 1)),
        st.just((24.0, 24.0, 20.0, 20.0, 1)),  # identical objects
    ),
    max_size=7,
)


@st.composite
def scenes(draw: st.DrawFn, priors: Priors = POINTS, images: int = 3) -> Scene:
    """Batches on a 64 × 64 image: empty, crowded, with tiny, huge, identical and invisible objects."""
    objects = tuple(draw(_objects) for _ in range(images))
    prediction = random_prediction(priors, images, draw(st.integers(0, 2**31)))
    return Scene(priors, prediction, targets(*objects), objects)


def select(prediction: Prediction, image: int) -> Prediction:
    """One image of a batch."""
    single = None if prediction.one_to_one is None else prediction.one_to_one[image : image + 1]
    return Prediction(
        prediction.boxes_cxcywh[image : image + 1],
        prediction.offsets[image : image + 1],
        prediction.objectness[image : image + 1],
        prediction.classes[image : image + 1],
        single,
    )


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """IoU of two cxcywh boxes in plain Python, the tests' own yardstick."""
    sides = []
    for axis in (0, 1):
        low = max(a[axis] - a[axis + 2] / 2, b[axis] - b[axis + 2] / 2)
        high = min(a[axis] + a[axis + 2] / 2, b[axis] + b[axis + 2] / 2)
        sides.append(max(0.0, high - low))
    intersection = sides[0] * sides[1]
    union = a[2] * a[3] + b[2] * b[3] - intersection
    return intersection / union if union > 0 else 0.0
