"""Write pictures as files, completely or not at all."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from fs_faces.pictures import encode
from fs_faces.png import insert, text_chunk
from fs_kernel.storage import write_atomic

_log = logging.getLogger(__name__)
_NAME = re.compile(r"step_(\d{8,})\.png")
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
        """Write ``latest.png`` and ``step_00001234.png``, and delete surplus older ones.

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
            write_atomic(self._path / f"step_{step:08d}.png", data)
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
        data = encode(sheet, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        write_atomic(folder / f"{step:08d}.jpg", data)

    def _replace(self, name: str, data: bytes) -> None:
        try:
            write_atomic(self._path / name, data)
        except PermissionError as error:
            # On Windows a viewer may hold the old picture open; the next preview tries again.
            _log.warning("%s is not updated this time: %s", name, error)


def surplus(steps: Sequence[int], keep: int) -> list[int]:
    """Return which steps to drop so that ``keep`` remain, spread over the whole training.

    The first and the last stay; in between, the one whose neighbors lie closest together goes
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
    """Return a picture as a PNG with a ``tEXt`` chunk named "Description".

    Args:
        picture: ``(h, w, 3)`` uint8 BGR.
        description: one line; what Latin-1 lacks becomes "?".
    """
    return insert(encode(picture), text_chunk("Description", description))
