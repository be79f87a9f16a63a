"""Codings: where priors stand, and how numbers become boxes and back, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from yolox_core.coding import LARGEST_LOG_SIZE, AnchorCoding, Coding, PointCoding

CPU = torch.device("cpu")
SHAPES = (((10, 14), (20, 6)), ((40, 40), (64, 16)))
POINT = PointCoding((8, 16))
ANCHOR = AnchorCoding((8, 16), SHAPES)
GRID = ((2, 3), (1, 2))  # an image of 24 × 16 pixels would have 3 × 2 cells of 8 pixels


def test_points_stand_at_cell_centres_row_by_row_level_by_level() -> None:
    priors = POINT.priors(GRID, CPU)
    assert priors.boxes_cxcywh.tolist() == [
        [4, 4, 8, 8],
        [12, 4, 8, 8],
        [20, 4, 8, 8],
        [4, 12, 8, 8],
        [12, 12, 8, 8],
        [20, 12, 8, 8],
        [8, 8, 16, 16],
        [24, 8, 16, 16],
    ]
    assert priors.cells.tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1], [0, 0], [1, 0]]
    assert priors.strides.tolist() == [8] * 6 + [16] * 2
    assert priors.levels.tolist() == [0] * 6 + [1] * 2
    assert priors.level_starts == (0, 6, 8)
    assert POINT.per_cell == priors.per_cell == 1


def test_anchors_of_a_cell_follow_each_other() -> None:
    priors = ANCHOR.priors(GRID, CPU)
    assert ANCHOR.per_cell == priors.per_cell == 2
    assert priors.boxes_cxcywh[:4].tolist() == [
        [4, 4, 10, 14],
        [4, 4, 20, 6],
        [12, 4, 10, 14],
        [12, 4, 20, 6],
    ]
    assert priors.boxes_cxcywh[12:].tolist() == [
        [8, 8, 40, 40],
        [8, 8, 64, 16],
        [24, 8, 40, 40],
        [24, 8, 64, 16],
    ]
    assert priors.shapes.tolist() == [0, 1] * 8
    assert priors.level_starts == (0, 12, 16)


def test_a_point_decodes_from_its_cells_corner() -> None:
    priors = POINT.priors(GRID, CPU)
    raw = torch.zeros(1, 8, 4)
    raw[0, 4] = torch.tensor((0.5, 0.25, math.log(2), math.log(3)))
    boxes = POINT.decode(POINT.offsets(raw), priors)
    torch.testing.assert_close(boxes[0, 4], torch.tensor((12.0, 10.0, 16.0, 24.0)))
    torch.testing.assert_close(boxes[0, 7], torch.tensor((16.0, 0.0, 16.0, 16.0)))


def test_an_anchor_decodes_inside_its_cell() -> None:
    priors = ANCHOR.priors(GRID, CPU)
    raw = torch.zeros(1, 16, 4)
    raw[0, 3] = torch.tensor((math.log(3), 0.0, math.log(2), 0.0))  # sigmoid 3/4 and 1/2
    boxes = ANCHOR.decode(ANCHOR.offsets(raw), priors)
    torch.testing.assert_close(boxes[0, 3], torch.tensor((14.0, 4.0, 40.0, 6.0)))
    torch.testing.assert_close(boxes[0, 0], torch.tensor((4.0, 4.0, 10.0, 14.0)))


def test_anchor_centres_cannot_leave_their_cell() -> None:
    priors = ANCHOR.priors(GRID, CPU)
    for extreme in (-50.0, 50.0):
        centre = ANCHOR.decode(ANCHOR.offsets(torch.full((1, 16, 4), extreme)), priors)[0, :, :2]
        assert ((centre - priors.boxes_cxcywh[:, :2]).abs() <= priors.strides[:, None] / 2).all()


@pytest.mark.parametrize("coding", [POINT, ANCHOR], ids=["points", "anchors"])
def test_sizes_stay_finite(coding: Coding) -> None:
    priors = coding.priors(GRID, CPU)
    raw = torch.full((1, len(priors.strides), 4), 1e4, requires_grad=True)
    boxes = coding.decode(coding.offsets(raw), priors)
    assert torch.isfinite(boxes).all()
    assert torch.isfinite(boxes[..., 2:].prod(-1)).all()
    largest = math.exp(LARGEST_LOG_SIZE) * priors.boxes_cxcywh[:, 2:]
    torch.testing.assert_close(boxes[0, :, 2:], largest)


@pytest.mark.parametrize("coding", [POINT, ANCHOR], ids=["points", "anchors"])
@given(data=st.data())
def test_encoding_and_decoding_are_inverse(coding: Coding, data: st.DataObject) -> None:
    priors = coding.priors(GRID, CPU)
    prior = data.draw(st.integers(0, len(priors.strides) - 1))
    stride = priors.strides[prior].item()
    corner = (priors.cells[prior] * stride).tolist()
    box = torch.tensor(
        [
            corner[0] + data.draw(st.floats(0.05, 0.95)) * stride,  # an anchor's centre stays in its cell
            corner[1] + data.draw(st.floats(0.05, 0.95)) * stride,
            data.draw(st.floats(0.5, 500)),
            data.draw(st.floats(0.5, 500)),
        ]
    )
    offsets = coding.encode(box[None], priors, torch.tensor([prior]))
    everywhere = torch.zeros(1, len(priors.strides), 4)
    everywhere[0, prior] = offsets[0]
    torch.testing.assert_close(coding.decode(everywhere, priors)[0, prior], box, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("coding", [POINT, ANCHOR], ids=["points", "anchors"])
def test_a_box_without_area_has_finite_offsets(coding: Coding) -> None:
    priors = coding.priors(GRID, CPU)
    offsets = coding.encode(torch.tensor([[4.0, 4.0, 0.0, 0.0]]), priors, torch.tensor([0]))
    assert torch.isfinite(offsets).all()
