"""A folder of faces, looked through once: what is usable, what is wrong, which masks there are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import attrs
from fs_kernel.errors import FacesError

from fs_feed_faces import png_chunks
from fs_feed_faces.geometry import Alignment, align
from fs_feed_faces.options import DRAWN_MASKS, FaceOptions
from fs_feed_faces.pictures import UnreadableError, decode, list_pictures, read_bytes
from fs_feed_faces.png_header import HeaderError, StoredMask, find_header, parse_header
from fs_feed_faces.progress import told

#: Fewest faces a side can be trained with.
FEWEST = 25
#: Fewer faces than this work, but seldom well.
FEW = 250


@attrs.frozen(eq=False)
class FaceFile:
    """One usable picture.

    Attributes:
        path: of the file.
        height: of the picture in pixels.
        width: of the picture in pixels.
        alignment: of the face; None for a plain picture without a face header.
        mask_names: the face masks it can give; empty for a plain picture.
        mask: the chosen mask, if it is one that is stored and there.
        digest: hash of its name, size in bytes and header.
    """

    path: Path
    height: int
    width: int
    alignment: Alignment | None
    mask_names: frozenset[str]
    mask: StoredMask | None
    digest: bytes

    @property
    def plain(self) -> bool:
        """Whether it is a picture without a face header."""
        return self.alignment is None

    @property
    def yaw(self) -> float:
        """Degrees the face is turned (`Alignment.yaw`); not-a-number where it is not known."""
        posed = self.alignment is not None and len(self.alignment.landmarks) > 4
        return self.alignment.yaw if posed else float("nan")

    def has_mask(self, name: str) -> bool:
        """Whether it can give this face mask; all of a plain picture counts as face."""
        return self.plain or name in self.mask_names


@attrs.frozen(eq=False)
class Scan:
    """What a folder holds: usable files by name, and ``(name, what is wrong)`` of the others."""

    folder: Path
    files: Sequence[FaceFile]
    broken: Sequence[tuple[str, str]]

    @property
    def fingerprint(self) -> str:
        """A short hash of what the usable faces are."""
        digest = hashlib.blake2b(digest_size=8)
        for file in self.files:
            digest.update(file.digest)
        return digest.hexdigest()


@attrs.frozen(eq=False)
class FaceSet:
    """The faces of one side, ready to be used, and lines the user should read."""

    folder: Path
    files: Sequence[FaceFile]
    warnings: Sequence[str]
    fingerprint: str

    @property
    def plain(self) -> bool:
        """Whether no face of the side has a header."""
        return all(file.plain for file in self.files)


def scan(folder: Path, mask_type: str) -> Scan:
    """Look through a folder: every file is read and verified, every header parsed.

    Args:
        folder: of pictures; folders inside are left alone.
        mask_type: the stored mask that is kept, see `FaceFile.mask`.

    Raises:
        FacesError: the folder is missing, not readable, or holds no picture.
    """
    paths = list_pictures(folder)
    files: list[FaceFile] = []
    broken: list[tuple[str, str]] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = pool.map(partial(_try, mask_type), paths)
        line = f"{folder}: looked at {{}} of {{}} pictures"
        for path, result in zip(paths, told(results, len(paths), line), strict=True):
            if isinstance(result, FaceFile):
                files.append(result)
            else:
                broken.append((path.name, result))
    return Scan(folder, files, broken)


def open_faces(folder: Path, options: FaceOptions, needs_mask: bool, fewest: int) -> FaceSet:
    """The faces of a folder that can be used.

    Args:
        folder: of pictures.
        options: which mask, and what to do where it is missing.
        needs_mask: whether a face without the chosen mask is of no use.
        fewest: how many faces there must be.

    Raises:
        FacesError: the folder is missing or empty, has too few usable faces, or some lack the
            chosen mask.
    """
    found = scan(folder, options.mask_type)
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
            f"{folder}: {plain} of {len(files)} pictures have no face header; their centre square "
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
    except (UnreadableError, png_chunks.PngError, HeaderError) as error:
        return str(error)


def _examine(path: Path, mask_type: str) -> FaceFile:
    data = read_bytes(path)
    digest = hashlib.blake2b(f"{path.name}\0{len(data)}\0".encode())
    if data[:8] != png_chunks.SIGNATURE:
        height, width = decode(data).shape[:2]
        return FaceFile(path, height, width, None, frozenset(), None, digest.digest())
    info = png_chunks.inspect(data)
    text = find_header(info.texts)
    if text is None:
        return FaceFile(path, info.height, info.width, None, frozenset(), None, digest.digest())
    if info.width != info.height:
        raise UnreadableError(
            f"it has a face header but is not square ({info.width} x {info.height})"
        )
    digest.update(text)
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
        digest=digest.digest(),
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
