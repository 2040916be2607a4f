"""Sheets on disk: whole, described, bounded in number."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from fs_addon_preview.files import PictureFolder, encode_png, surplus


def sheet(value: int) -> np.ndarray:
    return np.full((20, 30, 3), value, np.uint8)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Every chunk of a PNG as (name, content), its checksum verified."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
        assert checksum == zlib.crc32(name + content)
        found.append((name, content))
        at += 12 + length
    return found


def test_png_says_that_it_is_synthetic_and_decodes_to_the_same_pixels():
    picture = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    data = encode_png(picture, "Synthetic: naïve 名")
    names = [name for name, _ in chunks(data)]
    assert names[:2] == [b"IHDR", b"tEXt"]
    assert names[-1] == b"IEND"
    assert dict(chunks(data))[b"tEXt"] == "Description\0Synthetic: naïve ?".encode("latin-1")
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded, picture)


def test_writes_the_newest_and_the_history(tmp_path):
    folder = PictureFolder(tmp_path / "model" / "previews")
    folder.write_sheet(sheet(1), 1, "one", keep=5)
    folder.write_sheet(sheet(2), 1234, "two", keep=5)
    names = sorted(p.name for p in (tmp_path / "model" / "previews").iterdir())
    assert names == ["latest.png", "step_00000001.png", "step_00001234.png"]
    latest = cv2.imread(str(tmp_path / "model" / "previews" / "latest.png"))
    assert (latest == 2).all()


def test_only_so_many_are_kept_and_other_files_are_left_alone(tmp_path):
    (tmp_path / "step_by_step.png").write_bytes(b"mine")
    folder = PictureFolder(tmp_path)
    for step in range(1, 31):
        folder.write_sheet(sheet(step), step, "x", keep=3)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 5
    assert {"latest.png", "step_by_step.png", "step_00000001.png", "step_00000030.png"} < set(names)


def test_keep_nothing_leaves_the_newest_only(tmp_path):
    folder = PictureFolder(tmp_path)
    folder.write_sheet(sheet(1), 1, "x", keep=0)
    folder.write_sheet(sheet(2), 2, "x", keep=0)
    assert [p.name for p in tmp_path.iterdir()] == ["latest.png"]


@pytest.mark.parametrize(
    ("steps", "keep", "dropped"),
    [
        ([1, 2, 3], 3, []),
        ([1, 2, 3], 0, [1, 2, 3]),
        ([1, 2, 3], 1, [1, 2]),
        ([1, 2, 3], 2, [2]),
        ([1, 500, 510, 1000], 3, [510]),
        ([1, 100, 110, 300], 3, [100]),
    ],
)
def test_surplus(steps, keep, dropped):
    assert surplus(steps, keep) == dropped


def test_history_stays_spread_over_the_whole_training():
    kept: list[int] = []
    for step in range(1, 2001):
        kept.append(step)
        for old in surplus(kept, 10):
            kept.remove(old)
    gaps = np.diff(kept)
    assert len(kept) == 10
    assert (kept[0], kept[-1]) == (1, 2000)
    assert gaps[:-1].max() <= 600
    assert gaps[0] >= 50


def test_a_full_disk_keeps_the_old_sheet_and_leaves_nothing_half_done(tmp_path, monkeypatch):
    folder = PictureFolder(tmp_path)
    folder.write_sheet(sheet(1), 1, "x", keep=5)
    before = (tmp_path / "latest.png").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        folder.write_sheet(sheet(2), 2, "x", keep=5)
    assert (tmp_path / "latest.png").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest.png", "step_00000001.png"]


def test_a_viewer_that_holds_the_newest_open_costs_only_that_update(tmp_path, monkeypatch, caplog):
    folder = PictureFolder(tmp_path)
    folder.write_sheet(sheet(1), 1, "x", keep=5)
    replace = Path.replace

    def held(self: Path, target: Path) -> Path:
        if target.name == "latest.png":
            raise PermissionError(13, "in use", str(target))
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", held)
        folder.write_sheet(sheet(2), 2, "x", keep=5)
    assert "latest.png is not updated" in caplog.text
    assert (cv2.imread(str(tmp_path / "latest.png")) == 1).all()
    assert (cv2.imread(str(tmp_path / "step_00000002.png")) == 2).all()
    folder.write_sheet(sheet(3), 3, "x", keep=5)
    assert (cv2.imread(str(tmp_path / "latest.png")) == 3).all()


def test_the_picture_of_the_first_batch_has_one_name(tmp_path):
    folder = PictureFolder(tmp_path / "previews")
    folder.write_batch(sheet(1), "one")
    folder.write_batch(sheet(2), "two")
    (path,) = (tmp_path / "previews").iterdir()
    assert path.name == "batch_0.png"
    assert (cv2.imread(str(path)) == 2).all()
    assert b"Description\0two" in path.read_bytes()


def test_frames_stand_in_the_order_of_their_steps(tmp_path):
    folder = PictureFolder(tmp_path)
    for step in (9, 10, 1_000_000, 200):
        folder.write_frame(sheet(step % 256), step)
    names = sorted(p.name for p in (tmp_path / "timelapse").iterdir())
    assert names == ["00000009.jpg", "00000010.jpg", "00000200.jpg", "01000000.jpg"]
    middle = cv2.imread(str(tmp_path / "timelapse" / "00000200.jpg"))
    assert np.abs(middle.astype(int) - 200).max() <= 2
