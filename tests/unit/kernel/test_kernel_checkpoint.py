"""Generations: written whole, verified, never spoiled."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys

import pytest
from fs_kernel.errors import ModelFolderError
from fs_kernel.options import options_of
from fs_kernel.options.defaults import TrainingOptions
from fs_kernel.storage import tensors
from fs_kernel.storage.checkpoints import Checkpoints
from generations import FILES, content, loaded, names, no_warning


@pytest.fixture
def folder(tmp_path):
    """A model folder with generations 1 and 2."""
    checkpoints = Checkpoints(tmp_path / "model")
    for step in (1, 2):
        checkpoints.write(content(step), keep=5)
    return tmp_path / "model"


def spoil(path, position=-1):
    data = bytearray(path.read_bytes())
    data[position] ^= 0xFF
    path.write_bytes(data)


# --- the plain way ---


def test_nothing_there(tmp_path):
    checkpoints = Checkpoints(tmp_path / "model")
    assert not checkpoints.exists()
    assert checkpoints.checkpoints() == []
    assert checkpoints.current_name() is None
    with pytest.raises(ModelFolderError, match="holds no model"):
        checkpoints.latest_valid(no_warning)
    assert not (tmp_path / "model").exists()


def test_a_generation_comes_back_whole(folder):
    assert loaded(folder) == 2
    found = Checkpoints(folder).checkpoints()
    assert [(g.name, g.step, g.current) for g in found] == [
        ("000000002", 2, True),
        ("000000001", 1, False),
    ]
    assert {p.name for p in found[0].path.iterdir()} == FILES
    assert found[0].bytes == sum(p.stat().st_size for p in found[0].path.iterdir())


def test_what_is_returned_is_what_is_there(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    written = checkpoints.write(content(7), keep=2)
    assert written == checkpoints.checkpoints()[0]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_only_the_newest_are_kept(tmp_path, keep):
    checkpoints = Checkpoints(tmp_path)
    for step in range(1, 6):
        checkpoints.write(content(step), keep)
    assert names(tmp_path) == [f"{step:09d}" for step in range(5, 5 - keep, -1)]
    assert loaded(tmp_path) == 5


def test_one_step_can_be_saved_many_times(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for _ in range(6):
        written = checkpoints.write(content(3), keep=2)
        assert checkpoints.current_name() == written.name
        assert loaded(tmp_path) == 3
    assert len(names(tmp_path)) == 2


def test_the_largest_number_of_steps_has_a_name(tmp_path):
    largest = options_of(TrainingOptions)["iterations"][1].maximum
    checkpoints = Checkpoints(tmp_path)
    written = checkpoints.write(content(largest), keep=2)
    assert checkpoints.latest_valid(no_warning) == written.name == str(largest)


def test_going_back_and_writing_on(folder):
    checkpoints = Checkpoints(folder)
    checkpoints.set_current("000000001")
    assert loaded(folder) == 1
    checkpoints.write(content(2), keep=5)
    assert names(folder) == ["000000002-002", "000000002", "000000001"]
    assert checkpoints.current_name() == "000000002-002"


def test_a_copy_somebody_made_is_not_touched_by_a_new_save(folder):
    shutil.copytree(folder / "checkpoints/000000002", folder / "checkpoints/000000002-mine")
    Checkpoints(folder).write(content(2), keep=9)
    assert "000000002-mine" in names(folder)
    assert loaded(folder) == 2


def test_other_things_in_the_folder_are_left_alone(folder):
    (folder / "checkpoints/notes").mkdir()
    (folder / "checkpoints/notes.txt").write_text("mine")
    (folder / "notes.txt").write_text("mine")
    Checkpoints(folder).write(content(3), keep=1)
    assert names(folder) == ["000000003"]
    assert (folder / "checkpoints/notes").is_dir()
    assert (folder / "checkpoints/notes.txt").read_text() == "mine"


def test_what_an_interrupted_save_left_is_cleared_away(folder):
    left = folder / "checkpoints/.writing-000000009"
    left.mkdir()
    (left / "weights.safetensors").write_bytes(b"half")
    assert loaded(folder) == 2
    Checkpoints(folder).write(content(3), keep=2)
    assert not left.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_file_modes_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        written = Checkpoints(tmp_path / "model").write(content(1), keep=2)
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in written.path.iterdir()}
    assert modes == dict.fromkeys(FILES, 0o666 & ~umask)
    assert stat.S_IMODE(written.path.stat().st_mode) == 0o777 & ~umask


# --- damage ---


@pytest.mark.parametrize("file", sorted(FILES))
@pytest.mark.parametrize("how", ["spoiled", "short", "empty", "gone"])
def test_a_damaged_file_is_noticed_and_the_older_generation_is_used(folder, file, how):
    path = folder / "checkpoints/000000002" / file
    if how == "spoiled":
        spoil(path, 2)
    elif how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5] if how == "short" else b"")
    lines = []
    assert loaded(folder, lines.append) == 1
    (line,) = lines
    assert "checkpoint 000000002" in line
    assert line.endswith("using checkpoint 000000001 instead")
    assert "\n" not in line


def test_when_nothing_is_whole_everything_is_named(folder):
    for name in ("000000001", "000000002"):
        spoil(folder / "checkpoints" / name / "weights.safetensors")
    with pytest.raises(ModelFolderError, match="no checkpoint is whole") as caught:
        loaded(folder)
    assert "000000001" in str(caught.value)
    assert "000000002" in str(caught.value)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize(
    "pointer",
    [
        None,
        b"",
        b"{",
        b"5",
        b"null",
        b"[]",
        b"{}",
        b'{"generation": null}',
        b'{"generation": 5}',
        b'{"generation": []}',
        b'{"generation": "000000009"}',
        b'{"generation": "../checkpoints/000000001"}',
        b'{"generation": "."}',
        b"\xff" * 100,
    ],
)
def test_without_a_usable_pointer_the_newest_counts(folder, pointer):
    path = folder / "checkpoint.json"
    path.unlink()
    if pointer is not None:
        path.write_bytes(pointer)
    assert Checkpoints(folder).exists()
    assert Checkpoints(folder).current_name() is None
    assert loaded(folder) == 2


def test_a_folder_in_place_of_the_pointer(folder):
    (folder / "checkpoint.json").unlink()
    (folder / "checkpoint.json").mkdir()
    assert loaded(folder) == 2


def test_the_pointer_wins_over_the_newest(folder):
    Checkpoints(folder).set_current("000000001")
    assert loaded(folder) == 1


def test_a_pointer_alone_is_a_model_that_lost_everything(tmp_path):
    (tmp_path / "checkpoint.json").write_text('{"format": 1, "generation": "000000001"}')
    assert Checkpoints(tmp_path).exists()
    with pytest.raises(ModelFolderError, match="holds no model"):
        loaded(tmp_path)


def manifest(folder, change):
    path = folder / "checkpoints/000000002/manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    "name",
    ["../000000001/weights.safetensors", "/etc/passwd", "..", ".", "", "a\0b", "sub/x", "\n"],
)
def test_names_in_a_manifest_cannot_leave_the_generation(folder, name):
    def change(data):
        data["files"][name] = data["files"]["weights.safetensors"]

    manifest(folder, change)
    assert "is missing" in Checkpoints(folder).validation_error("000000002")
    assert loaded(folder, lambda line: None) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("files"),
        lambda d: d.pop("format"),
        lambda d: d.update(format=2),
        lambda d: d.update(files=[]),
        lambda d: d.update(files={}),
        lambda d: d.update(files=None),
        lambda d: d["files"].pop("weights.safetensors"),
        lambda d: d["files"].pop("network.json"),
        lambda d: d["files"].pop("state.json"),
        lambda d: d["files"]["state.json"].pop("sha256"),
        lambda d: d["files"].update({"state.json": 5}),
        lambda d: d["files"]["state.json"].update(bytes="many"),
        lambda d: d["files"]["state.json"].update(sha256=None),
    ],
)
def test_a_manifest_that_makes_no_sense_is_a_damaged_generation(folder, change):
    manifest(folder, change)
    assert Checkpoints(folder).validation_error("000000002") is not None
    assert loaded(folder, lambda line: None) == 1


@pytest.mark.parametrize("text", ["[]", "5", "null", '"x"', "{"])
def test_a_manifest_that_is_none(folder, text):
    (folder / "checkpoints/000000002/manifest.json").write_text(text)
    assert Checkpoints(folder).validation_error("000000002") is not None


@pytest.mark.parametrize("data", [b"", b"x", b"\xff" * 64, (2**60).to_bytes(8, "little") + b"{}"])
def test_broken_tensor_files_are_one_line(tmp_path, data):
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(ModelFolderError, match=r"cannot read .*x\.safetensors") as caught:
        tensors.load(tmp_path / "x.safetensors")
    assert "\n" not in str(caught.value)


def test_a_missing_tensor_file(tmp_path):
    with pytest.raises(ModelFolderError, match="cannot read"):
        tensors.load(tmp_path / "x.safetensors")
