"""The face header: read, written, and safe from what strangers put there."""

from __future__ import annotations

import gc
import struct
import sys
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from face_files import face_png, landmarks_in_frame, make_header
from fs_faces.header import (
    HeaderError,
    StoredMask,
    find_header,
    format_header,
    parse_header,
    read_header,
    write_header,
)
from fs_faces.literal import MAX_LITERAL
from fs_faces.png import SIGNATURE, PngError, inspect, make_chunk, walk

GOOD = format_header(make_header(landmarks_in_frame(0), "a.png"))


def test_what_is_written_is_read():
    written = make_header(landmarks_in_frame(1), 'it\'s "é".png')
    read = parse_header(format_header(written))
    np.testing.assert_array_equal(read.landmarks, written.landmarks)
    assert (read.box, read.frame_size) == (written.box, written.frame_size)
    assert read.original_filename == 'it\'s "é".png'
    mask = read.masks["bisenet-fp_face"]
    assert (mask.size, mask.centering) == (128, "face")
    assert mask.image()[64, 64] == 255
    assert mask.image()[0, 0] == 0


def test_mask_and_identity_may_be_missing_and_matrices_may_have_three_rows():
    text = GOOD.decode()
    head, _, tail = text.partition("'mask': {")
    _, _, tail = tail.partition("'source'")
    short = f"{head[:-2]}}}, 'source'{tail}".encode()
    assert parse_header(short).masks == {}
    landmarks = [[float(i), float(i * i)] for i in range(4)]
    mask = {
        "mask": zlib.compress(bytes(16)),
        "affine_matrix": [[1, 0, 2], [0, 1, 3], [0, 0, 1]],
        "interpolator": 2,
        "stored_size": 4,
        "stored_centering": "head",
    }
    face = {"x": 0, "y": -1, "w": 2, "h": 3, "landmarks_xy": landmarks, "mask": {"m": mask}}
    source = {
        "alignments_version": 2.3,
        "original_filename": "a",
        "face_index": 1,
        "source_filename": "b",
        "source_is_video": True,
        "source_frame_dims": (3, 4),
    }
    read = parse_header(repr({"alignments": face, "source": source}).encode())
    np.testing.assert_array_equal(read.masks["m"].affine, [[1, 0, 2], [0, 1, 3]])
    assert read.identity == {}


def test_a_header_is_carried_over_byte_for_byte():
    png = face_png(3)
    text = find_header(inspect(png).texts)
    other = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    once = write_header(other, text)
    twice = write_header(once, text)
    assert find_header(inspect(once).texts) == text
    assert once == twice
    assert [c.kind for c in walk(once)][:3] == [b"IHDR", b"iTXt", b"IDAT"]
    assert cv2.imdecode(np.frombuffer(once, np.uint8), 1).shape == (8, 8, 3)


def test_a_picture_without_header_has_none():
    assert read_header(cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes()) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[1, 2]",
        b"{'alignments': {}, 'source': {}}",
        b"__import__('os').system('touch /tmp/owned')",
        b"{'alignments': open('/etc/passwd'), 'source': 1}",
        b"[" * 100_000,
        b"(" * 150 + b")" * 150,
        b"-" * 100_000 + b"1",
        b"1" + b"+1" * 100_000,
        b"1" + b" -  1" * 100_000,
        b"not " * 10_000 + b"1",
        b"9" * 100_000,
        b"'" + b"\\'" * 500_000,
        b"{'alignments': {1: 2}, 'source': {}}",
        b"{[]: 1}",
        b"{'a': 1} if True else 2",
        GOOD + b"x",
        GOOD[:-1],
        GOOD.replace(b"'x': 100", b"'x': 1e999"),
        GOOD.replace(b"'x': 100", b"'x': '100'"),
        GOOD.replace(b"'x': 100", b"'x': True"),
        GOOD.replace(b"'x': 100", b"'x': " + b"9" * 30),
        GOOD.replace(b"'x': 100", b"'extra': 1, 'x': 100"),
        GOOD.replace(b"'landmarks_xy': [[", b"'landmarks_xy': [[1.0], ["),
        GOOD.replace(b"'landmarks_xy': [[", b"'landmarks_xy': [[1.0, 2.0], ["),
        GOOD.replace(b"'landmarks_xy': [[", b"'landmarks_xy': [[1e400, 2.0], ["),
        GOOD.replace(b"'stored_size': 128", b"'stored_size': 99999999"),
        GOOD.replace(b"'stored_size': 128", b"'stored_size': 0"),
        GOOD.replace(b"'stored_centering': 'face'", b"'stored_centering': 'nose'"),
        GOOD.replace(b"'stored_centering': 'face'", b"'stored_centering': []"),
        GOOD.replace(b"'affine_matrix': [[", b"'affine_matrix': [[7.0], ["),
        GOOD.replace(b"(240, 320)", b"(240, 320, 3)"),
        b" " * (MAX_LITERAL + 1),
    ],
    ids=lambda text: f"{len(text)}:{text[:24]!r}",
)
def test_a_hostile_header_is_refused_in_time(text):
    assert text != GOOD
    start = time.perf_counter()
    with pytest.raises(HeaderError, match=r"header|landmarks|mask"):
        parse_header(text)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize("text", [b"[" * 20 + b"]" * 20, b"1 + 1", b"- -1", b"not 1", b"x"])
def test_what_no_header_contains_is_not_even_parsed(text, monkeypatch):
    monkeypatch.setattr("fs_faces.literal.ast", None)
    with pytest.raises(HeaderError, match="not a plain literal"):
        parse_header(text)


def test_a_face_that_is_one_point_is_refused():
    header = make_header(landmarks_in_frame(0), "a", None)
    text = format_header(header).replace(
        repr(header.landmarks.tolist()).encode(), repr([[5.0, 5.0]] * 68).encode()
    )
    with pytest.raises(HeaderError, match="not a face"):
        parse_header(text)


@pytest.mark.parametrize(
    "data",
    [
        zlib.compress(bytes(10**8)),
        zlib.compress(bytes(15)),
        zlib.compress(bytes(16))[:-9],
        b"no zlib",
    ],
    ids=["bomb", "short", "cut", "garbage"],
)
def test_a_damaged_mask_is_refused(data):
    tracemalloc.start()
    try:
        with pytest.raises(HeaderError, match="stored mask"):
            StoredMask(data, np.eye(2, 3), size=4).image()
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


def test_a_png_cut_off_anywhere_is_noticed():
    png = face_png(4, size=48)
    for length in range(0, len(png), 97):
        with pytest.raises(PngError, match=r"cut off|not a PNG"):
            inspect(png[:length])


def test_a_flipped_bit_anywhere_is_noticed():
    png = face_png(4, size=48)
    for position in range(8, len(png), 89):
        broken = bytearray(png)
        broken[position] ^= 16
        with pytest.raises(PngError):
            inspect(bytes(broken))


def test_a_picture_of_absurd_size_is_refused_undecoded():
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    png = SIGNATURE + b"".join(
        make_chunk(kind, content)
        for kind, content in ((b"IHDR", header), (b"IDAT", b"x"), (b"IEND", b""))
    )
    with pytest.raises(PngError, match="not the size of a face"):
        inspect(png)


def test_a_compressed_header_is_refused():
    with pytest.raises(HeaderError, match="compressed"):
        find_header((b"faceswap\0\1\0\0\0x",))
    assert find_header((b"Title\0\0\0\0\0x",)) is None


def test_threads_parse_headers_at_once_whatever_the_collector_does():
    def wander(_phase: str, _info: dict) -> None:
        sum(range(200))

    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    gc.callbacks.append(wander)
    try:
        with ThreadPoolExecutor(8) as pool:
            headers = list(pool.map(parse_header, [GOOD] * 100))
    finally:
        gc.callbacks.remove(wander)
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval)
    assert {header.original_filename for header in headers} == {"a.png"}
