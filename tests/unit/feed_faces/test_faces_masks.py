"""Masks drawn from landmarks and masks stored in face files."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from face_files import mean_landmarks
from fs_feed_faces import masks
from fs_feed_faces.geometry import align, crop_box
from fs_feed_faces.options import FaceOptions
from fs_feed_faces.png_header import StoredMask

SIZE = 128
LANDMARKS = mean_landmarks() * 64 + 32  # the face crop of a face that lies in its frame as it is
OFFSETS = {name: np.zeros(2) for name in ("face", "head", "legacy")}
ASIS = FaceOptions(mask_blur_kernel=0, mask_threshold=0)


def centre(points: np.ndarray) -> tuple[int, int]:
    x, y = points.mean(axis=0).round().astype(int)
    return int(y), int(x)


def stored(image: np.ndarray, centering: str = "face") -> StoredMask:
    return StoredMask(zlib.compress(image.tobytes()), np.eye(2, 3), len(image), centering)


def random_mask() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)


def test_components_hold_the_face_and_not_the_brows_above():
    mask = masks.components(LANDMARKS, SIZE)
    for point in (LANDMARKS[30], LANDMARKS[36:42].mean(0), LANDMARKS[48:60].mean(0)):
        assert mask[centre(point[None])] == 255
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
    assert min(eyes[centre(LANDMARKS[36:42])], eyes[centre(LANDMARKS[42:48])]) > 240
    assert eyes[centre(LANDMARKS[48:60])] == 0
    assert mouth[centre(LANDMARKS[48:60])] > 240
    assert mouth[centre(LANDMARKS[36:42])] == 0
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


def test_a_stored_mask_comes_back_as_it_is():
    image = random_mask()
    np.testing.assert_array_equal(masks.stored(stored(image), OFFSETS, ASIS, 1.0), image)


def test_threshold_drives_values_to_black_and_white():
    image = random_mask()
    options = FaceOptions(mask_blur_kernel=0, mask_threshold=10)
    mask = masks.stored(stored(image), OFFSETS, options, 1.0)
    assert (mask[image < 25.5] == 0).all()
    assert (mask[image > 229.5] == 255).all()
    between = (image > 25.5) & (image < 229.5)
    np.testing.assert_array_equal(mask[between], image[between])


def test_blur_softens_only_with_a_kernel():
    image = random_mask()
    options = FaceOptions(mask_blur_kernel=4, mask_threshold=0)
    blurred = masks.stored(stored(image), OFFSETS, options, 1.0)
    assert blurred.std() < image.std() / 2
    wider = FaceOptions(mask_blur_kernel=5, mask_threshold=0)  # an even kernel is made odd
    np.testing.assert_array_equal(blurred, masks.stored(stored(image), OFFSETS, wider, 1.0))


def test_F24_a_vertical_offset_moves_a_stored_mask_at_equal_centring_and_full_coverage():
    image = random_mask()
    options = FaceOptions(mask_blur_kernel=0, mask_threshold=0, vertical_offset=25)
    mask = masks.stored(stored(image), OFFSETS, options, 1.0)
    np.testing.assert_array_equal(mask[16:], image[:-16])  # a quarter of the unit square's 64
    assert mask[:16].max() == 0


def test_a_stored_mask_is_cut_as_the_picture_is():
    landmarks = mean_landmarks() * 64 + 32
    offsets = align(landmarks).offsets
    for centering in ("face", "legacy", "head"):
        options = FaceOptions(centering=centering, mask_blur_kernel=0, mask_threshold=0)
        box = crop_box(offsets, SIZE, "head", centering, 0.75)
        mask = masks.stored(stored(random_mask(), "head"), offsets, options, 0.75)
        assert mask.shape == (box.size, box.size)


def test_F29_nothing_is_written_into_what_is_given():
    landmarks, image = LANDMARKS.copy(), random_mask()
    for array in (landmarks, image):
        array.setflags(write=False)
    for draw in (masks.components, masks.extended, masks.eyes, masks.mouth):
        draw(landmarks, SIZE)
    masks.dilate(image, 5.0)
    masks.blur(image, 3)
    options = FaceOptions(centering="legacy", vertical_offset=10)
    masks.stored(stored(image), OFFSETS, options, 1.0)
    align(landmarks)
