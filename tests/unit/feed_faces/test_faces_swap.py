"""Faces read for a swap and put back into their pictures."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from face_files import face_png, fill, plain_picture
from fs_faces import png
from fs_faces.geometry import Box, cut
from fs_faces.header import find_header
from fs_feed_faces import read_faces, write_face
from fs_feed_faces.crops import Cropper
from fs_feed_faces.options import CacheOptions, FaceOptions
from fs_feed_faces.scoring import psnr
from fs_feed_faces.swapping import NOTICE, paste
from fs_kernel.errors import ConfigError, FacesError, UsageError
from fs_kernel.options import Config

SHAPE = (64, 64, 3)


def make_config(**options) -> Config:
    return Config({"face": FaceOptions(**options), "feed.faces": CacheOptions()})


def view(face, options: FaceOptions) -> Box:
    return Cropper(options, 1, ()).box(face.origin.file)


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    (tmp_path / "out").mkdir()
    return fill(tmp_path / "in", 2, size=128), tmp_path / "out"


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("options", [{}, {"coverage": 75.0}, {"centering": "head"}])
@pytest.mark.parametrize("learned", [False, True])
def test_a_face_put_back_unchanged_leaves_the_picture_as_it_was(folders, order, options, learned):
    source, target = folders
    config = make_config(**options)
    edge = view(next(read_faces(source, SHAPE, order, config)), config["face"]).size
    for face in read_faces(source, (edge, edge, 3), order, config):
        mask = np.ones((edge, edge), np.float32) if learned else None
        written = write_face(face, face.image, mask, order, target, config)
        before, after = (cv2.imread(str(folder / face.name)) for folder in (source, target))
        assert written == target / face.name
        assert after.shape == before.shape
        assert psnr(before, after) > 60


def test_through_a_small_network_s_view_the_face_stays_recognisable(folders):
    source, target = folders
    config = make_config()
    for face in read_faces(source, SHAPE, "bgr", config):
        assert face.image.shape == SHAPE
        assert face.image.dtype == np.float32
        write_face(face, face.image, None, "bgr", target, config)
        before, after = (cv2.imread(str(folder / face.name)) for folder in (source, target))
        assert 30 < psnr(before, after) < 60


def test_only_the_masked_face_changes_and_softly(folders):
    source, target = folders
    config = make_config()
    face = next(read_faces(source, SHAPE, "bgr", config))
    path = write_face(face, np.ones(SHAPE, np.float32), None, "bgr", target, config)
    before, after = cv2.imread(str(source / face.name)), cv2.imread(str(path))
    box = view(face, config["face"])
    changed = cv2.absdiff(before, after).max(axis=2)
    outside = np.ones(changed.shape, bool)
    outside[box.top : box.top + box.size, box.left : box.left + box.size] = False
    assert changed[outside].max() == 0
    mask = cut(after, box)
    assert (mask[box.size // 2, box.size // 2] == 255).all()
    assert cut(changed, box)[:3].max() == 0, "above the face nothing changes"
    steps = np.abs(np.diff(after[:, :, 0].astype(int), axis=1)).max()
    assert steps < 100, "no hard seam"


def test_a_learnt_mask_wins(folders):
    source, target = folders
    config = make_config()
    face = next(read_faces(source, SHAPE, "bgr", config))
    none = np.zeros((64, 64), np.float32)
    path = write_face(face, np.ones(SHAPE, np.float32), none, "bgr", target, config)
    np.testing.assert_array_equal(cv2.imread(str(path)), cv2.imread(str(source / face.name)))


def test_even_a_full_learnt_mask_leaves_no_seam_at_the_crop(folders):
    source, target = folders
    config = make_config(coverage=75.0)
    face = next(read_faces(source, SHAPE, "bgr", config))
    path = write_face(face, np.ones(SHAPE, np.float32), np.ones((64, 64)), "bgr", target, config)
    before, after = cv2.imread(str(source / face.name)), cv2.imread(str(path))
    box = view(face, config["face"])
    changed = cut(cv2.absdiff(before, after), box)
    for border in (changed[0], changed[-1], changed[:, 0], changed[:, -1]):
        assert border.max() <= 1
    assert (cut(after, box)[box.size // 4 : -box.size // 4] == 255).mean() > 0.8


def test_colors_come_back_in_their_order(folders):
    source, target = folders
    config = make_config()
    face = next(read_faces(source, SHAPE, "rgb", config))
    red = np.zeros(SHAPE, np.float32)
    red[..., 0] = 1
    path = write_face(face, red, None, "rgb", target, config)
    box = view(face, config["face"])
    middle = cut(cv2.imread(str(path)), box)[box.size // 2, box.size // 2]
    assert middle.tolist() == [0, 0, 255]


def test_the_header_is_carried_over_and_the_picture_says_it_is_synthetic(folders):
    source, target = folders
    config = make_config()
    face = next(read_faces(source, SHAPE, "bgr", config))
    path = write_face(face, face.image, None, "bgr", target, config)
    texts = png.inspect(path.read_bytes()).texts
    assert find_header(texts) == find_header(png.inspect((source / face.name).read_bytes()).texts)
    comments = [c.content for c in png.walk(path.read_bytes()) if c.kind == b"tEXt"]
    assert comments == [b"Comment\0" + NOTICE.encode()]
    again = next(read_faces(target, SHAPE, "bgr", config))
    path = write_face(again, again.image, None, "bgr", source.parent, config)
    kinds = [chunk.kind for chunk in png.walk(path.read_bytes())]
    assert kinds.count(b"tEXt") == kinds.count(b"iTXt") == 1
    assert list(target.iterdir()) == [target / face.name], "no temporary file stays"


def test_plain_pictures_of_any_kind_become_png(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name in ("a.jpg", "b.webp", "c.PNG", "d.png", "D.jpg"):
        path = tmp_path / "in" / name
        path.write_bytes(cv2.imencode(path.suffix.lower(), plain_picture(1))[1].tobytes())
    config = make_config()
    with pytest.warns(UserWarning, match="no face header"):
        faces = list(read_faces(tmp_path / "in", (70, 70, 3), "bgr", config))
    for face in faces:
        path = write_face(face, face.image, None, "bgr", tmp_path / "out", config)
        before = cv2.imread(str(tmp_path / "in" / face.name))
        assert psnr(cv2.imread(str(path)), before) > 60
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted(["D.jpg.png", "a.png", "b.png", "c.png", "d.png.png"])


def test_sources_are_never_overwritten(folders):
    source, _ = folders
    config = make_config()
    before = (source / "0000.png").read_bytes()
    for folder in (source, source.parent / "out" / ".." / "in"):
        face = next(read_faces(source, SHAPE, "bgr", config))
        with pytest.raises(UsageError, match="is the source picture"):
            write_face(face, face.image, None, "bgr", folder, config)
    assert (source / "0000.png").read_bytes() == before


def test_a_broken_face_is_warned_about_and_skipped(folders):
    source, _ = folders
    config = make_config()
    (source / "0000.png").write_bytes(b"x")
    with pytest.warns(UserWarning, match="skipped 1 unreadable file"):
        faces = list(read_faces(source, SHAPE, "bgr", config))
    assert [face.name for face in faces] == ["0001.png"]


def test_a_face_that_breaks_on_the_way_is_skipped(folders):
    source, _ = folders
    faces = read_faces(source, SHAPE, "bgr", make_config())
    (source / "0000.png").write_bytes(face_png(0)[:400])
    with pytest.warns(UserWarning, match=r"skipped .*0000\.png"):
        assert [face.name for face in faces] == ["0001.png"]


def test_no_faces_and_odd_networks(tmp_path):
    with pytest.raises(FacesError, match="no folder"):
        read_faces(tmp_path / "x", SHAPE, "bgr", make_config())
    with pytest.raises(ConfigError, match="not a square"):
        read_faces(tmp_path, (64, 32, 3), "bgr", make_config())


def test_a_missing_mask_falls_back_to_the_whole_crop(folders):
    source, target = folders
    config = make_config(mask_type="vgg-clear")
    with pytest.warns(UserWarning, match="2 faces lack the mask 'vgg-clear'"):
        face = next(read_faces(source, SHAPE, "bgr", config))
    path = write_face(face, np.ones(SHAPE, np.float32), None, "bgr", target, config)
    box = view(face, config["face"])
    assert (cut(cv2.imread(str(path)), box) == 255).mean() > 0.7


def test_a_full_disk_leaves_nothing_behind(folders, monkeypatch):
    source, target = folders
    config = make_config()
    face = next(read_faces(source, SHAPE, "bgr", config))
    real = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        real(path, data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_face(face, face.image, None, "bgr", target, config)
    assert list(target.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX paths")
def test_a_missing_target_folder_is_an_os_error(folders):
    source, target = folders
    config = make_config()
    face = next(read_faces(source, SHAPE, "bgr", config))
    with pytest.raises(FileNotFoundError):
        write_face(face, face.image, None, "bgr", target / "nowhere", config)


@pytest.mark.parametrize("box", [Box(-5, -5, 20), Box(30, 30, 20), Box(90, 0, 8), Box(-9, 2, 60)])
def test_pasting_beyond_the_border(box):
    picture = plain_picture(1, 40, 40)
    weight = np.ones((box.size, box.size), np.float32)
    result = paste(picture, cut(picture, box).astype(np.float32) / 255, weight, box)
    np.testing.assert_array_equal(result, picture)
