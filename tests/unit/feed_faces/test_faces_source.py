"""What a folder of faces may hold, and the one line each trouble gets."""

from __future__ import annotations

import shutil
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from face_files import face_png, fill, make_spec, plain_picture
from fs_faces.header import find_header, write_header
from fs_faces.pictures import UnreadableError
from fs_faces.png import insert, inspect, make_chunk
from fs_feed_faces import config_defaults, open_feed
from fs_feed_faces.crops import Cropper
from fs_feed_faces.options import AugmentationOptions, CacheOptions, FaceOptions, LoaderOptions
from fs_feed_faces.source import open_faces, scan
from fs_kernel.errors import ConfigError, FacesError
from fs_kernel.options import CommandLineSource, Config, options_of, resolve

FACE = FaceOptions()


def one_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def test_a_missing_folder(tmp_path):
    with pytest.raises(FacesError) as error:
        open_faces(tmp_path / "nowhere", FACE, True, 25)
    assert "there is no folder" in one_line(error)
    assert error.value.exit_code == 3


def test_a_file_instead_of_a_folder(tmp_path):
    file = tmp_path / "faces.png"
    file.write_bytes(face_png(0))
    with pytest.raises(FacesError, match="is a file"):
        open_faces(file, FACE, True, 25)


@pytest.mark.parametrize("others", [[], ["notes.txt", ".hidden.png", "a.gif"]])
def test_a_folder_without_pictures(tmp_path, others):
    for name in others:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "inner.png").mkdir()
    with pytest.raises(FacesError, match="holds no pictures"):
        open_faces(tmp_path, FACE, True, 25)


def test_too_few_faces_and_the_reason_why(tmp_path):
    fill(tmp_path, 24)
    (tmp_path / "z.png").write_bytes(b"")
    with pytest.raises(FacesError) as error:
        open_faces(tmp_path, FACE, True, 25)
    line = one_line(error)
    assert "24 usable faces, at least 25" in line
    assert "z.png (the file is empty)" in line


def test_few_faces_are_warned_about_once(two_sides):
    faces = open_faces(two_sides["a"], FACE, True, 25)
    assert len(faces.files) == 26
    assert [line for line in faces.warnings if "only 26 faces" in line] == list(faces.warnings)


def test_any_letter_case_counts(tmp_path):
    for name in ("b.PNG", "a.png", "C.Png"):
        (tmp_path / name).write_bytes(face_png(0))
    for name in ("d.JPG", "e.jpeg", "f.WebP"):
        path = tmp_path / name
        path.write_bytes(cv2.imencode(path.suffix.lower(), plain_picture(1))[1].tobytes())
    names = [file.path.name for file in open_faces(tmp_path, FACE, True, 1).files]
    assert names == ["C.Png", "a.png", "b.PNG", "d.JPG", "e.jpeg", "f.WebP"]


def test_broken_files_are_named_and_skipped(tmp_path):
    fill(tmp_path, 3)
    good = face_png(9)
    jpg = cv2.imencode(".jpg", plain_picture(1))[1].tobytes()
    webp = cv2.imencode(".webp", plain_picture(1))[1].tobytes()
    oblong = cv2.imencode(".png", plain_picture(1))[1].tobytes()
    text = find_header(inspect(good).texts)
    for name, data, reason in (
        ("b0.png", b"", "empty"),
        ("b1.png", good[: len(good) // 2], "cut off"),
        ("b2.png", good[:-30] + b"x" + good[-29:], "damaged"),
        ("b3.png", b"hello", "not a readable picture"),
        ("b4.jpg", jpg[: len(jpg) // 2], "cut off"),
        ("b5.webp", webp[: len(webp) // 2], "cut off"),
        ("b6.png", write_header(good, b"{'a': 1}"), "face header"),
        ("b7.png", write_header(oblong, text), "not square"),
    ):
        (tmp_path / name).write_bytes(data)
        reasons = dict(scan(tmp_path, "none").broken)
        assert reason in reasons[name]
    faces = open_faces(tmp_path, FACE, True, 1)
    assert len(faces.files) == 3
    (line,) = faces.warnings
    assert "skipped 8 unreadable files" in line
    assert "and 3 more" in line


def test_a_chosen_mask_that_some_lack_is_found_at_the_start(tmp_path):
    fill(tmp_path, 26)
    fill(tmp_path, 2, start=100, mask="vgg-clear")
    options = FaceOptions(mask_type="bisenet-fp_face")
    with pytest.raises(FacesError) as error:
        open_faces(tmp_path, options, True, 25)
    line = one_line(error)
    for word in ("2 of 28", "0100.png", "bisenet-fp_face", "vgg-clear", "on_missing_mask=skip"):
        assert word in line
    skipping = FaceOptions(mask_type="bisenet-fp_face", on_missing_mask="skip")
    faces = open_faces(tmp_path, skipping, True, 25)
    assert len(faces.files) == 26
    assert "skipped 2 of 28 faces without the mask" in faces.warnings[0]
    assert len(open_faces(tmp_path, options, False, 25).files) == 28, "nobody needs it"


def test_skipping_too_many_is_too_few(tmp_path):
    fill(tmp_path, 26, mask=None)
    options = FaceOptions(mask_type="vgg-clear", on_missing_mask="skip")
    with pytest.raises(FacesError, match=r"0 usable faces.*skipped 26 of 26"):
        open_faces(tmp_path, options, True, 25)


def test_extended_needs_68_points(tmp_path):
    corners = np.array([[100.0, 60], [200, 60], [200, 160], [100, 160]])
    fill(tmp_path, 2, points=lambda _: corners)
    with pytest.raises(FacesError, match=r"lack the mask 'extended'.*masks there: bisenet-fp_face"):
        open_faces(tmp_path, FACE, True, 1)
    cropper = Cropper(FaceOptions(mask_type="bisenet-fp_face"), 32, ("face", "eye", "mouth"))
    stack = cropper.read(scan(tmp_path, "bisenet-fp_face").files[0])
    assert stack[..., 3].max() == 255
    assert stack[..., 4:].max() == 0


@pytest.mark.parametrize("learn", [False, True])
def test_a_mask_is_needed_but_none_is_chosen(two_sides, learn):
    config = Config(
        {
            "face": FaceOptions(mask_type="none"),
            "augmentation": AugmentationOptions(),
            "loader": LoaderOptions(),
            "feed.faces": CacheOptions(),
        }
    )
    spec = make_spec(masks=() if learn else ("face",), learn=learn)
    with pytest.raises(ConfigError) as error:
        open_feed(two_sides, spec, config)
    line = one_line(error)
    assert "face.mask_type" in line
    assert ("network.learn_mask" if learn else "loss.penalized_mask_loss") in line
    assert error.value.exit_code == 2


def test_plain_pictures_get_one_warning_a_folder(tmp_path):
    for seed in range(3):
        cv2.imwrite(str(tmp_path / f"{seed}.jpg"), plain_picture(seed))
    fill(tmp_path, 1)
    faces = open_faces(tmp_path, FACE, True, 1)
    (line,) = faces.warnings
    assert "3 of 4 pictures have no face header" in line
    assert not faces.plain


@pytest.mark.parametrize(
    "picture",
    [
        plain_picture(1)[..., 0],
        np.dstack([plain_picture(1), plain_picture(2)[..., :1]]),
        plain_picture(1).astype(np.uint16) * 257,
        plain_picture(1).astype(np.uint16)[..., 1] * 257,
    ],
    ids=["gray", "alpha", "16-bit", "gray-16-bit"],
)
def test_every_depth_and_channel_count_is_read_as_color(tmp_path, picture):
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    (file,) = scan(tmp_path, "none").files
    read = Cropper(FACE, 70, ()).read(file)
    assert read.shape == (70, 70, 3)
    expected = picture.astype(float)[:, 10:80]
    expected = expected / 257 if picture.dtype == np.uint16 else expected
    expected = expected[..., :3] if expected.ndim == 3 else np.dstack([expected] * 3)
    assert np.abs(read - expected).max() <= 1


def test_a_png_that_claims_to_lie_on_its_side_is_read_as_it_is(tmp_path):
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x112, 3, 1, 6, 0, 0)
    png = cv2.imencode(".png", plain_picture(1))[1].tobytes()
    (tmp_path / "a.png").write_bytes(insert(png, make_chunk(b"eXIf", tiff)))
    (file,) = scan(tmp_path, "none").files
    picture = Cropper(FACE, 70, ()).picture(file)
    np.testing.assert_array_equal(picture, plain_picture(1))


def test_a_plain_picture_is_its_centre_square(tmp_path):
    picture = plain_picture(3, 60, 100)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    (file,) = scan(tmp_path, "none").files
    stack = Cropper(FACE, 60, ("face", "eye", "mouth")).read(file)
    np.testing.assert_array_equal(stack[..., :3], picture[:, 20:80])
    assert (stack[..., 3] == 255).all()
    assert (stack[..., 4:] == 0).all()
    part = Cropper(FaceOptions(coverage=80.0), 48, ()).read(file)
    np.testing.assert_array_equal(part, picture[6:54, 26:74])


def test_a_picture_that_changed_since_the_start_is_noticed(tmp_path):
    fill(tmp_path, 1)
    (file,) = scan(tmp_path, "none").files
    cv2.imwrite(str(file.path), plain_picture(1))
    with pytest.raises(UnreadableError, match="changed"):
        Cropper(FACE, 32, ()).read(file)


def test_a_damaged_mask_is_found_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(zlib, "compress", lambda data: b"nonsense")
    fill(tmp_path, 1)
    (name_and_reason,) = scan(tmp_path, "bisenet-fp_face").broken
    assert name_and_reason == ("0000.png", "a stored mask is damaged")
    assert not scan(tmp_path, "extended").broken, "it is not needed"


def test_the_fingerprint_knows_names_headers_and_pixels(two_sides, tmp_path):
    first = scan(two_sides["a"], "none").fingerprint
    copy = shutil.copytree(two_sides["a"], tmp_path / "copy")
    assert scan(copy, "none").fingerprint == first
    (copy / "0000.png").rename(copy / "000a.png")
    renamed = scan(copy, "none").fingerprint
    assert renamed != first
    (copy / "0001.png").write_bytes(face_png(999, name="0001.png"))
    other = scan(copy, "none").fingerprint
    assert other not in (first, renamed)
    data = (copy / "0002.png").read_bytes()
    text = find_header(inspect(data).texts)
    (copy / "0002.png").write_bytes(write_header(data, text.replace(b"'x': 100", b"'x': 101")))
    assert (copy / "0002.png").stat().st_size == len(data)
    changed = scan(copy, "none").fingerprint
    assert changed != other
    picture = cv2.imread(str(copy / "0003.png"))
    picture[0, 0] ^= 1
    pixels = cv2.imencode(".png", picture)[1].tobytes()
    text = find_header(inspect((copy / "0003.png").read_bytes()).texts)
    (copy / "0003.png").write_bytes(write_header(pixels, text))
    assert scan(copy, "none").fingerprint != changed


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_an_unreadable_file_is_skipped(tmp_path, monkeypatch):
    fill(tmp_path, 2)
    read = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self.name == "0001.png":
            raise PermissionError(13, "Permission denied")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert scan(tmp_path, "none").broken == [("0001.png", "Permission denied")]


@pytest.mark.parametrize(
    ("section", "option", "value"),
    [
        ("face", "coverage", 60.0),
        ("face", "coverage", 101),
        ("face", "vertical_offset", 26),
        ("face", "centering", "nose"),
        ("face", "mask_dilation", 5.5),
        ("augmentation", "flip_chance", 76),
        ("augmentation", "rotation_range", -1),
        ("loader", "workers", 33),
        ("loader", "pre_fetch", 0),
    ],
)
def test_values_out_of_range_are_refused(section, option, value):
    with pytest.raises(ConfigError, match=f"{section}.{option}"):
        resolve(config_defaults(), [CommandLineSource("--set", {section: {option: value}})])


def test_every_option_has_help():
    for cls in config_defaults().values():
        for name, (_, info) in options_of(cls).items():
            assert len(info.help) > 20, name
