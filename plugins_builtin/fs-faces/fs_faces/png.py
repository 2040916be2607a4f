"""Read and write PNG files as a sequence of chunks, without decoding pixels.

See the PNG specification (W3C, third edition), sections 5 and 11.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import attrs

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Longest edge, in pixels, that is accepted for a picture of a face.
MAX_EDGE = 8192


class PngError(ValueError):
    """Raised for bytes that are not an intact PNG; the text says what is wrong."""


@attrs.frozen
class Chunk:
    """One chunk of a PNG.

    Attributes:
        kind: four ASCII letters, such as ``b"IDAT"``.
        content: the data of the chunk.
        start: offset of the chunk in the file, in bytes.
    """

    kind: bytes
    content: bytes
    start: int


@attrs.frozen
class PngInfo:
    """Properties of a PNG that are known without decoding it.

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
    """Yield the chunks of a PNG up to and including IEND, each with length and CRC verified.

    Raises:
        PngError: the file is truncated, damaged, or not a PNG.
    """
    if png[:8] != SIGNATURE:
        raise PngError("it is not a PNG file")
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
    """Verify every chunk of a PNG and return its properties, without decoding its pixels.

    Raises:
        PngError: the file is truncated, damaged, not a PNG, or larger than `MAX_EDGE`.
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
        raise PngError(f"{width} x {height} pixels is not the size of a face (at most {MAX_EDGE})")
    return PngInfo(width, height, bits, tuple(texts))


def make_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a whole chunk: length, kind, content, CRC."""
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def text_chunk(keyword: str, text: str) -> bytes:
    """Return a ``tEXt`` chunk (PNG specification, 11.3.3.2).

    Args:
        keyword: 1 to 79 Latin-1 characters, such as "Comment" or "Description".
        text: characters that Latin-1 lacks become "?".
    """
    return make_chunk(
        b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1", "replace")
    )


def insert(png: bytes, *chunks: bytes) -> bytes:
    """Return the PNG with whole chunks (see `make_chunk`) inserted before its pixels.

    Raises:
        PngError: the bytes are not an intact PNG.
    """
    for chunk in walk(png):
        if chunk.kind == b"IDAT":
            return png[: chunk.start] + b"".join(chunks) + png[chunk.start :]
    raise PngError("it holds no picture")


def remove(png: bytes, kind: bytes, prefix: bytes) -> bytes:
    """Return the PNG without the chunks of ``kind`` whose content starts with ``prefix``.

    Raises:
        PngError: the bytes are not an intact PNG.
    """
    kept = [SIGNATURE]
    for chunk in walk(png):
        if not (chunk.kind == kind and chunk.content.startswith(prefix)):
            kept.append(png[chunk.start : chunk.start + 12 + len(chunk.content)])
    return b"".join(kept)


def _printable(kind: bytes) -> str:
    return kind.decode("ascii", "replace") if kind.isalpha() else "unknown"
