"""Every way a face is varied: its range, its direction, and that the same key gives the same."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from face_files import plain_picture
from fs_feed_faces import augment
from fs_feed_faces.options import AugmentationOptions
from fs_kernel.randomness import generator

STILL = AugmentationOptions(
    zoom_amount=0, rotation_range=0, shift_range=0, color_lightness=0, color_ab=0,
    color_clahe_chance=0, flip_chance=0,
)  # fmt: skip


def only(**options: int) -> AugmentationOptions:
    base = {name: getattr(STILL, name) for name in STILL.__slots__ if not name.startswith("__")}
    return AugmentationOptions(**{**base, **options})


def random(*key: int | str) -> np.random.Generator:
    return generator(1, *key)


@pytest.fixture
def picture() -> np.ndarray:
    image = plain_picture(1, 64, 64)
    image.setflags(write=False)
    return image


def lab_mean(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2LAB).reshape(-1, 3).mean(axis=0)


def test_nothing_asked_for_leaves_the_picture_alone(picture):
    colored = augment.vary_color(picture, STILL, random("c"))
    assert cv2.absdiff(colored, picture).mean() < 2, "only the way to Lab and back"
    matrix = augment.draw_movement(64, STILL, random("m"))
    np.testing.assert_array_equal(augment.move(picture, matrix), picture)
    assert not augment.draw_flip(STILL, random("f"))


def test_lightness_moves_both_ways_within_its_range(picture):
    grey = np.full((64, 64, 3), 119, np.uint8)
    level = lab_mean(grey)[0]
    seen = [
        lab_mean(augment.vary_color(grey, only(color_lightness=30), random(i)))[0]
        for i in range(200)
    ]
    assert min(seen) >= level * 0.7 - 2
    assert max(seen) <= level + (255 - level) * 0.3 + 2
    assert min(seen) < level * 0.75
    assert max(seen) > level + (255 - level) * 0.25


def test_color_moves_a_and_b_independently_and_leaves_lightness():
    grey = np.full((64, 64, 3), 119, np.uint8)
    seen = np.array(
        [
            lab_mean(augment.vary_color(grey, only(color_ab=8), random(i))) - lab_mean(grey)
            for i in range(200)
        ]
    )
    assert np.abs(seen[:, 0]).max() <= 2
    assert 8 < np.abs(seen[:, 1:]).max() <= 128 * 0.08 + 2
    assert abs(np.corrcoef(seen[:, 1], seen[:, 2])[0, 1]) < 0.2


def test_local_contrast_is_evened_out_by_chance(picture):
    flat = (picture // 8 + 100).astype(np.uint8)
    options = only(color_clahe_chance=50)
    spreads = np.array([augment.vary_color(flat, options, random(i)).std() for i in range(200)])
    changed = spreads > flat.std() * 1.2
    assert 0.38 < changed.mean() < 0.62
    assert len(np.unique(spreads[changed].round(3))) >= 4, "several grids are used"


@pytest.mark.parametrize("size", [64, 128])
def test_movement_stays_in_its_ranges_and_reaches_them(size):
    options = AugmentationOptions(rotation_range=10, zoom_amount=5, shift_range=4)
    middle = np.array([(size - 1) / 2, (size - 1) / 2, 1])
    angles, scales, shifts = [], [], []
    for i in range(500):
        matrix = augment.draw_movement(size, options, random(i))
        angles.append(np.degrees(np.arctan2(matrix[0, 1], matrix[0, 0])))
        scales.append(np.hypot(matrix[0, 0], matrix[0, 1]))
        shifts.append(matrix @ middle - middle[:2])
    for values, low, high in (
        (angles, -10, 10),
        (scales, 0.95, 1.05),
        (np.ravel(shifts), -0.04 * size, 0.04 * size),
    ):
        assert low <= min(values) < low * 0.95 + high * 0.05
        assert high >= max(values) > high * 0.95 + low * 0.05
        assert abs(np.mean(values) - (low + high) / 2) < (high - low) * 0.04


def test_the_border_is_continued_when_a_picture_moves():
    flat = np.full((64, 64, 2), 90, np.uint8)
    matrix = augment.draw_movement(64, AugmentationOptions(shift_range=25), random("m"))
    assert (augment.move(flat, matrix) == 90).all()


def test_picture_and_masks_move_alike(picture):
    matrix = augment.draw_movement(64, AugmentationOptions(), random("m"))
    alone = augment.move(picture, matrix)
    for channel in range(3):
        one = augment.move(picture[..., channel : channel + 1], matrix)
        np.testing.assert_array_equal(one[..., 0], alone[..., channel])


@pytest.mark.parametrize("chance", [0, 50, 75])
def test_flips_come_as_often_as_asked(chance):
    flips = [
        augment.draw_flip(AugmentationOptions(flip_chance=chance), random(i)) for i in range(1000)
    ]
    assert np.mean(flips) == pytest.approx(chance / 100, abs=0.04)


class Silent:
    """Normal noise that is zero."""

    def normal(self, mean: float, sigma: float, shape: tuple[int, ...]) -> np.ndarray:
        return np.zeros(shape)


@pytest.mark.parametrize("size", [32, 64, 160])
def test_a_warp_without_noise_is_the_identity(size):
    image = plain_picture(2, size, size)
    np.testing.assert_array_equal(augment.warp(image, augment.draw_warp(size, Silent())), image)


@pytest.mark.parametrize("size", [64, 128])
def test_a_warp_moves_pixels_by_its_noise_without_drift(size):
    grid_y, grid_x = np.mgrid[:size, :size]
    moved = np.array([augment.draw_warp(size, random(i)) for i in range(200)])
    moved -= np.stack([grid_x, grid_y])
    assert abs(moved.mean()) < size * 5 / 256 * 0.1
    # Between the points of the grid the noise of neighbours is averaged, so it is below sigma.
    assert size * 5 / 256 * 0.55 < moved.std() < size * 5 / 256
    assert abs(np.corrcoef(moved[:, 0].ravel(), moved[:, 1].ravel())[0, 1]) < 0.1


def test_beyond_the_border_a_warp_is_black():
    white = np.full((64, 64, 3), 255, np.uint8)
    seen = [augment.warp(white, augment.draw_warp(64, random(i))) for i in range(20)]
    assert min(image.min() for image in seen) == 0
    assert all(image[32, 32].min() == 255 for image in seen)


def test_one_key_gives_one_picture_and_another_another(picture):
    options = AugmentationOptions()

    def vary(key: int) -> np.ndarray:
        image = augment.vary_color(picture, options, random(key, "color"))
        image = augment.move(image, augment.draw_movement(64, options, random(key, "movement")))
        return augment.warp(image, augment.draw_warp(64, random(key, "warp")))

    np.testing.assert_array_equal(vary(1), vary(1))
    assert cv2.absdiff(vary(1), vary(2)).mean() > 2
