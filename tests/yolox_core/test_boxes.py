"""Boxes: formats there and back, and IoU worked out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from yolox_core.boxes import cxcywh_to_xyxy, paired_iou, pairwise_iou, xyxy_to_cxcywh

coordinate = st.floats(-50, 50, width=32)
#: Much smaller sides have no digits left beside coordinates of 50.
side = st.one_of(st.just(0.0), st.floats(2**-6, 50, width=32))
box = st.tuples(coordinate, coordinate, side, side)


def tensor(*boxes: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(boxes, dtype=torch.float32)


def test_formats_by_hand() -> None:
    assert cxcywh_to_xyxy(tensor((10, 20, 4, 6))).tolist() == [[8, 17, 12, 23]]
    assert xyxy_to_cxcywh(tensor((8, 17, 12, 23))).tolist() == [[10, 20, 4, 6]]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((5, 5, 10, 10), 1.0),
        ((10, 5, 10, 10), 50 / 150),  # half of each
        ((10, 10, 10, 10), 25 / 175),  # a quarter of each
        ((5, 5, 5, 5), 25 / 100),  # inside
        ((15, 5, 10, 10), 0.0),  # touching
        ((40, 5, 10, 10), 0.0),  # apart
        ((5, 5, 0, 0), 0.0),  # no area
    ],
)
def test_iou_by_hand(other: tuple[float, ...], expected: float) -> None:
    one, two = tensor((5, 5, 10, 10)), tensor(other)
    assert paired_iou(one, two).item() == pytest.approx(expected)
    assert pairwise_iou(one[None], two[None]).item() == pytest.approx(expected)


def test_two_empty_boxes_have_no_overlap() -> None:
    empty = tensor((5, 5, 0, 0))
    assert paired_iou(empty, empty).item() == 0
    assert pairwise_iou(empty[None], empty[None]).item() == 0


def test_apart_on_both_axes_is_not_a_positive_product() -> None:
    """Both overlaps are negative there; their product must not count."""
    one, two = tensor((0, 0, 2, 2)), tensor((10, 10, 2, 2))
    assert paired_iou(one, two).item() == 0
    assert pairwise_iou(one[None], two[None]).item() == 0


@given(st.lists(box, min_size=1, max_size=6), st.lists(box, min_size=1, max_size=6))
def test_pairwise_is_paired_for_every_pair(a: list[tuple[float, ...]], b: list[tuple[float, ...]]) -> None:
    one, two = tensor(*a), tensor(*b)
    paired = paired_iou(one[:, None].expand(-1, len(b), -1), two.expand(len(a), -1, -1))
    torch.testing.assert_close(pairwise_iou(one[None], two[None])[0], paired)


@given(box, box)
def test_iou_is_symmetric_and_between_0_and_1(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    iou = paired_iou(tensor(a), tensor(b)).item()
    assert 0 <= iou <= 1 + 2e-3
    assert iou == paired_iou(tensor(b), tensor(a)).item()


@given(box)
def test_formats_there_and_back(a: tuple[float, ...]) -> None:
    there = cxcywh_to_xyxy(tensor(a))
    torch.testing.assert_close(xyxy_to_cxcywh(there), tensor(a), atol=1e-4, rtol=1e-5)


def test_overlap_pulls_boxes_together_and_distance_gives_no_gradient() -> None:
    target = tensor((5, 5, 10, 10))
    shifted = tensor((7, 5, 10, 10)).requires_grad_()
    (gradient,) = torch.autograd.grad(paired_iou(shifted, target).sum(), shifted)
    assert gradient[0, 0] < 0, "moving further right lowers the IoU"
    far = tensor((40, 5, 10, 10)).requires_grad_()
    (gradient,) = torch.autograd.grad(paired_iou(far, target).sum(), far)
    assert gradient.abs().sum() == 0
    assert torch.isfinite(gradient).all()


def test_shapes_are_checked_at_run_time() -> None:
    """The annotations are no decoration: see tests/conftest.py."""
    with pytest.raises(TypeCheckError):
        pairwise_iou(torch.zeros(2, 3, 4), torch.zeros(3, 3, 4))
