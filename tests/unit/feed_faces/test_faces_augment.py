"""Every way a face is varied: its range, its direction, and that the same key gives the same."""

from __future__ import annotations

import attrs
import cv2
import numpy as np
import pytest
import two_passes
from face_files import plain_picture
from fs_feed_faces import augment
from fs_feed_faces.augmentation_params import (
    AugmentationParams,
    RandomNumbers,
    color_tables,
    draw_numbers,
    movements,
    warps,
)
from fs_feed_faces.options import AugmentationOptions

STILL = AugmentationOptions(
    zoom_amount=0, rotation_range=0, shift_range=0, color_lightness=0, color_ab=0,
    color_clahe_chance=0, flip_chance=0,
)  # fmt: skip


def only(**options: int) -> AugmentationOptions:
    base = {name: getattr(STILL, name) for name in STILL.__slots__ if not name.startswith("__")}
    return AugmentationOptions(**{**base, **options})


def numbers(count: int = 1, key: int = 1) -> RandomNumbers:
    return draw_numbers(1, key, "a", range(count))


def varied(image: np.ndarray, options: AugmentationOptions, count: int, key: int = 1):
    """The picture recolored ``count`` times."""
    how = AugmentationParams.make(numbers(count, key), options, len(image))
    tables = color_tables(how.changes)
    return [
        augment.narrow(augment.vary_color(image, tables[i], how.tiles[i])) for i in range(count)
    ]


@pytest.fixture
def picture() -> np.ndarray:
    image = plain_picture(1, 64, 64)
    image.setflags(write=False)
    return image


def lab_mean(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_BGR2LAB).reshape(-1, 3).mean(axis=0)


def test_nothing_asked_for_leaves_the_picture_alone(picture):
    (colored,) = varied(picture, STILL, 1)
    assert cv2.absdiff(colored, picture).mean() < 2, "only the way to Lab and back"
    assert movements(numbers(), STILL, 64) is None


def test_lightness_moves_both_ways_within_its_range():
    gray = np.full((64, 64, 3), 119, np.uint8)
    level = lab_mean(gray)[0]
    seen = [lab_mean(image)[0] for image in varied(gray, only(color_lightness=30), 200)]
    assert min(seen) >= level * 0.7 - 2
    assert max(seen) <= level + (255 - level) * 0.3 + 2
    assert min(seen) < level * 0.75
    assert max(seen) > level + (255 - level) * 0.25


def test_color_moves_a_and_b_independently_and_leaves_lightness():
    gray = np.full((64, 64, 3), 119, np.uint8)
    images = varied(gray, only(color_ab=8), 200)
    seen = np.array([lab_mean(image) - lab_mean(gray) for image in images])
    assert np.abs(seen[:, 0]).max() <= 2
    assert 8 < np.abs(seen[:, 1:]).max() <= 128 * 0.08 + 2
    assert abs(np.corrcoef(seen[:, 1], seen[:, 2])[0, 1]) < 0.2


def test_local_contrast_is_evened_out_by_chance(picture):
    flat = (picture // 8 + 100).astype(np.uint8)
    spreads = np.array([image.std() for image in varied(flat, only(color_clahe_chance=50), 200)])
    changed = spreads > flat.std() * 1.2
    assert 0.38 < changed.mean() < 0.62
    assert len(np.unique(spreads[changed].round(3))) >= 4, "several grids are used"


@pytest.mark.parametrize("size", [64, 128])
def test_movement_stays_in_its_ranges_and_reaches_them(size):
    options = AugmentationOptions(rotation_range=10, zoom_amount=5, shift_range=4, flip=False)
    middle = np.array([(size - 1) / 2, (size - 1) / 2, 1])
    matrices = movements(numbers(500), options, size)
    angles = np.degrees(np.arctan2(matrices[:, 0, 1], matrices[:, 0, 0]))
    scales = np.hypot(matrices[:, 0, 0], matrices[:, 0, 1])
    shifts = matrices @ middle - middle[:2]
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
    (matrix,) = movements(numbers(), AugmentationOptions(shift_range=25), 64)
    assert (augment.move(flat, matrix) == 90).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_masks_move_as_the_picture_does(picture, count):
    (matrix,) = movements(numbers(), AugmentationOptions(), 64)
    moved = augment.move(augment.widen(picture), matrix)
    planes = [np.ascontiguousarray(picture[..., i]) for i in range(count)]
    for i, plane in enumerate(augment.move_planes(planes, matrix)[:count]):
        np.testing.assert_array_equal(plane, moved[..., i])


@pytest.mark.parametrize("chance", [0, 50, 75])
def test_flips_come_as_often_as_asked(chance):
    options = attrs.evolve(STILL, flip_chance=chance, rotation_range=1)
    turned = movements(numbers(1000), options, 64)[:, 0, 0] < 0
    assert np.mean(turned) == pytest.approx(chance / 100, abs=0.04)


@pytest.mark.parametrize("size", [32, 64, 160])
def test_a_warp_without_noise_is_the_identity(size):
    image = augment.widen(plain_picture(2, size, size))
    still = RandomNumbers(np.full((1, 10), 0.5), np.zeros((1, 5, 5, 2)))
    how = AugmentationParams.make(still, AugmentationOptions(color=False, flip=False), size)
    seen = augment.resample(image, augment.spread(how.sources[0], size))
    augment.blacken(seen, how.borders[0])
    np.testing.assert_array_equal(seen, image)


@pytest.mark.parametrize("size", [64, 128])
def test_a_warp_moves_pixels_by_its_noise_without_drift(size):
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1)
    made = warps(numbers(200), size).astype(np.float32)
    moved = np.array([augment.spread(points, size) - 0.5 for points in made]) - grid
    assert abs(moved.mean()) < size * 5 / 256 * 0.1
    # Between the points of the grid the noise of neighbours is averaged, so it is below sigma.
    assert size * 5 / 256 * 0.55 < moved.std() < size * 5 / 256
    assert abs(np.corrcoef(moved[..., 0].ravel(), moved[..., 1].ravel())[0, 1]) < 0.1


def test_beyond_the_border_a_warp_is_black():
    """By as much as in a warp of its own, whichever edge it is."""
    white = np.full((64, 64, 3), 255, np.uint8)
    how = AugmentationParams.make(numbers(40), AugmentationOptions(), 64)
    darker = []
    for row in range(40):
        seen = np.full((64, 64, 4), 255, np.uint8)
        augment.blacken(seen, how.borders[row])
        known = two_passes.warped(white, numbers(40), row)
        assert cv2.absdiff(augment.narrow(seen), known).mean() < 4
        darker.append(known.mean() - augment.narrow(seen).mean())
        assert seen[32, 32].min() == 255
    assert abs(np.mean(darker)) < 0.2


def test_a_row_of_numbers_depends_on_no_other():
    """Nor on how many there are, nor on which of them are asked for."""
    whole, part = numbers(9), draw_numbers(1, 1, "a", range(2, 9, 3))
    np.testing.assert_array_equal(whole.uniform[2:9:3], part.uniform)
    np.testing.assert_array_equal(whole.normal[2:9:3], part.normal)
    rows = {row.tobytes() for key in (1, 2) for row in numbers(9, key).normal}
    assert len(rows) == 18


# --- the way of one pass against that of two ---


@pytest.mark.parametrize(("size", "near"), [(64, 2.5), (128, 1.5), (200, 1.5)])
def test_one_map_gives_what_movement_and_warp_give_one_after_the_other(size, near):
    """Each picture is nearly the same; on average they are as bright and as rich in contrast."""
    options = AugmentationOptions()
    count = 24
    drawn = numbers(count)
    how = AugmentationParams.make(drawn, options, size)
    tables = color_tables(how.changes)
    apart, ours, theirs = [], [], []
    for row in range(count):
        image = plain_picture(row, size, size)
        colored = augment.vary_color(image, tables[row], how.tiles[row])
        target = augment.narrow(augment.move(colored, how.matrices[row]))
        seen = augment.resample(colored, augment.spread(how.sources[row], size))
        augment.blacken(seen, how.borders[row])
        known = two_passes.recolored(image, options, drawn, row)
        assert cv2.absdiff(augment.narrow(colored), known).max() <= 1
        known = two_passes.moved(known, options, drawn, row)
        assert cv2.absdiff(target, known).max() <= 2
        known = two_passes.warped(known, drawn, row)
        apart.append(cv2.absdiff(augment.narrow(seen), known).mean())
        ours.append([augment.narrow(seen).mean(), augment.narrow(seen).std()])
        theirs.append([known.mean(), known.std()])
    assert max(apart) < near
    np.testing.assert_allclose(ours, theirs, atol=1.5)
    np.testing.assert_allclose(np.mean(ours, axis=0), np.mean(theirs, axis=0), atol=0.5)


def test_one_key_gives_one_picture_and_another_another(picture):
    one, again, other = (varied(picture, AugmentationOptions(), 1, key)[0] for key in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert cv2.absdiff(one, other).mean() > 2
