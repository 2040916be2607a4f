"""Sheets as files: written whole or not at all, a bounded number of them."""

from __future__ import annotations

import logging
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

_log = logging.getLogger(__name__)
_NAME = re.compile(r"step_(\d{8,})\.png")
#: Signature (8) and the IHDR chunk (4 length, 4 name, 13 data, 4 checksum): tEXt may follow.
_AFTER_HEADER = 8 + 25


class SheetFolder:
    """``latest.png`` and ``step_00001234.png`` in one folder.

    Args:
        path: the folder; made at the first write.
        keep: how many ``step_`` files to keep.
    """

    def __init__(self, path: Path, keep: int) -> None:
        self._path = path
        self._keep = keep

    def write(self, sheet: np.ndarray, step: int, description: str) -> None:
        """Write a sheet as the newest one and drop what is too many.

        Args:
            sheet: ``(h, w, 3)`` uint8 BGR.
            step: the step it shows.
            description: kept inside the file.

        Raises:
            OSError: the folder cannot be written to.
        """
        data = encode_png(sheet, description)
        self._path.mkdir(parents=True, exist_ok=True)
        if self._keep > 0:
            _write_whole(self._path / f"step_{step:08d}.png", data)
        try:
            _write_whole(self._path / "latest.png", data)
        except PermissionError as error:
            # A viewer that holds the old picture open on Windows; the next sheet tries again.
            _log.warning("latest.png is not updated this time: %s", error)
        found = {int(m[1]): p for p in self._path.iterdir() if (m := _NAME.fullmatch(p.name))}
        for old in surplus(sorted(found), self._keep):
            found[old].unlink(missing_ok=True)


def surplus(steps: Sequence[int], keep: int) -> list[int]:
    """Which steps to drop so that ``keep`` remain, spread over the whole training.

    The first and the last stay; in between, the one whose neighbours lie closest together goes
    first. With ``keep`` 1 only the last stays.

    Args:
        steps: ascending.
        keep: how many may stay.
    """
    left, dropped = list(steps), []
    while len(left) > keep:
        at = 0
        if keep > 1:
            at = min(range(1, len(left) - 1), key=lambda i: left[i + 1] - left[i - 1])
        dropped.append(left.pop(at))
    return dropped


def encode_png(picture: np.ndarray, description: str) -> bytes:
    """A PNG with a ``tEXt`` chunk (PNG specification, 11.3.3.2) named "Description".

    Args:
        picture: ``(h, w, 3)`` uint8 BGR.
        description: one line; what Latin-1 lacks becomes "?".
    """
    done, encoded = cv2.imencode(".png", picture)
    if not done:
        raise ValueError(f"cannot make a PNG of a picture of shape {picture.shape}")
    data = encoded.tobytes()
    body = b"tEXt" + b"Description\0" + description.encode("latin-1", "replace")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:_AFTER_HEADER] + chunk + data[_AFTER_HEADER:]


def _write_whole(path: Path, data: bytes) -> None:
    """Write beside the file, then put it in its place."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
