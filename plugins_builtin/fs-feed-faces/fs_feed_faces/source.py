"""Scan folders of faces: which files are usable, what is wrong with others, which masks exist."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import attrs
from fs_faces.constants import DRAWN_MASKS
from fs_faces.geometry import align
from fs_faces.header import HeaderError, find_header, parse_header
from fs_faces.pictures import FolderError, UnreadableError, decode, list_pictures, read_bytes
from fs_faces.png import SIGNATURE, PngError, inspect
from fs_kernel.errors import FacesError

from fs_feed_faces.cache import Cache
from fs_feed_faces.face_file import FaceFile
from fs_feed_faces.options import FaceOptions
from fs_feed_faces.progress_bar import track
from fs_feed_faces.scan_cache import ScanCache, Stamp, stamp

#: Smallest number of faces that a side can be trained with.
FEWEST = 25
#: Number of faces below which training works, but seldom well.
FEW = 250


@attrs.frozen(eq=False)
class Scan:
    """Contents of a folder: usable files by name, and ``(name, what is wrong)`` of the others."""

    folder: Path
    files: Sequence[FaceFile]
    broken: Sequence[tuple[str, str]]

    @property
    def fingerprint(self) -> str:
        """Return a short hash of the usable faces' names and contents."""
        digest = hashlib.blake2b(digest_size=8)
        for file in self.files:
            digest.update(file.path.name.encode() + b"\0" + file.digest)
        return digest.hexdigest()


@attrs.frozen(eq=False)
class FaceSet:
    """The usable faces of one side, and warnings for the user."""

    folder: Path
    files: Sequence[FaceFile]
    warnings: Sequence[str]
    fingerprint: str

    @property
    def plain(self) -> bool:
        """Return whether no face of the side has a header."""
        return all(file.plain for file in self.files)


def scan(folder: Path, mask_type: str, cache: Cache | None = None) -> Scan:
    """Read and verify every file of a folder, and parse every header.

    Args:
        folder: of pictures; its subfolders are ignored.
        mask_type: the stored mask that is kept, see `FaceFile.mask`.
        cache: stores the results, so that only files that are new or have changed are read; None
            reads all files and stores nothing.

    Raises:
        FacesError: the folder is missing, not readable, or holds no picture.
    """
    try:
        paths = list_pictures(folder)
    except FolderError as error:
        raise FacesError(str(error)) from None
    known = None if cache is None else ScanCache(cache, folder, mask_type)
    files: dict[Path, FaceFile] = {}
    stamps: dict[Path, Stamp] = {}
    broken: list[tuple[str, str]] = []
    for path in paths:
        with contextlib.suppress(OSError):
            stamps[path] = stamp(path)
        same = known and path in stamps and known.get(path, stamps[path])
        if same:
            files[path] = same
    unknown = [path for path in paths if path not in files]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = pool.map(partial(_try, mask_type), unknown)
        line = f"{folder}: looked at {{}} of {{}} pictures"
        for path, result in zip(unknown, track(results, len(unknown), line), strict=True):
            if isinstance(result, FaceFile):
                files[path] = result
            else:
                broken.append((path.name, result))
    if known is not None:
        known.keep((stamps[path], file) for path, file in files.items() if path in stamps)
    return Scan(folder, [files[path] for path in paths if path in files], broken)


def open_faces(
    folder: Path, options: FaceOptions, needs_mask: bool, fewest: int, cache: Cache | None = None
) -> FaceSet:
    """Return the usable faces of a folder.

    Args:
        folder: of pictures.
        options: section ``[face]``: the mask, and what to do where it is missing.
        needs_mask: whether a face without the chosen mask is unusable.
        fewest: smallest number of faces.
        cache: see `scan`.

    Raises:
        FacesError: the folder is missing or empty, has too few usable faces, or some lack the
            chosen mask.
    """
    found = scan(folder, options.mask_type, cache)
    warnings = [_broken_line(found)] if found.broken else []
    files = list(found.files)
    if needs_mask:
        lacking = [file for file in files if not file.has_mask(options.mask_type)]
        if lacking and options.on_missing_mask == "error":
            raise FacesError(_missing_mask_line(found, lacking, options.mask_type))
        if lacking:
            files = [file for file in files if file.has_mask(options.mask_type)]
            warnings.append(
                f"{folder}: skipped {len(lacking)} of {len(found.files)} faces without the mask "
                f"'{options.mask_type}'"
            )
    if len(files) < fewest:
        reasons = "".join(f"; {line}" for line in warnings)
        word = "face" if len(files) == 1 else "faces"
        raise FacesError(
            f"{folder} has {len(files)} usable {word}, at least {fewest} are needed{reasons}"
        )
    plain = sum(file.plain for file in files)
    if plain:
        warnings.append(
            f"{folder}: {plain} of {len(files)} pictures have no face header; their center square "
            "is used, all of it counts as face, and eye and mouth weights do not apply to them"
        )
    if fewest > 1 and len(files) < FEW:
        warnings.append(
            f"{folder} has only {len(files)} faces; fewer than {FEW} seldom give a good model"
        )
    return FaceSet(folder, files, warnings, found.fingerprint)


def _try(mask_type: str, path: Path) -> FaceFile | str:
    try:
        return _examine(path, mask_type)
    except (UnreadableError, PngError, HeaderError) as error:
        return str(error)


def _examine(path: Path, mask_type: str) -> FaceFile:
    data = read_bytes(path)
    digest = hashlib.blake2b(data, digest_size=16).digest()
    if data[:8] != SIGNATURE:
        height, width = decode(data).shape[:2]
        return FaceFile(path, height, width, None, frozenset(), None, digest)
    info = inspect(data)
    text = find_header(info.texts)
    if text is None:
        return FaceFile(path, info.height, info.width, None, frozenset(), None, digest)
    if info.width != info.height:
        raise UnreadableError(
            f"it has a face header but is not square ({info.width} x {info.height})"
        )
    header = parse_header(text)
    alignment = align(header.landmarks)
    drawn = DRAWN_MASKS if len(alignment.landmarks) == 68 else ()
    mask = header.masks.get(mask_type)
    if mask is not None:
        mask.image()
    return FaceFile(
        path=path,
        height=info.height,
        width=info.width,
        alignment=alignment,
        mask_names=frozenset(header.masks).union(drawn),
        mask=mask,
        digest=digest,
    )


def _broken_line(found: Scan, most: int = 5) -> str:
    names = ", ".join(f"{name} ({reason})" for name, reason in found.broken[:most])
    more = f" and {len(found.broken) - most} more" if len(found.broken) > most else ""
    count = len(found.broken)
    files = "file" if count == 1 else "files"
    return f"{found.folder}: skipped {count} unreadable {files}: {names}{more}"


def _missing_mask_line(found: Scan, lacking: list[FaceFile], mask_type: str) -> str:
    there = sorted(set().union(*(file.mask_names for file in found.files))) or ["none"]
    return (
        f"{len(lacking)} of {len(found.files)} faces in {found.folder} lack the mask "
        f"'{mask_type}' (first: {lacking[0].path.name}); masks there: {', '.join(there)}. "
        "Choose one with face.mask_type, or set face.on_missing_mask=skip"
    )
