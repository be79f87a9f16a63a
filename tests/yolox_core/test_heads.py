"""Heads: both speak the same language, in the order of the priors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yolox_core.models.heads import (
    PRIOR_PROBABILITY,
    CoupledHead,
    DecoupledHead,
    OneToOneHead,
    RawOutput,
    flatten_level,
)

CHANNELS = (4, 6)


def levels() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(2, 4, 4, 6, generator=generator), torch.randn(2, 6, 2, 3, generator=generator))


def head(kind: str, per_cell: int, classes: int = 5) -> CoupledHead | DecoupledHead:
    torch.manual_seed(0)
    if kind == "coupled":
        return CoupledHead(CHANNELS, per_cell, classes, act="leaky_relu")
    return DecoupledHead(CHANNELS, per_cell, classes, hidden=8, act="leaky_relu")


both_heads = pytest.mark.parametrize("kind", ["coupled", "decoupled"])
both_codings = pytest.mark.parametrize("per_cell", [1, 3])


def test_flattening_goes_row_by_row_with_a_cells_priors_together() -> None:
    """2 priors of 3 numbers in 2 × 2 cells: channel 3a + d of cell (r, c) becomes row (2r + c)·2 + a."""
    maps = torch.zeros(1, 6, 2, 2)
    for a in range(2):
        for d in range(3):
            for r in range(2):
                for c in range(2):
                    maps[0, 3 * a + d, r, c] = 100 * a + 10 * (2 * r + c) + d
    flat = flatten_level(maps, per_cell=2)
    assert flat.shape == (1, 8, 3)
    assert flat[0].tolist() == [
        [100 * a + 10 * cell + d for d in range(3)] for cell in range(4) for a in range(2)
    ]


def test_flattening_leaves_half_precision() -> None:
    assert flatten_level(torch.zeros(1, 3, 2, 2, dtype=torch.float16), 1).dtype == torch.float32


@both_heads
@both_codings
def test_outputs_have_one_row_per_prior(kind: str, per_cell: int) -> None:
    raw: RawOutput = head(kind, per_cell)(levels())
    count = (4 * 6 + 2 * 3) * per_cell
    assert raw.boxes.shape == (2, count, 4)
    assert raw.objectness.shape == (2, count)
    assert raw.classes.shape == (2, count, 5)
    assert [f.shape[2:] for f in raw.features] == [(4, 6), (2, 3)]
    assert tuple(f.shape[1] for f in raw.features) == head(kind, per_cell).feature_channels


@both_heads
@both_codings
def test_an_untrained_head_expects_nothing(kind: str, per_cell: int) -> None:
    """Without evidence all probabilities are the prior one."""
    module = head(kind, per_cell).eval()
    for p in module.modules():
        if isinstance(p, nn.Conv2d):
            nn.init.zeros_(p.weight)
    raw = module(levels())
    torch.testing.assert_close(raw.classes.sigmoid(), torch.full_like(raw.classes, PRIOR_PROBABILITY))
    torch.testing.assert_close(raw.objectness.sigmoid(), torch.full_like(raw.objectness, PRIOR_PROBABILITY))


@both_heads
@both_codings
def test_a_prior_depends_on_its_own_cell_most(kind: str, per_cell: int) -> None:
    """Perturb one far-away pixel of the feature map: only priors within the head's reach change, so rows
    are in the place they should be.
    """
    module = head(kind, per_cell).eval()
    fine, coarse = levels()
    changed = fine.clone()
    changed[0, :, 0, 0] += 1.0
    before, after = module((fine, coarse)).boxes, module((changed, coarse)).boxes
    moved = (before - after).abs().amax(-1)[0, : 24 * per_cell].view(4, 6, per_cell)
    reach = 2 if kind == "coupled" else 3  # one 3×3 convolution, or two
    assert (moved[:reach, :reach] > 0).all()
    assert moved[reach:].max() == 0
    assert moved[:, reach:].max() == 0
    assert (before - after)[1].abs().max() == 0, "the other image"
    assert (before - after)[0, 24 * per_cell :].abs().max() == 0, "the other level"


def test_classes_and_boxes_come_from_separate_branches() -> None:
    module = head("decoupled", 1)
    assert isinstance(module, DecoupledHead)
    raw = module(levels())
    raw.classes.sum().backward()
    assert all(p.grad is None for p in module.box_convs.parameters())
    assert all(p.grad is not None for p in module.class_convs.parameters())


def test_objectness_and_boxes_share_a_branch() -> None:
    module = head("decoupled", 1)
    assert isinstance(module, DecoupledHead)
    module(levels()).objectness.sum().backward()
    assert all(p.grad is not None for p in module.box_convs.parameters())
    assert all(p.grad is None for p in module.class_convs.parameters())


def test_a_coupled_head_doubles_the_channels_before_one_output() -> None:
    module = head("coupled", 3)
    assert isinstance(module, CoupledHead)
    assert module.feature_channels == (8, 12)
    assert [m.out_channels for m in module.outputs.modules() if isinstance(m, nn.Conv2d)] == [30, 30]


@both_codings
def test_the_one_to_one_branch_never_reaches_the_rest(per_cell: int) -> None:
    module = OneToOneHead(CHANNELS, per_cell, hidden=8, act="leaky_relu")
    features = [level.requires_grad_() for level in levels()]
    logits = module(features)
    assert logits.shape == (2, (24 + 6) * per_cell)
    logits.sum().backward()
    assert all(f.grad is None for f in features)
    assert all(p.grad is not None for p in module.parameters())


def test_an_untrained_one_to_one_branch_expects_nothing() -> None:
    module = OneToOneHead(CHANNELS, 1, hidden=8, act="leaky_relu").eval()
    for output in module.outputs:
        nn.init.zeros_(output.weight)  # type: ignore[arg-type]
    logits = module(list(levels()))
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, PRIOR_PROBABILITY))
