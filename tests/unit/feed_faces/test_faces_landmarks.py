"""Landmarks in batches lie on what is drawn there, wherever augmentation has moved it."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
import torch
from face_files import face_png, fill, landmarks_in_frame, make_header, make_spec, mean_landmarks
from feed_batches import NO_DISK, PLAIN, InOrder, batches, make_config, same
from fs_faces.constants import MEAN_FACE_51, MIRROR_68
from fs_faces.geometry import align, crop_matrix, transform
from fs_faces.header import format_header, write_header
from fs_feed_faces import open_feed
from fs_feed_faces.options import AugmentationOptions, CacheOptions, FaceOptions
from fs_kernel.errors import FacesError

#: Landmarks that are marked, each by a color: outer corners of the eyes and the mouth, tip of the
#: nose, a point of the right brow.
MARKS = {
    36: (255, 0, 0),
    45: (0, 255, 0),
    48: (0, 0, 255),
    54: (255, 255, 0),
    30: (255, 0, 255),
    24: (0, 255, 255),
}
STORED = 256
#: Everything moves; half of the faces are mirrored.
MOVES = AugmentationOptions(color=False, rotation_range=20, zoom_amount=10, flip_chance=50)
ON = CacheOptions(device="on")


def marked_png(seed: int) -> bytes:
    """Return a black head with a colored disc on each landmark of `MARKS`."""
    points = landmarks_in_frame(seed)
    pixels = transform(points, crop_matrix(align(points), STORED, "head"))
    head = np.zeros((STORED, STORED, 3), np.uint8)
    for mark, color in MARKS.items():
        center = np.rint(pixels[mark] * 16).astype(int).tolist()
        cv2.circle(head, center, 5 * 16, color, -1, cv2.LINE_AA, 4)
    png = cv2.imencode(".png", head)[1].tobytes()
    return write_header(png, format_header(make_header(points, f"{seed}.png")))


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """Two sides of marked faces."""
    root = tmp_path_factory.mktemp("marked")
    for side, start in (("a", 0), ("b", 100)):
        (root / side).mkdir()
        for seed in range(start, start + 25):
            (root / side / f"{seed:04d}.png").write_bytes(marked_png(seed))
    return {side: root / side for side in "ab"}


def centers(picture: np.ndarray) -> dict[int, np.ndarray]:
    """Return where each mark lies, x and y in pixels, from the picture alone.

    Args:
        picture: ``(h, h, 3)`` 0..1, BGR.
    """
    found = {}
    for mark, color in MARKS.items():
        wanted = np.array(color) / 255
        # How much of the mark's color a pixel has, less what it has of any other.
        weight = (picture[..., wanted > 0].min(-1) - picture[..., wanted == 0].max(-1)).clip(0)
        rows, columns = np.indices(weight.shape)
        found[mark] = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    return found


@pytest.mark.parametrize("disk", [NO_DISK, CacheOptions(), ON], ids=["cut", "cached", "device"])
@pytest.mark.parametrize(
    "face",
    [
        FaceOptions(mask_type="none"),
        FaceOptions(mask_type="none", coverage=75, vertical_offset=10),
        FaceOptions(mask_type="none", centering="head"),
    ],
    ids=["face", "near", "head"],
)
def test_landmarks_lie_on_what_was_drawn_there(marked, face, disk):
    spec = make_spec(64, 16, sizes=(64, 128), masks=("landmarks",))
    config = make_config(face=face, augmentation=MOVES, disk=disk)
    seen = {True: 0, False: 0}
    for batch in batches(marked, spec, config, 2):
        assert set(batch.meta.landmarks) == {"a", "b"}
        for side, points in batch.meta.landmarks.items():
            assert points.shape == (16, 68, 2)
            assert points.dtype == torch.float32
            for output, size in enumerate((64, 128)):
                for row, picture in enumerate(batch.targets[side][output].numpy()):
                    places = centers(picture)
                    flipped = bool(places[36][0] > places[45][0])
                    seen[flipped] += 1
                    for mark, place in places.items():
                        number = MIRROR_68[mark] if flipped else mark
                        at = points[row, number].numpy() * size - 0.5
                        assert np.abs(at - place).max() < 1
    assert min(seen.values()) > 10


def test_every_point_of_a_mirrored_face_has_its_counterpart_s_number():
    """The mean face and its mirror image are alike, point by point."""
    assert sorted(MIRROR_68) == list(range(68))
    assert [MIRROR_68[MIRROR_68[i]] for i in range(68)] == list(range(68))
    face = mean_landmarks()
    middle = MEAN_FACE_51[10:14, 0].mean()
    mirrored = face * (-1, 1) + (2 * middle, 0)
    nearest = np.linalg.norm(mirrored[:, None] - face[None], axis=2).argmin(axis=1)
    assert nearest.tolist() == list(MIRROR_68)


def test_without_movement_they_are_the_crop_s(marked):
    spec = make_spec(64, 4, masks=("landmarks",))
    face = FaceOptions(mask_type="none", centering="head", coverage=100)
    (batch,) = batches(marked, spec, make_config(face=face, augmentation=PLAIN), 1)
    for row in range(4):
        points = landmarks_in_frame(row)
        pixels = transform(points, crop_matrix(align(points), STORED, "head"))
        np.testing.assert_allclose(
            batch.meta.landmarks["a"][row], (pixels + 0.5) / STORED, atol=1e-5
        )


def test_the_device_has_the_same(marked):
    spec = make_spec(64, 8, masks=("landmarks", "eye"))
    pair = [
        batches(marked, spec, make_config(augmentation=MOVES, disk=d), 3) for d in (NO_DISK, ON)
    ]
    for one, other in zip(*pair, strict=True):
        for side in "ab":
            assert torch.equal(one.meta.landmarks[side], other.meta.landmarks[side])
            assert set(one.meta.masks[side]) == {"eye"}


@pytest.mark.parametrize("disk", [NO_DISK, ON], ids=["cpu", "device"])
def test_resuming_workers_and_processes_change_no_bit(marked, disk):
    spec = make_spec(batch=6, masks=("landmarks",))
    whole = batches(marked, spec, make_config(augmentation=MOVES, disk=disk), 5)
    other = make_config(3, augmentation=MOVES, disk=disk, pre_fetch=4)
    assert all(map(same, whole, batches(marked, spec, other, 5)))
    assert all(map(same, whole[3:], batches(marked, spec, other, 2, first=4)))
    half = make_spec(batch=6, masks=("landmarks",), local_indices=range(1, 6, 2))
    part = batches(marked, half, other, 1)[0].meta.landmarks["b"]
    assert torch.equal(part, whole[0].meta.landmarks["b"][1::2])


def test_the_warp_to_landmarks_moves_no_target(marked):
    spec = make_spec(masks=("landmarks",))
    warped = AugmentationOptions(color=False, warp_to_landmarks=True)
    (one,) = batches(marked, spec, make_config(augmentation=warped), 1)
    plain = AugmentationOptions(color=False, warp=False)
    (other,) = batches(marked, spec, make_config(augmentation=plain), 1)
    assert torch.equal(one.meta.landmarks["a"], other.meta.landmarks["a"])
    assert torch.equal(one.targets["a"][0], other.targets["a"][0])


def test_a_face_that_takes_another_s_place_brings_its_landmarks(marked, tmp_path):
    folders = {side: shutil.copytree(path, tmp_path / side) for side, path in marked.items()}
    spec = make_spec(masks=("landmarks",))
    config = make_config(augmentation=PLAIN, disk=NO_DISK, cache=0, pre_fetch=1)
    (known,) = batches(folders, spec, config, 1)
    feed = open_feed(folders, spec, config)
    (folders["a"] / "0001.png").write_bytes(b"no picture")
    feed.start(InOrder(feed.sizes, 4), 1)
    with pytest.warns(UserWarning, match=r"0001\.png"):
        batch = feed.next()
    feed.close()
    assert batch.meta.indices["a"].tolist() == [0, 2, 2, 3]
    expected = known.meta.landmarks["a"][[0, 2, 2, 3]]
    assert torch.equal(batch.meta.landmarks["a"], expected)


def test_faces_without_landmarks_are_counted(marked, tmp_path):
    folder = fill(tmp_path / "few", 24)
    (folder / "x1.png").write_bytes(face_png(1, points=lambda points: points[-51:]))
    (folder / "x2.png").write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3)))[1].tobytes())
    folders = {**marked, "b": folder}
    with pytest.raises(
        FacesError,
        match=r"the run needs faces with 68 landmarks; 2 of 26 in .*few have none or others "
        r"\(x1\.png, x2\.png\); take them out, or train without the loss, objective or trainer",
    ):
        batches(folders, make_spec(masks=("landmarks",)), make_config(), 1)
    (batch,) = batches(folders, make_spec(masks=("eye",)), make_config(), 1)
    assert batch.meta.landmarks == {}
