"""Losses and gradients on shared weights, images and objects, in training mode."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.peer.official import official_labels, official_model, our_model, random_targets
from yolox_core.deploy.weights import official_keys
from yolox_core.structures import Targets

#: Ours -> the official name.
TERMS = {
    "box": "iou_loss",
    "objectness": "conf_loss",
    "classification": "cls_loss",
    "l1": "l1_loss",
    "total": "total_loss",
    "positives": "num_fg",
}
#: Model, and whether with L1.
CASES = (
    ("yolox-nano", False),
    ("yolox-nano", True),
    ("yolox-s", True),
    ("yolox-darknet53", True),
)


def batch(seed: int, images: int = 3, height: int = 64, width: int = 96) -> tuple[Tensor, Targets]:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(images, 3, height, width, generator=generator) * 255
    return pixels, random_targets(generator, images, height, width)


def assert_close(ours: Tensor, theirs: Tensor | float, relative: float, name: str) -> None:
    torch.testing.assert_close(
        ours.detach(),
        torch.as_tensor(theirs, dtype=ours.dtype).detach(),
        rtol=relative,
        atol=0.0,
        msg=lambda text: f"{name}: {text}",
    )


@pytest.mark.parametrize(("name", "with_l1"), CASES)
def test_every_term_and_every_gradient_agrees(name: str, with_l1: bool) -> None:
    peer = official_model(name, seed=7)
    detector = our_model(name, peer).train()
    peer.train()
    peer.head.use_l1 = with_l1
    images, targets = batch(seed=8 + with_l1)
    theirs = peer(images, official_labels(targets))
    ours = detector(images, targets, with_l1)
    assert set(ours) == set(TERMS) - (set() if with_l1 else {"l1"})
    for term, value in ours.items():
        assert_close(value, theirs[TERMS[term]], 1e-4, term)
    assert theirs["num_fg"] > 0

    theirs["total_loss"].backward()
    ours["total"].backward()
    names, gradients = official_keys(detector), dict(peer.named_parameters())
    lively = 0
    for key, parameter in detector.named_parameters():
        expected = gradients[names[key]].grad
        assert expected is not None
        assert parameter.grad is not None
        assert (parameter.grad - expected).norm() <= 1e-3 * expected.norm(), key
        lively += bool(expected.norm() > 0)
    assert lively > 0.9 * len(gradients)  # a level without positives learns objectness alone

    for key, buffer in detector.named_buffers():
        torch.testing.assert_close(buffer, peer.get_buffer(names[key]), rtol=1e-4, atol=1e-5)


def test_a_batch_without_objects_costs_objectness_alone() -> None:
    peer = official_model("yolox-nano", seed=9)
    detector = our_model("yolox-nano", peer).train()
    images, targets = batch(seed=10, images=1)  # the first image is always empty
    theirs = peer.train()(images, official_labels(targets))
    ours = detector(images, targets)
    assert_close(ours["objectness"], theirs["conf_loss"], 1e-4, "objectness")
    assert ours["box"] == ours["classification"] == ours["positives"] == 0
    assert theirs["iou_loss"] == theirs["cls_loss"] == 0
    # the official figure is the normaliser, which is never below 1
    assert theirs["num_fg"] == 1
