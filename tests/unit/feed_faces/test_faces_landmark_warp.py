"""Warping to the landmarks of another side's faces."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from face_files import (
    face_png,
    fill,
    landmarks_in_frame,
    make_spec,
    mean_landmarks,
    plain_picture,
)
from feed_batches import PLAIN, InOrder, batches, make_config, same
from fs_faces.geometry import align, crop_matrix, transform
from fs_feed_faces import landmark_warp, open_feed
from fs_feed_faces.augmentation_params import draw_numbers, movements
from fs_feed_faces.crops import Cropper
from fs_feed_faces.landmark_warp import find_matches, maps, nearest, triangulate
from fs_feed_faces.landmarks import FOR_WARP, landmark_shares
from fs_feed_faces.options import AugmentationOptions, FaceOptions
from fs_feed_faces.source import open_faces
from fs_kernel.errors import FacesError
from fs_kernel.randomness import generator
from two_passes import through_maps

SIZE = 64
ONLY = AugmentationOptions(
    color=False, flip=False, zoom_amount=0, rotation_range=0, shift_range=0, warp_to_landmarks=True
)


def landmarks(seed: int, size: int = SIZE, centering: str = "face") -> np.ndarray:
    """Of a random face, in the pixels of its crop, with noise as a warp has it."""
    points = landmarks_in_frame(seed)
    noise = np.random.default_rng(seed).normal(0, size * 2 / 256, (68, 2))
    return transform(points, crop_matrix(align(points), size, centering)) + noise


def grid(size: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(size), np.arange(size)))


# --- maps ---


@pytest.mark.parametrize("size", [32, 64, 160])
def test_landmarks_that_stay_leave_the_picture_alone(size):
    points = landmarks(1, size)
    np.testing.assert_allclose(maps(size, points, points), grid(size), atol=1e-3)
    image = plain_picture(2, size, size)
    assert cv2.absdiff(through_maps(image, maps(size, points, points)), image).max() <= 1


@pytest.mark.parametrize("seed", range(4))
def test_each_pixel_is_interpolated_linearly_in_its_triangle(seed):
    source, target = landmarks(seed), landmarks(seed + 10)
    found = np.array(maps(SIZE, source, target))
    inner = [i for i in range(68) if target[i].min() > 0 and target[i].max() < SIZE - 1]
    inner = [i for i in inner if i >= 17 and source[i].min() > 0 and source[i].max() < SIZE - 1]
    anchors = np.array(
        [[x, y] for x in (0, 31.5, 63) for y in (0, 31.5, 63) if x != 31.5 or y != x]
    )
    jaw = [i for i in range(17) if landmark_warp._usable(source, SIZE)[i]]
    jaw = [i for i in jaw if landmark_warp._usable(target, SIZE)[i]]
    there = np.concatenate([target[jaw + inner], anchors]).astype(np.float32)
    here = np.concatenate([source[jaw + inner], anchors])
    pixels = grid(SIZE).reshape(2, -1).T
    error = np.full(len(pixels), np.inf)
    for corners in triangulate(there, SIZE):
        a, b, c = there[corners].astype(np.float64)
        weights = np.linalg.solve(np.stack([b - a, c - a], axis=1), (pixels - a).T)
        weights = np.stack([1 - weights.sum(axis=0), *weights], axis=1)
        within = (weights > -1e-9).all(axis=1)
        off = np.abs(weights @ here[corners] - found.reshape(2, -1).T).max(axis=1)
        error[within] = np.minimum(error, off)[within]
    assert np.isfinite(error).all(), "the triangles cover the picture"
    # On an edge the neighbour's map may be taken, up to a pixel beyond its triangle.
    assert (np.quantile(error, [0.8, 0.9, 0.99, 0.999]) < [1e-3, 0.1, 0.5, 2]).all()


@pytest.mark.parametrize("centering", ["face", "head", "legacy"])
def test_landmarks_come_to_lie_where_they_shall(centering):
    source, target = landmarks(3, 256, centering), landmarks(8, 256, centering)
    kept = landmark_warp._usable(source, 256) & landmark_warp._usable(target, 256)
    assert kept[17:].all()
    found = np.array(maps(256, source, target), np.float32)
    goals = target[kept].astype(np.float32)
    there = np.stack([cv2.remap(f, goals, None, cv2.INTER_LINEAR)[:, 0] for f in found], axis=1)
    off = np.abs(there - source[kept])
    assert np.quantile(off, 0.9) < 1
    assert off.max() < 6, "where lips lie one pixel apart, one pixel holds several triangles"
    assert np.abs(source - target)[kept].mean() > 3 * off.mean()


@pytest.mark.parametrize("size", [48, 64, 128])
def test_the_border_stays_where_it_is_and_nothing_is_undefined(size):
    for seed in range(60):
        source, target = landmarks(seed, size, "legacy"), landmarks(seed + 7, size, "legacy")
        found = np.array(maps(size, source, target))
        assert found.dtype == np.float32
        assert np.isfinite(found).all()
        assert found.min() >= 0
        assert found.max() <= size - 1
        difference = np.abs(found - grid(size))
        for edge in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
            assert difference[edge].max() < 0.5


def test_landmarks_beyond_the_picture_and_in_profile_do_no_harm():
    points = mean_landmarks() * 40 + 12
    away = points + np.array([500, 0])
    np.testing.assert_allclose(maps(SIZE, away, points), grid(SIZE), atol=1e-3)
    np.testing.assert_allclose(maps(SIZE, points, points * 1e6), grid(SIZE), atol=1e-3)
    profile = points.copy()
    profile[:9] = points[[30] * 9] + np.random.default_rng(0).normal(0, 1, (9, 2))
    usable = landmark_warp._usable(profile, SIZE)
    assert not usable[:9].any()
    assert usable[17:].all()
    found = np.array(maps(SIZE, points, profile))
    assert np.abs(np.diff(found, axis=2)).max() < 8, "no pixel is torn away"


def test_mirrored_landmarks_give_the_mirrored_warp():
    source, target = landmarks(1), landmarks(2)
    last = SIZE - 1
    x, y = maps(SIZE, source, target)
    mirrored_x, mirrored_y = maps(SIZE, source * (-1, 1) + (last, 0), target * (-1, 1) + (last, 0))
    assert np.abs(last - mirrored_x[:, ::-1] - x).mean() < 0.02
    assert np.abs(mirrored_y[:, ::-1] - y).mean() < 0.02


# --- matches ---


def random_points(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, 0.1, (count, 68, 2)).astype(np.float32)


@pytest.mark.parametrize("at_once", [1, 500, 2**23])
def test_the_nearest_are_those_of_the_full_matrix(monkeypatch, at_once):
    monkeypatch.setattr(landmark_warp, "_AT_ONCE", at_once)
    own, other = random_points(37, 1), random_points(50, 2)
    found = nearest(own, other, 10)
    distances = ((own[:, None] - other[None]) ** 2).sum(axis=(2, 3))
    np.testing.assert_array_equal(found, distances.argsort(axis=1)[:, :10])
    assert found.dtype == np.int32


def test_fewer_faces_than_matches():
    assert nearest(random_points(5, 1), random_points(3, 2), 10).shape == (5, 3)


def test_three_sides_match_each_others_faces_alike():
    points = {side: random_points(30, i) for i, side in enumerate("abc")}
    matches = find_matches(points)
    assert [m.others[0] is points["a"] for m in matches.values()] == [False, True, True]
    drawn = [matches["b"].draw(4, 1, generator(0, i))[1] + 0.5 for i in range(400)]
    sides = [min("ac", key=lambda s: np.abs(points[s] - d).mean(axis=(1, 2)).min()) for d in drawn]
    assert 0.4 < np.mean([side == "a" for side in sides]) < 0.6
    (alone,) = find_matches({"a": points["a"]}).values()
    assert alone.nearest[0][7, 0] == 7


def test_a_draw_is_a_near_face_with_a_little_noise():
    points = {"a": random_points(30, 1), "b": random_points(40, 2)}
    matches = find_matches(points)["a"]
    chosen, spread = set(), []
    for key in range(300):
        source, target = matches.draw(3, 256, generator(0, key))
        np.testing.assert_allclose(source, points["a"][3] * 256 - 0.5)
        distances = np.abs((target + 0.5) / 256 - points["b"]).mean(axis=(1, 2))
        match = int(distances.argmin())
        chosen.add(match)
        spread.append((target + 0.5) - points["b"][match] * 256)
    assert chosen == set(matches.nearest[0][3].tolist())
    assert np.std(spread) == pytest.approx(2, rel=0.05)


# --- in the feed ---


@pytest.mark.parametrize("centering", ["face", "head", "legacy"])
@pytest.mark.parametrize("offset", [0, 20])
def test_legacy_centering_and_vertical_offset_work(two_sides, centering, offset):
    """faceswap writes into a read-only array here."""
    face = FaceOptions(centering=centering, vertical_offset=offset, coverage=87.5)
    faces = {side: open_faces(two_sides[side], face, True, 25) for side in "ab"}
    cropper = Cropper(face, 64, ())
    shares = {side: landmark_shares(faces[side], cropper, FOR_WARP) for side in "ab"}
    for file, share in zip(faces["a"].files, shares["a"], strict=True):
        direct = crop_matrix(file.alignment, 1000, centering, 0.875, offset / 100)
        pixels = transform(file.alignment.landmarks, direct)
        # The crop may lie half a pixel of the stored 96 beside the exact place.
        np.testing.assert_allclose(share * 1000, pixels, atol=25)
        file.alignment.landmarks.setflags(write=False)

    spec = make_spec(64)
    (batch,) = batches(two_sides, spec, make_config(face=face, augmentation=ONLY), 1)
    (still,) = batches(two_sides, spec, make_config(face=face, augmentation=PLAIN), 1)
    matches = find_matches(shares)["a"]
    for slot in range(4):
        drawn = matches.draw(slot, 64, generator(7, 1, "a", slot, "landmarks"))
        image = (still.inputs["a"][slot].numpy() * 255).round().astype(np.uint8)
        expected = through_maps(image, maps(64, *drawn)).astype(np.float32) / 255
        np.testing.assert_allclose(batch.inputs["a"][slot], expected, atol=1.01 / 255)
        assert torch.equal(batch.targets["a"][0][slot], still.targets["a"][0][slot])


def test_the_warp_follows_movement_and_flip(two_sides):
    """A mirrored face is warped to mirrored landmarks, a turned one to turned ones."""
    moving = AugmentationOptions(color=False, rotation_range=25, warp_to_landmarks=True)
    mirror = AugmentationOptions(
        color=False, flip_chance=75, zoom_amount=0, rotation_range=0, shift_range=0,
        warp_to_landmarks=True,
    )  # fmt: skip
    (still,) = batches(two_sides, make_spec(64, 12), make_config(augmentation=ONLY), 1)
    (batch,) = batches(two_sides, make_spec(64, 12), make_config(augmentation=mirror), 1)
    flipped = 0
    for row in range(12):
        flip = torch.equal(batch.targets["a"][0][row], still.targets["a"][0][row].flip(1))
        flipped += flip
        known = still.inputs["a"][row].flip(1) if flip else still.inputs["a"][row]
        assert (batch.inputs["a"][row] - known).abs().mean() < 0.01
    assert 0 < flipped < 12

    (turned,) = batches(two_sides, make_spec(64, 4), make_config(augmentation=moving), 1)
    matrix = movements(draw_numbers(7, 1, "a", [0]), moving, 64)[0]
    faces = {side: open_faces(two_sides[side], FaceOptions(), True, 25) for side in "ab"}
    cropper = Cropper(FaceOptions(), 64, ())
    shares = {side: landmark_shares(faces[side], cropper, FOR_WARP) for side in "ab"}
    drawn = find_matches(shares)["a"].draw(0, 64, generator(7, 1, "a", 0, "landmarks"))
    image = (turned.targets["a"][0][0].numpy() * 255).round().astype(np.uint8)
    expected = through_maps(image, maps(64, *(transform(points, matrix) for points in drawn)))
    # One pass in place of two.
    assert np.abs(turned.inputs["a"][0].numpy() - expected.astype(np.float32) / 255).mean() < 0.01


@pytest.mark.parametrize("cache", [0, 64])
def test_workers_and_cache_change_no_bit(two_sides, cache):
    options = AugmentationOptions(warp_to_landmarks=True)
    alone = batches(two_sides, make_spec(), make_config(0, augmentation=options), 4)
    config = make_config(3, augmentation=options, cache=cache)
    assert all(map(same, alone, batches(two_sides, make_spec(), config, 4)))
    rest = batches(two_sides, make_spec(), config, 2, first=3)
    assert all(map(same, alone[2:], rest))


def test_without_warp_there_is_none(two_sides):
    both = AugmentationOptions(
        color=False, flip=False, zoom_amount=0, rotation_range=0, shift_range=0,
        warp=False, warp_to_landmarks=True,
    )  # fmt: skip
    (off,) = batches(two_sides, make_spec(), make_config(augmentation=both), 1)
    (still,) = batches(two_sides, make_spec(), make_config(augmentation=PLAIN), 1)
    assert same(off, still)


def with_others(folder, seeds, points):
    """A folder of good faces and some of other landmarks."""
    fill(folder, 26)
    for seed in seeds:
        (folder / f"odd{seed}.png").write_bytes(face_png(seed, points=points))
    return folder


@pytest.mark.parametrize(
    ("seeds", "points", "named"),
    [
        ([3], lambda p: p[17:], "1 of 27 in {} have none or others (odd3.png);"),
        (
            range(7),
            lambda p: p[[0, 16, 26, 17]],
            "(odd0.png, odd1.png, odd2.png, odd3.png, odd4.png and 2 more)",
        ),
    ],
    ids=["51", "4"],
)
def test_faces_of_other_landmarks_are_named(two_sides, tmp_path, seeds, points, named):
    folders = {**two_sides, "a": with_others(tmp_path / "A", seeds, points)}
    spec, face = make_spec(masks=()), FaceOptions(mask_type="none")
    with pytest.raises(FacesError, match="needs faces with 68 landmarks") as error:
        open_feed(folders, spec, make_config(face=face, augmentation=ONLY))
    assert named.format(folders["a"]) in str(error.value)


def test_plain_pictures_are_refused_when_it_is_switched_on_and_nothing_changes(tmp_path, two_sides):
    for seed in range(26):
        cv2.imwrite(str(tmp_path / f"{seed}.jpg"), plain_picture(seed))
    folders = {**two_sides, "a": tmp_path}
    feed = open_feed(folders, make_spec(), make_config())
    with pytest.raises(FacesError, match="26 of 26"):
        feed.on_options_changed(make_config(augmentation=ONLY))
    feed.start(InOrder(feed.sizes, 4), 1)
    (known,) = batches(folders, make_spec(), make_config(), 1)
    assert same(feed.next(), known)
    feed.close()
