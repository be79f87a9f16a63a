"""What every assigner promises, whatever its rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.yolox_core.scenes import (
    ANCHORS,
    GRID,
    POINTS,
    Scene,
    overlap,
    points,
    positives,
    random_prediction,
    scenes,
    select,
    targets,
)
from yolox_core.assigners.by_cost import AssignerByCost, Candidates
from yolox_core.assigners.center import CenterAssigner
from yolox_core.assigners.common import Assigner
from yolox_core.assigners.max_iou import MaxIoUAssigner
from yolox_core.assigners.one_to_one import OneToOneAssigner
from yolox_core.assigners.ota import OTAAssigner
from yolox_core.assigners.simota import SimOTAAssigner
from yolox_core.coding import AnchorCoding, PointCoding
from yolox_core.config import YOLOV3_ANCHORS
from yolox_core.structures import Assignment, Prediction, Priors, Targets

RANGES = (8.0, 16.0)  # small enough for every level to be used in a 64-pixel image


@dataclass(frozen=True)
class WholeBatch:
    """SimOTA and OTA as an accelerator does them: one table for all images, on a CPU too."""

    assigner: AssignerByCost

    @torch.no_grad()
    def __call__(self, priors: Priors, prediction: Prediction, targets: Targets) -> Assignment:
        if targets.labels.shape[1] == 0:
            return self.assigner(priors, prediction, targets)
        candidates = Candidates(prediction.boxes_cxcywh, prediction.objectness, prediction.classes)
        (claims,) = self.assigner.claim_together(priors, candidates, targets)
        return claims.assignment(len(priors.strides))


ON_POINTS: dict[str, Assigner] = {
    "centre cell": CenterAssigner(0, RANGES),
    "centre 3x3": CenterAssigner(1, RANGES),
    "simota": SimOTAAssigner(),
    "simota, later geometry": SimOTAAssigner(geometry="center", center_radius=1.5),
    "simota, k = 1": SimOTAAssigner(dynamic=False),
    "simota, whole batch": WholeBatch(SimOTAAssigner()),
    "simota, whole batch, k = 1": WholeBatch(SimOTAAssigner(dynamic=False)),
    "ota": OTAAssigner(),
    "ota, later geometry": OTAAssigner(geometry="center", center_radius=1.5),
    "ota, whole batch": WholeBatch(OTAAssigner()),
    "ota, whole batch, k = 1": WholeBatch(OTAAssigner(dynamic=False)),
    "one-to-one": OneToOneAssigner(),
}
ON_ANCHORS: dict[str, Assigner] = {
    "best anchor": MaxIoUAssigner(0, 0.7),
    "best anchor, 3x3": MaxIoUAssigner(1, 0.7),
    "simota": SimOTAAssigner(),
    "simota, k = 1": SimOTAAssigner(dynamic=False),
    "simota, whole batch": WholeBatch(SimOTAAssigner()),
    "simota, whole batch, k = 1": WholeBatch(SimOTAAssigner(dynamic=False)),
    "ota": OTAAssigner(),
    "ota, whole batch": WholeBatch(OTAAssigner()),
    "one-to-one": OneToOneAssigner(),
}
CASES = [pytest.param(a, POINTS, id=f"{name}, points") for name, a in ON_POINTS.items()]
CASES += [pytest.param(a, ANCHORS, id=f"{name}, anchors") for name, a in ON_ANCHORS.items()]
every_assigner = pytest.mark.parametrize(("assigner", "priors"), CASES)
data = given(st.data())
few = settings(max_examples=12)


def assert_same(one: Assignment, two: Assignment) -> None:
    assert one.matched.equal(two.matched)
    assert one.ignored.equal(two.ignored)
    torch.testing.assert_close(one.iou, two.iou)


@every_assigner
@few
@data
def test_positives_belong_to_real_objects_and_carry_their_iou(
    assigner: Assigner, priors: Priors, data: st.DataObject
) -> None:
    scene: Scene = data.draw(scenes(priors))
    assignment = assigner(priors, scene.prediction, scene.targets)
    for image, objects in enumerate(scene.objects):
        matches = positives(assignment, image)
        assert all(matched < len(objects) for matched in matches.values())
        for prior in range(len(priors.strides)):
            iou = assignment.iou[image, prior].item()
            if prior in matches:
                predicted = tuple(scene.prediction.boxes_cxcywh[image, prior].tolist())
                assert iou == pytest.approx(overlap(predicted, objects[matches[prior]]), abs=1e-4)
            else:
                assert iou == 0
    assert not (assignment.ignored & assignment.positive).any()


@every_assigner
@few
@data
def test_a_batch_is_its_images_one_by_one(assigner: Assigner, priors: Priors, data: st.DataObject) -> None:
    scene: Scene = data.draw(scenes(priors))
    together = assigner(priors, scene.prediction, scene.targets)
    for image, objects in enumerate(scene.objects):
        alone = assigner(priors, select(scene.prediction, image), targets(objects))
        part = slice(image, image + 1)
        assert_same(alone, Assignment(together.matched[part], together.iou[part], together.ignored[part]))


@every_assigner
@few
@data
def test_padding_changes_nothing(assigner: Assigner, priors: Priors, data: st.DataObject) -> None:
    scene: Scene = data.draw(scenes(priors))
    padded = targets(*scene.objects, padding=5)
    # what stands in a padded place is no object, whatever its numbers
    rubbish = torch.where(padded.valid[..., None], padded.boxes_cxcywh, 30.0)
    assert_same(
        assigner(priors, scene.prediction, scene.targets),
        assigner(priors, scene.prediction, Targets(rubbish, padded.labels)),
    )


@every_assigner
@few
@data
def test_the_order_of_objects_is_of_no_account(
    assigner: Assigner, priors: Priors, data: st.DataObject
) -> None:
    """But for exact ties, which are broken by the order: identical objects are left out here."""
    scene: Scene = data.draw(scenes(priors, images=1))
    objects = list(dict.fromkeys(scene.objects[0]))
    order = data.draw(st.permutations(range(len(objects))))
    one = positives(assigner(priors, scene.prediction, targets(objects)))
    two = positives(assigner(priors, scene.prediction, targets([objects[i] for i in order])))
    areas = {prior: (objects[g][2] * objects[g][3]) for prior, g in one.items()}
    same = {prior: objects[order[g]] for prior, g in two.items()}
    assert same.keys() == one.keys()
    for prior, g in one.items():
        if same[prior] != objects[g]:  # equal costs: same size, for the assigners by geometry
            assert areas[prior] == same[prior][2] * same[prior][3]


@every_assigner
@pytest.mark.parametrize("places", [0, 4])
def test_no_objects_give_no_positives(assigner: Assigner, priors: Priors, places: int) -> None:
    prediction = random_prediction(priors, 2, seed=0)
    empty = Targets(torch.zeros(2, places, 4), torch.full((2, places), -1))
    assignment = assigner(priors, prediction, empty)
    assert not assignment.positive.any()
    assert not assignment.ignored.any()
    assert assignment.iou.abs().sum() == 0
    assert assignment.matched.shape == prediction.objectness.shape


@every_assigner
def test_more_objects_than_priors_on_one_image(assigner: Assigner, priors: Priors) -> None:
    """150 objects, 84 points or 252 anchors: every claim ends with one owner per prior."""
    generator = torch.Generator().manual_seed(5)
    boxes = torch.rand(1, 150, 4, generator=generator) * 60 + 2
    crowd = Targets(boxes, torch.zeros(1, 150, dtype=torch.int64))
    assignment = assigner(priors, random_prediction(priors, 1, seed=1), crowd)
    assert assignment.positive.any()
    assert assignment.matched.max() < 150


@every_assigner
def test_two_identical_objects_and_a_blank_image(assigner: Assigner, priors: Priors) -> None:
    twin = (24.0, 24.0, 20.0, 20.0, 1)
    assignment = assigner(priors, random_prediction(priors, 2, seed=2), targets([twin, twin], []))
    assert set(positives(assignment, 0).values()) <= {0, 1}
    assert positives(assignment, 0)
    assert not positives(assignment, 1)


@every_assigner
def test_an_object_smaller_than_a_stride_is_still_found(assigner: Assigner, priors: Priors) -> None:
    assignment = assigner(priors, random_prediction(priors, 1, seed=3), targets([(20, 20, 1, 1, 0)]))
    assert positives(assignment)


@every_assigner
def test_an_object_outside_the_image_alone_has_no_positive(assigner: Assigner, priors: Priors) -> None:
    assignment = assigner(priors, random_prediction(priors, 1, seed=4), targets([(500, 500, 20, 20, 0)]))
    assert not positives(assignment)


@every_assigner
def test_no_gradient_flows_through(assigner: Assigner, priors: Priors) -> None:
    prediction = random_prediction(priors, 1, seed=6)
    live = replace(prediction, boxes_cxcywh=prediction.boxes_cxcywh.clone().requires_grad_())
    assignment = assigner(priors, live, targets([(20, 20, 20, 20, 0)]))
    assert not assignment.iou.requires_grad


class NoReadBack(TorchDispatchMode):
    """Fails on every operator that makes the host wait for the device: reading a value, shapes that
    depend on values, copies from the host.
    """

    WAITING = frozenset(
        f"aten::{name}"
        for name in (
            "_local_scalar_dense",
            "nonzero",
            "masked_select",
            "equal",
            "_unique2",
            "unique_dim",
            "_to_copy",
        )
    )

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name
        self.seen.add(name)
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        moves = (
            name != "aten::_to_copy" or (kwargs or {}).get("device", tensors[0].device) != tensors[0].device
        )
        assert not (name in self.WAITING and moves), f"{name} waits for the device"
        masks = name == "aten::index" and any(t.dtype == torch.bool for t in tensors[1:])
        assert not masks, "indexing with a mask waits for the device"
        assert len({t.device.type for t in tensors if t.dim()}) <= 1, f"{name} mixes devices"
        return func(*args, **(kwargs or {}))


class NothingFromTheHost(TorchFunctionMode):
    """Fails where a tensor is made from Python numbers one by one: on an accelerator that is a copy the
    host waits for. (Filling a tensor with one number is none.)
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        assert func not in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor), "a copy from the host"
        if func is torch.Tensor.__getitem__:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            assert not any(isinstance(i, list) for i in index), "a copy from the host"
        return func(*args, **(kwargs or {}))


def on_meta(scene: Targets, anchored: bool) -> tuple[Priors, Prediction, Targets]:
    device = torch.device("meta")
    strides, grid = tuple(s for *_, s in GRID), tuple((r, c) for r, c, _ in GRID)
    coding = AnchorCoding(strides, YOLOV3_ANCHORS) if anchored else PointCoding(strides)
    priors = coding.priors(grid, device)
    count = len(priors.strides)
    boxes = torch.zeros(2, count, 4, device=device)
    prediction = Prediction(
        boxes, boxes, torch.zeros(2, count, device=device), torch.zeros(2, count, 3, device=device)
    )
    return priors, prediction, scene.to(device)


@every_assigner
def test_the_host_never_waits_for_the_device(assigner: Assigner, priors: Priors) -> None:
    """A device without values stands for the accelerator: what cannot be known there was not asked."""
    scene = targets([(20, 20, 20, 20, 0)], [(20, 20, 9, 9, 1), (4, 4, 1, 1, 2)])
    arguments = on_meta(scene, anchored=priors is ANCHORS)
    with NoReadBack() as mode, NothingFromTheHost():
        assignment = assigner(*arguments)
    assert mode.seen, "nothing was watched"
    assert assignment.matched.device.type == "meta"


def test_the_guards_see_what_they_should() -> None:
    """A guard that never fires proves nothing."""
    far, near = torch.zeros(3, device="meta"), torch.ones(3)
    for waiting in (
        lambda: near.sum().item(),
        near.nonzero,
        lambda: near[near > 0],
        lambda: bool(near[0] > 0),
        lambda: near.to("meta"),
    ):
        with pytest.raises(AssertionError, match="waits for the device"), NoReadBack():
            waiting()
    for copying in (
        lambda: far.new_tensor([1.0, 2.0]),
        lambda: torch.tensor([1.0], device="meta"),
        lambda: far[[0, 1]],
    ):
        with pytest.raises(AssertionError, match="copy from the host"), NothingFromTheHost():
            copying()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_assigner
def test_cuda_agrees_and_never_waits(assigner: Assigner, priors: Priors) -> None:
    scene = targets([(20, 20, 20, 20, 0)], [(20, 20, 9, 9, 1), (44, 44, 10, 6, 2)])
    prediction = random_prediction(priors, 2, seed=7)
    here = assigner(priors, prediction, scene)
    cuda = torch.device("cuda")
    there = Prediction(*(None if t is None else t.to(cuda) for t in vars(prediction).values()))
    places = replace(
        priors,
        **{k: v.to(cuda) for k, v in vars(priors).items() if isinstance(v, torch.Tensor)},
    )
    moved = scene.to(cuda)
    assigner(places, there, moved)
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = assigner(places, there, moved)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert_same(here, Assignment(result.matched.cpu(), result.iou.cpu(), result.ignored.cpu()))


def test_one_level_and_one_prior() -> None:
    """The smallest grid there is: one cell."""
    priors = points((1, 1, 32))
    prediction = random_prediction(priors, 1, seed=0)
    for assigner in ON_POINTS.values():
        assert len(positives(assigner(priors, prediction, targets([(16, 16, 30, 30, 0)] * 3)))) <= 1
