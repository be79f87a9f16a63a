"""Folded batch norms: recognised, and unfolded without changing what the model computes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from yolox_core.build import build_detector
from yolox_core.config import MODELS, YOLOX_INGREDIENTS
from yolox_core.deploy.folded_norms import has_folded_norms, unfold_norms
from yolox_core.deploy.weights import load_official, save_official
from yolox_core.detector import Detector
from yolox_core.models.layers import ConvBlock


def images(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 255


def trained(seed: int = 0) -> Detector:
    """A nano whose batch norms have seen some images, with scales and biases of their own."""
    torch.manual_seed(seed)
    detector = build_detector(MODELS["yolox-nano"], YOLOX_INGREDIENTS)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.momentum = 0.5
    with torch.no_grad():
        for batch in range(6):
            detector.train().predict(images(4, seed=batch))
    return detector.eval()


@torch.no_grad()
def fold(detector: Detector) -> Detector:
    """What exporting does: scale the kernels by what the norms would, keep only the biases."""
    folded = copy.deepcopy(detector)
    for block in folded.modules():
        if isinstance(block, ConvBlock):
            norm = block.norm
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            block.conv.weight *= scale[:, None, None, None]
            norm.bias -= norm.running_mean * scale
            norm.weight.fill_(1)
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
    return folded


def outputs(detector: Detector) -> Tensor:
    with torch.no_grad():
        prediction, _ = detector.predict(images(2, seed=99))
    return torch.cat((prediction.boxes_cxcywh, prediction.objectness[..., None], prediction.classes), -1)


def test_folded_norms_are_recognised() -> None:
    detector = trained()
    assert not has_folded_norms(detector)
    assert has_folded_norms(fold(detector))
    assert not has_folded_norms(build_detector(MODELS["yolox-nano"], YOLOX_INGREDIENTS))  # untrained
    assert not has_folded_norms(nn.Conv2d(3, 4, 1))


def test_one_trained_norm_is_enough_to_tell() -> None:
    folded = fold(trained())
    folded.backbone.stem.conv.norm.running_mean[0] = 0.1
    assert not has_folded_norms(folded)


def test_unfolding_changes_nothing_in_evaluation_mode() -> None:
    folded = fold(trained())
    before = outputs(folded)
    unfold_norms(folded, [images(4, seed=1), images(4, seed=2)])
    assert not has_folded_norms(folded)
    assert not folded.training
    torch.testing.assert_close(outputs(folded), before, rtol=1e-3, atol=1e-3)
    lengths = [
        block.conv.weight.flatten(1).norm(dim=1) for block in folded.modules() if isinstance(block, ConvBlock)
    ]
    torch.testing.assert_close(torch.cat(lengths), torch.ones(sum(map(len, lengths))))


def test_statistics_are_those_of_the_inputs() -> None:
    folded = fold(trained())
    batch = images(8, seed=3)
    unfold_norms(folded, [batch[:3], batch[3:]])
    seen: list[Tensor] = []
    block = folded.backbone.stages[0][0].pointwise
    handle = block.norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        folded.predict(batch)
    handle.remove()
    torch.testing.assert_close(block.norm.running_mean, seen[0].mean((0, 2, 3)), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        block.norm.running_var, seen[0].var((0, 2, 3), unbiased=False), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("first", [0, 2, 5])
def test_processes_share_the_images(first: int) -> None:
    """Two, one after the other: the second adds what the first has measured; either may have no image."""
    torch.manual_seed(0)
    blocks = nn.Sequential(ConvBlock(3, 4, 3, 2, act="silu"), ConvBlock(4, 2, 1, 1, act="silu")).eval()
    batch = images(5, seed=3)
    parts: list[Tensor] = []
    alone, one, other = (copy.deepcopy(blocks) for _ in range(3))
    unfold_norms(alone, [batch])

    def sent(own: Tensor) -> Tensor:
        parts.append(own)
        return torch.ones_like(own)

    unfold_norms(one, batch[:first].split(2) if first else [], sent)
    unfold_norms(other, batch[first:].split(2) if first < 5 else [], lambda own: own + parts[0])
    torch.testing.assert_close(other.state_dict(), alone.state_dict(), rtol=1e-5, atol=1e-6)


def test_training_mode_is_near_evaluation_mode_again() -> None:
    """Normalising by the batch changes a folded model beyond recognition, an unfolded one a little."""
    folded = fold(trained())
    batch = images(16, seed=4)

    def shift(detector: Detector) -> float:
        with torch.no_grad():
            normal = detector.eval().predict(batch)[0].offsets
            batchwise = copy.deepcopy(detector).train().predict(batch)[0].offsets
        return float((batchwise - normal).norm() / normal.std() / normal.numel() ** 0.5)

    far = shift(folded)
    unfold_norms(folded, [batch])
    assert shift(folded) < 0.1 * far


def test_without_images_nothing_can_be_measured() -> None:
    with pytest.raises(ValueError, match="no images"):
        unfold_norms(trained(), [])


def test_the_mode_comes_back() -> None:
    detector = fold(trained()).train()
    unfold_norms(detector, [images(1)])
    assert detector.training


def test_loading_says_so(tmp_path: Path) -> None:
    detector = trained()
    save_official(detector, tmp_path / "trained.pth")
    save_official(fold(detector), tmp_path / "folded.pth")
    target = build_detector(MODELS["yolox-nano"], YOLOX_INGREDIENTS)
    assert not load_official(target, tmp_path / "trained.pth").folded
    report = load_official(target, tmp_path / "folded.pth")
    assert report.folded
    assert "unfold them before training" in str(report)
