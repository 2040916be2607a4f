"""PNG files as a row of chunks: checked without decoding, and written with chunks added.

See the PNG specification (W3C, third edition), sections 5 and 11.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import attrs

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Longest edge, in pixels, that is still taken for a picture of a face.
MAX_EDGE = 8192


class PngError(ValueError):
    """The bytes are no intact PNG; the text says what is wrong."""


@attrs.frozen
class Chunk:
    """One chunk: its four-letter ``kind``, its content, and where it starts in the file."""

    kind: bytes
    content: bytes
    start: int


@attrs.frozen
class PngInfo:
    """What is known of a PNG without decoding it.

    Attributes:
        width: pixels.
        height: pixels.
        bits: bits per channel: 1, 2, 4, 8 or 16.
        texts: contents of its ``iTXt`` chunks.
    """

    width: int
    height: int
    bits: int
    texts: tuple[bytes, ...]


def walk(png: bytes) -> Iterator[Chunk]:
    """The chunks of a PNG up to and with IEND, each with its length and CRC verified.

    Raises:
        PngError: the file is cut off, damaged, or no PNG.
    """
    if png[:8] != SIGNATURE:
        raise PngError("it is no PNG file")
    at = len(SIGNATURE)
    view = memoryview(png)
    while at + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        end = at + 12 + length
        if end > len(png):
            break
        (crc,) = struct.unpack_from(">I", png, end - 4)
        if zlib.crc32(view[at + 4 : end - 4]) != crc:
            raise PngError(f"its {_printable(kind)} chunk is damaged (wrong checksum)")
        yield Chunk(kind, bytes(view[at + 8 : end - 4]), at)
        if kind == b"IEND":
            return
        at = end
    raise PngError("the file is cut off")


def inspect(png: bytes) -> PngInfo:
    """Verify a whole PNG, without decoding its pixels.

    Raises:
        PngError: the file is cut off, damaged, no PNG, or larger than `MAX_EDGE`.
    """
    size: tuple[int, int, int] | None = None
    texts: list[bytes] = []
    pixels = False
    for chunk in walk(png):
        if chunk.kind == b"IHDR" and len(chunk.content) == 13:
            size = struct.unpack_from(">IIB", chunk.content)
        elif chunk.kind == b"iTXt":
            texts.append(chunk.content)
        pixels = pixels or chunk.kind == b"IDAT"
    if size is None or not pixels:
        raise PngError("it holds no picture")
    width, height, bits = size
    if not 0 < width <= MAX_EDGE or not 0 < height <= MAX_EDGE:
        raise PngError(f"{width} x {height} pixels is no size of a face (at most {MAX_EDGE})")
    return PngInfo(width, height, bits, tuple(texts))


def make_chunk(kind: bytes, content: bytes) -> bytes:
    """A whole chunk: length, kind, content, CRC."""
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def text_chunk(keyword: str, text: str) -> bytes:
    """A ``tEXt`` chunk; both strings in Latin-1."""
    return make_chunk(b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1"))


def insert(png: bytes, *chunks: bytes) -> bytes:
    """The PNG with whole chunks (see `make_chunk`) put before its pixels.

    Raises:
        PngError: the bytes are no intact PNG.
    """
    for chunk in walk(png):
        if chunk.kind == b"IDAT":
            return png[: chunk.start] + b"".join(chunks) + png[chunk.start :]
    raise PngError("it holds no picture")


def remove(png: bytes, kind: bytes, prefix: bytes) -> bytes:
    """The PNG without its chunks of ``kind`` whose content starts with ``prefix``.

    Raises:
        PngError: the bytes are no intact PNG.
    """
    kept = [SIGNATURE]
    for chunk in walk(png):
        if not (chunk.kind == kind and chunk.content.startswith(prefix)):
            kept.append(png[chunk.start : chunk.start + 12 + len(chunk.content)])
    return b"".join(kept)


def _printable(kind: bytes) -> str:
    return kind.decode("ascii", "replace") if kind.isalpha() else "unknown"
