"""Copy-Paste: cases worked by hand, and the words of arXiv 2012.07177 §3 carried out pixel by pixel."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.yolox_core.data_folders import ArraySource, gradient
from yolox_core.augmentation.affine import affine_matrix
from yolox_core.augmentation.copy_paste import CopyPasteDraw, copy_paste, draw_copy_paste, moved_mask
from yolox_core.augmentation.mixup import MixUpDraw, second_matrix
from yolox_core.augmentation.mosaic import MosaicDraw, Place, mosaic, mosaic_places
from yolox_core.augmentation.pipelines import strong_pipeline
from yolox_core.augmentation.sample import Image, ImageTargets, Mask, empty_targets
from yolox_core.config import AugmentationConfig, TrainConfig

SIDE = 16
STILL = affine_matrix(0.0, 1.0, (0.0, 0.0), (0.0, 0.0))
Pixels = NDArray[np.uint8]


def drawn(*rows: str) -> Mask:
    """A mask from text: # is the object."""
    return Mask(0, 0, np.array([[c == "#" for c in row] for row in rows], np.uint8))


def at(left: int, top: int, pixels: Pixels) -> Mask:
    return Mask(left, top, pixels)


def filled(x1: int, y1: int, x2: int, y2: int) -> Mask:
    return Mask(x1, y1, np.ones((y2 - y1, x2 - x1), np.uint8))


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    height, width = mask.pixels.shape
    return mask.left, mask.top, mask.left + width, mask.top + height


def targets_of(masks: list[Mask | None], boxes: list[tuple[float, ...]] | None = None) -> ImageTargets:
    """One target of its own class per mask, in the mask's box unless it is given."""
    given = boxes or [box_of(mask) for mask in masks if mask is not None]
    return ImageTargets(np.array(given, np.float32).reshape(-1, 4), np.arange(len(masks)))


def pasted(
    below: list[Mask | None],
    above: list[Mask | None],
    visible: float = 0.1,
    chosen: tuple[bool, ...] | None = None,
    boxes: list[tuple[float, ...]] | None = None,
) -> tuple[ArraySource, Image, ImageTargets]:
    """Objects of a white image pasted onto a black one; both fill the output and neither is jittered.

    The pasted objects' classes begin at 10.
    """
    first, second = np.zeros((SIDE, SIDE, 3), np.uint8), np.full((SIDE, SIDE, 3), 255, np.uint8)
    lower, upper = targets_of(below, boxes), targets_of(above, [(0, 0, 4, 4)] * len(above))
    source = ArraySource([first, second], [lower, upper._replace(labels=upper.labels + 10)], [below, above])
    draw = CopyPasteDraw(MixUpDraw(1, SIDE, False, (0, 0)), chosen or (True,) * len(above))
    places = [Place(0, number, STILL, (0, 0, SIDE, SIDE)) for number in range(len(below))]
    image, targets = copy_paste(source, draw, first.copy(), lower, places, visible)
    return source, image, targets


# By hand


def test_a_pasted_object_brings_its_pixels_and_its_box() -> None:
    _, image, (boxes, labels) = pasted([], [at(5, 3, drawn("##.", ".##").pixels)])
    expected = np.zeros((SIDE, SIDE), np.uint8)
    expected[3, 5:7] = expected[4, 6:8] = 255
    assert (image == expected[..., None]).all()
    assert boxes.tolist() == [[5, 3, 8, 5]]
    assert labels.tolist() == [10]


def test_an_object_hidden_in_part_gets_the_box_of_what_shows() -> None:
    """Columns 2 to 9, of which those from 6 on disappear; and the one without contact is not touched."""
    below = [filled(2, 2, 10, 6), filled(1, 10, 4, 14)]
    _, _, (boxes, labels) = pasted(
        below, [filled(6, 0, 12, 9)], boxes=[(2, 2, 10, 6), (0.75, 10.25, 4, 13.5)]
    )
    assert boxes.tolist() == [[2, 2, 6, 6], [0.75, 10.25, 4, 13.5], [6, 0, 12, 9]]
    assert labels.tolist() == [0, 1, 10]


def test_only_the_mask_hides_not_its_box() -> None:
    """A ring around an object overlaps its box and none of its pixels."""
    ring = np.ones((10, 10), np.uint8)
    ring[2:8, 2:8] = 0
    _, _, (boxes, _) = pasted([filled(5, 5, 8, 8)], [at(2, 2, ring)], boxes=[(4.5, 5, 8, 8.5)])
    assert boxes.tolist() == [[4.5, 5, 8, 8.5], [2, 2, 12, 12]]


def test_a_hole_in_the_middle_leaves_the_box() -> None:
    _, _, (boxes, labels) = pasted([filled(2, 2, 12, 12)], [filled(5, 5, 8, 8)])
    assert boxes.tolist() == [[2, 2, 12, 12], [5, 5, 8, 8]]
    assert labels.tolist() == [0, 10]


@pytest.mark.parametrize(
    ("hidden", "visible", "stays"),
    [(10, 0.0, False), (9, 0.0, True), (9, 0.1, True), (9, 0.11, False), (5, 0.5, True), (6, 0.5, False)],
)
def test_an_object_of_which_too_little_shows_is_dropped(hidden: int, visible: float, stays: bool) -> None:
    """Of ten pixels in a row so many are hidden; one hidden whole is dropped whatever the threshold."""
    _, _, (boxes, labels) = pasted([filled(3, 4, 13, 5)], [filled(3, 4, 3 + hidden, 5)], visible)
    assert labels.tolist() == ([0, 10] if stays else [10])
    assert boxes[0].tolist() == [3 + hidden if stays else 3, 4, 13 if stays else 3 + hidden, 5]


def test_an_object_without_a_mask_is_not_pasted_and_hides_as_its_box_does() -> None:
    """The box from 2.5 to 8.5 touches columns 2 to 8; 6 to 8 are hidden."""
    _, image, (boxes, labels) = pasted([None], [None, filled(6, 0, 9, 16)], boxes=[(2.5, 3, 8.5, 5)])
    assert labels.tolist() == [0, 11]
    assert boxes.tolist() == [[2, 3, 6, 5], [6, 0, 9, 16]]
    assert image[:, 6:9].all()
    assert not image[:, :6].any()


def test_where_nothing_is_chosen_nothing_changes_and_nothing_is_opened() -> None:
    source, image, targets = pasted([filled(2, 2, 5, 5)], [filled(0, 0, 9, 9)], chosen=(False,))
    assert not image.any()
    assert targets.labels.tolist() == [0]
    assert source.opened == []


# The jitter of both images


def test_masks_move_as_the_second_image_does() -> None:
    """Scaled to twice its size, mirrored, and a window of it cut out: a white object on black stays white."""
    mask = filled(3, 2, 9, 7)
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[2:7, 3:9] = 255
    source = ArraySource([picture], [targets_of([mask])], [[mask]])
    draw = MixUpDraw(0, 2 * SIDE, True, (5, 3))
    assert (second_matrix(source, draw, SIDE) @ (2.5, 1.5, 1)).tolist() == [2 * SIDE - 6 - 5 - 0.5, 0.5]
    image, (boxes, _) = copy_paste(
        source, CopyPasteDraw(draw, (True,)), np.full((SIDE, SIDE, 3), 9, np.uint8), empty_targets(), [], 0.0
    )
    # In the mirrored picture of twice the size columns 14 to 25, rows 4 to 13; the window begins at (5, 3).
    assert boxes.tolist() == [[9, 1, 16, 11]]
    assert image[2:10, 10:].min() > 127
    assert (image[:, :9] == 9).all()
    assert (image[11:] == 9).all()
    assert (image[0] == 9).all()


@pytest.mark.parametrize("seed", range(8))
def test_masks_move_as_a_mosaic_does(seed: int) -> None:
    """Of white objects on black images the masks lie on what is white in the Mosaic."""
    rng = np.random.default_rng(seed)
    masks = [filled(10, 8, 50, 40), filled(4, 20, 40, 60)]
    images = [np.zeros((48, 64, 3), np.uint8), np.zeros((64, 48, 3), np.uint8)]
    for image, mask in zip(images, masks, strict=True):
        x1, y1, x2, y2 = box_of(mask)
        image[y1:y2, x1:x2] = 255
    source = ArraySource(images, [targets_of([mask]) for mask in masks], [[mask] for mask in masks])
    matrix = affine_matrix(rng.uniform(-10, 10), rng.uniform(0.4, 0.9), (1.5, -2.0), (4.0, -3.0))
    centre = (int(rng.integers(32, 97)), int(rng.integers(32, 97)))
    draw = MosaicDraw((0, 1, 1, 0), centre, matrix)
    image, targets = mosaic(source, draw, 64)
    found = np.zeros((64, 64), bool)
    places = mosaic_places(source, draw, 64)
    assert len(places) == len(targets.labels)
    for place, box in zip(places, targets.boxes_xyxy, strict=True):
        mask = moved_mask(source, place, 64)
        if mask is None:
            assert (box[2:] - box[:2]).min() < 2
            continue
        x1, y1, x2, y2 = box_of(mask)
        found[y1:y2, x1:x2] |= mask.pixels > 0
        assert (np.array([x1, y1]) >= box[:2] - 1).all()
        assert (np.array([x2, y2]) <= box[2:] + 1).all()
    white = image[..., 0] > 127
    assert white.sum() > 300
    wrong = found != white
    edge = cv2.morphologyEx(white.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    assert not (wrong & ~edge).any()
    assert wrong.sum() < 0.03 * white.sum()


# The paper's words, pixel by pixel


def reference(
    main: Image,
    objects: list[Pixels],
    other: Image,
    chosen: list[Pixels],
    visible: float,
) -> tuple[Image, list[tuple[int, ...]]]:
    """I1·α + I2·(1 - α), α the union of the pasted masks; objects hidden as a whole (here: but for a share)
    are removed, masks and boxes of those hidden in part are updated. All masks are as large as the image.
    """
    alpha = np.zeros(main.shape[:2], int)
    for mask in chosen:
        alpha |= mask
    image = other * alpha[..., None] + main * (1 - alpha[..., None])
    left = []
    for mask in objects:
        rest = mask * (1 - alpha)
        if rest.sum() > 0 and rest.sum() >= visible * mask.sum():
            left.append(rest)
    boxes = []
    for mask in left + [mask for mask in chosen if mask.any()]:
        rows, columns = np.nonzero(mask)
        boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
    return image.astype(np.uint8), [tuple(int(v) for v in box) for box in boxes]


def trimmed(whole: Pixels) -> Mask | None:
    if not whole.any():
        return None
    rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
    part = whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Mask(int(columns[0]), int(rows[0]), part)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Pixels], list[Pixels], list[bool], tuple[int, int], bool, float]:
    """Masks of both images, the chosen ones, the Mosaic's centre, the second's flip, the threshold."""

    def mask() -> Pixels:
        rng = np.random.default_rng(draw(st.integers(0, 2**20)))
        x1, y1 = rng.integers(0, SIDE - 2, 2)
        x2, y2 = x1 + rng.integers(1, SIDE - x1 + 1), y1 + rng.integers(1, SIDE - y1 + 1)
        whole = np.zeros((SIDE, SIDE), np.uint8)
        whole[y1:y2, x1:x2] = rng.random((y2 - y1, x2 - x1)) < rng.uniform(0.3, 1.3)
        whole[y1, x1] = 1
        return whole

    below = [mask() for _ in range(draw(st.integers(0, 3)))]
    above = [mask() for _ in range(draw(st.integers(1, 3)))]
    centre = (draw(st.integers(8, 24)), draw(st.integers(8, 24)))
    chosen = [draw(st.booleans()) for _ in above]
    return below, above, chosen, centre, draw(st.booleans()), draw(st.sampled_from((0.0, 0.1, 0.5, 1.0)))


@given(scenes())
def test_it_does_what_the_paper_says(
    scene: tuple[list[Pixels], list[Pixels], list[bool], tuple[int, int], bool, float],
) -> None:
    """A Mosaic of four times one image, not warped, and a second image of its size."""
    below, above, chosen, centre, flip, visible = scene
    images = [gradient(SIDE, SIDE, blue=40), gradient(SIDE, SIDE, blue=200)[::-1].copy()]
    masks = [[trimmed(mask) for mask in group] for group in (below, above)]
    source = ArraySource(images, [targets_of(group) for group in masks], masks)
    canvas = np.full((2 * SIDE, 2 * SIDE, 3), 114, np.uint8)
    layers = []
    for quadrant in range(4):
        left, top = centre[0] - SIDE * (quadrant % 2 == 0), centre[1] - SIDE * (quadrant < 2)
        ys, xs = slice(max(top, 0), min(top + SIDE, 32)), slice(max(left, 0), min(left + SIDE, 32))
        inner = slice(ys.start - top, ys.stop - top), slice(xs.start - left, xs.stop - left)
        canvas[ys, xs] = images[0][inner]
        for mask in below:
            layer = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
            layer[ys, xs] = mask[inner]
            layers.append(layer[:SIDE, :SIDE])
    turn = (slice(None), slice(None, None, -1)) if flip else (slice(None), slice(None))
    expected, boxes = reference(
        canvas[:SIDE, :SIDE],
        [layer for layer in layers if layer.any()],
        images[1][turn],
        [mask[turn] for mask, wanted in zip(above, chosen, strict=True) if wanted],
        visible,
    )
    draw = MosaicDraw((0, 0, 0, 0), centre, STILL)
    image, targets = mosaic(source, draw, SIDE)
    # Boxes of masks with holes at their edges: what of the object shows before, not of its whole box.
    shown = np.array([layer.any() for layer in layers], bool)
    places = [place for place, there in zip(mosaic_places(source, draw, SIDE), shown, strict=True) if there]
    tight = [box_of(mask) for layer in layers if (mask := trimmed(layer)) is not None]
    cut = ImageTargets(np.array(tight, np.float32).reshape(-1, 4), targets.labels[shown])
    second = CopyPasteDraw(MixUpDraw(1, SIDE, flip, (0, 0)), tuple(chosen))
    ours, found = copy_paste(source, second, image, cut, places, visible)
    assert (ours == expected).all()
    assert [tuple(box) for box in found.boxes_xyxy.astype(int).tolist()] == boxes


# In the pipeline


def _source() -> ArraySource:
    shapes = [(48, 64), (64, 48), (200, 90), (96, 96), (30, 200)]
    images = [gradient(*shape, blue=30 * i) for i, shape in enumerate(shapes)]
    masks: list[list[Mask | None]] = [[filled(4, 5, 30, 25), filled(10, 2, 14, 20)] for _ in range(4)]
    return ArraySource(images, [*(targets_of(group) for group in masks), empty_targets()], [*masks, []])


PASTING = TrainConfig(image_size=96, augmentation=AugmentationConfig(mixup=0.0, copy_paste=1.0))


def test_samples_keep_the_contract_and_the_generator_decides_everything() -> None:
    pipeline, source = strong_pipeline(PASTING), _source()
    before = [image.copy() for image in source.images]
    for seed in range(40):
        image, (boxes, labels) = pipeline(source, seed % 5, np.random.default_rng(seed))
        again, (same, _) = pipeline(source, seed % 5, np.random.default_rng(seed))
        assert (image == again).all()
        assert (boxes == same).all()
        assert image.shape == (96, 96, 3)
        assert (boxes.dtype, labels.dtype, len(boxes)) == (np.float32, np.int64, len(labels))
        assert boxes.min(initial=0) >= 0
        assert boxes.max(initial=0) <= 96
        assert ((boxes[:, 2:] - boxes[:, :2]) > 1).all()
    assert all((a == b).all() for a, b in zip(before, source.images, strict=True))


def test_without_copy_paste_no_number_is_drawn_and_no_mask_is_read() -> None:
    """Its other settings are read by nothing then: the samples are those from before it existed."""
    usual = replace(PASTING, augmentation=AugmentationConfig())
    settings = AugmentationConfig(copy_paste=0.0, copy_paste_scale=(0.1, 2.0), copy_paste_visible=0.9)
    source = _source()
    source.masks = None
    for seed in range(10):
        one, _ = strong_pipeline(usual)(source, 0, np.random.default_rng(seed))
        other, _ = strong_pipeline(replace(PASTING, augmentation=settings))(
            source, 0, np.random.default_rng(seed)
        )
        assert (one == other).all()


def test_every_subset_of_the_objects_is_as_likely_as_any_other() -> None:
    source = _source()
    rng = np.random.default_rng(0)
    draws = [draw_copy_paste(rng, source, 96, (0.5, 1.5)) for _ in range(800)]
    counts = {subset: sum(d.chosen == subset for d in draws) for subset in {d.chosen for d in draws}}
    assert set(counts) == {(a, b) for a in (True, False) for b in (True, False)}
    assert all(150 < count < 250 for count in counts.values())
    assert {d.second.index for d in draws} == {0, 1, 2, 3}  # the last image has no objects
    assert min(d.second.side for d in draws) >= 48
    assert max(d.second.side for d in draws) < 144


def test_a_dataset_without_objects_gets_nothing_pasted() -> None:
    source = ArraySource([gradient(48, 64)] * 3, [empty_targets()] * 3, [[]] * 3)
    image, targets = strong_pipeline(PASTING)(source, 0, np.random.default_rng(0))
    assert image.shape == (96, 96, 3)
    assert len(targets.labels) == 0
