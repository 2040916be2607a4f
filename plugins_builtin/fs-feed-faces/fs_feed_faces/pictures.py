"""Picture files: found, read and written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
from fs_kernel.errors import FacesError

from fs_feed_faces.png_chunks import SIGNATURE

#: What counts as a picture, in any letter case.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class UnreadableError(Exception):
    """A file cannot be used as a picture; the text says why, without its name."""


def list_pictures(folder: Path) -> list[Path]:
    """The picture files of a folder, by name; hidden files and folders inside are left out.

    Raises:
        FacesError: the folder is missing, not readable, or holds no picture.
    """
    try:
        files = sorted(
            (
                entry
                for entry in folder.iterdir()
                if entry.suffix.lower() in SUFFIXES
                and not entry.name.startswith(".")
                and entry.is_file()
            ),
            key=lambda file: file.name,
        )
    except FileNotFoundError:
        raise FacesError(f"there is no folder {folder}; check the path") from None
    except NotADirectoryError:
        raise FacesError(f"{folder} is a file; name the folder that holds the faces") from None
    except OSError as error:
        raise FacesError(f"cannot read the folder {folder}: {error.strerror}") from None
    if not files:
        kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise FacesError(f"{folder} holds no pictures ({kinds}); put extracted faces there")
    return files


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        UnreadableError: it is missing, empty or not readable.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(error.strerror or "it cannot be read") from None
    if not data:
        raise UnreadableError("the file is empty")
    return data


def decode(data: bytes) -> np.ndarray:
    """A picture ``(h, w, 3)`` uint8 BGR from a file's content, whatever its depth and channels.

    Raises:
        UnreadableError: it is damaged, cut off, or no picture.
    """
    if _cut_off(data):
        raise UnreadableError("the file is cut off")
    how = cv2.IMREAD_COLOR
    if data.startswith(SIGNATURE):
        # Width and height must stay those of the PNG's own header.
        how |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:
        picture = None
    if picture is None:
        raise UnreadableError("it is no readable picture")
    return picture


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or nothing.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def encode_png(picture: np.ndarray) -> bytes:
    """``(h, w[, 3])`` uint8 BGR as a PNG file."""
    return cv2.imencode(".png", picture)[1].tobytes()


def _cut_off(data: bytes) -> bool:
    if data[:3] == b"\xff\xd8\xff":
        # OpenCV fills the missing part of a JPEG with grey; an intact one ends after its last scan.
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data[:4] == b"RIFF":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    return False
