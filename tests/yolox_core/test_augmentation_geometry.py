"""Known draws move known boxes and pixels to known places."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.yolox_core.data_folders import ArraySource, gradient, objects
from yolox_core.augmentation.affine import (
    Matrix,
    affine_matrix,
    compose,
    draw_affine,
    scale_of,
    scaled_then_moved,
    transform_boxes,
    transform_points,
)
from yolox_core.augmentation.letterbox import fit_ratio, fit_size, letterbox
from yolox_core.augmentation.mixup import MixUpDraw, mixup
from yolox_core.augmentation.mosaic import MosaicDraw, draw_mosaic, mosaic, place_tile, reduction_for
from yolox_core.augmentation.sample import ImageTargets, drop_small, empty_targets, join
from yolox_core.augmentation.steps import Flip, HsvJitter, flip_boxes, shift_hsv
from yolox_core.config import AugmentationConfig

IDENTITY = affine_matrix(0.0, 1.0, (0.0, 0.0), (0.0, 0.0))


def _rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Letterbox


def test_letterbox_scales_to_the_top_left_and_pads_with_114() -> None:
    image = np.full((50, 100, 3), 200, np.uint8)
    boxed, ratio = letterbox(image, 64)
    assert ratio == 0.64
    assert boxed.shape == (64, 64, 3)
    assert (boxed[:32] == 200).all()
    assert (boxed[32:] == 114).all()


def test_letterbox_enlarges_too_and_keeps_a_fitting_image() -> None:
    boxed, ratio = letterbox(np.full((16, 8, 3), 9, np.uint8), 32)
    assert ratio == 2.0
    assert (boxed[:, :16] == 9).all()
    assert (boxed[:, 16:] == 114).all()
    image = gradient(32, 32)
    assert (letterbox(image, 32)[0] == image).all()


def test_letterbox_pixels_are_bilinear_ones() -> None:
    image = gradient(37, 91)
    boxed, ratio = letterbox(image, 64)
    height, width = int(37 * ratio), int(91 * ratio)
    assert (height, width) == fit_size(37, 91, 64) == (26, 64)
    assert (boxed[:height, :width] == cv2.resize(image, (width, height))).all()


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([32, 160, 416, 640]))
def test_a_fitted_image_fills_one_side(height: int, width: int, size: int) -> None:
    fitted = fit_size(height, width, size)
    assert max(fitted) in (size - 1, size)
    assert min(fitted) >= 1
    assert fit_ratio(height, width, size) == min(size / height, size / width)


# Flip and colour


def test_flip_mirrors_boxes_and_pixels() -> None:
    image = gradient(10, 20)
    flipped, targets = Flip(1.0)(image, objects((1, 2, 3, 8, 9)), _rng())
    assert targets.boxes_xyxy.tolist() == [[12, 3, 18, 9]]
    assert targets.labels.tolist() == [1]
    assert (flipped == image[:, ::-1]).all()
    same, kept = Flip(0.0)(image, objects((1, 2, 3, 8, 9)), _rng())
    assert same is image
    assert kept.boxes_xyxy.tolist() == [[2, 3, 8, 9]]


def test_flip_happens_as_often_as_asked() -> None:
    rng = _rng()
    image = gradient(4, 4)
    flips = sum(Flip(0.3)(image, empty_targets(), rng)[0] is not image for _ in range(2000))
    assert abs(flips / 2000 - 0.3) < 0.04


@given(st.integers(1, 50), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=4))
def test_flipping_twice_is_nothing(width: int, corners: list[tuple[int, int]]) -> None:
    targets = objects(*((0, x, y, x + 5, y + 5) for x, y in corners))
    twice = flip_boxes(flip_boxes(targets, width), width)
    assert np.allclose(twice.boxes_xyxy, targets.boxes_xyxy)


def test_hsv_shift_by_hand() -> None:
    hsv = np.array([[[10, 100, 100], [178, 250, 250], [90, 20, 20]]], np.uint8)
    image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    stored = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(int)
    for shifts in ([5, 30, 30], [-5, -30, -30], [0, 0, 17], [4, 0, 0]):
        expected = stored + shifts
        expected[..., 0] %= 180
        expected[..., 1:] = expected[..., 1:].clip(0, 255)
        wanted = cv2.cvtColor(expected.astype(np.uint8), cv2.COLOR_HSV2BGR)
        assert (shift_hsv(image, np.array(shifts, np.int16)) == wanted).all()
    assert (shift_hsv(image, np.zeros(3, np.int16)) == image).all()


def test_hsv_jitter_stays_within_its_limits_and_is_sometimes_off() -> None:
    grey = np.full((1, 1, 3), 128, np.uint8)
    rng = _rng(1)
    values = [int(HsvJitter((5, 30, 30))(grey, empty_targets(), rng)[0].max()) - 128 for _ in range(2000)]
    assert min(values) < -24
    assert max(values) > 24
    assert max(abs(v) for v in values) <= 30
    assert 0.45 < sum(v == 0 for v in values) / 2000 < 0.6


# Affine


def test_affine_matrix_by_hand() -> None:
    assert IDENTITY.tolist() == [[1, 0, 0], [0, 1, 0]]
    quarter = affine_matrix(90, 2.0, (0, 0), (3, 4))
    # Anticlockwise on screen: right goes up, down goes right.
    assert np.allclose(transform_points(np.array([[1.0, 0], [0, 1]]), quarter), [[3, 2], [5, 4]])
    sheared = affine_matrix(0, 1.0, (45, 0), (0, 0))
    assert np.allclose(transform_points(np.array([[2.0, 0], [0, 2]]), sheared), [[2, 2], [0, 2]])
    assert scale_of(quarter) == pytest.approx(2.0)


def test_rotation_agrees_with_opencv() -> None:
    ours = affine_matrix(17.0, 1.3, (0, 0), (0, 0))
    assert np.allclose(ours, cv2.getRotationMatrix2D((0, 0), 17.0, 1.3))


def test_affine_draws_fill_their_ranges() -> None:
    config = AugmentationConfig()
    rng = _rng()
    drawn = np.array([draw_affine(rng, 640, config) for _ in range(3000)])
    scales = np.array([scale_of(m) for m in drawn])
    assert 0.1 < scales.min() < 0.12
    assert 1.98 < scales.max() < 2.02
    assert abs(scales.mean() - 1.05) < 0.04
    angles = np.degrees(np.arctan2(drawn[:, 0, 1] - drawn[:, 1, 0], drawn[:, 0, 0] + drawn[:, 1, 1]))
    assert abs(angles).max() < 12.1
    assert abs(angles.std() - 20 / math.sqrt(12)) < 0.3
    assert np.abs(drawn[:, :, 2]).max() <= 64
    assert np.abs(drawn[:, :, 2]).max(axis=0) == pytest.approx(64, abs=1)


def test_compose_is_one_after_the_other() -> None:
    first, second = affine_matrix(10, 1.2, (1, 2), (3, 4)), affine_matrix(-30, 0.5, (2, 0), (5, -6))
    points = _rng().uniform(-9, 9, (5, 2))
    one_by_one = transform_points(transform_points(points, first), second)
    assert np.allclose(transform_points(points, compose(second, first)), one_by_one)


def test_boxes_bound_the_moved_corners_and_are_clipped() -> None:
    boxes = np.array([[10, 10, 20, 30], [90, 90, 99, 99]], np.float32)
    moved = transform_boxes(boxes, affine_matrix(0, 2.0, (0, 0), (-25, 5)), 100)
    assert moved.tolist() == [[0, 25, 15, 65], [100, 100, 100, 100]]
    turned = transform_boxes(boxes[:1], affine_matrix(-90, 1.0, (0, 0), (100, 0)), 100)
    assert np.allclose(turned, [[70, 10, 90, 20]], atol=1e-4)
    assert transform_boxes(np.zeros((0, 4), np.float32), IDENTITY, 10).shape == (0, 4)


def test_scaled_then_moved_agrees_with_resize() -> None:
    """A warp with the matrix gives the pixels of a resize (both bilinear, both with pixel centres at .5)."""
    image = gradient(40, 60)
    matrix = scaled_then_moved(0.75, 0.5, 0.0, 0.0)
    warped = cv2.warpAffine(image, matrix, (45, 20), borderMode=cv2.BORDER_REPLICATE)
    resized = cv2.resize(image, (45, 20))
    assert np.abs(warped.astype(int) - resized).max() <= 1


# Mosaic


@pytest.mark.parametrize(
    ("quadrant", "inside"),
    [(0, (20, 40, 80, 70)), (1, (80, 40, 140, 70)), (2, (20, 70, 80, 100)), (3, (80, 70, 140, 100))],
)
def test_tiles_meet_at_the_centre(quadrant: int, inside: tuple[int, ...]) -> None:
    tile = place_tile(quadrant, (80, 70), 30, 60, 100)
    assert (tile.x1, tile.y1, tile.x2, tile.y2) == inside


def test_tiles_are_cut_at_the_canvas() -> None:
    tile = place_tile(0, (80, 70), 100, 100, 100)
    assert (tile.left, tile.top) == (-20, -30)
    assert (tile.x1, tile.y1, tile.x2, tile.y2) == (0, 0, 80, 70)
    tile = place_tile(3, (150, 120), 100, 100, 100)
    assert (tile.x1, tile.y1, tile.x2, tile.y2) == (150, 120, 200, 200)


def _plain(*colours: int, shape: tuple[int, int] = (100, 100)) -> ArraySource:
    images = [np.full((*shape, 3), c, np.uint8) for c in colours]
    return ArraySource(images, [objects((i, 10, 20, 50, 60)) for i in range(len(colours))])


def test_mosaic_without_transform_by_hand() -> None:
    source = _plain(10, 60, 160, 250)
    image, targets = mosaic(source, MosaicDraw((0, 1, 2, 3), (60, 70), IDENTITY), 100)
    assert image.shape == (100, 100, 3)
    assert (image[:70, :60] == 10).all()
    assert (image[:70, 60:] == 60).all()
    assert (image[70:, :60] == 160).all()
    assert (image[70:, 60:] == 250).all()
    # Tile 0's own corner lies at (60 - 100, 70 - 100), tile 3's at (60, 70).
    assert targets.boxes_xyxy.tolist() == [
        [0, 0, 10, 30],
        [70, 0, 100, 30],
        [0, 90, 10, 100],
        [70, 90, 100, 100],
    ]
    assert targets.labels.tolist() == [0, 1, 2, 3]


def test_what_no_tile_covers_is_114() -> None:
    source = _plain(10, 60, 160, 250, shape=(50, 100))
    image, _ = mosaic(
        source, MosaicDraw((0, 1, 2, 3), (100, 100), affine_matrix(0, 0.25, (0, 0), (10, 20))), 100
    )
    assert (image[:, :9] == 114).all()
    assert (image[34:44, 11:34] == 10).all(), "canvas rows 50…100 are output rows 32.5…45"
    assert (image[21:31] == 114).all(), "above the tiles lies canvas without a tile"
    assert (image[71:] == 114).all()


def test_images_that_do_not_show_are_not_opened() -> None:
    source = _plain(10, 60, 160, 250)
    mosaic(source, MosaicDraw((0, 1, 2, 3), (140, 140), affine_matrix(0, 2.0, (0, 0), (0, 0))), 100)
    assert source.opened == [(0, 1)]
    source.opened.clear()
    _, targets = mosaic(
        source, MosaicDraw((0, 1, 2, 3), (100, 100), affine_matrix(0, 0.25, (0, 0), (0, 0))), 100
    )
    assert source.opened == [(0, 4), (1, 4), (2, 4), (3, 4)]
    assert targets.boxes_xyxy[3].tolist() == [27.5, 30, 37.5, 40]


@pytest.mark.parametrize(
    ("scale", "reduction"), [(2.0, 1), (0.51, 1), (0.5, 2), (0.26, 2), (0.25, 4), (0.01, 8)]
)
def test_reduction_keeps_a_pixel_per_pixel(scale: float, reduction: int) -> None:
    assert reduction_for(scale) == reduction


def _by_canvas(
    source: ArraySource, draw: MosaicDraw, size: int
) -> tuple[np.ndarray, ImageTargets, np.ndarray]:
    """The plain way: resize each image, paste it into a canvas, warp the canvas.

    Also returns where the output is at least two pixels away from the border of a tile.
    """
    owners = np.zeros((2 * size, 2 * size), np.uint8)
    canvas = np.full((2 * size, 2 * size, 3), 114, np.uint8)
    parts = []
    for quadrant, index in enumerate(draw.indices):
        height, width = fit_size(*source.size(index), size)
        small = cv2.resize(source.images[index], (width, height), interpolation=cv2.INTER_AREA)
        tile = place_tile(quadrant, draw.centre, height, width, size)
        canvas[tile.y1 : tile.y2, tile.x1 : tile.x2] = small[
            tile.y1 - tile.top : tile.y2 - tile.top, tile.x1 - tile.left : tile.x2 - tile.left
        ]
        owners[tile.y1 : tile.y2, tile.x1 : tile.x2] = quadrant + 1
        boxes, labels = source.objects(index)
        moved = boxes * fit_ratio(*source.size(index), size) + [tile.left, tile.top, tile.left, tile.top]
        parts.append(ImageTargets(moved.clip(0, 2 * size).astype(np.float32), labels))
    targets = join(parts)
    warped = cv2.warpAffine(canvas, draw.matrix, (size, size), borderValue=(114, 114, 114))
    wider = compose(np.array([[1.0, 0, 4], [0, 1, 4]]), draw.matrix)
    shown = cv2.warpAffine(owners, wider, (size + 8, size + 8), flags=cv2.INTER_NEAREST)
    interior = (cv2.morphologyEx(shown, cv2.MORPH_GRADIENT, np.ones((5, 5))) == 0)[4:-4, 4:-4]
    boxes = transform_boxes(targets.boxes_xyxy, draw.matrix, size)
    return warped, ImageTargets(boxes, targets.labels), interior


@pytest.mark.parametrize("seed", range(12))
def test_painting_tiles_equals_warping_a_canvas(seed: int) -> None:
    rng = _rng(seed)
    shapes = [(120, 160), (200, 90), (75, 75), (64, 333)]
    images = [gradient(*shape, blue=40 + 60 * i) for i, shape in enumerate(shapes)]
    source = ArraySource(images, [objects((i, 5, 6, 60, 50)) for i in range(4)])
    draw = draw_mosaic(rng, 0, 4, 128, AugmentationConfig(mosaic_scale=(0.3, 1.7)))
    image, targets = mosaic(source, draw, 128)
    expected, wanted, interior = _by_canvas(source, draw, 128)
    difference = np.abs(image.astype(int) - expected).max(axis=-1)
    # On smooth pictures the number of interpolations does not matter, except where tiles meet.
    assert interior.mean() > 0.7
    assert difference[interior].max() <= 4
    assert np.allclose(targets.boxes_xyxy, wanted.boxes_xyxy, atol=1e-3)
    assert targets.labels.tolist() == wanted.labels.tolist()


def test_a_dot_is_drawn_where_its_box_goes() -> None:
    """Pixels and boxes go through the same transform, whatever the sizes."""
    for seed in range(25):
        rng = _rng(seed)
        height, width = rng.integers(60, 300, 2).tolist()
        x, y = int(rng.integers(8, width - 16)), int(rng.integers(8, height - 16))
        image = np.zeros((height, width, 3), np.uint8)
        image[y : y + 12, x : x + 12] = 255
        source = ArraySource([image] * 4, [objects((0, x, y, x + 12, y + 12))] * 4)
        draw = draw_mosaic(rng, 0, 4, 200, AugmentationConfig(mosaic_scale=(0.5, 1.5)))
        output, targets = mosaic(source, draw, 200)
        seen = np.zeros((200, 200), bool)
        for x1, y1, x2, y2 in targets.boxes_xyxy.tolist():
            if min(x2 - x1, y2 - y1) < 4:
                continue
            middle = output[int((y1 + y2) / 2), int((x1 + x2) / 2)]
            assert middle.min() > 180, (seed, x1, y1, x2, y2)
        for x1, y1, x2, y2 in targets.boxes_xyxy.round().astype(int).tolist():
            seen[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2] = True
        assert not (output[~seen].min(axis=-1) > 180).any()


def test_mosaic_draws() -> None:
    rng = _rng()
    draws = [draw_mosaic(rng, 7, 1000, 100, AugmentationConfig()) for _ in range(2000)]
    assert {d.indices[0] for d in draws} == {7}
    others = np.array([d.indices[1:] for d in draws])
    assert others.min() < 5
    assert others.max() > 994
    centres = np.array([d.centre for d in draws])
    assert (centres.min(), centres.max()) == (50, 149)
    assert np.abs(centres.mean(axis=0) - 99.5).max() < 3
    matrices: list[Matrix] = [d.matrix for d in draws]
    assert len({m[0, 2] for m in matrices}) == 2000


# MixUp


def test_mixup_by_hand_smaller_than_the_output() -> None:
    source = _plain(200, shape=(60, 100))
    base = np.full((100, 100, 3), 100, np.uint8)
    image, targets = mixup(source, MixUpDraw(0, 80, False, (0, 0)), base, objects((5, 1, 2, 3, 4)))
    assert (image[:48, :80] == 150).all()
    assert (image[48:80, :80] == 107).all(), "grey below the picture, inside its square"
    assert (image[80:] == 50).all(), "black beyond the square"
    assert (image[:, 80:] == 50).all()
    assert targets.labels.tolist() == [5, 0]
    assert np.allclose(targets.boxes_xyxy, [[1, 2, 3, 4], [8, 16, 40, 48]])


def test_mixup_by_hand_larger_flipped_and_cropped() -> None:
    image = np.zeros((50, 100, 3), np.uint8)
    image[:, 50:] = 200
    source = ArraySource([image], [objects((0, 10, 20, 30, 40))])
    base = np.zeros((100, 100, 3), np.uint8)
    mixed, targets = mixup(source, MixUpDraw(0, 150, True, (30, 10)), base, empty_targets())
    # 150×75 after scaling; flipped, the bright half is columns 0…75; the window starts at (30, 10).
    assert (mixed[:65, :44] == 100).all()
    assert (mixed[:65, 46:] == 0).all()
    assert (mixed[65:] == 57).all()
    # x: 10…30 → 15…45 → 105…135 → 75…105, cut at 100. y: 20…40 → 30…60 → 20…50.
    assert np.allclose(targets.boxes_xyxy, [[75, 20, 100, 50]])


def test_mixup_rounds_the_mean_down() -> None:
    source = _plain(101, shape=(10, 10))
    image, _ = mixup(
        source, MixUpDraw(0, 10, False, (0, 0)), np.full((10, 10, 3), 100, np.uint8), empty_targets()
    )
    assert (image == 100).all()


# Samples


def test_small_objects_are_dropped() -> None:
    targets = objects((0, 0, 0, 1, 9), (1, 0, 0, 1.5, 9), (2, 3, 3, 3, 3), (3, 0, 0, 2, 2))
    assert drop_small(targets).labels.tolist() == [1, 3]
    assert drop_small(empty_targets()).labels.tolist() == []


def test_join_of_nothing() -> None:
    assert join([]).boxes_xyxy.shape == (0, 4)
