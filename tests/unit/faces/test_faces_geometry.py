"""Alignment and crops against numbers found another way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from face_files import draw_frame, landmarks_in_frame, mean_landmarks
from fs_faces.constants import MAP_98_TO_68, MEAN_FACE_51
from fs_faces.geometry import (
    Box,
    align,
    crop_box,
    crop_matrix,
    cut,
    landmarks_in_crop,
    resize,
    similarity,
    transform,
)
from fs_faces.header import read_header

#: The landmark that takes each one's place in the mirror.
MIRRORED = [
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_similarity_recovers_a_known_one(seed):
    random = np.random.default_rng(seed)
    angle, scale, shift = random.uniform(-3, 3), random.uniform(0.01, 50), random.uniform(-9, 9, 2)
    known = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    points = random.normal(0, 3, (20, 2))
    found = similarity(points, points @ known.T + shift)
    np.testing.assert_allclose(found, np.column_stack([known, shift]), atol=1e-9)


def test_similarity_is_the_least_squares_one():
    random = np.random.default_rng(3)
    source, target = random.normal(0, 1, (30, 2)), random.normal(0, 1, (30, 2))
    # x' = a x - b y + s, y' = b x + a y + t as a linear system in a, b, s, t.
    x, y = source.T
    one, none = np.ones(30), np.zeros(30)
    system = np.concatenate(
        [np.stack([x, -y, one, none], 1), np.stack([y, x, none, one], 1)], axis=0
    )
    a, b, s, t = np.linalg.lstsq(system, target.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity(source, target), [[a, -b, s], [b, a, t]], atol=1e-12)


def test_similarity_never_mirrors():
    points = mean_landmarks()
    found = similarity(points * (-1, 1), points)
    assert np.linalg.det(found[:, :2]) > 0


def test_an_aligned_mean_face_lies_on_the_mean_face():
    points = mean_landmarks() * 70 + (30, 40)
    alignment = align(points)
    np.testing.assert_allclose(transform(points, alignment.matrix)[17:], MEAN_FACE_51, atol=1e-9)


@pytest.mark.parametrize(
    ("size", "centering", "coverage", "left", "right"),
    [
        (256, "legacy", 1.0, 48, 208),
        (256, "face", 1.0, 64, 192),
        (256, "head", 1.0, 80, 176),
        (256, "face", 0.8, 48, 208),
        (128, "face", 0.875, 27, 101),
    ],
)
def test_padding(size, centering, coverage, left, right):
    alignment = align(mean_landmarks() * 50)
    matrix = crop_matrix(alignment, size, centering, coverage)
    corners = np.array([[0, 0], [1, 1]]) + alignment.offsets[centering]
    frame = transform(corners, cv2.invertAffineTransform(alignment.matrix))
    np.testing.assert_allclose(transform(frame, matrix), [[left] * 2, [right] * 2], atol=1e-6)


@pytest.mark.parametrize("centering", ["face", "head", "legacy"])
def test_frame_to_crop_and_back(centering):
    landmarks = landmarks_in_frame(1)
    matrix = crop_matrix(align(landmarks), 200, centering, 0.9, 0.1)
    there = transform(landmarks, matrix)
    back = transform(there, cv2.invertAffineTransform(matrix))
    np.testing.assert_allclose(back, landmarks, atol=1e-9)


def test_a_mirrored_face_looks_the_other_way():
    landmarks = landmarks_in_frame(2)
    turned = landmarks + [6, 0] * (np.abs(np.arange(68) - 30) < 6)[:, None]
    mirrored = (turned * (-1, 1) + (400, 0))[MIRRORED]
    one, other = align(turned), align(mirrored)
    assert abs(one.yaw) > 2
    assert one.yaw == pytest.approx(-other.yaw, abs=1e-3)
    assert one.pitch == pytest.approx(other.pitch, abs=1e-3)
    for centering in ("face", "head"):
        np.testing.assert_allclose(
            one.offsets[centering] * (-1, 1), other.offsets[centering], atol=1e-5
        )


def test_a_nose_to_the_right_is_a_positive_yaw():
    landmarks = landmarks_in_frame(2)
    nose = np.isin(np.arange(68), range(27, 36))[:, None]
    assert align(landmarks + [5, 0] * nose).yaw > align(landmarks).yaw + 2


def test_four_points_have_no_offsets():
    square = np.array([[10.0, 20], [110, 20], [110, 120], [10, 120]])
    alignment = align(square)
    np.testing.assert_allclose(
        transform(square, alignment.matrix), [[0, 0], [1, 0], [1, 1], [0, 1]], atol=1e-12
    )
    assert not any(offset.any() for offset in alignment.offsets.values())
    assert (alignment.yaw, alignment.pitch) == (0, 0)


def test_51_points_align_as_68_do():
    landmarks = landmarks_in_frame(4)
    short, full = align(landmarks[17:]), align(landmarks)
    np.testing.assert_array_equal(short.matrix, full.matrix)
    np.testing.assert_allclose(short.offsets["face"], full.offsets["face"], atol=0.05)


def test_98_points_become_68():
    wide = np.full((98, 2), np.nan)
    wide[list(MAP_98_TO_68)] = landmarks_in_frame(4)
    np.testing.assert_array_equal(align(wide).landmarks, landmarks_in_frame(4))


@pytest.mark.parametrize("centering", ["face", "head", "legacy"])
@pytest.mark.parametrize("coverage", [1.0, 0.75])
@pytest.mark.parametrize("vertical_offset", [0.0, 0.2])
def test_the_crop_of_the_head_is_the_crop_of_the_frame(centering, coverage, vertical_offset):
    landmarks = landmarks_in_frame(5)
    frame, alignment = draw_frame(landmarks, 5), align(landmarks)
    head = cv2.warpAffine(frame, crop_matrix(alignment, 256, "head"), (256, 256))
    box = crop_box(alignment.offsets, 256, "head", centering, coverage, vertical_offset)
    matrix = crop_matrix(alignment, box.size, centering, coverage, vertical_offset)
    through_head = cut(head, box)
    direct = cv2.warpAffine(frame, matrix, (box.size, box.size))
    inside = cut(np.full((256, 256), 255, np.uint8), box) > 0
    difference = cv2.absdiff(through_head, direct)[inside]
    assert difference.mean() < 2.0
    ours = landmarks_in_crop(alignment, 256, box, box.size)
    np.testing.assert_allclose(ours, transform(landmarks, matrix), atol=1.5)


def test_a_vertical_offset_moves_the_face_down():
    landmarks = landmarks_in_frame(6)
    alignment = align(landmarks)
    level, lowered = (crop_box(alignment.offsets, 256, "head", "face", 1.0, v) for v in (0, 0.25))
    assert (lowered.left, lowered.size) == (level.left, level.size)
    assert level.top - lowered.top == 24  # a quarter of the unit square's 96 pixels


def test_a_smaller_coverage_is_the_middle_of_a_larger():
    offsets = align(landmarks_in_frame(6)).offsets
    full, part = (crop_box(offsets, 256, "head", "face", c) for c in (1.0, 0.75))
    assert (full.size, part.size) == (192, 144)
    assert (part.left - full.left, part.top - full.top) == (24, 24)


def test_cut_fills_with_zero_and_changes_nothing():
    picture = np.arange(1, 26, dtype=np.uint8).reshape(5, 5)
    picture.setflags(write=False)
    np.testing.assert_array_equal(cut(picture, Box(-1, 3, 3)), [[0, 16, 17], [0, 21, 22], [0] * 3])
    assert not cut(picture, Box(90, 90, 4)).any()


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 1), (8, 8, 3), (8, 8, 6)])
@pytest.mark.parametrize("size", [4, 8, 16])
def test_resize_keeps_a_flat_picture_and_its_channels(shape, size):
    resized = resize(np.full(shape, 77, np.uint8), size)
    assert resized.shape == (size, size, *shape[2:])
    assert (resized == 77).all()


def test_masks_of_real_faces_lie_where_our_geometry_says(shared_faces):
    files = sorted(shared_faces.glob("*/*.png"))[::10]
    assert len(files) >= 20
    for file in files:
        header = read_header(file.read_bytes())
        mask = header.masks["bisenet-fp_face"]
        ours = crop_matrix(align(header.landmarks), mask.size, mask.centering)
        np.testing.assert_allclose(
            transform(header.landmarks, ours), transform(header.landmarks, mask.affine), atol=1e-3
        )


def test_resize_averages_down_and_is_smooth_up():
    random = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    means = random.reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))
    assert np.abs(resize(random, 8) - means).max() <= 1
    step = np.repeat([0.0, 1.0], 16)[None].repeat(32, 0).astype(np.float32)
    enlarged = resize(step, 96)[48]
    assert enlarged.max() > 1.02, "a cubic one overshoots at an edge"
    np.testing.assert_allclose(enlarged[[3, 30, 65, 90]], [0, 0, 1, 1], atol=1e-6)


@pytest.mark.parametrize("size", [48, 192, 400])
def test_landmarks_lie_on_their_features_after_resizing(size):
    landmarks = landmarks_in_frame(8)
    alignment = align(landmarks)
    stored = 256
    box = crop_box(alignment.offsets, stored, "head", "face")
    in_head = transform(landmarks, crop_matrix(alignment, stored, "head"))
    expected = landmarks_in_crop(alignment, stored, box, size)
    grid = np.indices((stored, stored))[::-1].astype(np.float32)
    for index in (8, 30, 36, 48):
        distance = ((grid - in_head[index][:, None, None]) ** 2).sum(axis=0)
        spot = resize(cut(np.exp(-distance / 18), box), size)
        found = (spot * np.indices(spot.shape)[::-1]).sum(axis=(1, 2)) / spot.sum()
        np.testing.assert_allclose(found, expected[index], atol=0.08)
