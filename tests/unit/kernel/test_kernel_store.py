"""Files that are replaced whole."""

from __future__ import annotations

import json
import os
import stat
import sys

import pytest
from fs_kernel.errors import ModelFolderError
from fs_kernel.storage import files

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")


def test_replacing_leaves_one_file(tmp_path):
    path = tmp_path / "x.json"
    for text in (b"one", b"two"):
        files.write_atomic(path, text)
        assert path.read_bytes() == text
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("failing", ["fsync", "replace", "write"])
def test_a_failed_replacement_keeps_the_old_content_and_no_litter(tmp_path, monkeypatch, failing):
    path = tmp_path / "x.json"
    files.write_atomic(path, b"old")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    target = {"fsync": (os, "fsync"), "replace": (files.Path, "replace"), "write": None}[failing]
    target = target or (files, "write_chunks")
    with monkeypatch.context() as patch:
        patch.setattr(*target, fail)
        with pytest.raises(OSError, match="No space"):
            files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_writing_never_touches_an_existing_file(tmp_path):
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        files.write_chunks(tmp_path / "x", [b"new"])
    assert (tmp_path / "x").read_bytes() == b"old"


def test_json_holds_any_text_a_file_name_can_have():
    data = {"path": "/faces/\udcff", "other": "ä"}
    assert json.loads(files.to_json_bytes(data).decode("ascii")) == data


def test_numbers_json_lacks_are_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.to_json_bytes({"x": float("nan")})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\xff", b"[" * 100_000])
def test_broken_json_is_one_line(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ModelFolderError, match=r"x\.json is not valid JSON"):
        files.read_json(tmp_path / "x.json")


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "x.json").open("wb") as stream:
        stream.truncate(10 * 2**20)
    with pytest.raises(ModelFolderError, match="larger than 9 MiB"):
        files.read_json(tmp_path / "x.json", limit=9 * 2**20)


def test_a_missing_file_is_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.read_json(tmp_path / "x.json")


def test_a_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(ModelFolderError, match="cannot read"):
        files.read_json(tmp_path)


def test_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert files.sha256(tmp_path / "x") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_a_folder_is_made_writable_or_refused(tmp_path):
    files.require_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ModelFolderError, match="is a file; a model needs a folder"):
        files.require_writable(tmp_path / "file")
    with pytest.raises(ModelFolderError, match="cannot write in"):
        files.require_writable(tmp_path / "file" / "below")


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    with pytest.raises(ModelFolderError, match=r"cannot write in .*: Permission denied"):
        files.require_writable(tmp_path)


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        files.write_atomic(tmp_path / "x", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~umask


@posix
@pytest.mark.parametrize(("code", "raises"), [(22, False), (9, False), (5, True)])
def test_folders_that_cannot_be_flushed_are_no_error(tmp_path, monkeypatch, code, raises):
    def fail(_):
        raise OSError(code, "x")

    monkeypatch.setattr(os, "fsync", fail)
    if raises:
        with pytest.raises(OSError, match="x"):
            files.flush_folder(tmp_path)
    else:
        files.flush_folder(tmp_path)


def test_a_folder_that_cannot_be_opened_is_not_flushed(tmp_path):
    files.flush_folder(tmp_path / "missing")


@posix
def test_a_link_under_a_temporary_name_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "victim").write_bytes(b"precious")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0")
    (tmp_path / ".x.0").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        files.write_atomic(tmp_path / "x", b"new")
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_temporary_names_cannot_be_foreseen(tmp_path, monkeypatch):
    seen = []
    write = files.write_chunks
    monkeypatch.setattr(files, "write_chunks", lambda p, c: seen.append(p.name) or write(p, c))
    for _ in range(2):
        files.write_atomic(tmp_path / "x", b"")
    assert len(set(seen)) == 2
    assert not any(str(os.getpid()) == name.rpartition(".")[2] for name in seen)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1310, "1.31 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (134_000_000, "134 MB"),
        (1_312_345_678, "1.31 GB"),
        (20 * 10**9, "20 GB"),
        (5 * 10**12, "5 TB"),
        (-2_500_000, "-2.5 MB"),
    ],
)
def test_bytes_are_written_with_three_digits(count, text):
    assert files.format_bytes(count) == text


class TestUserFolder:
    @pytest.fixture(autouse=True)
    def home(self, monkeypatch, tmp_path):
        for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))

    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="folders of Linux")
    def test_on_linux_it_is_where_it_always_was(self, monkeypatch, tmp_path):
        assert files.user_folder("cache") == tmp_path / ".cache/fs-kernel"
        assert files.user_folder("state") == tmp_path / ".local/state/fs-kernel"
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
        assert files.user_folder("cache") == tmp_path / "c/fs-kernel"
        assert files.user_folder("state") == tmp_path / "s/fs-kernel"

    @posix
    def test_a_user_without_a_home_has_none(self, monkeypatch):
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)
        assert files.user_folder("cache") is None
        assert files.user_folder("state") is None
