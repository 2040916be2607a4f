"""Picture files and PNG texts, and what the library may not import."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import fs_faces
import numpy as np
import pytest
from fs_faces.pictures import FolderError, decode, encode, list_pictures, write_atomically
from fs_faces.png import insert, text_chunk, walk


def test_neither_the_kernel_nor_pytorch_is_imported():
    modules = [f"fs_faces.{module.name}" for module in pkgutil.iter_modules(fs_faces.__path__)]
    code = (
        f"import sys, {', '.join(modules)}; "
        "print([m for m in ('torch', 'keras', 'fs_kernel') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert "fs_faces.geometry" in modules


def test_pictures_are_listed_by_name_in_any_letter_case(tmp_path):
    for name in ("b.PNG", "a.webp", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_pictures(tmp_path)] == ["a.webp", "b.PNG"]


def test_a_folder_without_pictures_says_what_to_do(tmp_path):
    with pytest.raises(FolderError, match=r"there is no folder .*; check the path"):
        list_pictures(tmp_path / "nowhere")
    with pytest.raises(FolderError, match="put extracted faces there"):
        list_pictures(tmp_path)


def test_a_text_chunk_stands_before_the_pixels_and_changes_none():
    picture = np.random.default_rng(1).integers(0, 256, (9, 7, 3), np.uint8)
    png = insert(encode(picture), text_chunk("Description", "naïve 名"))
    chunks = list(walk(png))
    assert [chunk.kind for chunk in chunks[:3]] == [b"IHDR", b"tEXt", b"IDAT"]
    assert chunks[1].content == "Description\0naïve ?".encode("latin-1")
    np.testing.assert_array_equal(decode(png), picture)


def test_a_format_that_cannot_hold_a_picture_is_refused():
    with pytest.raises(ValueError, match=r"cannot make a \.png of a picture of shape \(4, 4, 2\)"):
        encode(np.zeros((4, 4, 2), np.uint8))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "face.png"
    write_atomically(path, b"old")

    def fail(self: Path, target: Path) -> None:
        raise OSError("no")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no"):
        write_atomically(path, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("face.png", b"old")]
