"""Faces to be swapped are read ahead, in order, by threads."""

from __future__ import annotations

import threading
import warnings

import pytest
from face_files import fill
from fs_feed_faces import swapping
from fs_feed_faces.options import FaceOptions
from fs_feed_faces.swapping import read_faces

COUNT = 2 * swapping._AHEAD + 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twice as many faces as are read ahead, and some."""
    return fill(tmp_path_factory.mktemp("ahead") / "in", COUNT, size=64)


def readers():
    return [t for t in threading.enumerate() if t.name.startswith("fs-face-reader")]


def test_they_come_in_name_order_and_the_threads_end(folder):
    names = [face.name for face in read_faces(folder, (64, 64, 3), "bgr", FaceOptions())]
    assert names == sorted(path.name for path in folder.iterdir())
    assert not readers()


def test_a_broken_one_in_the_middle_is_skipped_with_a_warning(folder, tmp_path):
    paths = sorted(folder.iterdir())[:6]
    for path in paths:
        data = path.read_bytes()
        (tmp_path / path.name).write_bytes(data[:-60] if path == paths[3] else data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = [f.name for f in read_faces(tmp_path, (64, 64, 3), "bgr", FaceOptions())]
    assert found == [path.name for path in paths if path != paths[3]]
    (line,) = [str(item.message) for item in caught if "skipped" in str(item.message)]
    assert paths[3].name in line


def test_no_more_than_so_many_are_read_ahead(folder, monkeypatch):
    read = []
    original = swapping._image

    def counted(*arguments):
        read.append(threading.current_thread().name)
        return original(*arguments)

    monkeypatch.setattr(swapping, "_image", counted)
    faces = read_faces(folder, (64, 64, 3), "bgr", FaceOptions())
    for taken in range(1, 10):
        next(faces)
        assert len(read) <= swapping._AHEAD + taken
    faces.close()
    assert len(read) <= swapping._AHEAD + 9
    assert threading.main_thread().name not in read
    assert not readers()
