"""Pictures as files: written whole or not at all."""

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


#: Of the frames of a timelapse; OpenCV's own default is 95.
_JPEG_QUALITY = 92


class PictureFolder:
    """A model's ``previews``.

    Args:
        path: the folder; made at the first write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write_sheet(self, sheet: np.ndarray, step: int, description: str, keep: int) -> None:
        """Write ``latest.png`` and ``step_00001234.png``, and drop older ones that are too many.

        Args:
            sheet: ``(h, w, 3)`` uint8 BGR.
            step: the step it shows.
            description: kept inside the file.
            keep: how many ``step_`` files to keep.

        Raises:
            OSError: the folder cannot be written to.
        """
        data = encode_png(sheet, description)
        self._path.mkdir(parents=True, exist_ok=True)
        if keep > 0:
            _write_whole(self._path / f"step_{step:08d}.png", data)
        self._replace("latest.png", data)
        found = {int(m[1]): p for p in self._path.iterdir() if (m := _NAME.fullmatch(p.name))}
        for old in surplus(sorted(found), keep):
            found[old].unlink(missing_ok=True)

    def write_batch(self, picture: np.ndarray, description: str) -> None:
        """Write ``batch_0.png``.

        Args:
            picture: ``(h, w, 3)`` uint8 BGR.
            description: kept inside the file.

        Raises:
            OSError: the folder cannot be written to.
        """
        self._path.mkdir(parents=True, exist_ok=True)
        self._replace("batch_0.png", encode_png(picture, description))

    def write_frame(self, sheet: np.ndarray, step: int) -> None:
        """Write ``timelapse/00001234.jpg``.

        Args:
            sheet: ``(h, w, 3)`` uint8 BGR.
            step: the step it shows.

        Raises:
            OSError: the folder cannot be written to.
        """
        folder = self._path / "timelapse"
        folder.mkdir(parents=True, exist_ok=True)
        data = _encoded(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        _write_whole(folder / f"{step:08d}.jpg", data)

    def _replace(self, name: str, data: bytes) -> None:
        try:
            _write_whole(self._path / name, data)
        except PermissionError as error:
            # A viewer that holds the old picture open on Windows; the next one tries again.
            _log.warning("%s is not updated this time: %s", name, error)


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
    data = _encoded(".png", picture)
    body = b"tEXt" + b"Description\0" + description.encode("latin-1", "replace")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:_AFTER_HEADER] + chunk + data[_AFTER_HEADER:]


def _encoded(ending: str, picture: np.ndarray, settings: Sequence[int] = ()) -> bytes:
    done, encoded = cv2.imencode(ending, picture, settings)
    if not done:
        raise ValueError(f"cannot make a {ending} of a picture of shape {picture.shape}")
    return encoded.tobytes()


def _write_whole(path: Path, data: bytes) -> None:
    """Write beside the file, then put it in its place."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
