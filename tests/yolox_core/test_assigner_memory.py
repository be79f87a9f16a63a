"""An assigner's tables of objects × priors stay bounded, whatever the batch."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.yolox_core.scenes import ANCHORS, POINTS, random_prediction, targets
from yolox_core.assigners import common
from yolox_core.assigners.common import Assigner
from yolox_core.assigners.max_iou import MaxIoUAssigner
from yolox_core.assigners.one_to_one import OneToOneAssigner
from yolox_core.assigners.ota import OTAAssigner
from yolox_core.assigners.simota import SimOTAAssigner
from yolox_core.coding import AnchorCoding
from yolox_core.config import YOLOV3_ANCHORS
from yolox_core.structures import Prediction, Priors, Targets

STRIDES = (8, 16, 32)
THING = (32.0, 32.0, 16.0, 16.0, 1)
CROWD = targets([THING], [], [THING, (30, 30, 40, 20, 2)], [THING] * 4, [(50, 9, 9, 9, 1)])

ASSIGNERS: dict[str, Assigner] = {
    "max IoU": MaxIoUAssigner(),
    "max IoU, 3x3": MaxIoUAssigner(radius=1),
    "simota": SimOTAAssigner(),
    "ota": OTAAssigner(),
    "one to one": OneToOneAssigner(),
}


class LargestTensor(TorchDispatchMode):
    """Notes the entries of the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        # What is only seen differently takes no memory.
        if not (func.is_view or "expand" in str(func)):
            self.entries = max(self.entries, *made, 0)
        return result


def anchors_on_meta(side: int) -> Priors:
    """Three anchors per cell, the most priors there can be."""
    grid = tuple((side // stride, side // stride) for stride in STRIDES)
    priors = AnchorCoding(STRIDES, YOLOV3_ANCHORS).priors(grid, torch.device("cpu"))
    tensors = (priors.boxes_cxcywh, priors.cells, priors.strides, priors.levels, priors.shapes)
    return Priors(*(tensor.to("meta") for tensor in tensors), priors.grid, priors.per_cell)


@pytest.mark.parametrize("name", ASSIGNERS)
def test_a_crowded_batch_of_large_images(name: str) -> None:
    """Sixteen images of 832 pixels with 120 objects; on shapes alone, as an accelerator would do it."""
    priors = anchors_on_meta(832)
    count = len(priors.strides)
    with torch.device("meta"):
        boxes, flat = torch.empty(16, count, 4), torch.empty(16, count)
        prediction = Prediction(boxes, boxes, flat, torch.empty(16, count, 80), flat)
        crowd = Targets(torch.empty(16, 120, 4), torch.empty(16, 120, dtype=torch.int64))
    with LargestTensor() as largest:
        ASSIGNERS[name](priors, prediction, crowd)
    assert 16 * 120 * count > 2 * common.TABLE_ENTRIES  # else it would show nothing
    # Twice: a table of two coordinates.
    assert largest.entries <= 2 * common.TABLE_ENTRIES


@pytest.mark.parametrize("entries", [1, 2 * 4 * 252, 3 * 4 * 252])
@pytest.mark.parametrize("name", ASSIGNERS)
def test_a_batch_in_parts_gives_the_same_to_the_bit(name: str, entries: int) -> None:
    priors = ANCHORS if name.startswith("max") else POINTS
    prediction = random_prediction(priors, 5, seed=3)
    whole = ASSIGNERS[name](priors, prediction, CROWD)
    with mock.patch.object(common, "TABLE_ENTRIES", entries):
        parts = ASSIGNERS[name](priors, prediction, CROWD)
    assert parts.matched.equal(whole.matched)
    assert parts.iou.equal(whole.iou)
    assert parts.ignored.equal(whole.ignored)
    assert (whole.matched >= 0).any()


def test_a_batch_that_fits_is_not_cut() -> None:
    """What small trainings compute does not change with the bound."""
    (whole,) = common.image_parts(CROWD, POINTS)
    assert range(5)[whole] == range(5)
