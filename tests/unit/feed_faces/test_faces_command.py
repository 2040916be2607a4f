"""``fs faces`` and how little it costs to name it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from face_files import fill, plain_picture
from fs_faces.header import find_header, write_header
from fs_faces.png import inspect
from fs_feed_faces.command import faces
from fs_feed_faces.crops import Cropper
from fs_feed_faces.options import FaceOptions
from fs_feed_faces.scoring import compare, psnr
from fs_feed_faces.source import open_faces
from fs_kernel.errors import FacesError, PluginError, UsageError


def invoke(*arguments: object):
    return CliRunner().invoke(faces, [str(argument) for argument in arguments])


def test_a_good_folder(two_sides):
    result = invoke("check", two_sides["a"])
    assert result.exit_code == 0
    assert "usable faces:   26" in result.output
    assert "96x96 (26)" in result.output
    assert "bisenet-fp_face (26), components (26), extended (26)" in result.output
    assert "fit to train:   yes" in result.output


def test_what_is_wrong_is_said_file_by_file(two_sides, tmp_path):
    folder = shutil.copytree(two_sides["a"], tmp_path / "A")
    (folder / "broken.png").write_bytes(b"x")
    cv2.imwrite(str(folder / "plain.jpg"), plain_picture(1))
    fill(folder, 1, start=900, mask=None)
    result = invoke("check", folder, "--mask-type", "bisenet-fp_face", "--json")
    assert result.exit_code == 0
    facts = json.loads(result.output)
    assert [problem["file"] for problem in facts["problems"]] == [
        "0900.png", "broken.png", "plain.jpg",
    ]  # fmt: skip
    assert "no mask 'bisenet-fp_face'" in facts["problems"][0]["problem"]
    assert (facts["usable"], facts["plain"], facts["trainable"]) == (27, 1, True)
    assert facts["sizes"] == {"96x96": 26, "90x70": 1}
    low, median, high = facts["yaw"]
    assert -45 < low < median < high < 45


def test_a_folder_unfit_to_train_ends_with_exit_code_3(tmp_path):
    result = invoke("check", fill(tmp_path, 3))
    assert isinstance(result.exception, FacesError)
    assert result.exception.exit_code == 3
    assert "3 usable faces" in str(result.exception)
    assert "fit to train:   no" in result.output


def test_an_unknown_mask_is_named(tmp_path):
    assert isinstance(invoke("check", tmp_path, "--mask-type", "x").exception, UsageError)
    assert isinstance(invoke("check", tmp_path / "none").exception, FacesError)


def test_demo_draws_people_that_pass_the_check(tmp_path):
    result = invoke("demo", tmp_path / "people", "--count", 2, "--size", 64)
    assert result.exit_code == 0, result.output
    for folder in ("A", "B", "B_true"):
        assert len(list((tmp_path / "people" / folder).iterdir())) == 2
    assert (
        json.loads(
            invoke("compare", tmp_path / "people/A", tmp_path / "people/B_true", "--json").output
        )["faces"]
        == 2
    )


def test_demo_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    # None makes Python raise ModuleNotFoundError, as for a package that is missing.
    monkeypatch.setitem(sys.modules, "fs_synthetic", None)
    error = invoke("demo", tmp_path, "--count", 1).exception
    assert isinstance(error, PluginError)
    assert "pip install fs-synthetic" in str(error)


def test_demo_into_a_file_gets_its_line(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    assert isinstance(invoke("demo", tmp_path / "x", "--count", 1).exception, UsageError)


def test_psnr_is_what_it_says():
    black = np.zeros((4, 4, 3), np.uint8)
    gray = np.full((4, 4, 3), 25, np.uint8)
    assert psnr(black, gray) == pytest.approx(20 * np.log10(255 / 25))
    assert psnr(gray, gray) == 100
    half = gray.copy()
    half[:2] = 0
    top = np.repeat([[1.0], [1], [0], [0]], 4, axis=1)
    assert psnr(black, half, top) == 100
    assert psnr(black, half, 1 - top) == pytest.approx(20 * np.log10(255 / 25))


def test_compare_sees_the_face_and_the_view_apart(tmp_path):
    truth = fill(tmp_path / "truth", 2, size=128)
    swapped = shutil.copytree(truth, tmp_path / "swapped")
    same = compare(swapped, truth, FaceOptions())
    assert (same.faces, same.face_psnr, same.view_psnr) == (2, 100, 100)
    for path in truth.iterdir():  # a truth that differs at the head's border only
        data = path.read_bytes()
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), 1)
        picture[:8] = 255
        cv2.imwrite(str(path), picture)
    outside = compare(swapped, truth, FaceOptions())
    assert outside.face_psnr == 100
    assert compare(swapped, truth, FaceOptions(centering="head")).view_psnr < 40


def repaint(folder, change):
    """Change every picture of a folder, ``(size, size, 3)`` int in and out; headers stay."""
    for path in folder.iterdir():
        data = path.read_bytes()
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), 1).astype(int)
        png = cv2.imencode(".png", change(picture).clip(0, 255).astype(np.uint8))[1].tobytes()
        path.write_bytes(write_header(png, find_header(inspect(data).texts)))


def test_compare_weighs_the_face_by_its_mask(tmp_path):
    truth = fill(tmp_path / "truth", 1, size=128)
    options = FaceOptions(mask_type="bisenet-fp_face")
    (file,) = open_faces(truth, options, True, 1).files
    box = Cropper(options, 1, ()).box(file)
    swapped = shutil.copytree(truth, tmp_path / "swapped")

    def corner(picture):
        picture[box.top : box.top + box.size // 8, box.left : box.left + box.size // 2] += 9
        return picture

    repaint(swapped, corner)
    score = compare(swapped, truth, options)
    assert score.face_psnr == 100
    assert score.view_psnr == pytest.approx(20 * np.log10(255 / 9) + 10 * np.log10(16), abs=0.5)


def test_compare_leaves_out_what_lies_beyond_the_picture(tmp_path):
    truth = fill(tmp_path / "truth", 2, size=128)
    swapped = shutil.copytree(truth, tmp_path / "swapped")
    repaint(truth, lambda picture: np.full_like(picture, 100))
    repaint(swapped, lambda picture: np.full_like(picture, 110))
    score = compare(swapped, truth, FaceOptions(centering="head", vertical_offset=25))
    assert score.view_psnr == pytest.approx(20 * np.log10(25.5))
    assert score.face_psnr == pytest.approx(20 * np.log10(25.5))


def test_compare_refuses_what_cannot_be_compared(tmp_path):
    one = fill(tmp_path / "one", 1)
    with pytest.raises(FacesError, match="has the name of one"):
        compare(one, fill(tmp_path / "other", 1, start=5), FaceOptions())
    with pytest.raises(FacesError, match="differ in size"):
        compare(one, fill(tmp_path / "larger", 1, size=128), FaceOptions())
    with pytest.warns(UserWarning, match=r"1 pictures .* no namesake"):
        assert compare(fill(tmp_path / "two", 2), one, FaceOptions()).faces == 1


@pytest.mark.parametrize("module", ["fs_feed_faces", "fs_feed_faces.command"])
def test_naming_it_imports_nothing_heavy(module):
    code = (
        f"import sys, {module}; print([m for m in ('cv2', 'torch', 'keras') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
