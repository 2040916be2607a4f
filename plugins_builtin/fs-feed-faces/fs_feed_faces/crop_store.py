"""Provide the cut-out faces of one side: from the cache on disk, or cut when needed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import attrs
import cv2
import numpy as np
from fs_faces.pictures import UnreadableError
from fs_kernel.storage import format_bytes

from fs_feed_faces.cache import Cache, CacheError, Entry
from fs_feed_faces.crops import Cropper
from fs_feed_faces.face_file import FaceFile
from fs_feed_faces.progress_bar import announce, track
from fs_feed_faces.source import FaceSet

#: Increased when equal options would give other crops than before.
_FORMAT = 1
_CROPS = "crops.u8"
#: Faces per worker that are cut before they are written.
_AHEAD = 4


@attrs.frozen(eq=False)
class Crop:
    """A face as the network sees it.

    Attributes:
        picture: ``(h, h, 3)`` uint8 BGR.
        masks: ``(k, h, h)`` uint8.
    """

    picture: np.ndarray
    masks: np.ndarray

    @classmethod
    def of(cls, record: np.ndarray, size: int) -> Crop:
        """Return the crop of a record ``(size * size * (3 + k),)``: picture, then masks."""
        area = size * size
        return cls(
            record[: 3 * area].reshape(size, size, 3), record[3 * area :].reshape(-1, size, size)
        )


class Crops(Protocol):
    """Cut-out faces by index. Safe to use from several threads."""

    cropper: Cropper

    def read(self, index: int) -> Crop:
        """Return one face; its arrays must not be changed.

        Raises:
            UnreadableError: the face cannot be used.
        """


def record(cropper: Cropper, face: FaceFile) -> np.ndarray:
    """Return a face as `Crop.of` reads it.

    Raises:
        UnreadableError: the file is missing, damaged, or not the one that was scanned.
    """
    stack = cropper.read(face)
    masks = stack[..., 3:].transpose(2, 0, 1)
    return np.concatenate([stack[..., :3].ravel(), masks.ravel()])


class CutCrops:
    """Cuts faces when they are first needed, and keeps them in memory.

    Args:
        files: the faces.
        cropper: how they are cut.
        most: bytes to keep.
    """

    def __init__(self, files: Sequence[FaceFile], cropper: Cropper, most: int) -> None:
        self.cropper = cropper
        self._files = files
        self._room = most // cropper.record_bytes
        self._kept: dict[int, np.ndarray] = {}
        self._broken: dict[int, str] = {}
        self._lock = Lock()

    def read(self, index: int) -> Crop:
        """Return one face; see `Crops.read`."""
        kept = self._kept.get(index)
        if kept is None:
            if index in self._broken:
                raise UnreadableError(self._broken[index])
            try:
                kept = record(self.cropper, self._files[index])
            except UnreadableError as error:
                self._broken[index] = str(error)
                raise
            with self._lock:
                if len(self._kept) < self._room:
                    self._kept[index] = kept
        return Crop.of(kept, self.cropper.size)


class CachedCrops:
    """Reads faces that were cut before from a memory-mapped file.

    Args:
        entry: of the cache.
        cropper: how they were cut.

    Attributes:
        records: ``(n, bytes)`` uint8; writing to it does not change the file.
    """

    def __init__(self, entry: Entry, cropper: Cropper) -> None:
        self.cropper = cropper
        self._broken = {int(index): reason for index, reason in entry.facts["broken"].items()}
        shape = (int(entry.facts["faces"]), cropper.record_bytes)
        # Copy on write, because torch does not accept read-only arrays.
        self.records = np.asarray(np.memmap(entry.path / _CROPS, np.uint8, "c", shape=shape))

    def check(self, index: int) -> None:
        """Raise the error of `read`, if there is one."""
        if index in self._broken:
            raise UnreadableError(self._broken[index])

    def read(self, index: int) -> Crop:
        """Return one face; see `Crops.read`."""
        self.check(index)
        return Crop.of(self.records[index], self.cropper.size)


def open_crops(faces: FaceSet, cropper: Cropper, cache: Cache) -> CachedCrops:
    """Return the faces of a side from the cache, cutting them first if they are not in it.

    Raises:
        CacheError: they cannot be cached.
    """
    name = f"crops-{_key(faces.files, cropper)}"
    size = len(faces.files) * cropper.record_bytes
    entry = cache.find(name)
    if entry is None:
        announce(
            f"{faces.folder}: cutting out {len(faces.files)} faces once, "
            f"{format_bytes(size)} in {cache.folder}"
        )
        waiting = partial(announce, f"{faces.folder}: another run is cutting out the same faces")
        entry = cache.make(name, size, partial(_write, faces, cropper), waiting)
    try:
        return CachedCrops(entry, cropper)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CacheError(f"{entry.path} cannot be read ({error})") from None


def _key(files: Sequence[FaceFile], cropper: Cropper) -> str:
    """Return a hash of the faces and of all options that shape their crops."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([_FORMAT, cropper.shape()]).encode())
    for file in files:
        digest.update(file.digest)
    return digest.hexdigest()


def _write(faces: FaceSet, cropper: Cropper, folder: Path) -> dict[str, Any]:
    """Cut all faces into a folder of the cache, in parallel, and return the entry's facts."""
    broken = {}
    line = f"{faces.folder}: cut out {{}} of {{}} faces"
    with (folder / _CROPS).open("wb") as stream:
        made = track(_cut(faces.files, cropper), len(faces.files), line)
        for index, result in enumerate(made):
            if isinstance(result, str):
                broken[str(index)] = result
                result = np.zeros(cropper.record_bytes, np.uint8)
            stream.write(result.data)
        stream.flush()
        os.fsync(stream.fileno())
    return {
        "kind": "crops",
        "folder": str(faces.folder.absolute()),
        "faces": len(faces.files),
        "options": cropper.shape(),
        "broken": broken,
    }


def _cut(files: Sequence[FaceFile], cropper: Cropper) -> Iterator[np.ndarray | str]:
    """Yield each face's `record`, or what is wrong with it, in order."""

    def cut(file: FaceFile) -> np.ndarray | str:
        try:
            return record(cropper, file)
        except UnreadableError as error:
            return str(error)

    workers = os.cpu_count() or 1
    threads = cv2.getNumThreads()
    # OpenCV's own threads inside these threads would only slow both down.
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(workers, "fs-face-cutter") as pool:
            for start in range(0, len(files), _AHEAD * workers):
                yield from pool.map(cut, files[start : start + _AHEAD * workers])
    finally:
        cv2.setNumThreads(threads)
