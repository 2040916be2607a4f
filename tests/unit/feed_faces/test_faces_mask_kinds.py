"""Every kind of mask, from the file to the batch, at every centering and offset."""

from __future__ import annotations

import zlib
from pathlib import Path

import attrs
import cv2
import numpy as np
import pytest
from face_files import FRAME, landmarks_in_frame, make_header, make_spec
from feed_batches import PLAIN, batches, make_config
from fs_faces import masks
from fs_faces.constants import DRAWN_MASKS, STORED_MASKS
from fs_faces.geometry import align, crop_matrix, transform
from fs_faces.header import StoredMask, format_header, write_header
from fs_feed_faces import open_feed
from fs_feed_faces.crops import Cropper
from fs_feed_faces.options import FaceOptions
from fs_feed_faces.source import open_faces
from fs_kernel.errors import ConfigError

CENTERINGS = ("face", "head", "legacy")


def area(landmarks: np.ndarray) -> np.ndarray:
    """The frame's mask: the hull of eyes, nose and mouth."""
    frame = np.zeros(FRAME, np.uint8)
    cv2.fillConvexPoly(frame, cv2.convexHull(np.rint(landmarks[27:]).astype(np.int32)), 255)
    return frame


def stored_as(landmarks: np.ndarray, centering: str, size: int = 128) -> StoredMask:
    matrix = crop_matrix(align(landmarks), size, centering)
    image = cv2.warpAffine(area(landmarks), matrix, (size, size))
    return StoredMask(zlib.compress(image.tobytes()), matrix, size, centering)


def with_masks(path: Path, seed: int, stored: dict[str, StoredMask]) -> None:
    """A face file with masks of its own; its picture is white where `area` is."""
    landmarks = landmarks_in_frame(seed)
    matrix = crop_matrix(align(landmarks), 96, "head")
    head = cv2.warpAffine(cv2.merge([area(landmarks)] * 3), matrix, (96, 96))
    header = attrs.evolve(make_header(landmarks, path.name, None), masks=stored)
    png = cv2.imencode(".png", head)[1].tobytes()
    path.write_bytes(write_header(png, format_header(header)))


@pytest.fixture(scope="module")
def all_masks(tmp_path_factory) -> dict[str, Path]:
    """Faces with every stored mask; the one numbered i is white above row 10 i."""
    folder = tmp_path_factory.mktemp("masks")
    for seed in range(25):
        face = stored_as(landmarks_in_frame(seed), "face")
        stored = {}
        for number, name in enumerate(STORED_MASKS, 1):
            image = np.zeros((128, 128), np.uint8)
            image[: 10 * number] = 255
            stored[name] = attrs.evolve(face, data=zlib.compress(image.tobytes()))
        with_masks(folder / f"{seed:04d}.png", seed, stored)
    return {"a": folder, "b": folder}


def config_of(**face):
    return make_config(face=FaceOptions(**face), augmentation=PLAIN)


@pytest.mark.parametrize("name", STORED_MASKS)
def test_every_stored_kind_reaches_the_batch(all_masks, name):
    spec = make_spec(128, masks=("face",), learn=True)
    config = config_of(mask_type=name, mask_blur_kernel=0)
    (batch,) = batches(all_masks, spec, config, 1)
    height = 10 * (STORED_MASKS.index(name) + 1)
    for mask in (batch.meta.masks["a"]["face"][128], batch.targets["a"][1]):
        assert mask[:, :height].min() == 1
        assert mask[:, height:].max() == 0


@pytest.mark.parametrize("name", DRAWN_MASKS)
def test_every_drawn_kind_reaches_the_batch(two_sides, name):
    config = config_of(mask_type=name)
    (batch,) = batches(two_sides, make_spec(128, masks=("face",), learn=True), config, 1)
    landmarks = landmarks_in_frame(0)
    points = transform(landmarks, crop_matrix(align(landmarks), 128, "face"))
    known = getattr(masks, name)(points, 128).astype(np.float32) / 255
    mask = batch.meta.masks["a"]["face"][128][0, ..., 0].numpy()
    assert np.abs(mask - known).mean() < 0.02
    np.testing.assert_array_equal(batch.targets["a"][1][0, ..., 0].numpy(), mask)


def test_none_is_for_runs_that_need_no_mask(two_sides):
    config = config_of(mask_type="none")
    (batch,) = batches(two_sides, make_spec(32, masks=("eye", "mouth")), config, 1)
    assert list(batch.meta.masks["a"]) == ["eye", "mouth"]
    with pytest.raises(ConfigError, match="penalized_mask_loss needs a face mask"):
        open_feed(two_sides, make_spec(32), config)
    with pytest.raises(ConfigError, match="learn_mask needs a face mask"):
        open_feed(two_sides, make_spec(32, masks=(), learn=True), config)


@pytest.mark.parametrize("stored_centering", CENTERINGS)
@pytest.mark.parametrize("centering", CENTERINGS)
@pytest.mark.parametrize("coverage", [100.0, 75.0])
def test_a_stored_mask_follows_centering_coverage_and_vertical_offset(
    tmp_path, stored_centering, centering, coverage
):
    """The picture shows the mask's own area, so both must show the same in every crop."""
    stored = stored_as(landmarks_in_frame(0), stored_centering)
    with_masks(tmp_path / "face.png", 0, {"vgg-clear": stored})
    seen = []
    for offset in (-20, 0, 15):
        options = FaceOptions(
            mask_type="vgg-clear",
            centering=centering,
            coverage=coverage,
            vertical_offset=offset,
            mask_blur_kernel=0,
        )
        file = open_faces(tmp_path, options, False, 1).files[0]
        crop = Cropper(options, 128, ("face",)).read(file)
        picture, mask = crop[..., 0] > 127, crop[..., 3] > 127
        both, either = (picture & mask).sum(), (picture | mask).sum()
        assert both / either > 0.9
        rows = np.flatnonzero(mask.any(axis=1))
        seen.append((rows[0] + rows[-1]) / 2)
    unit = {"face": 0.5, "head": 0.375, "legacy": 0.625}[centering] * 128 / (coverage / 100)
    np.testing.assert_allclose(np.diff(seen), [0.2 * unit, 0.15 * unit], atol=3)


@pytest.mark.parametrize("name", ["vgg-clear", *DRAWN_MASKS])
def test_dilation_grows_every_kind(tmp_path, name):
    with_masks(tmp_path / "face.png", 0, {"vgg-clear": stored_as(landmarks_in_frame(0), "face")})
    areas = []
    for dilation in (-4.0, 0.0, 4.0):
        options = FaceOptions(mask_type=name, mask_dilation=dilation, mask_blur_kernel=0)
        file = open_faces(tmp_path, options, False, 1).files[0]
        areas.append((Cropper(options, 128, ()).mask(file, "face") > 127).sum())
    edges = np.sqrt(areas)
    assert 2 < edges[1] - edges[0] < 14
    assert 2 < edges[2] - edges[1] < 14
