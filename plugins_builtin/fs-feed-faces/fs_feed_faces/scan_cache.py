"""Remember the results of scanning a folder, for files that have not changed since.

A scan reads every byte of a folder. The next session asks the file system instead: a file of the
same size, times and inode as before counts as unchanged.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fs_faces.constants import CENTERS_3D
from fs_faces.geometry import Alignment
from fs_faces.header import StoredMask

from fs_feed_faces.cache import Cache, CacheError
from fs_feed_faces.face_file import FaceFile

#: Increased when the stored fields, or the results of a scan, change.
_FORMAT = 1
#: Nanoseconds for which a file is too new: it could change again within its time's resolution.
_FRESH = 2 * 10**9
_CENTERINGS = tuple(CENTERS_3D)
_DAMAGED = (OSError, EOFError, ValueError, LookupError, TypeError, zipfile.BadZipFile)

#: Size, times of content and inode in nanoseconds, inode.
Stamp = tuple[int, int, int, int]


def stamp(path: Path) -> Stamp:
    """Return what identifies an unchanged file.

    Raises:
        OSError: the file is missing.
    """
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino


class ScanCache:
    """The scan results of one folder.

    Args:
        cache: where they are kept.
        folder: of pictures.
        mask_type: the stored mask that is kept with each file.
    """

    def __init__(self, cache: Cache, folder: Path, mask_type: str) -> None:
        self._cache, self._folder = cache, folder
        key = f"{_FORMAT}\0{folder.absolute()}\0{mask_type}"
        self._name = f"folder-{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.npz"
        self._known = self._read()

    def get(self, path: Path, now: Stamp) -> FaceFile | None:
        """Return a file's earlier result, or None if it is new or has changed."""
        known = self._known.get(path.name)
        return known[1] if known is not None and known[0] == now else None

    def keep(self, files: Iterable[tuple[Stamp, FaceFile]]) -> None:
        """Store the results of these files, in place of all others, if the cache is writable."""
        limit = time.time_ns() - _FRESH
        settled = {file.path.name: (mark, file) for mark, file in files if mark[1] < limit}
        if {name: mark for name, (mark, _) in settled.items()} == {
            name: mark for name, (mark, _) in self._known.items()
        }:
            return
        stream = io.BytesIO()
        np.savez(stream, **_packed(self._folder, list(settled.values())))
        try:
            self._cache.put(self._name, stream.getvalue())
        except CacheError:
            return

    def _read(self) -> dict[str, tuple[Stamp, FaceFile]]:
        entry = self._cache.find(self._name)
        if entry is None:
            return {}
        try:
            with np.load(entry.path, allow_pickle=False) as arrays:
                return _unpacked(self._folder, dict(arrays))
        except _DAMAGED:
            return {}


def scanned_folder(path: Path) -> str:
    """Return the folder that a stored scan is about, "" if it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return str(arrays["folder"])
    except _DAMAGED:
        return ""


def _packed(folder: Path, files: Sequence[tuple[Stamp, FaceFile]]) -> dict[str, Any]:
    found = [file for _, file in files]
    faces = [file.alignment for file in found if file.alignment is not None]
    masks = [file.mask for file in found if file.mask is not None]
    plain = [
        {
            "name": file.path.name,
            "size": (file.height, file.width),
            "masks": sorted(file.mask_names),
            "landmarks": None if file.alignment is None else len(file.alignment.landmarks),
            "mask": file.mask
            and [len(file.mask.data), file.mask.size, file.mask.centering, file.mask.interpolator],
        }
        for file in found
    ]
    return {
        "folder": str(folder.absolute()),
        "plain": json.dumps(plain),
        "stamps": np.array([mark for mark, _ in files], np.int64).reshape(-1, 4),
        "digests": np.frombuffer(b"".join(file.digest for file in found), np.uint8),
        "landmarks": np.concatenate([np.zeros((0, 2)), *(face.landmarks for face in faces)]),
        "matrices": np.array([face.matrix for face in faces]).reshape(-1, 2, 3),
        "offsets": np.array([[f.offsets[c] for c in _CENTERINGS] for f in faces]).reshape(
            -1, len(_CENTERINGS), 2
        ),
        "directions": np.array([face.direction for face in faces]).reshape(-1, 3),
        "mask_data": np.frombuffer(b"".join(mask.data for mask in masks), np.uint8),
        "mask_affines": np.array([mask.affine for mask in masks]).reshape(-1, 2, 3),
    }


def _unpacked(folder: Path, arrays: Mapping[str, Any]) -> dict[str, tuple[Stamp, FaceFile]]:
    plain = json.loads(str(arrays["plain"]))
    digests = arrays["digests"].reshape(len(plain), -1)
    data = arrays["mask_data"].tobytes()
    faces = masks = points = used = 0
    known = {}
    for facts, mark, digest in zip(plain, arrays["stamps"].tolist(), digests, strict=True):
        alignment = mask = None
        if facts["landmarks"] is not None:
            alignment = Alignment(
                arrays["landmarks"][points : points + facts["landmarks"]],
                arrays["matrices"][faces],
                dict(zip(_CENTERINGS, arrays["offsets"][faces], strict=True)),
                arrays["directions"][faces],
            )
            points, faces = points + facts["landmarks"], faces + 1
        if facts["mask"] is not None:
            length, size, centering, interpolator = facts["mask"]
            affine = arrays["mask_affines"][masks]
            mask = StoredMask(data[used : used + length], affine, size, centering, interpolator)
            used, masks = used + length, masks + 1
        name, (height, width) = facts["name"], facts["size"]
        names = frozenset(facts["masks"])
        file = FaceFile(folder / name, height, width, alignment, names, mask, digest.tobytes())
        known[name] = (tuple(mark), file)
    return known
