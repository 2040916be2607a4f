"""Find, read, decode, encode and write picture files."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from fs_faces.png import SIGNATURE

#: File name suffixes of pictures, compared without case.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class UnreadableError(Exception):
    """Raised for a file that cannot be used as a picture; the text says why, without its name."""


class FolderError(Exception):
    """Raised for a folder without usable pictures; the text names it and says what to do."""


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files of a folder, sorted by name, without hidden files and subfolders.

    Raises:
        FolderError: the folder is missing, not readable, or holds no picture.
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
        raise FolderError(f"there is no folder {folder}; check the path") from None
    except NotADirectoryError:
        raise FolderError(f"{folder} is a file; name the folder that holds the faces") from None
    except OSError as error:
        raise FolderError(f"cannot read the folder {folder}: {error.strerror}") from None
    if not files:
        kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise FolderError(f"{folder} holds no pictures ({kinds}); put extracted faces there")
    return files


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        UnreadableError: the file is missing, empty or not readable.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(error.strerror or "it cannot be read") from None
    if not data:
        raise UnreadableError("the file is empty")
    return data


def decode(data: bytes) -> np.ndarray:
    """Return the picture in a file's content, converted from any depth and channel count.

    Returns:
        ``(h, w, 3)`` uint8 BGR.

    Raises:
        UnreadableError: the picture is damaged, truncated, or not a picture.
    """
    if _cut_off(data):
        raise UnreadableError("the file is cut off")
    how = cv2.IMREAD_COLOR
    if data.startswith(SIGNATURE):
        # An orientation tag would swap width and height against those of the PNG's own header.
        how |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:
        picture = None
    if picture is None:
        raise UnreadableError("it is not a readable picture")
    return picture


def encode(picture: np.ndarray, suffix: str = ".png", settings: Sequence[int] = ()) -> bytes:
    """Return a picture as the content of a file.

    Args:
        picture: ``(h, w[, 3])`` uint8, BGR.
        suffix: file name suffix of a format that OpenCV writes.
        settings: pairs of OpenCV's ``IMWRITE_*`` flags and values.

    Raises:
        ValueError: the format cannot hold this picture.
    """
    try:
        done, encoded = cv2.imencode(suffix, picture, settings)
    except cv2.error:
        done = False
    if not done:
        raise ValueError(f"cannot make a {suffix} of a picture of shape {picture.shape}")
    return encoded.tobytes()


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees all of it or nothing.

    The data is not flushed to the disk: pictures can be made again after a power cut.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _cut_off(data: bytes) -> bool:
    if data[:3] == b"\xff\xd8\xff":
        # OpenCV fills the missing part of a JPEG with gray; an intact one ends after its last scan.
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data[:4] == b"RIFF":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    return False
