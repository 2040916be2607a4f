"""Masks drawn from landmarks, and the operations on masks."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from face_files import mean_landmarks
from fs_faces import masks
from fs_faces.geometry import align
from fs_faces.header import StoredMask

SIZE = 128
LANDMARKS = mean_landmarks() * 64 + 32  # the face crop of a face that lies in its frame as it is


def center(points: np.ndarray) -> tuple[int, int]:
    x, y = points.mean(axis=0).round().astype(int)
    return int(y), int(x)


def test_components_hold_the_face_and_not_the_brows_above():
    mask = masks.components(LANDMARKS, SIZE)
    for point in (LANDMARKS[30], LANDMARKS[36:42].mean(0), LANDMARKS[48:60].mean(0)):
        assert mask[center(point[None])] == 255
    assert mask[: int(LANDMARKS[17:27, 1].min()) - 2].max() == 0
    assert mask[int(LANDMARKS[8, 1]) + 3 :].max() == 0
    assert set(np.unique(mask)) > {0, 255}, "the edge is anti-aliased"


def test_extended_raises_the_brows_by_half_their_distance_from_the_eyes():
    mask = masks.extended(LANDMARKS, SIZE)
    components = masks.components(LANDMARKS, SIZE)
    # Outermost brow point 17 stands above eye corner 36: its top edge is half their distance up.
    brow, eye = LANDMARKS[18, 1], LANDMARKS[37, 1]
    column = round(LANDMARKS[18, 0])
    top = np.flatnonzero(mask[:, column] > 127)[0]
    assert top == pytest.approx(brow - (eye - brow) / 2, abs=2)
    assert (mask >= components).mean() > 0.999
    assert mask.astype(int).sum() > components.astype(int).sum() * 1.05


def test_eyes_and_mouth_cover_their_landmarks_and_little_else():
    eyes, mouth = masks.eyes(LANDMARKS, SIZE), masks.mouth(LANDMARKS, SIZE)
    assert min(eyes[center(LANDMARKS[36:42])], eyes[center(LANDMARKS[42:48])]) > 240
    assert eyes[center(LANDMARKS[48:60])] == 0
    assert mouth[center(LANDMARKS[48:60])] > 240
    assert mouth[center(LANDMARKS[36:42])] == 0
    for mask in (eyes, mouth):
        assert 0.01 < (mask > 127).mean() < 0.1


def test_51_landmarks_give_the_same_eyes_and_mouth():
    np.testing.assert_array_equal(masks.eyes(LANDMARKS[17:], SIZE), masks.eyes(LANDMARKS, SIZE))
    np.testing.assert_array_equal(masks.mouth(LANDMARKS[17:], SIZE), masks.mouth(LANDMARKS, SIZE))


def test_landmarks_far_outside_draw_nothing_wrong():
    assert masks.components(LANDMARKS + 1e9, SIZE).max() == 0


@pytest.mark.parametrize("percent", [-5.0, -1.0, 1.0, 5.0])
def test_dilation_grows_by_percent_of_the_edge(percent):
    square = np.zeros((200, 200), np.uint8)
    square[60:140, 60:140] = 255
    grown = masks.dilate(square, percent)
    kernel = round(200 * abs(percent) / 100) | 1
    expected = 80 + np.sign(percent) * (kernel - 1)
    assert (grown[100] > 0).sum() == expected
    np.testing.assert_array_equal(grown, grown[::-1, ::-1], "it does not move")


def test_nothing_is_written_into_the_arguments():
    landmarks = LANDMARKS.copy()
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)
    for array in (landmarks, image):
        array.setflags(write=False)
    for draw in (masks.components, masks.extended, masks.eyes, masks.mouth):
        draw(landmarks, SIZE)
    masks.dilate(image, 5.0)
    masks.blur(image, 3)
    stored = StoredMask(zlib.compress(image.tobytes()), np.eye(2, 3), SIZE)
    offsets = align(landmarks).offsets
    masks.stored(stored, offsets, "legacy", vertical_offset=0.1, threshold=4, blur_kernel=3)
