"""The synthetic people: files, headers, masks, and the truth about a swap."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from fs_faces import masks
from fs_faces.geometry import align, crop_matrix, transform
from fs_faces.header import FaceHeader, read_header
from fs_kernel.errors import UsageError
from fs_synthetic import draw_people

SIZE, COUNT = 128, 3
FOLDERS = ("A", "B", "A_true", "B_true")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("people")
    draw_people(folder, COUNT, SIZE, seed=3)
    return folder


def faces(folder: Path) -> list[tuple[np.ndarray, FaceHeader]]:
    found = []
    for path in sorted(folder.iterdir()):
        header = read_header(path.read_bytes())
        assert header is not None
        found.append((cv2.imread(str(path), cv2.IMREAD_UNCHANGED), header))
    return found


def in_crop(header: FaceHeader, size: int = SIZE) -> np.ndarray:
    return transform(header.landmarks, crop_matrix(align(header.landmarks), size, "head"))


def test_files_and_names(people: Path) -> None:
    names = {f: sorted(p.name for p in (people / f).iterdir()) for f in FOLDERS}
    assert names["A"] == names["B_true"] == [f"a_{i:05d}_0.png" for i in range(COUNT)]
    assert names["B"] == names["A_true"] == [f"b_{i:05d}_0.png" for i in range(COUNT)]


@pytest.mark.parametrize("folder", FOLDERS)
def test_headers_and_pictures(people: Path, folder: str) -> None:
    for (image, header), path in zip(
        faces(people / folder), sorted((people / folder).iterdir()), strict=True
    ):
        assert image.shape == (SIZE, SIZE, 3)
        assert image.dtype == np.uint8
        assert image.std() > 10
        assert header.landmarks.shape == (68, 2)
        assert header.original_filename == path.name
        height, width = header.frame_size
        assert (header.landmarks > 0).all()
        assert (header.landmarks < (width, height)).all()
        points = in_crop(header)
        assert points.min() > 0.1 * SIZE
        assert points.max() < 0.9 * SIZE


def test_same_seed_same_bytes_other_seed_other_bytes(people: Path, tmp_path: Path) -> None:
    draw_people(tmp_path / "again", 1, SIZE, seed=3)
    draw_people(tmp_path / "other", 1, SIZE, seed=4)
    for folder, name in (("A", "a_00000_0.png"), ("A_true", "b_00000_0.png")):
        first = (people / folder / name).read_bytes()
        assert (tmp_path / "again" / folder / name).read_bytes() == first
        assert (tmp_path / "other" / folder / name).read_bytes() != first


def test_processes_draw_the_same(people: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    draw_people(tmp_path, 1, SIZE, 3, lambda *at: calls.append(at), processes=2)
    assert calls == [(2, 4), (4, 4)]
    for folder, name in (("A", "a_00000_0.png"), ("B_true", "a_00000_0.png")):
        assert (tmp_path / folder / name).read_bytes() == (people / folder / name).read_bytes()


@pytest.mark.parametrize("folder", FOLDERS)
def test_stored_mask_agrees_with_landmarks(people: Path, folder: str) -> None:
    # Hulls of landmarks leave the forehead out, and hair may cover a side: hence below the brows.
    for _, header in faces(people / folder):
        stored = header.masks["bisenet-fp_face"]
        points = transform(header.landmarks, stored.affine)
        hull = masks.components(points, stored.size) > 127
        drawn = stored.image() > 127
        below = np.arange(stored.size)[:, None] > points[17:27, 1].max()
        both, either = (hull & drawn & below).sum(), ((hull | drawn) & below).sum()
        assert both / either > 0.85
        assert stored.centering == "face"


@pytest.mark.parametrize("folder", FOLDERS)
def test_head_mask_contains_face_mask(people: Path, folder: str) -> None:
    for _, header in faces(people / folder):
        face, head = (header.masks[f"bisenet-fp_{name}"] for name in ("face", "head"))
        matrix = head.affine @ np.linalg.inv(np.vstack([face.affine, [0, 0, 1]]))
        moved = cv2.warpAffine(face.image(), matrix, (head.size, head.size)) > 250
        assert moved.any()
        assert (head.image()[moved] > 127).mean() > 0.99
        assert (head.image() > 127).sum() > 1.3 * moved.sum()


def test_truth_has_the_pose_of_the_face_it_replaces(people: Path) -> None:
    replaced, truth, others = (faces(people / f) for f in ("A", "B_true", "B"))
    inner = np.s_[17:]
    for (_, mine), (_, true) in zip(replaced, truth, strict=True):
        distance = np.linalg.norm(in_crop(mine, 256)[inner] - in_crop(true, 256)[inner], axis=1)
        assert distance.mean() < 6
        assert abs(align(mine.landmarks).yaw - align(true.landmarks).yaw) < 8
        assert abs(align(mine.landmarks).pitch - align(true.landmarks).pitch) < 8
    yaws = [align(header.landmarks).yaw for _, header in replaced + others]
    assert np.ptp(yaws) > 10


def test_truth_shows_the_other_person(people: Path) -> None:
    def color(face: tuple[np.ndarray, FaceHeader]) -> np.ndarray:
        image, header = face
        x, y = np.rint(in_crop(header)[[1, 15, 30]].mean(axis=0)).astype(int)
        return image[y - 6 : y + 7, x - 6 : x + 7].reshape(-1, 3).mean(axis=0)

    for a, b in (("A", "B_true"), ("A_true", "B")):
        for dark, fair in zip(faces(people / a), faces(people / b), strict=True):
            assert (color(fair) > color(dark) + 3).all()
            difference = np.abs(dark[0].astype(float) - fair[0])
            assert difference.mean() > 5


def test_landmarks_lie_on_the_features(people: Path) -> None:
    """The lips are redder than the skin above and below them, the brows darker than the skin."""
    for image, header in faces(people / "B"):
        points = in_crop(header)
        redness = cv2.cvtColor(image, cv2.COLOR_BGR2LAB)[..., 1].astype(float)
        lips = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillConvexPoly(lips, np.rint(points[[48, 50, 52, 54, 56, 58]]).astype(int), 255)
        around = cv2.dilate(lips, np.ones((13, 13))) > cv2.dilate(lips, np.ones((5, 5)))
        assert np.median(redness[lips > 0]) > np.median(redness[around]) + 4
        brows = np.rint(points[[18, 19, 20, 23, 24, 25]]).astype(int)
        forehead = np.rint(points[[18, 19, 20, 23, 24, 25]] - (0, 0.06 * SIZE)).astype(int)
        assert image[brows[:, 1], brows[:, 0]].mean() < image[forehead[:, 1], forehead[:, 0]].mean()


@pytest.mark.parametrize(("count", "size"), [(0, 128), (-1, 128), (1, 8), (1, 100_000)])
def test_unusable_numbers_are_refused(tmp_path: Path, count: int, size: int) -> None:
    with pytest.raises(UsageError, match="at least 1, of 32 to 1024 pixels"):
        draw_people(tmp_path / "people", count, size)
    assert not (tmp_path / "people").exists()


def test_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "A").write_text("in the way")
    with pytest.raises(UsageError, match="Cannot write faces"):
        draw_people(tmp_path, 1, 64)
