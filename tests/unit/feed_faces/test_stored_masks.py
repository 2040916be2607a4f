"""Masks that face files store, as section ``[face]`` wants them."""

from __future__ import annotations

import zlib

import numpy as np
from face_files import mean_landmarks
from fs_faces.geometry import align, crop_box
from fs_faces.header import StoredMask
from fs_feed_faces.crops import stored_mask
from fs_feed_faces.options import FaceOptions

SIZE = 128
OFFSETS = {name: np.zeros(2) for name in ("face", "head", "legacy")}
ASIS = FaceOptions(mask_blur_kernel=0, mask_threshold=0)


def stored(image: np.ndarray, centering: str = "face") -> StoredMask:
    return StoredMask(zlib.compress(image.tobytes()), np.eye(2, 3), len(image), centering)


def random_mask() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE)).astype(np.uint8)


def test_a_stored_mask_comes_back_as_it_is():
    image = random_mask()
    np.testing.assert_array_equal(stored_mask(stored(image), OFFSETS, ASIS, 1.0), image)


def test_threshold_drives_values_to_black_and_white():
    image = random_mask()
    options = FaceOptions(mask_blur_kernel=0, mask_threshold=10)
    mask = stored_mask(stored(image), OFFSETS, options, 1.0)
    assert (mask[image < 25.5] == 0).all()
    assert (mask[image > 229.5] == 255).all()
    between = (image > 25.5) & (image < 229.5)
    np.testing.assert_array_equal(mask[between], image[between])


def test_blur_softens_only_with_a_kernel():
    image = random_mask()
    options = FaceOptions(mask_blur_kernel=4, mask_threshold=0)
    blurred = stored_mask(stored(image), OFFSETS, options, 1.0)
    assert blurred.std() < image.std() / 2
    wider = FaceOptions(mask_blur_kernel=5, mask_threshold=0)  # an even kernel is made odd
    np.testing.assert_array_equal(blurred, stored_mask(stored(image), OFFSETS, wider, 1.0))


def test_a_vertical_offset_moves_a_stored_mask_at_equal_centering_and_full_coverage():
    image = random_mask()
    options = FaceOptions(mask_blur_kernel=0, mask_threshold=0, vertical_offset=25)
    mask = stored_mask(stored(image), OFFSETS, options, 1.0)
    np.testing.assert_array_equal(mask[16:], image[:-16])  # a quarter of the unit square's 64
    assert mask[:16].max() == 0


def test_a_stored_mask_is_cut_as_the_picture_is():
    landmarks = mean_landmarks() * 64 + 32
    offsets = align(landmarks).offsets
    for centering in ("face", "legacy", "head"):
        options = FaceOptions(centering=centering, mask_blur_kernel=0, mask_threshold=0)
        box = crop_box(offsets, SIZE, "head", centering, 0.75)
        mask = stored_mask(stored(random_mask(), "head"), offsets, options, 0.75)
        assert mask.shape == (box.size, box.size)
